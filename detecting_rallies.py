"""Finds the rallies of whole matches: a table, a picture, a report, on request a reel and exports.

    python detecting_rallies.py MATCH.mp4 --model runs/NAME/best_model.pth [--reel] [--export edl]
    python detecting_rallies.py fit --model runs/NAME/best_model.pth      # on marked matches
    python detecting_rallies.py fit --model runs/NAME/best_model.pth --leave-one-out
    python detecting_rallies.py evaluate --predicted DIR --truth Data/matches

MATCH is a video file, a folder of videos or a YouTube address. The results go to <match>_rallies/
beside the video. On two CPU cores a match takes about a third of its length. Run the command again
to resume after an interruption. Other settings reuse the features and take seconds.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from cli import (
    add_machine_options,
    positive,
    probability,
    run_command,
    split_address,
)
from collection.find_videos import find_videos
from detection.evaluation import run_evaluation
from files import SPLITS
from output.editor_files import EXPORTS


def detect_all(options: argparse.Namespace) -> int:
    """Detects every match; one that fails does not stop the others. Returns the exit code."""
    detector = load_with_settings(options)
    if not detector.fitted:
        command = "fit --windows" if options.windows else "fit"
        print(
            f"{options.model} was not fitted on marked matches, so windows are classified one by "
            "one with the default settings; to fit it, run: python detecting_rallies.py "
            f"{command} --model {options.model}",
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
        count = len(matches) + len(problems)
        print(f"{failed} of {count} matches failed; see the errors above", file=sys.stderr)
    return 1 if failed else 0


def load_with_settings(options: argparse.Namespace):
    """Returns the detector that the options ask for."""
    from detection.detector import load_detector, with_settings  # noqa: PLC0415, spares --help torch

    return with_settings(
        load_detector(options.model, options.windows, options.hop_sec, options.precision),
        threshold=options.threshold,
        min_rally_sec=options.min_rally_sec,
        min_gap_sec=options.min_gap_sec,
    )


def detect_each(matches: list[Path | str], detector, options: argparse.Namespace) -> Iterator[str]:
    """Detects each match, here or on a Ray cluster. Yields its error, "" if there was none."""
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
        from extraction.ray_cluster import connect  # noqa: PLC0415, Ray may not be installed
        from output.ray_detection import detect_on_ray  # noqa: PLC0415

        connect(options.ray)
        for row in detect_on_ray(matches, detector, request, options.precision):
            print(row["lines"])
            yield row["problem"]


def fit(options: argparse.Namespace) -> int:
    """Fits the checkpoint's detection on marked matches. The rest of the file stays as it is."""
    from detection.fitting import fit_model  # noqa: PLC0415, spares --help torch

    if options.ray is not None:
        extract_for_fit(options)
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
        f"saved the fit in {options.model}. F1 at IoU 0.5 on validation (the same matches chose "
        f"the settings): mean {f1:.3f}, worst match {summary['worst']['f1']:.3f}"
    )
    return 0


def extract_for_fit(options: argparse.Namespace) -> None:
    """Computes the features that a fit needs on a Ray cluster. The fit then finds them cached."""
    from experiments.setting import find_matches  # noqa: PLC0415, spares --help torch

    find_matches(setting_of(options, splits=("train", "validation")))


def measure(options: argparse.Namespace) -> int:
    """Runs leave-one-out or a learning curve, and saves the figures beside the model."""
    if options.leave_one_out:
        from experiments import leave_one_out as experiment  # noqa: PLC0415, spares --help torch

        print(
            "leave-one-out: every marked match is measured by a fit that never saw it. Matches of "
            "test take part, too. The model's file stays as it is."
        )
        result = experiment.leave_one_out(setting_of(options), options.seeds or [options.seed])
        experiment.print_leave_one_out(result)
        saved = experiment.save_leave_one_out(result, options.model.parent)
    else:
        from experiments import learning_curve as experiment  # noqa: PLC0415, spares --help torch

        setting = setting_of(options, splits=("train", "validation"))
        result = experiment.learning_curve(setting, options.curve, options.seeds or [0, 1, 2])
        experiment.print_learning_curve(result)
        saved = experiment.save_learning_curve(result, options.model.parent)
    print(f"saved {saved[0]} and {saved[1]}")
    return 0


def setting_of(options: argparse.Namespace, splits: tuple[str, ...] = SPLITS):
    """Returns the setting of an experiment that the options ask for; joins a Ray cluster."""
    from experiments.setting import Setting  # noqa: PLC0415, spares --help torch

    if options.ray is not None:
        from extraction.ray_cluster import connect  # noqa: PLC0415, Ray may not be installed

        connect(options.ray)
    return Setting(
        model=options.model,
        data_dir=options.data,
        by=options.by,
        splits=splits,
        every=options.every,
        windows=options.windows,
        precision=options.precision,
        on_ray=options.ray is not None,
    )


def evaluate(options: argparse.Namespace) -> int:
    """Compares detected rallies with marked ones, and prints and saves the figures."""
    json_path = options.json or options.predicted / "evaluation.json"
    return run_evaluation(options.predicted, options.truth, json_path)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s MATCH ... --model FILE [options]\n"
        "       %(prog)s fit --help\n"
        "       %(prog)s evaluate --help",
        description="Find the rallies of whole matches and save them in <match>_rallies/ beside "
        "each video. Run it again to resume.",
    )
    add, seconds = parser.add_argument, positive(float, zero=True)
    add(
        "matches",
        nargs="*",
        metavar="MATCH",
        help="video file, folder of videos or YouTube address",
    )
    add("--model", type=Path, metavar="FILE", help="a run's best_model.pth")
    add("--reel", action="store_true", help="make reel.mp4: all rallies in one video")
    add("--clips", action="store_true", help="make clips/rally_001.mp4 ...: a video of each rally")
    kinds = "make files for editors and players: " + " ".join(EXPORTS)
    add("--export", nargs="+", choices=EXPORTS, default=[], metavar="KIND", help=kinds)
    add(
        "--pre-roll",
        type=seconds,
        default=1.0,
        metavar="SEC",
        help="seconds to show before a rally (default: 1.0)",
    )
    add(
        "--post-roll",
        type=seconds,
        default=1.5,
        metavar="SEC",
        help="seconds to show after a rally (default: 1.5)",
    )
    out_help = "put <match>_rallies/ here (default: beside the video)"
    add("--out", type=Path, metavar="DIR", help=out_help)
    force_help = "overwrite a corrected rallies.csv, or the results of another video"
    add("--force", action="store_true", help=force_help)
    add(
        "--threshold",
        type=probability,
        metavar="P",
        help="play is above this probability (default: as fitted)",
    )
    add(
        "--min-rally-sec",
        type=seconds,
        metavar="SEC",
        help="shortest rally in seconds (default: as fitted)",
    )
    add(
        "--min-gap-sec",
        type=seconds,
        metavar="SEC",
        help="shortest break in seconds (default: as fitted)",
    )
    add("--windows", action="store_true", help="classify single windows, without the temporal head")
    add(
        "--hop-sec",
        type=positive(float),
        default=0.5,
        metavar="SEC",
        help="seconds from window to window (default: 0.5)",
    )
    add_machine_options(parser)
    add(
        "--data",
        type=Path,
        default=Path("Data"),
        metavar="DIR",
        help="download matches to DIR/videos (default: Data)",
    )
    return parser


def build_fit_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="detecting_rallies.py fit",
        description="Train the temporal head on the marked matches of train and validation, and "
        "save it in the model's file. labeling.py --match and --import mark matches.",
    )
    add, seed = parser.add_argument, positive(int, zero=True)
    add("--model", type=Path, required=True, metavar="FILE", help="a run's best_model.pth")
    add(
        "--data",
        type=Path,
        default=Path("Data"),
        metavar="DIR",
        help="folder with videos.csv and matches/ (default: Data)",
    )
    add(
        "--every",
        type=int,
        choices=(1, 2, 3, 4, 5, 6),
        default=4,
        help="use every n-th frame of 30 a second (default: 4)",
    )
    add(
        "--seed", type=seed, default=0, metavar="N", help="random seed of the training (default: 0)"
    )
    add("--windows", action="store_true", help="fit how windows are decoded; train no head")
    add_machine_options(parser)
    add = parser.add_argument_group("measure instead of saving a fit").add_argument
    add(
        "--leave-one-out",
        action="store_true",
        help="measure each marked match, those of test included, with a fit that never saw it",
    )
    add(
        "--curve",
        nargs="+",
        type=positive(int),
        metavar="N",
        help="measure fits on N matches of train and validation: a learning curve",
    )
    add(
        "--by",
        choices=("match", "group"),
        default="match",
        help="hold out single matches, or groups: a venue in a month (default: match)",
    )
    add(
        "--seeds",
        nargs="+",
        type=seed,
        metavar="N",
        help="repeat it with these seeds (default: that of --seed; for --curve 0 1 2)",
    )
    return parser


def check_fit(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with exit code 2 if options of fit contradict each other."""
    if options.leave_one_out and options.curve:
        parser.error("use only one of --leave-one-out and --curve")
    if not (options.leave_one_out or options.curve) and (options.seeds or options.by == "group"):
        parser.error("--seeds and --by go with --leave-one-out or --curve")
    if options.seeds and len(set(options.seeds)) < len(options.seeds):
        parser.error("--seeds must differ")


def build_evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="detecting_rallies.py evaluate",
        description="Compare detected rallies with marked ones: precision, recall and F1, errors "
        "of edges, splits and merges. The exit code is 1 if a marked match has no prediction.",
    )
    add = parser.add_argument
    add(
        "--predicted",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with <match>_rallies/ or <match>.csv",
    )
    add(
        "--truth",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with the true <match>.csv, such as Data/matches",
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="save all figures here (default: evaluation.json in --predicted)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["fit"]:
        parser = build_fit_parser()
        options = parser.parse_args(arguments[1:])
        check_fit(options, parser)
        return measure(options) if options.leave_one_out or options.curve else fit(options)
    if arguments[:1] == ["evaluate"]:
        return evaluate(build_evaluate_parser().parse_args(arguments[1:]))
    parser = build_parser()
    options = parser.parse_args(arguments)
    options.ray, options.matches = split_address(options.ray, options.matches)
    if not options.matches or options.model is None:
        parser.error(
            "name a match and a model, such as: final.mp4 --model runs/NAME/best_model.pth"
        )
    return detect_all(options)


if __name__ == "__main__":
    run_command(main)
