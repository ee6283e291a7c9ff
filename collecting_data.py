"""Turns YouTube videos and video files into one-second sequences of 30 frames, to be labelled.

    python collecting_data.py                                 # all videos of Data/videos.csv
    python collecting_data.py ADDRESS_OR_FILE ... --split train
    python collecting_data.py --dense 2                       # marked matches: half near edges
    python collecting_data.py --list                          # what has been collected

A sequence starts every 30 s (--interval-sec SEC), or where the marks of a match say (--dense SEC).
Its frame k is the one on screen at start + k/fps, picked by timestamp, so a sequence covers one
second whatever the frame rate of the file. Run it again to resume; finished videos are skipped. An
hour at 1280x720 with a sequence every 30 s takes about half a minute.
"""

import argparse
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli import count_of, positive, print_table, run_command
from files import SPLITS, UserError

if TYPE_CHECKING:
    from collection.batch import Collected
    from collection.sequences import Settings

DESCRIPTION = """\
Make one-second sequences out of videos.

  python collecting_data.py                          # all of Data/videos.csv
  python collecting_data.py final.mp4 --split train

Run it again to resume; finished videos are skipped.
"""


def print_results(rows: list[dict]) -> None:
    """Prints a table with one row per video; the result, often a long text, is aligned left."""
    import pandas as pd  # noqa: PLC0415, spares --help 0.3 s

    if rows:
        print_table(pd.DataFrame(rows), left=("result",))


def print_what_next(results: "list[Collected]", data_dir: Path, marked: bool) -> None:
    """Prints how many sequences each split has now, and the command that labels them.

    marked: whether the videos have marks to label them from.
    """
    from media.frames import sequence_folders  # noqa: PLC0415, spares --help OpenCV

    for split in dict.fromkeys(result.split for result in results):
        added = sum(result.added for result in results if result.split == split)
        in_all = len(sequence_folders(data_dir / split))
        print(f"{split}: {count_of(added, 'sequence')} added, {in_all} in all")
        if added:
            where = "" if data_dir == Path("Data") else f" --data {shlex.quote(str(data_dir))}"
            how = "--from-match " if marked else ""
            print(f"next: python labeling.py {how}--split {split}{where}")


def parse_fps(text: str) -> float | None:
    """Frames per second, above 0, or None for "native"."""
    try:
        return None if text == "native" else positive(float)(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text} is neither a rate above 0 nor "native"'
        ) from error


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, seconds = parser.add_argument, positive(float, zero=True)
    add(
        "videos",
        nargs="*",
        metavar="VIDEO",
        help="video file, or address of a YouTube video or playlist",
    )
    add(
        "--split",
        choices=SPLITS,
        help="the split of the videos; without VIDEO, only this split of videos.csv",
    )
    add("--list", action="store_true", help="list what has been collected, and stop")
    add(
        "--dry-run",
        action="store_true",
        help="print how many sequences and MB it would add, and stop",
    )
    add("--data", default="Data", type=Path, metavar="DIR", help="data folder (default: Data)")
    starts = parser.add_mutually_exclusive_group()
    starts.add_argument(
        "--interval-sec",
        type=positive(float),
        default=30.0,
        metavar="SEC",
        help="from one start to the next (default: 30)",
    )
    starts.add_argument(
        "--dense",
        type=positive(float),
        metavar="SEC",
        help="marked matches: a start per SEC on average, half near edges of rallies",
    )
    add(
        "--start-sec",
        type=seconds,
        default=0.0,
        metavar="SEC",
        help="skip what comes before (default: 0)",
    )
    add(
        "--end-sec",
        type=positive(float),
        default=float("inf"),
        metavar="SEC",
        help="skip what comes after (default: to the end)",
    )
    add(
        "--seq-frames",
        type=positive(int),
        default=30,
        metavar="N",
        help="frames per sequence (default: 30)",
    )
    add(
        "--fps",
        type=parse_fps,
        default=30.0,
        metavar="FPS",
        help='frames per second, or "native": consecutive frames of the file (default: 30)',
    )
    add(
        "--keep-video",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep downloaded videos in DIR/videos (default: yes)",
    )
    add(
        "--client",
        metavar="NAME",
        help="client for pytubefix, such as WEB (default: its choice)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.videos and not (options.split or options.list):
        parser.error("the videos need a split: add --split train, validation or test")
    if options.start_sec >= options.end_sec and not options.list:
        parser.error("--end-sec must be after --start-sec")
    return collect(options)


def settings_by_video(
    options: argparse.Namespace, videos: list[str]
) -> "Callable[[str], Settings]":
    """The function that gives each of the videos its settings.

    With --dense it raises UserError for a video without marks, or with those of another video.
    """
    from annotation.ground_truth import read_truth  # noqa: PLC0415, spares --help pandas
    from annotation.mark_owners import read_owners  # noqa: PLC0415
    from annotation.match_marks import marks_path, match_name  # noqa: PLC0415
    from collection.sequences import Settings  # noqa: PLC0415, and OpenCV
    from collection.sources import video_name  # noqa: PLC0415

    interval_sec = options.dense or options.interval_sec
    settings = Settings(
        interval_sec, options.seq_frames, options.fps, options.start_sec, options.end_sec
    )
    if options.dense is None:
        return lambda video: settings
    owners = read_owners(options.data)
    names = [video_name(video, options.data) for video in videos]

    def settings_of(video: str) -> Settings:
        name = video_name(video, options.data)
        marks_table = marks_path(options.data, match_name(name))
        if not marks_table.exists():
            raise UserError(
                f"{video}: --dense needs marks, and there is no {marks_table}; mark the match "
                "with labeling.py --match VIDEO, or import marks with labeling.py --import FOLDER"
            )
        owners.owner_among(marks_table.stem, names)  # refuses a table of any of two videos
        owners.with_owner(name)  # refuses the table of another video
        truth = read_truth(marks_table)
        return replace(settings, rallies=truth.rallies, unknown=truth.unknown)

    return settings_of


def collect(options: argparse.Namespace) -> int:
    """Lists, plans or collects, as the options say, and returns the exit code."""
    from collection import (  # noqa: PLC0415, spares --help OpenCV, PyAV and pandas
        batch,
        downloading,
        sources,
        video_index,
    )

    if options.list:
        table = sources.list_collected(options.data)
        print(
            table.to_string(index=False)
            if len(table)
            else f"nothing collected in {options.data} yet"
        )
        return 0
    if options.client:
        downloading.check_client(options.client)
    wanted = [(options.split, video) for video in options.videos]
    wanted = wanted or video_index.read_video_list(options.data, options.split)
    expanded = batch.expand_playlists(wanted, options.client)
    settings_of = settings_by_video(options, [video for _, video in expanded.videos])
    if options.dry_run:
        plans = batch.plan_all(expanded.videos, options.data, settings_of, options.client)
        print_results([plan.as_row() for plan in plans])
        need = sum(plan.mb + plan.download_mb for plan in plans)
        folder = options.data if options.data.is_dir() else "."
        free = shutil.disk_usage(folder).free / 1e6
        print(f"about {need:.0f} MB needed; {free:.0f} MB free")
        failed = [*expanded.failed, *(plan for plan in plans if plan.problem)]
    else:
        results = batch.collect_all(
            expanded.videos, options.data, settings_of, options.client, options.keep_video
        )
        results += expanded.failed
        print_results([result.as_row() for result in results])
        print_what_next(results, options.data, marked=options.dense is not None)
        failed = [result for result in results if result.problem]
    return 1 if failed else 0


if __name__ == "__main__":
    run_command(main)
