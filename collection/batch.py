"""Many videos at once: collect each, or plan to; a bad one never stops the others.

Imports no torch.
"""

import sys
from pathlib import Path

from collection import downloading
from collection.downloading import find_file
from collection.sequences import (
    PartlyCollected,
    Settings,
    collect_video,
    collected_starts,
    missing_by_record,
)
from collection.sources import is_playlist, read_sources, rows_of, video_name, youtube_id
from collection.video_index import name_in_split
from files import UserError, file_sha256
from media.video import open_video

FRAME_BYTES = 9_000  # of a JPEG, until those of the split can be weighed


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
            name = name_in_split(data_dir, split, video_name(video, data_dir))
            path = find_file(video, data_dir)
            missing = missing_by_record(data_dir, split, name, path, settings)
            if path is None and missing != []:
                duration_sec, download = downloading.look_up(youtube_id(video), client)
                missing = settings.starts(duration_sec, 30.0)
            elif missing is None:
                opened = open_video(path)
                name = name_in_split(data_dir, split, name, file_sha256(path))
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
