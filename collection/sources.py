"""Which video each sequence comes from: the names that videos go by, sequences.csv, collected.csv.

Imports no torch, so that collecting and labelling start at once.
"""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd

from files import SPLITS, UserError, labels_path, read_table, write_table
from media.frames import count_frames, sequence_folders

NEEDED_COLUMNS = ("sequence", "video", "start_sec", "fps")
SOURCE_COLUMNS = (*NEEDED_COLUMNS, "resize")  # of sequences.csv as it is written
SAME_RATE = 0.01  # frame rates that differ by no more, such as 29.97 and 30, are one
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
        video_id = first
    elif first in ("shorts", "embed", "live", "v", "e"):
        video_id = rest[0] if rest else ""
    else:
        video_id = parse_qs(parts.query).get("v", [""])[0]
    return video_id if re.fullmatch(ID, video_id) else None


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
        return plain_name(str(video))
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
    """sequences.csv of a split as strings, further columns too; no rows where there is no file.

    resize, which older tables lack, is "" where it is not recorded.
    """
    path = split_dir / "sequences.csv"
    if not path.exists():
        return pd.DataFrame(columns=list(SOURCE_COLUMNS), dtype=str)
    table = read_table(path, NEEDED_COLUMNS, others=True)
    if "resize" not in table:
        table.insert(len(NEEDED_COLUMNS), "resize", "")
    for column in ("start_sec", "fps"):
        numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
        bad = table[~np.isfinite(numbers) | (numbers <= 0 if column == "fps" else False)]
        if len(bad):
            what = "a number above 0" if column == "fps" else "a number"
            raise UserError(f"{path}: {column} of {bad['sequence'].iloc[0]} is not {what}")
    return table


def rows_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows that belong to a video, whatever form its address has in them."""
    same = [other for other in table["video"].unique() if plain_name(other) == plain_name(name)]
    return table[table["video"].isin(same)]


def plain_name(name: str) -> str:
    """A video's name with its address, if it is one of YouTube's, in the form written down."""
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


def list_collected(data_dir: Path) -> pd.DataFrame:
    """What there is of each video: its split, sequences, how many are labelled, their seconds."""
    videos = []
    for split in SPLITS:
        folder = data_dir / split / "sequences"
        names = {path.name for path in sequence_folders(data_dir / split)}
        sources = read_sources(data_dir / split)
        sources = sources[sources["sequence"].isin(names)]
        unrecorded = sorted(names - set(sources["sequence"]))
        others = pd.DataFrame({"sequence": unrecorded, "video": "(not recorded)", "fps": "30"})
        csv = labels_path(data_dir / split)
        labels = read_table(csv, ("sequence", "label")) if csv.exists() else None
        labelled = set() if labels is None else set(labels.loc[labels["label"] != "", "sequence"])
        for video, rows in pd.concat([sources, others]).groupby("video", sort=False):
            frames = count_frames(folder / rows["sequence"].iloc[0])
            videos.append(
                {
                    "video": video,
                    "split": split,
                    "sequences": len(rows),
                    "labelled": rows["sequence"].isin(labelled).sum(),
                    "seconds": round(frames / float(rows["fps"].iloc[0]) * len(rows), 1),
                }
            )
    return pd.DataFrame(videos, columns=["video", "split", "sequences", "labelled", "seconds"])
