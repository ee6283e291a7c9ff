"""Labels sequences, or marks the rallies of a whole match, on a page in the browser.

    python labeling.py                          # the first split with unlabelled sequences
    python labeling.py --split validation
    python labeling.py --review --model runs/NAME/best_model.pth
    python labeling.py --match final.mp4        # then: python labeling.py --from-match
    python labeling.py --match final.mp4 --model runs/NAME/best_model.pth   # with proposals
    python labeling.py --match final.mp4 --shift -2.5   # its marks, 2.5 s earlier
    python labeling.py --import FOLDER          # labels that others published become marks
    python labeling.py --agreement

Every answer is saved to disk before the page moves on. The server listens on 127.0.0.1 only. From
another machine, reach it with: ssh -L 8765:127.0.0.1:8765 HOST
"""

import argparse
from pathlib import Path

from cli import finite, positive, run_command, two_names
from files import SPLITS, UserError

DESCRIPTION = """\
Label sequences, or mark the rallies of a match, on a page in the browser.

  python labeling.py                    # label sequences
  python labeling.py --match final.mp4  # mark a match; then run --from-match"""


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    check(options, parser)
    if options.folders:
        from importing.run import import_labels  # noqa: PLC0415, spares --help pandas

        return import_labels(options.folders, options.data, options.address, options.dry_run)
    if not options.data.is_dir():
        what = "is not a folder" if options.data.exists() else "does not exist"
        raise UserError(
            f"{options.data} {what}; collect sequences with collecting_data.py, or give --data DIR"
        )
    splits = (options.split,) if options.split else SPLITS
    if options.agreement:
        from annotation.agreement import print_agreement  # noqa: PLC0415, spares --help pandas

        return print_agreement(options.data, splits)
    if options.from_match is not None:
        return label_from_match(options, splits)
    if options.shift is not None:
        from importing.shift import print_shift  # noqa: PLC0415, spares --help pandas

        return print_shift(options.match, options.shift, options.data)
    if options.match:
        return mark_match(options)
    return label(options)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        usage="%(prog)s [option ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--split",
        choices=SPLITS,
        metavar="SPLIT",
        help="train, validation or test (default: the first with work to do; "
        "all for --agreement and --from-match)",
    )
    add("--review", action="store_true", help="go through the labelled sequences again")
    add(
        "--model",
        type=Path,
        metavar="FILE",
        help="a run's best_model.pth or predictions.csv, for train only; with --match: "
        "best_model.pth, to propose rallies",
    )
    add(
        "--order",
        choices=("name", "uncertain"),
        default="name",
        metavar="ORDER",
        help="name, or uncertain: what --model is least sure of first (default: name)",
    )
    add(
        "--classes",
        nargs=2,
        metavar="NAME",
        help="names of labels 0 and 1 (default: those in DIR/classes.csv, else non-rally rally)",
    )
    add("--agreement", action="store_true", help="print how your blind second answers agree")
    add = parser.add_argument_group("whole matches").add_argument
    add("--match", metavar="VIDEO", help="mark the rallies of this video")
    add("--shift", type=finite, metavar="SEC", help="move its marks by SEC (negative: earlier)")
    add("--proposals", type=Path, metavar="CSV", help="rallies to confirm: start_sec,end_sec")
    add(
        "--from-match",
        nargs="?",
        const="",
        metavar="VIDEO",
        help="label sequences from marks: of this match, or of all",
    )
    add(
        "--until-sec",
        type=positive(float),
        metavar="SEC",
        help="with --from-match: last second marked (default: end)",
    )
    add = parser.add_argument_group("published labels").add_argument
    add(
        "--import",
        nargs="+",
        type=Path,
        dest="folders",
        metavar="FOLDER",
        help="make marks of them",
    )
    add("--dry-run", action="store_true", help="print what --import would do, write nothing")
    add(
        "--address",
        nargs=2,
        action="append",
        default=[],
        metavar=("MATCH", "URL"),
        help="with --import: the video of a match",
    )
    add = parser.add_argument_group("data and page").add_argument
    add("--data", default="Data", type=Path, metavar="DIR", help="data folder (default: Data)")
    add("--port", type=int, help="port of the page (default: 8765, or a free one)")
    add("--no-browser", action="store_true", help="print the address, open no browser")
    return parser


def check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with exit code 2 if options contradict each other."""
    if options.match == "":
        parser.error("--match needs a video")
    modes = [options.agreement, options.match is not None, options.from_match is not None]
    modes.append(options.folders is not None)
    if sum(modes) > 1:
        parser.error("use only one of --agreement, --match, --from-match and --import")
    if options.folders is None and (options.dry_run or options.address):
        parser.error("--dry-run and --address need --import FOLDER")
    if options.shift is not None and not options.match:
        parser.error("--shift needs --match VIDEO")
    if options.shift is not None and (options.model or options.proposals or options.classes):
        parser.error("--model, --proposals and --classes do not go with --shift")
    if options.match and options.model and options.proposals:
        parser.error("proposals come from --model or --proposals: give one of them, not both")
    if options.match and options.model and options.model.suffix != ".pth":
        parser.error("with --match, --model must be a run's best_model.pth")
    if any(modes) and not options.match and options.model:
        parser.error("--model does not go with --agreement, --from-match or --import")
    if options.match and options.split:
        parser.error("a match has no split; add its video to videos.csv")
    if any(modes) and not options.match and options.classes:
        parser.error("--classes does not go with --agreement, --from-match or --import")
    if options.folders and options.split:
        parser.error("--import chooses the splits itself: leave out --split")
    if any(modes) and (options.review or options.order == "uncertain"):
        parser.error("--review and --order are only for labelling sequences")
    if options.review and options.order == "uncertain":
        parser.error("--review shows the largest disagreements first; leave out --order")
    if options.order == "uncertain" and not options.model:
        parser.error("--order uncertain needs --model FILE")
    if options.model and options.split not in (None, "train"):
        from annotation.suggestions import WHY_TRAIN_ONLY  # noqa: PLC0415, spares --help pandas

        parser.error(WHY_TRAIN_ONLY)
    if options.proposals and not options.match:
        parser.error("--proposals needs --match VIDEO")
    if options.until_sec is not None and options.from_match is None:
        parser.error("--until-sec needs --from-match")
    if options.classes:
        try:
            options.classes = two_names(options.classes)
        except ValueError:
            parser.error("--classes needs two different names")


def label(options: argparse.Namespace) -> int:
    """Serves the labelling page for a split until Ctrl-C; returns the exit code."""
    from annotation import sessions  # noqa: PLC0415, spares --help pandas and uvicorn

    return sessions.label_split(
        options.data,
        split=options.split,
        class_names=class_names(options),
        order="review" if options.review else options.order,
        model=options.model,
        predict=predict,
        port=options.port,
        browser=not options.no_browser,
    )


def class_names(options: argparse.Namespace) -> tuple[str, str]:
    """The names of labels 0 and 1: from --classes, else from the data folder."""
    from annotation.labels import read_class_names  # noqa: PLC0415, spares --help pandas

    return tuple(options.classes) if options.classes else read_class_names(options.data)


def predict(model_file: Path, split_dir: Path, sequences: list[str]) -> dict[str, float]:
    """{sequence: probability of class 1} from a run's best_model.pth."""
    from extraction.predict import predict_sequences  # noqa: PLC0415, torch only for a .pth
    from model import load_model  # noqa: PLC0415

    return predict_sequences(load_model(model_file)[0], split_dir, sequences)


def mark_match(options: argparse.Namespace) -> int:
    """Serves the marking page for one match until Ctrl-C; returns the exit code."""
    from annotation import match_app  # noqa: PLC0415, spares --help pandas and uvicorn

    names = class_names(options)
    path, proposals = match_app.find_match(options.match, options.data), options.proposals
    if options.model:
        from output.proposals import detect_proposals  # noqa: PLC0415, torch only with --model

        proposals = detect_proposals(path, options.model, options.data)
    return match_app.mark_match(
        path,
        options.data,
        class_names=names,
        proposals=proposals,
        port=options.port,
        browser=not options.no_browser,
    )


def label_from_match(options: argparse.Namespace, splits: tuple[str, ...]) -> int:
    """Labels sequences from marks, and prints what a person should check; returns the exit code."""
    from annotation.labels_from_marks import print_labels_from_marks  # noqa: PLC0415, pandas
    from collection.find_videos import find_in_data  # noqa: PLC0415

    video = find_in_data(options.from_match, options.data) if options.from_match else None
    return print_labels_from_marks(options.data, video, options.until_sec, splits)


if __name__ == "__main__":
    run_command(main)
