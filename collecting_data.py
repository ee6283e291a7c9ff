"""Video files become one-second sequences of 30 frames, ready for labelling.

    python collecting_data.py MATCH.mp4 [MORE ...] --split train [--interval-sec 30]

A sequence starts every interval; its frame k is the one on screen at start + k/fps, picked by
timestamp, so a sequence lasts as long whatever the file's own rate. Running it again adds only
what is missing. About 20 sequences a second at 640x360, 30 s apart.
"""

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from files import SPLITS, UserError, one_writer, read_table, run_command, write_table

SIZE = 224
SOURCE_COLUMNS = ("sequence", "video", "start_sec", "fps")
CLOCK_SEC = 0.001  # Matroska and FLV round timestamps to milliseconds
STEP_SEC = 5.0  # nearer than this, stepping through frames is quicker than seeking
LEAD_SEC = 1.0  # frames are kept from this long before the wanted time on


class EndOfVideo(Exception):
    """No frame is on screen any more at the wanted time."""


@dataclass
class Video:
    """An open video: where it stands, and what its header promises. Times are in seconds."""

    path: Path
    capture: cv2.VideoCapture
    fps: float
    header_sec: float  # duration by the header, 0 if unknown
    time_sec: float = -1.0  # of the frame grabbed last; negative: none
    reached_sec: float = 0.0  # the end of the last frame seen so far


def open_video(path: str | Path) -> Video:
    """Opens a video file; raises UserError for what is missing, no video, or without frames."""
    if "://" in str(path):
        raise UserError(f"{path}: addresses cannot be collected yet; download the video first")
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the video files in it")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its messages name no file
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise UserError(f"{path}: not a video that can be read, or cut off before its index")
    fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    fps = fps if 0 < fps < 1000 else 30.0
    video = Video(path, capture, fps, max(count, 0) / fps)
    if not _grab(video):
        raise UserError(f"{path}: no frame in it can be decoded")
    return video


def _grab(video: Video) -> bool:
    """Moves on by one frame; False at the end."""
    if not video.capture.grab():
        return False
    video.time_sec = video.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    video.reached_sec = max(video.reached_sec, video.time_sec + 1 / video.fps)
    return True


def _move_before(video: Video, wanted_sec: float) -> None:
    """Leaves a frame grabbed that comes on screen at most LEAD_SEC before wanted_sec.

    Seeks early, looks where it landed, and seeks further back if that was late. Where there is no
    such frame, before the first one or in a hole, the next one after wanted_sec is left grabbed.
    """
    if not 0 <= wanted_sec - video.time_sec < STEP_SEC:
        back = LEAD_SEC
        while True:
            target = max(wanted_sec - back, 0)
            video.capture.set(cv2.CAP_PROP_POS_MSEC, target * 1000)
            grabbed = _grab(video)
            if grabbed and (video.time_sec <= wanted_sec + CLOCK_SEC or target == 0):
                break
            if target == 0:
                raise EndOfVideo
            back *= 4
    while video.time_sec < wanted_sec - LEAD_SEC:
        if not _grab(video):
            raise EndOfVideo


def read_sequence_at(
    video: Video, start_sec: float, seq_frames: int = 30, fps: float | None = 30.0
) -> list[np.ndarray]:
    """The frames on screen at start_sec + k/fps, k < seq_frames: uint8 (224, 224, 3) BGR each.

    fps None takes consecutive frames of the file instead. Raises EndOfVideo when the file ends
    first, UserError when a frame cannot be decoded or stands still over a hole in the file.
    """
    longest_sec = max(0.25, 3 / video.fps)  # for which one frame may stand
    _move_before(video, start_sec)
    if video.time_sec - start_sec > longest_sec:
        raise UserError(f"no frames from {start_sec:.2f} to {video.time_sec:.2f} s")
    frames: list[np.ndarray] = []
    while len(frames) < seq_frames:
        shown_sec = video.time_sec
        decoded, image = video.capture.retrieve()
        ended = not _grab(video)
        until_sec = shown_sec + 1 / video.fps if ended else video.time_sec
        count = 0  # how often this frame is wanted
        if fps is None:
            count = int(until_sec > start_sec + CLOCK_SEC)
        else:
            while (
                len(frames) + count < seq_frames
                and start_sec + (len(frames) + count) / fps < until_sec - CLOCK_SEC
            ):
                count += 1
        if count and not decoded:
            raise UserError(f"the frame at {shown_sec:.2f} s cannot be decoded")
        if count and until_sec - shown_sec > longest_sec:
            raise UserError(f"no frames from {shown_sec:.2f} to {until_sec:.2f} s")
        if count:
            small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            frames += [small] * count
        if ended and len(frames) < seq_frames:
            raise EndOfVideo
    return frames


def collect_video(
    path: str | Path,
    data_dir: str | Path,
    split: str,
    interval_sec: float = 30.0,
    seq_frames: int = 30,
    fps: float | None = 30.0,
) -> int:
    """Adds a video's missing sequences to a split; returns how many were added.

    Raises UserError, after keeping every complete sequence, when the file breaks off, holds
    damaged parts, belongs to another split already, or cannot be written.
    """
    split_dir = Path(data_dir) / split
    name = video_name(path, data_dir)
    video = open_video(path)
    rate = f"{fps or video.fps:.10g}"
    for other in SPLITS:
        if other != split and name in read_sources(Path(data_dir) / other)["video"].values:
            raise UserError(f"{path}: already in {other}, and a video belongs to one split only")
    added, refused = 0, []
    with one_writer(split_dir / "sequences"):
        sources = recover(split_dir)
        before = sources[sources["video"] == name]
        if set(before["fps"]) - {rate}:
            raise UserError(
                f"{path}: collected before at {before['fps'].iloc[0]} frames a second; keep to "
                "that with --fps, or remove its sequences and their rows first"
            )
        there = [(split_dir / "sequences" / sequence).is_dir() for sequence in before["sequence"]]
        have = set(before.loc[there, "start_sec"].astype(float).round(3))
        number = highest_number(split_dir, sources)
        expected = int(max(video.header_sec - 1, 0) // interval_sec) + 1
        with tqdm(desc=f"{split}: {Path(path).name}", total=expected, unit="seq") as bar:
            for start_sec in _starts(interval_sec, bar):
                if round(start_sec, 3) in have:
                    continue
                try:
                    frames = read_sequence_at(video, start_sec, seq_frames, fps)
                except EndOfVideo:
                    break
                except UserError as error:
                    refused.append(f"{start_sec:g} s ({error})")
                    continue
                number += 1
                sequence = f"seq_{number:05d}"
                row = [sequence, name, f"{round(start_sec, 3):.10g}", rate]
                sources.loc[len(sources), list(SOURCE_COLUMNS)] = row
                save_sequence(split_dir, sequence, frames, sources)
                added += 1
    video.capture.release()
    _refuse_damaged(video, added, len(have), refused)
    return added


def _starts(interval_sec: float, bar: tqdm):
    k = 0
    while True:
        yield k * interval_sec
        k += 1
        bar.update(k <= bar.total)


def _refuse_damaged(video: Video, added: int, had: int, refused: list[str]) -> None:
    """Says what is wrong with a video that did not give all that its header promises."""
    kept = f"{added + had} complete sequences kept"
    problems = []
    if video.header_sec - video.reached_sec > max(1.0, min(0.02 * video.header_sec, 5.0)):
        where = f"{video.reached_sec:.1f} s of {video.header_sec:.1f} s"
        problems.append(f"breaks off at {where} (or only its sound goes on)")
    if refused:
        problems.append(f"no sequence at {', '.join(refused)}")
    if not problems and added + had == 0:
        problems.append(f"only {video.reached_sec:.2f} s long, too short for a sequence")
    if problems:
        raise UserError(f"{video.path}: {'; '.join(problems)}; {kept}")


def video_name(path: str | Path, data_dir: str | Path) -> str:
    """How sequences.csv names a file: relative to the data folder if inside it, else in full."""
    path, data_dir = Path(path).resolve(), Path(data_dir).resolve()
    return (path.relative_to(data_dir) if path.is_relative_to(data_dir) else path).as_posix()


def read_sources(split_dir: Path) -> pd.DataFrame:
    """sequences.csv of a split as strings, further columns too; no rows where there is no file."""
    path = split_dir / "sequences.csv"
    if not path.exists():
        return pd.DataFrame(columns=list(SOURCE_COLUMNS), dtype=str)
    return read_table(path, SOURCE_COLUMNS, others=True)


def highest_number(split_dir: Path, sources: pd.DataFrame) -> int:
    """The highest sequence number in folders, sequences.csv or labels: none is used twice."""
    names = {p.name for p in (split_dir / "sequences").iterdir()} | set(sources["sequence"])
    labels = split_dir / f"{split_dir.name}.csv"
    if labels.exists():
        names |= set(read_table(labels, ("sequence",))["sequence"])
    numbers = [name.removeprefix("seq_") for name in names]
    return max((int(n) for n in numbers if n.isdecimal()), default=0)


def save_sequence(
    split_dir: Path, sequence: str, frames: list[np.ndarray], sources: pd.DataFrame
) -> None:
    """Writes a sequence's frames, then its row in sequences.csv, then gives the folder its name.

    So a kill at any moment leaves what `recover` can tell apart: no row, an unfinished folder;
    a row, a complete one.
    """
    temporary = split_dir / "sequences" / f".{sequence}.part"
    try:
        try:
            temporary.mkdir()
            for k, frame in enumerate(frames, start=1):
                _, data = cv2.imencode(".jpg", frame)
                (temporary / f"{k:05d}.jpg").write_bytes(data.tobytes())
            write_table(split_dir / "sequences.csv", sources)
        except (OSError, UserError):
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        temporary.rename(split_dir / "sequences" / sequence)  # failing that, recover does it
    except (OSError, UserError) as error:
        raise UserError(f"cannot write {sequence} in {split_dir}: {error}") from error


def recover(split_dir: Path) -> pd.DataFrame:
    """Brings folders and sequences.csv together after a kill; returns the table."""
    sources = read_sources(split_dir)
    folder = split_dir / "sequences"
    for temporary in folder.glob(".seq_*.part"):
        sequence = temporary.name.removeprefix(".").removesuffix(".part")
        if sequence in sources["sequence"].values and not (folder / sequence).exists():
            temporary.rename(folder / sequence)
        else:
            shutil.rmtree(temporary)
    return sources


def parse_fps(text: str) -> float | None:
    """A rate above 0, or None for "native"."""
    if text == "native":
        return None
    if not 0 < float(text) <= 1000:
        raise ValueError
    return float(text)


def positive(kind: type):
    def parse(text: str):
        if not 0 < kind(text) < float("inf"):
            raise ValueError
        return kind(text)

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def main() -> int:
    parser = argparse.ArgumentParser(description="Make one-second sequences out of video files.")
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video files")
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--data", default="Data", help="the data folder (Data)")
    parser.add_argument(
        "--interval-sec",
        type=positive(float),
        default=30.0,
        help="from one sequence's start to the next (30)",
    )
    parser.add_argument(
        "--seq-frames", type=positive(int), default=30, help="frames a sequence (30)"
    )
    parser.add_argument(
        "--fps", type=parse_fps, default=30.0, help='rate, or "native": consecutive frames (30)'
    )
    options = parser.parse_args()
    failed = total = 0
    for path in options.videos:
        try:
            total += collect_video(
                path,
                options.data,
                options.split,
                options.interval_sec,
                options.seq_frames,
                options.fps,
            )
        except UserError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    sources = read_sources(Path(options.data) / options.split)
    print(
        f"{options.split}: {total} sequences added, {len(sources)} in all"
        + (f"; {failed} of {len(options.videos)} videos had problems" if failed else "")
    )
    if total:
        folder = Path(options.data) / options.split
        print(
            f"next: label each, 0 or 1, in {folder / options.split}.csv (columns sequence,label);"
        )
        print(
            f"their pictures are in {folder / 'sequences'}, their times in {folder}/sequences.csv"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    run_command(main)
