"""Which split each video is in: read from videos.csv and from what was collected; one split each.

Imports no torch.
"""

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


def read_video_list(data_dir: Path, split: str | None = None) -> list[tuple[str, str]]:
    """(split, video) of each line of videos.csv, or of those of one split.

    Paths in videos.csv are relative to its folder. Raises UserError if it cannot be read, names
    an unknown split or none of this one, or one video in two.
    """
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


def videos_by_split(data_dir: Path) -> dict[str, list[str]]:
    """{split: what its videos are called (video_name)}: those of videos.csv and those collected.

    Raises UserError where one is in two splits.
    """
    csv = data_dir / "videos.csv"
    listed = read_table(csv, ("split", "video")) if csv.is_file() else None
    result, split_of = {}, {}
    for split in SPLITS:
        names = [] if listed is None else list(listed.loc[listed["split"] == split, "video"])
        names += list(read_sources(data_dir / split)["video"].unique())
        named = (name if is_address(name) else data_dir / name for name in names)
        found = {video_key(full): full for full in (video_name(each, data_dir) for each in named)}
        result[split] = list(found.values())
        for key, name in found.items():
            if split_of.setdefault(key, split) != split:
                raise UserError(
                    f"{name} is both in {split_of[key]} and in {split} ({csv} and sequences.csv of "
                    "the splits say): numbers on it would be a lie; take it out of one"
                )
    return result


def known_name(data_dir: Path, split: str, name: str, sha256: str | None = None) -> str:
    """The name under which the split already has this video, or one with the same bytes.

    Its own name if the split has neither. Raises UserError if another split has one of them.
    """
    records = read_records(data_dir)
    names = [name, *records.loc[records["sha256"] == sha256, "video"].unique()]
    known = name
    for other in SPLITS:
        videos = read_sources(data_dir / other)["video"].unique()
        if other == split:
            found = [video for video in videos if plain_name(video) in map(plain_name, names)]
            known = found[0] if found else name
            continue
        found = [video for video in videos if video_key(video) in map(video_key, names)]
        if found:
            alias = "" if found[0] == name else f" as {found[0]}"
            raise UserError(
                f"{name}: already in {other}{alias}, and a video belongs to one split only"
            )
    return known


def videos_in_two_splits(data_dir: Path, splits: tuple[str, ...]) -> list[str]:
    """Problems of videos that sequences.csv names in two splits, in whatever form of address."""
    seen: dict[str, str] = {}
    problems = []
    for split in splits:
        try:
            videos = read_sources(data_dir / split)["video"].unique()
        except UserError as error:
            problems.append(str(error))
            continue
        problems += [
            f"the video {video} is in both {seen[video_key(video)]} and {split}: numbers on "
            f"{split} would be a lie; remove its sequences from one of them"
            for video in videos
            if seen.setdefault(video_key(video), split) != split
        ]
    return problems
