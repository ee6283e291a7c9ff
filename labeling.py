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
import logging
import socket
import sys
import threading
import webbrowser
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.routing import Route

import labels
from agreement import measure_agreement
from files import SPLITS, UserError, run_command
from labeling_app import Labelling, build_app
from suggestions import WHY_TRAIN_ALONE, load_probs

PORT = 8765
LOCAL = "127.0.0.1"


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    check(options, parser)
    if not options.data.is_dir():
        what = "is no folder" if options.data.exists() else "does not exist"
        raise UserError(f"{options.data} {what}: collect sequences first, or give --data DIR")
    if options.agreement:
        return print_agreement(options.data, options.split)
    if options.from_match is not None:
        return print_from_match(options)
    names = tuple(options.classes or labels.read_class_names(options.data))
    if options.match:
        return mark_match(options, names)
    split = options.split or choose_split(options.data, options.review, bool(options.model))
    order = "review" if options.review else options.order
    work = Labelling(options.data, split, names, order)
    sequences, problems = labels.list_sequences(work.split_dir(split))
    known = labels.read_labels(work.split_dir(split))
    if not sequences:
        raise UserError("; ".join(problems) or f"no sequences in {options.data / split} yet")
    if options.model:
        work.probs = load_probs(options.model, options.data / split, sequences)
    done = sum(known.get(name) in ("0", "1") for name in sequences)
    if options.review and not done:
        raise UserError(f"nothing is labelled yet in {options.data / split}, so nothing to review")
    return serve(work, [], f"labelling {split}, {done} of {len(sequences)} done", options)


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
    add("--until-sec", type=float, help="how far the match is marked, for --from-match (its end)")
    add("--port", type=int, help=f"where the page is ({PORT}, or any that is free)")
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
        parser.error("--match is of no split")
    if (options.agreement or options.from_match is not None) and options.classes:
        parser.error("--classes is for labelling")
    if any(modes) and (options.review or options.order == "uncertain"):
        parser.error("--review and --order are for labelling sequences")
    if options.review and options.order == "uncertain":
        parser.error("--review goes by what label and model disagree on most: leave --order out")
    if options.order == "uncertain" and not options.model:
        parser.error("--order uncertain needs --model FILE: the model that is unsure")
    if options.model and options.split not in (None, "train"):
        parser.error(WHY_TRAIN_ALONE)
    if options.proposals and not options.match:
        parser.error("--proposals goes with --match VIDEO")
    if options.until_sec is not None and options.from_match is None:
        parser.error("--until-sec goes with --from-match")
    if options.classes:
        options.classes = [name.strip() for name in options.classes]
        if "" in options.classes or options.classes[0] == options.classes[1]:
            parser.error("--classes needs two different names")


def choose_split(data_dir: Path, review: bool = False, model: bool = False) -> str:
    """The first split with sequences that have no label (for a review: that have one), else the
    first with sequences; with a model, train."""
    if model:
        return "train"
    filled = []
    for split in SPLITS:
        names, _ = labels.list_sequences(data_dir / split)
        known = labels.read_labels(data_dir / split)
        if any((known.get(name) in ("0", "1")) == review for name in names):
            return split
        filled += [split] if names else []
    return filled[0] if filled else "train"


def mark_match(options: argparse.Namespace, names: tuple[str, str]) -> int:
    """Serves the page for one match until it is ended."""
    from match_app import match_routes, open_match  # OpenCV and PyAV: half a second
    from sequences import find_file

    path = find_file(find_video(options.match, options.data), options.data)
    if path is None:
        raise UserError(f"{options.match} is not downloaded yet: collect it first, and it is kept")
    proposals = options.proposals
    if options.model:
        proposals = detect_proposals(path, options)
    match = open_match(path, options.data, proposals)
    work = Labelling(options.data, options.split or "train", names, match=path.name)
    try:
        return serve(work, match_routes(match), f"marking {path}", options)
    finally:
        match.stopped.set()


def detect_proposals(path: Path, options: argparse.Namespace) -> Path:
    """The table of the rallies that a model finds in a match of train, or of no split yet.

    Raises UserError for matches of validation and test, whose marks are to measure models by.
    """
    from detection import load_detector
    from records import default_dir
    from results import detect_and_save
    from sources import video_key, video_name, videos_by_split

    key, videos = video_key(video_name(path, options.data)), videos_by_split(options.data)
    for split in ("validation", "test"):
        if key in map(video_key, videos[split]):
            raise UserError(
                f"{path} is of {split}, and its marks are to measure models by: with proposals of "
                "one they would lean towards it; leave --model out"
            )
    if key not in map(video_key, videos["train"]):
        print(f"{path} is of no split yet: with proposals, it may only become train's")
    folder = default_dir(path)
    detect_and_save(path, load_detector(options.model), folder)
    return folder / "rallies.csv"


def serve(work: Labelling, routes: list[Route], doing: str, options: argparse.Namespace) -> int:
    """Says where the page is, opens it, and answers until Ctrl-C."""
    remember_classes(work)
    with listen(options.port) as listener:
        port = listener.getsockname()[1]
        if options.port is None and port != PORT:
            print(f"port {PORT} is taken, so this is at another one", file=sys.stderr)
        address = f"http://{LOCAL}:{port}/"
        print(f"{doing}: {address}\nCtrl-C ends it; what the page showed as saved is on disk")
        sys.stdout.flush()
        if not options.no_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        config = uvicorn.Config(
            build_app(work, routes),
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        ask_to_end = server.handle_exit

        def end(signal_number: int, frame: FrameType | None) -> None:
            ask_to_end(signal_number, frame)
            server.force_exit = True  # a paused player would hold its connection for ever,
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # and be complained of

        server.handle_exit = end
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            print("ended")
    return 0


def remember_classes(work: Labelling) -> None:
    """Keeps the names of the classes for the next time, and says so if they are others."""
    before = labels.read_class_names(work.data_dir)
    if before != work.class_names:
        labels.save_class_names(work.data_dir, work.class_names)
        print(
            f"labels 0 and 1 mean {' and '.join(work.class_names)} from now on, before: "
            f"{' and '.join(before)}",
            file=sys.stderr,
        )


def listen(port: int | None) -> socket.socket:
    """A socket on 127.0.0.1 at the port, or at PORT if it is free, or at any that is."""
    for choice in (PORT, 0) if port is None else (port,):
        # asyncio turns off Nagle's delay, 40 ms an answer, for sockets that say they are TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if sys.platform != "win32":  # there it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOCAL, choice))
            listener.listen(128)
            return listener
        except (OSError, OverflowError) as error:
            listener.close()
            reason = error
    raise UserError(f"port {port}: {reason}; leave --port out to take any that is free")


def print_agreement(data_dir: Path, split: str | None) -> int:
    """Cohen's kappa of each split's blind repeats, and what was answered differently."""
    names = labels.read_class_names(data_dir)
    for each in SPLITS if split is None else (split,):
        found = measure_agreement(data_dir / each)
        if not found["n"]:
            print(f"{each}: no sequence has come back for a second answer yet")
            continue
        low, high = found["same_95"]
        kappa = f"{found['kappa']:.3f}" if found["kappa"] is not None else "not defined (one class)"
        print(
            f"{each}: Cohen's kappa {kappa}; {found['same']} of {found['n']} second answers agree "
            f"(95 % interval {low:.3f} to {high:.3f})"
        )
        for row in found["different"]:
            first, second = names[int(row["first"])], names[int(row["second"])]
            print(f"  {row['sequence']}: first {first}, then {second}")
    return 0


def print_from_match(options: argparse.Namespace) -> int:
    """Labels sequences from marks, and tells what a person should look at."""
    from match_labels import label_from_matches

    names = labels.read_class_names(options.data)
    video = find_video(options.from_match, options.data) if options.from_match else None
    splits = (options.split,) if options.split else SPLITS
    found = label_from_matches(options.data, video, options.until_sec, splits)
    if not found:
        print("no sequence of a marked match has been collected", file=sys.stderr)
        return 1
    for row in found:
        print(
            f"{row['split']}, {row['video']}: {row['labelled']} labelled from {row['marks']} "
            f"rallies; {row['kept']} that a person labelled kept"
        )
        if row["taken_back"]:
            print(f"  {row['taken_back']} come later: their labels from marks are taken back")
        if not row["marks"]:
            print("  if there is no rally in it at all, say how long it is: --until-sec SEC")
        if row["after"] and options.until_sec is None:
            print(
                f"  {row['after']} of them come after the last rally and are {names[0]}: if the "
                "match is not marked to its end, say how far with --until-sec SEC"
            )
        for text, key in (
            ("an edge of a rally cuts", "straddling"),
            ("a person's label differs from the marks", "differ"),
        ):
            if row[key]:
                print(f"  {text}: {', '.join(row[key])}")
    return 0


def find_video(video: str, data_dir: Path) -> str:
    """The same, or where it lies in the data folder, as videos.csv names it."""
    inside = data_dir / video
    return str(inside) if not Path(video).exists() and inside.is_file() else video


if __name__ == "__main__":
    run_command(main)
