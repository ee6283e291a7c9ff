"""Which video each sequence comes from: the names of videos, sequences.csv and collected.csv.

Imports no torch, so that collecting and labelling start fast.
"""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd

from files import SPLITS, UserError, labels_path, read_table, write_table
from media.frames import count_frames, sequence_folders

NEEDED_COLUMNS = ("sequence", "video", "start_sec", "fps")
SOURCE_COLUMNS = (*NEEDED_COLUMNS, "resize")  # of a new sequences.csv
SAME_RATE = 0.01  # relative; frame rates this close, such as 29.97 and 30, count as equal
RECORD_COLUMNS = ("split", "video", "bytes", "sha256", "duration_sec")
YOUTUBE_HOSTS = ("youtube.com", "youtu.be", "youtube-nocookie.com")
ID = "[0-9A-Za-z_-]{11}"


def is_address(video: str | Path) -> bool:
    """Whether this is a web address (a YouTube address may lack https://), and not a file."""
    return "://" in str(video) or _youtube_parts(str(video)) is not None


def youtube_id(video: str | Path) -> str | None:
    """The video id in any form of YouTube address; None for playlists and for other names."""
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
    """Whether this is the address of a playlist, and not of one video in a playlist."""
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
    """The form in which tables hold the address of a video."""
    return f"https://www.youtube.com/watch?v={video_id}"


def video_name(video: str | Path, data_dir: str | Path) -> str:
    """How sequences.csv names a video: by its watch address or its path.

    A path inside the data folder is relative to it; any other path is absolute.
    """
    if is_address(video):
        return plain_name(str(video))
    path, data_dir = Path(video).resolve(), Path(data_dir).resolve()
    return (path.relative_to(data_dir) if path.is_relative_to(data_dir) else path).as_posix()


def video_key(name: str) -> str:
    """A key that is equal for two names of the same video.

    For YouTube it is the watch address, also for downloaded files named "X [ID].mp4" (as yt-dlp
    does) or "videos/ID.mp4". Such a file name is enough to keep the file out of a second split.
    It does not prove that the video is the same, so within one split the file counts as a
    separate video.
    """
    video_id, path = youtube_id(name), Path(name)
    if video_id is None and not is_address(name):
        file = re.search(rf"(?: \[|^)({ID})\]?$", path.stem)
        named = file and (path.stem.endswith("]") or path.parts[:-1] == ("videos",))
        video_id = file[1] if named else None
    return watch_address(video_id) if video_id else name


def read_sources(split_dir: Path) -> pd.DataFrame:
    """A split's sequences.csv as strings, with all columns; no rows if there is no file.

    Older tables lack the column resize; it is "" for them. Raises UserError for a table that cannot
    be read, or has a bad start_sec or fps.
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
            row = bad.iloc[0]
            raise UserError(f"{path}: {column} of {row['sequence']} is {row[column]!r}, not {what}")
    return table


def rows_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of a video, whatever form its address has in the table."""
    same = [other for other in table["video"].unique() if plain_name(other) == plain_name(name)]
    return table[table["video"].isin(same)]


def plain_name(name: str) -> str:
    """A video's name; a YouTube address in its watch form."""
    video_id = youtube_id(name)
    return watch_address(video_id) if video_id else name


def read_records(data_dir: Path) -> pd.DataFrame:
    """collected.csv as strings: size, SHA-256 and length of each video's file when collected.

    With these records copies are found, and finished videos are skipped even if their files are
    gone.
    """
    path = data_dir / "collected.csv"
    if not path.exists():
        return pd.DataFrame(columns=list(RECORD_COLUMNS), dtype=str)
    return read_table(path, RECORD_COLUMNS, others=True)


def write_record(data_dir: Path, **record: str) -> None:
    """Adds a video's record (RECORD_COLUMNS) to collected.csv, or replaces the old one."""
    records = read_records(data_dir)
    old = rows_of(records[records["split"] == record["split"]], record["video"])
    records = pd.concat([records.drop(old.index), pd.DataFrame([record])], ignore_index=True)
    write_table(data_dir / "collected.csv", records.fillna(""))


def list_collected(data_dir: Path) -> pd.DataFrame:
    """One row per video: its split, sequences, labelled sequences, and their length in seconds."""
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
