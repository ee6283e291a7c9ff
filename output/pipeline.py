"""Runs one match from its file or address to its results: table, report, exports, reel and clips.

problem = detect_or_say("final.mp4", detector, MatchRequest(reel=True), print)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from annotation.match_marks import Marks
from cli import count_of
from collection import downloading
from detection.decoding import to_marks
from detection.records import default_dir
from files import UserError
from output.editor_files import export
from output.reel import make_clips, make_reel, pad_rallies
from output.report import Facts, prepare_video, save_report
from output.results import SavedMatch, detect_and_save

Say = Callable[[str], None]  # print, or a function that keeps the line for later
BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {remaining} left"


@dataclass(frozen=True)
class MatchRequest:
    """What to make of each match, and where."""

    out_dir: Path | None = None  # parent of the <match>_rallies folders; None: beside each video
    data_dir: Path = Path("Data")  # downloads go to data_dir/videos
    reel: bool = False
    clips: bool = False
    exports: tuple[str, ...] = ()  # of editor_files.EXPORTS
    pre_roll_sec: float = 1.0  # shown before each rally; rallies.csv does not include it
    post_roll_sec: float = 1.5  # shown after each rally
    force: bool = False  # overwrite a corrected table or another video's results


def detect_or_say(match: Path | str, detector, request: MatchRequest, say: Say) -> str:
    """Runs detect_one. Returns its error in one line, or "" if there was none."""
    try:
        detect_one(match, detector, request, say)
    except (UserError, OSError) as error:
        return f"{error}" if isinstance(error, UserError) else f"{match}: {error}"
    return ""


def detect_one(match: Path | str, detector, request: MatchRequest, say: Say) -> None:
    """Detects one match, writes all files that the request asks for, and says what it wrote.

    If one of them fails, the others are written all the same. Raises UserError with all problems.
    """
    path = fetch(match, request.data_dir)
    folder = request.out_dir / default_dir(path).name if request.out_dir else default_dir(path)
    saved = detect_and_save(path, detector, folder, request.force)
    rallies, video = saved.rallies, saved.result.video
    in_play = rallies["duration_sec"].sum() / video.end_sec
    say(
        f"{path.name}: {count_of(len(rallies), 'rally', 'rallies')}, "
        f"{in_play:.0%} of {clock(video.end_sec)} in play"
        + (f", at {saved.times_real_time:.1f}x real time" if saved.times_real_time else "")
        + (" (model trained on SYNTHETIC data)" if detector.synthetic else "")
    )
    if saved.corrected:
        say(
            f"  {folder / 'rallies.csv'} was corrected by a person: it is kept, and every file "
            "written now uses it (--force overwrites it)"
        )
    for start, end in saved.result.unknown:
        say(f"  play is unknown from {clock(start)} to {clock(end)}: the file is damaged there")
    cuts = pad_rallies(
        to_marks(rallies), request.pre_roll_sec, request.post_roll_sec, video.end_sec
    )
    problems = []
    for make in (
        lambda: make_report(saved, folder, say),
        lambda: make_exports(saved, cuts, folder, request.exports, say),
        lambda: make_films(path, cuts, folder, request.reel, request.clips, say),
    ):
        try:
            make()
        except UserError as error:  # go on with the other files
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(problems))


def fetch(match: Path | str, data_dir: Path) -> Path:
    """Returns the file of a match. Downloads a missing YouTube video to data_dir/videos."""
    path = downloading.find_file(match, data_dir)
    if path is None:
        path = downloading.download(downloading.id_of(match), data_dir / "videos")
    return path


def make_report(saved: SavedMatch, folder: Path, say: Say) -> None:
    result, detector = saved.result, saved.result.detector
    with progress_bar("copy for the browser") as on_progress:
        played, offset_sec = prepare_video(result.video.path, folder, on_progress)
    facts = Facts(
        model=detector.path.name,
        weights=detector.weights_name,
        synthetic=detector.synthetic,
        fps=float(result.fps),
        times_real_time=saved.times_real_time,
        unknown=result.unknown,
        settings=saved.record["settings"],
    )
    probs, end_sec = (result.times_sec, result.probs), result.video.end_sec
    page = save_report(folder, played, saved.rallies, probs, end_sec, facts, offset_sec)
    say(f"  {page}: open it to check and correct the rallies")


def make_exports(saved: SavedMatch, cuts: Marks, folder: Path, kinds: list[str], say: Say) -> None:
    """Writes the exports of the given kinds."""
    if kinds:
        video, rallies = saved.result.video, to_marks(saved.rallies)
        for path in export(
            kinds, folder, video.path, saved.result.fps, video.end_sec, rallies, cuts
        ):
            say(f"  {path}")


def make_films(path: Path, cuts: Marks, folder: Path, reel: bool, clips: bool, say: Say) -> None:
    """Writes the reel and the clips, if asked for."""
    if reel:
        with progress_bar("reel") as on_progress:
            made = make_reel(path, cuts, folder / "reel.mp4", on_progress)
        say(f"  {made}")
    if clips:
        with progress_bar("clips") as on_progress:
            made = make_clips(path, cuts, folder / "clips", on_progress)
        say(f"  {folder / 'clips'}: {count_of(len(made), 'file')}")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float], None]]:
    """A progress bar that appears when the first progress (0 to 1) is reported, not before."""
    bar = None

    def on_progress(progress: float) -> None:
        nonlocal bar
        if bar is None and progress < 1:
            bar = tqdm(total=1.0, desc=f"  {title}", leave=False, bar_format=BAR)
        if bar is not None:
            bar.update(progress - bar.n)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.close()


def clock(sec: float) -> str:
    """Formats seconds as 1:02:03, or as 2:03.4 below an hour."""
    seconds, rest = divmod(round(sec * 10), 10)
    if seconds >= 3600:
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{seconds // 60}:{seconds % 60:02d}.{rest}"
