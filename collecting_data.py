"""YouTube addresses and video files become one-second sequences of 30 frames, ready for labelling.

    python collecting_data.py                                 # all of Data/videos.csv
    python collecting_data.py ADDRESS_OR_FILE ... --split train
    python collecting_data.py --list                          # what has been collected

A sequence starts every interval; its frame k is the one on screen at start + k/fps, picked by
timestamp, so a sequence lasts as long whatever the file's own rate. Run it again to resume:
finished videos are skipped. An hour at 1280x720 with 30 s between sequences takes about half a
minute.
"""

import argparse
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cli import positive, run_command
from files import SPLITS

if TYPE_CHECKING:
    from collection.batch import Collected


def print_results(rows: list[dict]) -> None:
    """A table of what became of each video, its result to the left: that can be a long line."""
    import pandas as pd  # noqa: PLC0415, spares --help 0.3 s

    if rows:
        table = pd.DataFrame(rows)
        width = table["result"].str.len().max()
        table["result"] = table["result"].str.ljust(width)
        print(table.rename(columns={"result": "result".ljust(width)}).to_string(index=False))


def print_what_next(results: "list[Collected]", data_dir: Path) -> None:
    """How many sequences each split has now, and where their labels go."""
    from media.frames import sequence_folders  # noqa: PLC0415, spares --help OpenCV

    for split in dict.fromkeys(result.split for result in results):
        added = sum(result.added for result in results if result.split == split)
        in_all = len(sequence_folders(data_dir / split))
        print(f"{split}: {added} sequences added, {in_all} in all")
        if added:
            where = "" if data_dir == Path("Data") else f" --data {shlex.quote(str(data_dir))}"
            print(f"next: python labeling.py --split {split}{where}")


def parse_fps(text: str) -> float | None:
    """A rate above 0, or None for "native"."""
    return None if text == "native" else positive(float)(text)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make one-second sequences out of videos.")
    add = parser.add_argument
    add("videos", nargs="*", metavar="VIDEO", help="YouTube addresses, playlists, video files")
    add("--split", choices=SPLITS, help="where they go; without videos, which of videos.csv")
    add("--data", default="Data", type=Path, help="the data folder (Data)")
    add("--list", action="store_true", help="list what has been collected")
    add("--dry-run", action="store_true", help="say how many sequences and how much disk, no more")
    add("--interval-sec", type=positive(float), default=30.0, help="from start to start (30)")
    add("--seq-frames", type=positive(int), default=30, help="frames a sequence (30)")
    add("--fps", type=parse_fps, default=30.0, help='rate, or "native": consecutive frames (30)')
    add("--start-sec", type=positive(float, zero=True), default=0.0, help="skip what is before (0)")
    add("--end-sec", type=positive(float), default=float("inf"), help="skip what is after")
    add(
        "--keep-video",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep downloads in DATA/videos once their sequences are there (yes)",
    )
    add("--client", help="the client that pytubefix poses as, such as WEB (its own choice)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.videos and not (options.split or options.list):
        parser.error("which split? give --split train, validation or test")
    if options.start_sec >= options.end_sec and not options.list:
        parser.error("--end-sec must be after --start-sec")
    return collect(options)


def collect(options: argparse.Namespace) -> int:
    """Lists, plans or collects, as the options say; returns the exit code."""
    from collection import (  # noqa: PLC0415, spares --help OpenCV, PyAV and pandas
        batch,
        downloading,
        sequences,
        sources,
        video_index,
    )

    if options.list:
        table = sources.list_collected(options.data)
        print(table.to_string(index=False) if len(table) else f"nothing in {options.data} yet")
        return 0
    if options.client:
        downloading.check_client(options.client)
    settings = sequences.Settings(
        options.interval_sec, options.seq_frames, options.fps, options.start_sec, options.end_sec
    )
    wanted = [(options.split, video) for video in options.videos]
    wanted = wanted or video_index.read_video_list(options.data, options.split)
    expanded = batch.expand_playlists(wanted, options.client)
    if options.dry_run:
        plans = batch.plan_all(expanded.videos, options.data, settings, options.client)
        print_results([plan.as_row() for plan in plans])
        need = sum(plan.mb + plan.download_mb for plan in plans)
        folder = options.data if options.data.is_dir() else "."
        free = shutil.disk_usage(folder).free / 1e6
        print(f"about {need:.0f} MB in all; {free:.0f} MB are free")
        failed = [*expanded.failed, *(plan for plan in plans if plan.problem)]
    else:
        results = batch.collect_all(
            expanded.videos, options.data, settings, options.client, options.keep_video
        )
        results += expanded.failed
        print_results([result.as_row() for result in results])
        print_what_next(results, options.data)
        failed = [result for result in results if result.problem]
    return 1 if failed else 0


if __name__ == "__main__":
    run_command(main)
