"""Labels sequences, or marks the rallies of a whole match, on a page in this machine's browser.

    python labeling.py                          # the first split that has unlabelled sequences
    python labeling.py --split validation
    python labeling.py --review --model runs/NAME/best_model.pth
    python labeling.py --match final.mp4        # then: python labeling.py --from-match
    python labeling.py --match final.mp4 --model runs/NAME/best_model.pth   # with its proposals
    python labeling.py --agreement

Every answer is on disk before the page moves on. The server listens on 127.0.0.1 alone; from
another machine, reach it with: ssh -L 8765:127.0.0.1:8765 HOST
"""

import argparse
from pathlib import Path

from cli import positive, run_command, two_names
from files import SPLITS, UserError


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    check(options, parser)
    if not options.data.is_dir():
        what = "is no folder" if options.data.exists() else "does not exist"
        raise UserError(f"{options.data} {what}: collect sequences first, or give --data DIR")
    splits = (options.split,) if options.split else SPLITS
    if options.agreement:
        from annotation.agreement import print_agreement  # noqa: PLC0415, spares --help pandas

        return print_agreement(options.data, splits)
    if options.from_match is not None:
        return label_from_match(options, splits)
    if options.match:
        return mark_match(options)
    return label(options)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Label sequences, or mark the rallies of a match, on a page in the browser."
    )
    add = parser.add_argument
    add("--data", default="Data", type=Path, help="the data folder (Data)")
    add("--split", choices=SPLITS, help="which to label (the first with unlabelled sequences)")
    add("--classes", nargs=2, metavar="NAME", help="what labels 0 and 1 mean (non-rally rally)")
    add("--review", action="store_true", help="walk through the labels again")
    add(
        "--order",
        choices=("name", "uncertain"),
        default="name",
        help="uncertain: the least sure first",
    )
    add("--model", type=Path, metavar="FILE", help="a run's best_model.pth, or its predictions.csv")
    add("--agreement", action="store_true", help="tell how blind second answers agree")
    add("--match", metavar="VIDEO", help="mark the rallies of a whole match")
    add("--proposals", type=Path, metavar="CSV", help="start_sec,end_sec: marks to be confirmed")
    add(
        "--from-match",
        nargs="?",
        const="",
        metavar="VIDEO",
        help="label the sequences of a marked match (of all) from its marks",
    )
    add(
        "--until-sec",
        type=positive(float),
        metavar="SEC",
        help="how far the match is marked, for --from-match (to its end)",
    )
    add("--port", type=int, help="where the page is (8765, or any that is free)")
    add("--no-browser", action="store_true", help="do not open the page")
    return parser


def check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Ends with exit code 2 where options do not go together."""
    if options.match == "":
        parser.error("--match needs the name of a video file")
    modes = [options.agreement, options.match is not None, options.from_match is not None]
    if sum(modes) > 1:
        parser.error("only one of --agreement, --match, --from-match")
    if options.match and options.model and options.proposals:
        parser.error("proposals come from --model or from --proposals, not from both")
    if options.match and options.model and options.model.suffix != ".pth":
        parser.error("--match needs a run's best_model.pth for --model")
    if any(modes) and not options.match and options.model:
        parser.error("--model is for labelling sequences, and for --match")
    if options.match and options.split:
        parser.error("a match has no split; put its video into videos.csv")
    if (options.agreement or options.from_match is not None) and options.classes:
        parser.error("--classes is for labelling")
    if any(modes) and (options.review or options.order == "uncertain"):
        parser.error("--review and --order are for labelling sequences")
    if options.review and options.order == "uncertain":
        parser.error("--review goes by what label and model disagree on most: leave --order out")
    if options.order == "uncertain" and not options.model:
        parser.error("--order uncertain needs --model FILE: the model that is unsure")
    if options.model and options.split not in (None, "train"):
        from annotation.suggestions import WHY_TRAIN_ALONE  # noqa: PLC0415, spares --help pandas

        parser.error(WHY_TRAIN_ALONE)
    if options.proposals and not options.match:
        parser.error("--proposals goes with --match VIDEO")
    if options.until_sec is not None and options.from_match is None:
        parser.error("--until-sec goes with --from-match")
    if options.classes:
        try:
            options.classes = two_names(options.classes)
        except ValueError:
            parser.error("--classes needs two different names")


def label(options: argparse.Namespace) -> int:
    """Serves the page for the sequences of a split until it is ended."""
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
    """What labels 0 and 1 mean: as given, or as the data folder says."""
    from annotation.labels import read_class_names  # noqa: PLC0415, spares --help pandas

    return tuple(options.classes) if options.classes else read_class_names(options.data)


def predict(model_file: Path, split_dir: Path, sequences: list[str]) -> dict[str, float]:
    """{sequence: probability of class 1} by a run's best_model.pth."""
    from extraction.predict import predict_sequences  # noqa: PLC0415, torch: only for a .pth
    from model import load_model  # noqa: PLC0415

    return predict_sequences(load_model(model_file)[0], split_dir, sequences)


def mark_match(options: argparse.Namespace) -> int:
    """Serves the page for one match until it is ended."""
    from annotation import match_app  # noqa: PLC0415, spares --help pandas and uvicorn

    names = class_names(options)
    path, proposals = match_app.find_match(options.match, options.data), options.proposals
    if options.model:
        from output.proposals import detect_proposals  # noqa: PLC0415, torch: only with --model

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
    """Labels sequences from marks, and tells what a person should look at."""
    from annotation.labels_from_marks import print_labels_from_marks  # noqa: PLC0415, pandas
    from collection.find_videos import find_in_data  # noqa: PLC0415

    video = find_in_data(options.from_match, options.data) if options.from_match else None
    return print_labels_from_marks(options.data, video, options.until_sec, splits)


if __name__ == "__main__":
    run_command(main)
