"""Cuts a video into sequences and writes them so that a kill at any moment does no harm.

Imports no torch, so that collecting starts fast.
"""

import math
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from cli import count_of
from collection import downloading
from collection.dense_starts import Spans, dense_starts
from collection.downloading import find_file
from collection.sources import (
    SOURCE_COLUMNS,
    read_records,
    read_sources,
    rows_of,
    video_name,
    write_record,
)
from collection.video_index import name_in_split
from files import (
    UserError,
    file_sha256,
    labels_path,
    one_writer,
    read_table,
    sync_file,
    sync_folder,
    write_table,
)
from media.frames import RESIZE, FrameError, count_frames, frame_paths
from media.video import CLOCK_SEC, Video, open_video, read_sequence_at

PUBLISH_SEC = 1.0  # shortest time between two writes of the growing table
SYNCS_AT_ONCE = 64  # a disk syncs many files together in the time of one
JPEG_ERROR = 8.0  # mean difference, of 255: JPEG gives about 1, another film over 20
SHOWN = 5  # refused starts named in a message


class PartlyCollected(UserError):
    """Only part of a video could be collected: `added` new sequences."""

    def __init__(self, message: str, added: int):
        super().__init__(message)
        self.added = added


@dataclass(frozen=True)
class Settings:
    """Where sequences start, and what they hold. fps None takes consecutive frames of the file.

    With the rallies of a video, its starts are dense_starts, about one every interval_sec.
    """

    interval_sec: float = 30.0
    seq_frames: int = 30
    fps: float | None = 30.0
    start_sec: float = 0.0
    end_sec: float = float("inf")
    rallies: Spans | None = None
    unknown: Spans = field(default_factory=list)

    def starts(self, duration_sec: float, fps: float) -> list[float]:
        """The starts, in seconds to the millisecond, of all sequences that end inside the video.

        duration_sec and fps are those of the video.
        """
        length_sec = self.seq_frames / (self.fps or fps)
        end_sec = min(self.end_sec, duration_sec)
        if self.rallies is not None:
            return dense_starts(
                self.rallies, self.unknown, length_sec, self.interval_sec, self.start_sec, end_sec
            )
        last_sec = end_sec - length_sec + CLOCK_SEC
        count = int((last_sec - self.start_sec) // self.interval_sec) + 1
        return [round(self.start_sec + k * self.interval_sec, 3) for k in range(max(count, 0))]


def collect_video(
    video: str | Path,
    data_dir: str | Path,
    split: str,
    settings: Settings | None = None,
    client: str | None = None,
    keep_video: bool = True,
) -> int:
    """Adds a video's missing sequences to a split; returns how many were added.

    video is a file or a YouTube address. An address is downloaded into data_dir/videos with this
    pytubefix client; unless keep_video, the download is deleted once all sequences are there.
    Raises UserError when the file is truncated or damaged, belongs to another split already, or
    cannot be downloaded, read or written. Every complete sequence is kept.
    """
    data_dir, settings = Path(data_dir), settings or Settings()
    name = name_in_split(data_dir, split, video_name(video, data_dir))
    path = find_file(video, data_dir)
    if missing_by_record(data_dir, split, name, path, settings) == []:
        return 0
    fetched = path is None
    if fetched:
        path = downloading.download(downloading.id_of(video), data_dir / "videos", client)
    with closing(open_video(path)) as opened:
        added, problems = _extract(opened, name, data_dir, split, settings)
    if problems:
        raise PartlyCollected(f"{path}: {'; '.join(problems)}", added)
    if fetched and not keep_video:
        path.unlink(missing_ok=True)
    return added


def missing_by_record(
    data_dir: Path, split: str, name: str, path: Path | None, settings: Settings
) -> list[float] | None:
    """The missing starts of a video, in seconds, by collected.csv, without opening the file.

    None if the table cannot tell: no record, native frame rate, another file or other settings.
    """
    records = read_records(data_dir)
    record = rows_of(records[records["split"] == split], name)
    if record.empty or settings.fps is None:
        return None
    if path and not (path.is_file() and str(path.stat().st_size) == record["bytes"].iloc[0]):
        return None
    split_dir = data_dir / split
    before = rows_of(read_sources(split_dir), name)
    if _differs(split_dir, before, settings, settings.fps):
        return None
    have = collected_starts(split_dir, before)
    starts = settings.starts(float(record["duration_sec"].iloc[0]), settings.fps)
    return [start for start in starts if start not in have]


def collected_starts(split_dir: Path, rows: pd.DataFrame) -> set[float]:
    """The starts, in seconds to the millisecond, of the rows whose sequence folders exist."""
    exists = [(split_dir / "sequences" / sequence).is_dir() for sequence in rows["sequence"]]
    return set(rows.loc[exists, "start_sec"].astype(float).round(3))


def _extract(
    video: Video, name: str, data_dir: Path, split: str, settings: Settings
) -> tuple[int, list[str]]:
    """Adds an open video's missing sequences; returns (how many were added, problems)."""
    split_dir, size = data_dir / split, video.path.stat().st_size
    sha256 = file_sha256(video.path)
    rate = settings.fps or 1 / video.period_sec
    duration_sec = max(video.end_sec, video.header_sec if video.is_truncated else 0)
    starts = settings.starts(video.end_sec, rate)
    rows, refused, stopped = [], [], []
    with one_writer(data_dir):  # all splits: no other process may add the same video
        name = name_in_split(data_dir, split, name, sha256)
        sources = recover(split_dir)
        before = rows_of(sources, name)
        _refuse_other(video, split_dir, before, settings, rate)
        write_record(
            data_dir,
            split=split,
            video=name,
            bytes=str(size),
            sha256=sha256,
            duration_sec=f"{duration_sec:.3f}",
        )
        have = collected_starts(split_dir, before)
        missing = [start for start in starts if start not in have]
        number = highest_number(split_dir, sources)
        kept = len(starts) - len(missing)
        written_sec = time.monotonic()
        bar = tqdm(missing, f"{split}: {video.path.name}", len(starts), initial=kept, unit="seq")
        try:
            for start_sec in bar:
                try:
                    frames = read_sequence_at(video, start_sec, settings.seq_frames, settings.fps)
                except FrameError as error:
                    refused.append(f"{start_sec:g} s ({error.reason})")
                    continue
                number += 1
                sequence = f"seq_{number:05d}"
                try:
                    write_frames(split_dir, sequence, frames)
                except UserError as error:
                    stopped.append(str(error))
                    break
                rows.append([sequence, name, f"{start_sec:.10g}", f"{rate:.10g}", RESIZE])
                if time.monotonic() - written_sec > PUBLISH_SEC:
                    publish(split_dir, _with_rows(sources, rows))
                    written_sec = time.monotonic()
        finally:
            if rows:
                publish(split_dir, _with_rows(sources, rows))
    return len(rows), _problems(video, settings, kept + len(rows), refused, stopped)


def _with_rows(sources: pd.DataFrame, rows: list[list[str]]) -> pd.DataFrame:
    new = pd.DataFrame(rows, columns=list(SOURCE_COLUMNS), dtype=str)
    return pd.concat([sources, new], ignore_index=True).fillna("")


def _differs(split_dir: Path, before: pd.DataFrame, settings: Settings, rate: float) -> str:
    """How a video's existing sequences differ from the settings, with the remedy; "" if not."""
    for row in before.itertuples():
        folder = split_dir / "sequences" / row.sequence
        if not math.isclose(float(row.fps), rate, rel_tol=1e-4):
            return f"at {row.fps} frames per second; use the same --fps"
        if folder.is_dir():
            count = count_frames(folder)
            if count == settings.seq_frames:
                return ""
            return f"with {count} frames per sequence ({row.sequence}); use the same --seq-frames"
    return ""


def _refuse_other(
    video: Video, split_dir: Path, before: pd.DataFrame, settings: Settings, rate: float
) -> None:
    """Raises UserError if the existing sequences come from other settings or another file."""
    differs = _differs(split_dir, before, settings, rate)
    if not differs and not _same_pictures(video, split_dir, before, settings):
        differs = "from another file of this name; rename this file"
    if differs:
        raise UserError(
            f"{video.path}: already collected {differs}, or first delete the video's sequences "
            f"from {split_dir / 'sequences'} and their rows from {split_dir / 'sequences.csv'}"
        )


def _same_pictures(video: Video, split_dir: Path, before: pd.DataFrame, settings: Settings) -> bool:
    """Whether the first sequence that exists and that the file gives shows the same pictures.

    True if there is none to compare.
    """
    nothing_there = True
    for row in before.itertuples():
        folder = split_dir / "sequences" / row.sequence
        paths = frame_paths(folder) if folder.is_dir() else []
        saved = [cv2.imread(str(path)) for path in paths]
        if len(saved) != settings.seq_frames or any(picture is None for picture in saved):
            continue
        try:
            frames = read_sequence_at(
                video, float(row.start_sec), settings.seq_frames, settings.fps
            )
        except FrameError:
            continue
        return float(np.mean(cv2.absdiff(np.stack(frames), np.stack(saved)))) < JPEG_ERROR
    return nothing_there


def _problems(
    video: Video, settings: Settings, kept: int, refused: list[str], stopped: list[str]
) -> list[str]:
    """Why a video did not give all sequences that its header promises, in words; none if it did."""
    problems = list(stopped)
    if video.is_truncated:
        where = f"{video.end_sec:.1f} s of {video.header_sec:.1f} s"
        problems.append(f"truncated at {where} (or only the audio goes on)")
    if refused:
        more = f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        problems.append(f"no sequence at {', '.join(refused[:SHOWN])}{more}")
    if not problems and kept == 0:
        limits = "--start-sec and --end-sec"
        if settings.rallies is not None:
            limits = "--start-sec, --end-sec and unknown stretches"
        problems.append(f"only {video.end_sec:.2f} s long, or {limits} leave too little of it")
    if problems:
        problems.append(f"{count_of(kept, 'complete sequence')} kept")
    return problems


def highest_number(split_dir: Path, sources: pd.DataFrame) -> int:
    """The highest sequence number in folders, sequences.csv and labels, so that none is reused."""
    names = set(os.listdir(split_dir / "sequences")) | set(sources["sequence"])
    labels = labels_path(split_dir)
    if labels.exists():
        names |= set(read_table(labels, ("sequence",))["sequence"])
    numbers = [name.removeprefix("seq_") for name in names]
    return max((int(n) for n in numbers if n.isdecimal()), default=0)


def write_frames(split_dir: Path, sequence: str, frames: list[np.ndarray]) -> None:
    """Writes a sequence's frames, uint8 (H, W, 3) BGR, as JPEGs into a hidden folder."""
    folder = split_dir / "sequences" / f".{sequence}.part"
    try:
        folder.mkdir()
        for k, frame in enumerate(frames, start=1):
            _, data = cv2.imencode(".jpg", frame)
            (folder / f"{k:05d}.jpg").write_bytes(data.tobytes())
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(
            f"cannot write {sequence} in {split_dir}: {error.strerror or error}; free some space, "
            "then run it again to resume"
        ) from error


def publish(split_dir: Path, sources: pd.DataFrame) -> None:
    """Lists the written sequences in sequences.csv, then renames their hidden folders.

    After a kill at any moment, `recover` knows what to do with a hidden folder: it deletes one
    without a row and renames one with a row. The frames are synced before the table lists them, in
    case the power fails.
    """
    try:
        folders = list((split_dir / "sequences").glob(".seq_*.part"))
        frames = [path for folder in folders for path in folder.iterdir()]
        with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
            list(pool.map(sync_file, frames))
        for folder in (*folders, split_dir / "sequences"):
            sync_folder(folder)
        write_table(split_dir / "sequences.csv", sources)
        _name_folders(split_dir, sources)
    except OSError as error:
        raise _cannot_write(split_dir, error) from error


def recover(split_dir: Path) -> pd.DataFrame:
    """Makes folders and sequences.csv agree again after a kill; returns the table."""
    sources = read_sources(split_dir)
    try:
        (split_dir / "sequences").mkdir(parents=True, exist_ok=True)
        _name_folders(split_dir, sources)
        for unlisted in (split_dir / "sequences").glob(".seq_*.part"):
            shutil.rmtree(unlisted)
        for table in (split_dir / "sequences.csv", split_dir.parent / "collected.csv"):
            for half_written in table.parent.glob(f".{table.name}.*.part"):
                half_written.unlink()
    except OSError as error:
        raise _cannot_write(split_dir, error) from error
    return sources


def _cannot_write(split_dir: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write to {split_dir / 'sequences'}: {error.strerror or error}; free some space "
        "or give yourself write permission, then run it again to resume"
    )


def _name_folders(split_dir: Path, sources: pd.DataFrame) -> None:
    folder = split_dir / "sequences"
    listed = set(sources["sequence"])
    for temporary in folder.glob(".seq_*.part"):
        sequence = temporary.name.removeprefix(".").removesuffix(".part")
        if sequence in listed and not (folder / sequence).exists():
            temporary.rename(folder / sequence)
