"""The rallies of whole matches: a table, a picture, a page, and on request a reel and editor files.

    python detecting_rallies.py MATCH.mp4 --model runs/NAME/best_model.pth [--reel] [--export edl]
    python detecting_rallies.py fit --model runs/NAME/best_model.pth      # on marked matches
    python detecting_rallies.py evaluate --predicted DIR --truth Data/matches

MATCH is a file, a folder of files or a YouTube address; <match>_rallies/ appears beside it. A run
that is ended goes on where it was, and other settings on the same match take seconds. On two plain
cores a match takes about a third of its length.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from tqdm import tqdm

import downloading
from collecting_data import positive
from evaluation import run_evaluation
from exports import EXPORTS, export
from extraction.ray_cluster import add_machine_options, connect, detect_on_ray, split_address
from files import PRECISIONS, UserError, run_command
from matches import Marks
from proxy import SUFFIX as PROXY_SUFFIX
from records import default_dir
from reel import make_clips, make_reel, pad_rallies
from segments import to_marks
from sequences import find_file
from sources import is_address, is_playlist, youtube_id

VIDEO_SUFFIXES = (".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg")
VIDEO_SUFFIXES += (".mts", ".ogv", ".ts", ".webm", ".wmv")
Say = Callable[[str], None]  # print, or what keeps the line for later
BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {remaining} left"


def find_matches(given: list[str]) -> tuple[list[Path | str], list[str]]:
    """(files and addresses, in order and once each, what is wrong with the rest).

    A folder stands for the videos right in it, a playlist's address for its videos.
    """
    found, problems = [], []
    for name in given:
        try:
            if is_playlist(name):
                found += downloading.playlist_videos(name)
            elif is_address(name):
                found.append(name)
            elif Path(name).is_dir():
                found += videos_in(Path(name))
            else:
                found.append(Path(name))
        except UserError as error:
            problems.append(str(error))
    return list(dict.fromkeys(found)), problems


def videos_in(folder: Path) -> list[Path]:
    """The video files right in a folder, without the copies that this project makes there."""
    videos = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
        and not path.name.endswith(PROXY_SUFFIX)
    )
    if not videos:
        raise UserError(f"{folder}: no video in it")
    return videos


def detect_all(options: argparse.Namespace) -> int:
    """Detects every match given; a bad one never stops the others. Returns the exit code."""
    detector = load_with_settings(options)
    if not detector.fitted:
        print(
            f"{options.model} was not fitted on marked matches (detecting_rallies.py fit): going "
            "by windows of a second and the usual settings",
            file=sys.stderr,
        )
    matches, problems = find_matches(options.matches)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    failed = len(problems)
    for problem in detect_each(matches, detector, options):
        if problem:
            print(f"error: {problem}", file=sys.stderr)
            failed += 1
    if failed and len(options.matches) + len(matches) > 2:
        print(f"{failed} of {len(matches) + len(problems)} went wrong: see above", file=sys.stderr)
    return 1 if failed else 0


def load_with_settings(options: argparse.Namespace):
    """The detector that the options ask for."""
    from detection import load_detector, with_settings  # torch: seconds that --help does without

    return with_settings(
        load_detector(options.model, options.windows, options.hop_sec, options.precision),
        threshold=options.threshold,
        min_rally_sec=options.min_rally_sec,
        min_gap_sec=options.min_gap_sec,
    )


def detect_each(matches: list[Path | str], detector, options: argparse.Namespace) -> Iterator[str]:
    """What went wrong ("": nothing) with each match, here or on a Ray cluster."""
    if options.ray is None:
        for match in matches:
            yield detect_or_say(match, detector, options, print)
    elif matches:
        connect(options.ray)
        for row in detect_on_ray(matches, detector, options):
            print(row["told"])
            yield row["problem"]


def detect_or_say(match: Path | str, detector, options: argparse.Namespace, say: Say) -> str:
    """detect_one; returns what went wrong, in a line, or ""."""
    try:
        detect_one(match, detector, options, say)
    except (UserError, OSError) as error:
        return f"{error}" if isinstance(error, UserError) else f"{match}: {error}"
    return ""


def detect_one(match: Path | str, detector, options: argparse.Namespace, say: Say) -> None:
    """Detects one match, and writes and says all that is asked for."""
    from results import detect_and_save

    path = fetch(match, options.data)
    folder = options.out / default_dir(path).name if options.out else default_dir(path)
    result, rallies, about = detect_and_save(path, detector, folder, options.force)
    play = rallies["duration_sec"].sum() / result.video.end_sec
    speed = about["speed"]["times_real_time"]
    say(
        f"{path.name}: {len(rallies)} {'rally' if len(rallies) == 1 else 'rallies'}, {play:.0%} of "
        f"{clock(result.video.end_sec)} in play"
        + (f", at {speed:.1f}x real time" if speed else "")
        + (" (of synthetic training data)" if about["model"].get("synthetic") else "")
    )
    if about["corrected"]:
        say(
            f"  {folder / 'rallies.csv'} was corrected by a person: it stays, and all else is made "
            "from it (--force detects them anew)"
        )
    for start, end in about["damaged"]:
        say(f"  nothing is known from {clock(start)} to {clock(end)}: the file is damaged there")
    cuts = pad_rallies(to_marks(rallies), options.pre_roll, options.post_roll, result.video.end_sec)
    problems = []
    for make in (
        lambda: make_report(result, rallies, about, folder, say),
        lambda: make_exports(result, rallies, cuts, folder, options.export, say),
        lambda: make_films(path, cuts, folder, options.reel, options.clips, say),
    ):
        try:
            make()
        except UserError as error:  # what the others can make is wanted all the same
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(problems))


def fetch(match: Path | str, data_dir: Path) -> Path:
    """The file of a match; one on YouTube is downloaded into data_dir/videos if it is not there."""
    path = find_file(match, data_dir)
    if path is None:
        video_id = youtube_id(match)
        path = downloading.download(video_id, data_dir / "videos")
    return path


def make_report(result, rallies: pd.DataFrame, about: dict, folder: Path, say: Say) -> None:
    from report import prepare_video, save_report

    with share_bar("a copy that browsers play") as on_progress:
        played, offset_sec = prepare_video(result.video.path, folder, on_progress)
    shown = {name: about[name] for name in ("damaged", "fps", "settings")}
    shown |= {"synthetic": bool(about["model"].get("synthetic"))}
    shown |= {"model": about["model"]["file"], "weights": about["model"]["weights_name"]}
    if speed := about["speed"]["times_real_time"]:
        shown["times_real_time"] = speed
    probs = (result.times_sec, result.probs)
    page = save_report(folder, played, rallies, probs, result.video.end_sec, shown, offset_sec)
    say(f"  {page}: look, correct, save; the table and the picture lie beside it")


def make_exports(
    result, rallies: pd.DataFrame, cuts: Marks, folder: Path, kinds: list[str], say: Say
) -> None:
    """The files for editors and the like that are asked for."""
    if kinds:
        path, end_sec = result.video.path, result.video.end_sec
        for each in export(kinds, folder, path, result.fps, end_sec, to_marks(rallies), cuts):
            say(f"  {each}")


def make_films(path: Path, cuts: Marks, folder: Path, reel: bool, clips: bool, say: Say) -> None:
    """The reel and the clips that are asked for."""
    if reel:
        with share_bar("reel") as on_progress:
            say(f"  {make_reel(path, cuts, folder / 'reel.mp4', on_progress)}")
    if clips:
        with share_bar("clips") as on_progress:
            made = make_clips(path, cuts, folder / "clips", on_progress)
        say(f"  {folder / 'clips'}: {len(made)} files")


@contextmanager
def share_bar(title: str) -> Iterator[Callable[[float], None]]:
    """A bar that appears with the first share (0 to 1) that is told, and only then."""
    bar = None

    def on_progress(share: float) -> None:
        nonlocal bar
        if bar is None and share < 1:
            bar = tqdm(total=1.0, desc=f"  {title}", leave=False, bar_format=BAR)
        if bar is not None:
            bar.update(share - bar.n)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.close()


def clock(sec: float) -> str:
    """1:02:03 or 2:03.4"""
    whole, rest = divmod(round(sec * 10), 10)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}.{rest}"


def fit(options: argparse.Namespace) -> int:
    """Fits the model file's detection on marked matches; the rest of the file stays as it is."""
    from fitting import fit_model

    summary = fit_model(
        options.model,
        options.data,
        options.every,
        options.seed,
        options.windows,
        options.precision,
    )
    f1 = summary["mean"]["iou"]["0.5"]["f1"]
    print(
        f"{options.model} is ready to detect rallies. On validation, by which it was chosen: F1 "
        f"{f1:.3f} at IoU 0.5, worst match {summary['worst']['f1']:.3f}"
    )
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Find the rallies of whole matches.",
        epilog="Also: detecting_rallies.py fit --help, and detecting_rallies.py evaluate --help",
    )
    add, seconds = parser.add_argument, positive(float, zero=True)
    add("matches", nargs="*", metavar="MATCH", help="video files, folders of them, addresses")
    add("--model", type=Path, required=True, help="a run's best_model.pth")
    add("--out", type=Path, metavar="DIR", help="where <match>_rallies/ go (beside each video)")
    add("--data", type=Path, default=Path("Data"), help="where downloads go: DATA/videos (Data)")
    add("--reel", action="store_true", help="reel.mp4: all rallies in order")
    add("--clips", action="store_true", help="clips/rally_001.mp4 ...: a file a rally")
    kinds = "files for editors and the like: " + " ".join(EXPORTS)
    add("--export", nargs="+", choices=EXPORTS, default=[], metavar="KIND", help=kinds)
    add(
        "--pre-roll",
        type=seconds,
        default=1.0,
        metavar="SEC",
        help="before each cut (1.0)",
    )
    add(
        "--post-roll",
        type=seconds,
        default=1.5,
        metavar="SEC",
        help="after each cut (1.5)",
    )
    add("--windows", action="store_true", help="classify windows of a second, without the head")
    add(
        "--hop-sec",
        type=positive(float),
        default=0.5,
        metavar="SEC",
        help="from window to window (0.5)",
    )
    add("--threshold", type=share, metavar="P", help="it is play above (as fitted)")
    add(
        "--min-rally-sec",
        type=seconds,
        metavar="SEC",
        help="the shortest rally (as fitted)",
    )
    add(
        "--min-gap-sec",
        type=seconds,
        metavar="SEC",
        help="the shortest break (as fitted)",
    )
    add_machine_options(parser)
    add("--force", action="store_true", help="write over a rallies.csv that a person corrected")
    return parser


def build_fit_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="detecting_rallies.py fit",
        description="Fit a model's detection on matches of train and validation that are marked "
        "(labeling.py --match), and keep it in the model's file.",
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, help="a run's best_model.pth")
    add("--data", type=Path, default=Path("Data"), help="holds matches/, videos.csv (Data)")
    add("--every", type=int, choices=(1, 2, 3, 4, 5, 6), default=4, help="frames of 30 a second")
    add("--seed", type=positive(int, zero=True), default=0, help="of training (0)")
    add("--windows", action="store_true", help="fit how windows of a second are put together")
    add("--precision", choices=PRECISIONS, default="auto", help="auto: what is quickest here")
    return parser


def build_evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="detecting_rallies.py evaluate",
        description="Measure detected rallies against marked ones.",
    )
    add = parser.add_argument
    add("--predicted", type=Path, required=True, help="holds <match>_rallies/ or <match>.csv")
    add("--truth", type=Path, required=True, help="holds <match>.csv, such as Data/matches")
    add("--json", type=Path, metavar="FILE", help="all figures (PREDICTED/evaluation.json)")
    return parser


def share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["fit"]:
        return fit(build_fit_parser().parse_args(arguments[1:]))
    if arguments[:1] == ["evaluate"]:
        options = build_evaluate_parser().parse_args(arguments[1:])
        told = options.json or options.predicted / "evaluation.json"
        return run_evaluation(options.predicted, options.truth, told)
    parser = build_parser()
    options = parser.parse_args(arguments)
    options.ray, options.matches = split_address(options.ray, options.matches)
    if not options.matches:
        parser.error("which matches? Files, folders of them, or addresses")
    return detect_all(options)


if __name__ == "__main__":
    run_command(main)
