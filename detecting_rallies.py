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
from collections.abc import Iterator
from pathlib import Path

from cli import PRECISIONS, add_machine_options, positive, probability, run_command, split_address
from collection.find_videos import find_videos
from detection.evaluation import run_evaluation
from output.editor_files import EXPORTS


def detect_all(options: argparse.Namespace) -> int:
    """Detects every match given; a bad one never stops the others. Returns the exit code."""
    detector = load_with_settings(options)
    if not detector.fitted:
        command = "fit --windows" if options.windows else "fit"
        print(
            f"{options.model} was not fitted on marked matches (detecting_rallies.py {command}): "
            "classifying windows one by one, with the default settings",
            file=sys.stderr,
        )
    matches, problems = find_videos(options.matches)
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
    from detection.detector import load_detector, with_settings  # noqa: PLC0415, spares --help torch

    return with_settings(
        load_detector(options.model, options.windows, options.hop_sec, options.precision),
        threshold=options.threshold,
        min_rally_sec=options.min_rally_sec,
        min_gap_sec=options.min_gap_sec,
    )


def detect_each(matches: list[Path | str], detector, options: argparse.Namespace) -> Iterator[str]:
    """What went wrong ("": nothing) with each match, here or on a Ray cluster."""
    from output.pipeline import MatchRequest, detect_or_say  # noqa: PLC0415, spares --help torch

    request = MatchRequest(
        out_dir=options.out,
        data_dir=options.data,
        reel=options.reel,
        clips=options.clips,
        exports=tuple(options.export),
        pre_roll_sec=options.pre_roll,
        post_roll_sec=options.post_roll,
        force=options.force,
    )
    if options.ray is None:
        for match in matches:
            yield detect_or_say(match, detector, request, print)
    elif matches:
        from extraction.ray_cluster import connect  # noqa: PLC0415, Ray: only where it is wanted
        from output.ray_detection import detect_on_ray  # noqa: PLC0415

        connect(options.ray)
        for row in detect_on_ray(matches, detector, request, options.precision):
            print(row["lines"])
            yield row["problem"]


def fit(options: argparse.Namespace) -> int:
    """Fits the model file's detection on marked matches; the rest of the file stays as it is."""
    from detection.fitting import fit_model  # noqa: PLC0415, spares --help torch

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


def evaluate(options: argparse.Namespace) -> int:
    """Measures detected rallies against marked ones, and prints and keeps the figures."""
    json_path = options.json or options.predicted / "evaluation.json"
    return run_evaluation(options.predicted, options.truth, json_path)


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
    add("--threshold", type=probability, metavar="P", help="it is play above (as fitted)")
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


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["fit"]:
        return fit(build_fit_parser().parse_args(arguments[1:]))
    if arguments[:1] == ["evaluate"]:
        return evaluate(build_evaluate_parser().parse_args(arguments[1:]))
    parser = build_parser()
    options = parser.parse_args(arguments)
    options.ray, options.matches = split_address(options.ray, options.matches)
    if not options.matches:
        parser.error("which matches? Files, folders of them, or addresses")
    return detect_all(options)


if __name__ == "__main__":
    run_command(main)
