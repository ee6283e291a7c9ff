"""YouTube addresses and video files become one-second sequences of 30 frames, ready for labelling.

    python collecting_data.py                                 # all of Data/videos.csv
    python collecting_data.py ADDRESS_OR_FILE ... --split train
    python collecting_data.py --list                          # what has been collected

A sequence starts every interval; its frame k is the one on screen at start + k/fps, picked by
timestamp, so a sequence lasts as long whatever the file's own rate. Running it again does only
what is missing. An hour at 1280x720 with 30 s between sequences takes about half a minute.
"""

import argparse
import shlex
import shutil
import sys
from pathlib import Path

import downloading
from files import SPLITS, UserError, read_table, run_command
from sequences import (
    PartlyCollected,
    Settings,
    collect_video,
    collected_starts,
    find_file,
    missing_by_record,
)
from sources import (
    file_sha256,
    is_address,
    is_playlist,
    known_name,
    list_collected,
    read_sources,
    rows_of,
    video_key,
    video_name,
    youtube_id,
)
from video import open_video

FRAME_BYTES = 9_000  # of a JPEG, until those of the split can be weighed


def wanted_videos(videos: list[str], split: str | None, data_dir: Path) -> list[tuple[str, str]]:
    """(split, video) of what is to be collected: the videos given, or those of videos.csv.

    Paths in videos.csv are relative to its folder. Raises UserError if it cannot be read, names
    an unknown split or none of this one, or one video in two.
    """
    if videos:
        return [(split, video) for video in videos]
    csv = data_dir / "videos.csv"
    if not csv.is_file():
        raise UserError(
            f"there is no {csv}: its first line should be split,video, then one video a line; or "
            "name videos and a --split on the command line"
        )
    rows = list(read_table(csv, ("split", "video")).itertuples(index=False))
    problems = [
        f"{row.video or 'a row without a video'}: no split {row.split!r}; there are "
        + ", ".join(SPLITS)
        for row in rows
        if row.split not in SPLITS or not row.video
    ]
    seen: dict[str, str] = {}
    for row in rows:
        before = seen.setdefault(video_key(row.video), row.split)
        if before != row.split:
            problems.append(f"{row.video}: in both {before} and {row.split}")
    if problems:
        raise UserError("\n  - ".join([f"{csv}, nothing was collected:", *problems]))
    wanted = [
        (row.split, row.video if is_address(row.video) else str(data_dir / row.video))
        for row in rows
        if split in (None, row.split)
    ]
    if not wanted:
        raise UserError(f"{csv} names no video" + (f" for {split}" if split else ""))
    return wanted


def with_playlists(
    wanted: list[tuple[str, str]], client: str | None
) -> tuple[list[tuple[str, str]], list[dict]]:
    """(the same with the videos of playlists in their place, what became of those that failed)."""
    videos, failed = [], []
    for split, video in wanted:
        try:
            found = downloading.playlist_videos(video, client) if is_playlist(video) else [video]
            videos += [(split, each) for each in found]
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append({"split": split, "video": video, "added": 0, "result": str(error)})
    return videos, failed


def collect_all(
    wanted: list[tuple[str, str]],
    data_dir: Path,
    settings: Settings,
    client: str | None,
    keep_video: bool,
) -> tuple[list[dict], bool]:
    """(what happened to each video, whether all went well): a bad one never stops the others."""
    rows, well = [], True
    for split, video in wanted:
        try:
            added = collect_video(video, data_dir, split, settings, client, keep_video)
            result = "complete"
        except UserError as error:
            well, result = False, str(error)
            added = error.added if isinstance(error, PartlyCollected) else 0
            print(f"error: {error}", file=sys.stderr)
        rows.append({"split": split, "video": video, "added": added, "result": result})
    return rows, well


def plan_all(
    wanted: list[tuple[str, str]], data_dir: Path, settings: Settings, client: str | None
) -> tuple[list[dict], bool]:
    """(what collecting each video would do, whether all can be done); downloads nothing."""
    rows, well = [], True
    for split, video in wanted:
        to_make = there = download = 0
        try:
            name = known_name(data_dir, split, video_name(video, data_dir))
            path = find_file(video, data_dir)
            missing = missing_by_record(data_dir, split, name, path, settings)
            if path is None and missing != []:
                duration_sec, download = downloading.look_up(youtube_id(video), client)
                missing = settings.starts(duration_sec, 30.0)
            elif missing is None:
                opened = open_video(path)
                name = known_name(data_dir, split, name, file_sha256(path))
                missing = settings.starts(opened.end_sec, 1 / opened.period_sec)
                opened.container.close()
            split_dir = data_dir / split
            have = collected_starts(split_dir, rows_of(read_sources(split_dir), name))
            to_make, there = sum(start not in have for start in missing), len(have)
            result = ""
        except UserError as error:
            well, result = False, str(error)
        size = to_make * settings.seq_frames * frame_bytes(data_dir / split)
        rows.append(
            {
                "split": split,
                "video": video,
                "to make": to_make,
                "there": there,
                "MB": round(size / 1e6),
                "download MB": round(download / 1e6),
                "result": result,
            }
        )
    return rows, well


def frame_bytes(split_dir: Path) -> float:
    """What a frame of this split takes on disk, by its first sequence if there is one."""
    names = read_sources(split_dir)["sequence"].head(1)
    files = [f for name in names for f in (split_dir / "sequences" / name).glob("*.jpg")]
    return sum(f.stat().st_size for f in files) / len(files) if files else FRAME_BYTES


def say_what_next(rows: list[dict], data_dir: Path) -> None:
    """How many sequences each split has now, and where their labels go."""
    for split in dict.fromkeys(row["split"] for row in rows):
        added = sum(row["added"] for row in rows if row["split"] == split)
        in_all = len(list((data_dir / split / "sequences").glob("seq_*")))
        print(f"{split}: {added} sequences added, {in_all} in all")
        if added:
            where = "" if data_dir == Path("Data") else f" --data {shlex.quote(str(data_dir))}"
            print(f"next: python labeling.py --split {split}{where}")


def parse_fps(text: str) -> float | None:
    """A rate above 0, or None for "native"."""
    return None if text == "native" else positive(float)(text)


def positive(kind: type, zero: bool = False):
    """A parser of finite numbers above 0 (or of 0, too)."""

    def parse(text: str):
        value = kind(text)
        if not (0 < value < float("inf") or zero and value == 0):
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


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
    if options.list:
        table = list_collected(options.data)
        print(table.to_string(index=False) if len(table) else f"nothing in {options.data} yet")
        return 0
    if options.videos and not options.split:
        parser.error("which split? give --split train, validation or test")
    if options.start_sec >= options.end_sec:
        parser.error("--end-sec must be after --start-sec")
    if options.client:
        downloading.check_client(options.client)
    settings = Settings(
        options.interval_sec, options.seq_frames, options.fps, options.start_sec, options.end_sec
    )
    wanted = wanted_videos(options.videos, options.split, options.data)
    wanted, failed = with_playlists(wanted, options.client)
    if options.dry_run:
        rows, well = plan_all(wanted, options.data, settings, options.client)
        print_table(rows)
        need = sum(row["MB"] + row["download MB"] for row in rows)
        folder = options.data if options.data.is_dir() else "."
        free = shutil.disk_usage(folder).free / 1e6
        print(f"about {need:.0f} MB in all; {free:.0f} MB are free")
    else:
        rows, well = collect_all(wanted, options.data, settings, options.client, options.keep_video)
        rows += failed
        print_table(rows)
        say_what_next(rows, options.data)
    return 0 if well and not failed else 1


def print_table(rows: list[dict]) -> None:
    """Columns as wide as they need to be, texts to the left and numbers to the right."""
    if not rows:
        return
    table = [list(rows[0]), *(list(map(str, row.values())) for row in rows)]
    numbers = [isinstance(value, int) for value in rows[0].values()]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = zip(line, widths, numbers, strict=True)
        print("  ".join(c.rjust(w) if number else c.ljust(w) for c, w, number in cells).rstrip())


if __name__ == "__main__":
    run_command(main)
