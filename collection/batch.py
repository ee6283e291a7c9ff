"""Collects many videos, or plans to. A video that fails does not stop the others.

Imports no torch.
"""

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
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
from media.frames import frame_paths
from media.video import open_video

FRAME_BYTES = 9_000  # of a JPEG, while the split has no sequence to measure


@dataclass(frozen=True)
class Collected:
    """The result of collecting one video."""

    split: str
    video: str
    added: int  # sequences added
    problem: str = ""  # why it is not complete

    def as_row(self) -> dict:
        """A row of the table that the command prints."""
        return {
            "split": self.split,
            "video": self.video,
            "added": self.added,
            "result": self.problem or "complete",
        }


@dataclass(frozen=True)
class Planned:
    """What collecting one video would add."""

    split: str
    video: str
    to_make: int = 0  # sequences to add
    collected: int = 0  # sequences that exist already
    mb: int = 0  # size of the sequences to add
    download_mb: int = 0
    problem: str = ""  # why it cannot be collected

    def as_row(self) -> dict:
        """A row of the table that the command prints."""
        return {
            "split": self.split,
            "video": self.video,
            "to make": self.to_make,
            "collected": self.collected,
            "MB": self.mb,
            "download MB": self.download_mb,
            "result": self.problem,
        }


@dataclass(frozen=True)
class Expanded:
    """(split, video) of each video, playlists expanded, and the playlists that failed."""

    videos: list[tuple[str, str]]
    failed: list[Collected]


def expand_playlists(wanted: list[tuple[str, str]], client: str | None) -> Expanded:
    """Replaces the address of each playlist by its videos; prints why a playlist failed."""
    videos, failed = [], []
    for split, video in wanted:
        try:
            names = downloading.playlist_videos(video, client) if is_playlist(video) else [video]
            videos += [(split, name) for name in names]
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append(Collected(split, video, 0, str(error)))
    return Expanded(videos, failed)


def collect_all(
    wanted: list[tuple[str, str]],
    data_dir: Path,
    settings_of: Callable[[str], Settings],
    client: str | None,
    keep_video: bool,
) -> list[Collected]:
    """Collects each video with the settings that settings_of gives it; prints why one failed."""
    results = []
    for split, video in wanted:
        try:
            added = collect_video(video, data_dir, split, settings_of(video), client, keep_video)
            results.append(Collected(split, video, added))
        except UserError as error:
            added = error.added if isinstance(error, PartlyCollected) else 0
            results.append(Collected(split, video, added, str(error)))
            print(f"error: {error}", file=sys.stderr)
    return results


def plan_all(
    wanted: list[tuple[str, str]],
    data_dir: Path,
    settings_of: Callable[[str], Settings],
    client: str | None,
) -> list[Planned]:
    """What collecting each video would add. Downloads nothing."""
    plans = []
    for split, video in wanted:
        try:
            plans.append(_plan(split, video, data_dir, settings_of(video), client))
        except UserError as error:
            plans.append(Planned(split, video, problem=str(error)))
    return plans


def _plan(
    split: str, video: str, data_dir: Path, settings: Settings, client: str | None
) -> Planned:
    split_dir, download_bytes = data_dir / split, 0
    name = name_in_split(data_dir, split, video_name(video, data_dir))
    path = find_file(video, data_dir)
    starts = missing_by_record(data_dir, split, name, path, settings)
    if path is None and starts != []:
        duration_sec, download_bytes = downloading.look_up(youtube_id(video), client)
        starts = settings.starts(duration_sec, 30.0)
    elif starts is None:
        with closing(open_video(path)) as opened:
            name = name_in_split(data_dir, split, name, file_sha256(path))
            starts = settings.starts(opened.end_sec, 1 / opened.period_sec)
    have = collected_starts(split_dir, rows_of(read_sources(split_dir), name))
    to_make = sum(start not in have for start in starts)
    size = to_make * settings.seq_frames * frame_bytes(split_dir)
    return Planned(split, video, to_make, len(have), round(size / 1e6), round(download_bytes / 1e6))


def frame_bytes(split_dir: Path) -> float:
    """Bytes per frame in this split: the mean of its first sequence, or FRAME_BYTES without one."""
    names = read_sources(split_dir)["sequence"].head(1)
    folders = [split_dir / "sequences" / name for name in names]
    files = [path for folder in folders if folder.is_dir() for path in frame_paths(folder)]
    return sum(path.stat().st_size for path in files) / len(files) if files else FRAME_BYTES
