"""Which video each sequence comes from: the names that videos go by, sequences.csv, collected.csv.

Imports no torch, so that collecting and labelling start at once.
"""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd

from files import SPLITS, UserError, read_table, write_table

SOURCE_COLUMNS = ("sequence", "video", "start_sec", "fps")
RECORD_COLUMNS = ("split", "video", "bytes", "sha256", "duration_sec")
YOUTUBE_HOSTS = ("youtube.com", "youtu.be", "youtube-nocookie.com")
ID = "[0-9A-Za-z_-]{11}"


def is_address(video: str | Path) -> bool:
    """Whether this names something on the web, a scheme left out or not, and not a file."""
    return "://" in str(video) or _youtube_parts(str(video)) is not None


def youtube_id(video: str | Path) -> str | None:
    """The id in any form of a YouTube address; None for others, and for that of a playlist."""
    parts = _youtube_parts(str(video))
    if parts is None:
        return None
    first, *rest = [part for part in parts.path.split("/") if part] or [""]
    if parts.hostname.endswith("youtu.be"):
        found = first
    elif first in ("shorts", "embed", "live", "v", "e"):
        found = rest[0] if rest else ""
    else:
        found = parse_qs(parts.query).get("v", [""])[0]
    return found if re.fullmatch(ID, found) else None


def is_playlist(video: str | Path) -> bool:
    """Whether this is a playlist's own address; that of a video seen in a playlist is not."""
    parts = _youtube_parts(str(video))
    return parts is not None and youtube_id(video) is None and "list" in parse_qs(parts.query)


def _youtube_parts(address: str):
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
    except ValueError:  # a file name with a bracket
        return None
    host = (parts.hostname or "").lower()
    known = any(host == name or host.endswith(f".{name}") for name in YOUTUBE_HOSTS)
    return parts if known and parts.scheme in ("http", "https") else None


def watch_address(video_id: str) -> str:
    """The one form in which addresses are written down."""
    return f"https://www.youtube.com/watch?v={video_id}"


def video_name(video: str | Path, data_dir: str | Path) -> str:
    """How sequences.csv names a video: its watch address, or its path, relative to the data folder
    if inside it, else in full."""
    if is_address(video):
        return _plain(str(video))
    path, data_dir = Path(video).resolve(), Path(data_dir).resolve()
    return (path.relative_to(data_dir) if path.is_relative_to(data_dir) else path).as_posix()


def video_key(name: str) -> str:
    """What two names of the same video have in common.

    The watch address of YouTube's, also of files that yt-dlp named: "X [ID].mp4", "videos/ID.mp4".
    So what such a file is called keeps it out of a second split; it is no proof that it is the
    same, so within a split it is a video of its own.
    """
    video_id, path = youtube_id(name), Path(name)
    if video_id is None and not is_address(name):
        file = re.search(rf"(?: \[|^)({ID})\]?$", path.stem)
        named = file and (path.stem.endswith("]") or path.parts[:-1] == ("videos",))
        video_id = file[1] if named else None
    return watch_address(video_id) if video_id else name


def read_sources(split_dir: Path) -> pd.DataFrame:
    """sequences.csv of a split as strings, further columns too; no rows where there is no file."""
    path = split_dir / "sequences.csv"
    if not path.exists():
        return pd.DataFrame(columns=list(SOURCE_COLUMNS), dtype=str)
    table = read_table(path, SOURCE_COLUMNS, others=True)
    for column in ("start_sec", "fps"):
        numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
        bad = table[~np.isfinite(numbers) | (numbers <= 0 if column == "fps" else False)]
        if len(bad):
            what = "a number above 0" if column == "fps" else "a number"
            raise UserError(f"{path}: {column} of {bad['sequence'].iloc[0]} is not {what}")
    return table


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


def rows_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows that belong to a video, whatever form its address has in them."""
    same = [other for other in table["video"].unique() if _plain(other) == _plain(name)]
    return table[table["video"].isin(same)]


def _plain(name: str) -> str:
    video_id = youtube_id(name)
    return watch_address(video_id) if video_id else name


def read_records(data_dir: Path) -> pd.DataFrame:
    """collected.csv as strings: bytes, sha256 and length of each video's file when collected.

    So copies are found, and complete videos are passed over although their files are gone.
    """
    path = data_dir / "collected.csv"
    if not path.exists():
        return pd.DataFrame(columns=list(RECORD_COLUMNS), dtype=str)
    return read_table(path, RECORD_COLUMNS, others=True)


def write_record(data_dir: Path, **record: str) -> None:
    """Puts a video's record (RECORD_COLUMNS) in the place of the one before."""
    records = read_records(data_dir)
    old = rows_of(records[records["split"] == record["split"]], record["video"])
    records = pd.concat([records.drop(old.index), pd.DataFrame([record])], ignore_index=True)
    write_table(data_dir / "collected.csv", records.fillna(""))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, which tells copies of a video whatever their names."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
            found = [video for video in videos if _plain(video) in map(_plain, names)]
            known = found[0] if found else name
            continue
        found = [video for video in videos if video_key(video) in map(video_key, names)]
        if found:
            alias = "" if found[0] == name else f" as {found[0]}"
            raise UserError(
                f"{name}: already in {other}{alias}, and a video belongs to one split only"
            )
    return known


def list_collected(data_dir: Path) -> pd.DataFrame:
    """What there is of each video: its split, sequences, how many are labelled, their seconds."""
    found = []
    for split in SPLITS:
        folder = data_dir / split / "sequences"
        entries = os.scandir(folder) if folder.is_dir() else ()
        there = {entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."}
        sources = read_sources(data_dir / split)
        sources = sources[sources["sequence"].isin(there)]
        unknown = sorted(there - set(sources["sequence"]))
        others = pd.DataFrame({"sequence": unknown, "video": "(not recorded)", "fps": "30"})
        csv = data_dir / split / f"{split}.csv"
        labels = read_table(csv, ("sequence", "label")) if csv.exists() else None
        labelled = set() if labels is None else set(labels.loc[labels["label"] != "", "sequence"])
        for video, rows in pd.concat([sources, others]).groupby("video", sort=False):
            frames = len(os.listdir(folder / rows["sequence"].iloc[0]))
            found.append(
                {
                    "video": video,
                    "split": split,
                    "sequences": len(rows),
                    "labelled": rows["sequence"].isin(labelled).sum(),
                    "seconds": round(frames / float(rows["fps"].iloc[0]) * len(rows), 1),
                }
            )
    return pd.DataFrame(found, columns=["video", "split", "sequences", "labelled", "seconds"])
