"""Which split each video is in, and the rule that no video is in two splits.

Imports no torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from collection.sources import (
    is_address,
    plain_name,
    read_records,
    read_sources,
    video_key,
    video_name,
)
from files import SPLITS, UserError, read_table


@dataclass(frozen=True)
class InTwoSplits:
    """A video that is in two splits."""

    video: str
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"the video {self.video} is in both {self.first} and {self.second}: results measured "
            "on it would be too good"
        )


@dataclass(frozen=True)
class SplitIndex:
    """The split of each video, and the videos that are in two splits."""

    split_by_key: dict[str, str]  # {video_key: split}
    name_by_key: dict[str, str]  # {video_key: the last name seen}
    in_two: list[InTwoSplits]

    def names_in(self, split: str) -> list[str]:
        """One name for each video of a split."""
        return [self.name_by_key[key] for key, its in self.split_by_key.items() if its == split]


def index_splits(videos: Iterable[tuple[str, str]]) -> SplitIndex:
    """Indexes (split, video name) pairs. A video belongs to the first split that names it.

    All forms of its address or file name count as the same video.
    """
    split_by_key, name_by_key, in_two = {}, {}, []
    for split, name in videos:
        key = video_key(name)
        first = split_by_key.setdefault(key, split)
        if first == split:
            name_by_key[key] = name
        else:
            in_two.append(InTwoSplits(name, first, split))
    return SplitIndex(split_by_key, name_by_key, in_two)


def collected_videos(data_dir: Path) -> list[tuple[str, str]]:
    """(split, name) of each video that has collected sequences."""
    return [
        (split, name)
        for split in SPLITS
        for name in read_sources(data_dir / split)["video"].unique()
    ]


def _line_problem(split: str, video: str) -> str:
    """What is wrong with a line of videos.csv, with the remedy; "" if nothing."""
    if not video:
        return f"a line with split {split!r} has no video: add one, or delete the line"
    if split not in SPLITS:
        return f"{video}: no such split: {split!r}; use one of {', '.join(SPLITS)}"
    return ""


def read_video_list(data_dir: Path, split: str | None = None) -> list[tuple[str, str]]:
    """(split, video) of each line of videos.csv, or of the lines of one split.

    Paths in videos.csv are relative to its folder. Raises UserError, which lists all problems, for
    an unreadable table, an unknown split, a video in two splits, or no video at all.
    """
    csv = data_dir / "videos.csv"
    if not csv.is_file():
        raise UserError(
            f"no such file: {csv}; create it with the first line split,video and one video per "
            "line, or name videos and a --split on the command line"
        )
    rows = list(read_table(csv, ("split", "video")).itertuples(index=False, name=None))
    problems = [problem for row in rows if (problem := _line_problem(*row))]
    problems += map(str, index_splits(row for row in rows if row[1]).in_two)
    if problems:
        raise UserError("\n  - ".join([f"{csv} has errors, nothing was collected:", *problems]))
    wanted = [
        (its_split, video if is_address(video) else str(data_dir / video))
        for its_split, video in rows
        if split in (None, its_split)
    ]
    if not wanted:
        raise UserError(
            f"{csv} lists no video"
            + (f" for {split}" if split else "")
            + "; add a line split,video"
        )
    return wanted


def read_splits(data_dir: Path) -> SplitIndex:
    """The split of each video in videos.csv or collected already, by its video_name.

    Lines of videos.csv without a video or with an unknown split are left out; read_video_list
    reports them. Raises UserError if a video is in two splits.
    """
    csv = data_dir / "videos.csv"
    listed = read_table(csv, ("split", "video")) if csv.is_file() else None
    videos = [] if listed is None else list(listed.itertuples(index=False, name=None))
    videos = [line for line in videos if not _line_problem(*line)]
    index = index_splits(
        (split, video_name(name if is_address(name) else data_dir / name, data_dir))
        for split, name in videos + collected_videos(data_dir)
    )
    if index.in_two:
        raise UserError(
            f"{index.in_two[0]}; remove it from one of them, in {csv} or by deleting its sequences"
        )
    return index


def name_in_split(data_dir: Path, split: str, name: str, sha256: str | None = None) -> str:
    """The name under which the split already has this video or a copy with the same SHA-256.

    If it has neither, this is the given name. Raises UserError if another split has the video.
    """
    records = read_records(data_dir)
    names = [name, *records.loc[records["sha256"] == sha256, "video"].unique()]
    keys = set(map(video_key, names))
    same = [video for video in collected_videos(data_dir) if video_key(video[1]) in keys]
    in_two = index_splits([*((split, each) for each in names), *same]).in_two
    if in_two:
        alias = "" if in_two[0].video == name else f" as {in_two[0].video}"
        raise UserError(
            f"{name}: already in {in_two[0].second}{alias}, and a video belongs to one split only; "
            f"use --split {in_two[0].second}, or first delete its sequences there"
        )
    plain = set(map(plain_name, names))
    return next((video for _, video in same if plain_name(video) in plain), name)
