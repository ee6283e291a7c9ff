"""Saves a detected match: rallies.csv, rallies.json, probabilities.csv and timeline.png.

A corrected table (a rallies.csv that a person changed) is never overwritten, unless force is True.
All other files are made from the corrected table instead of the detected rallies.
"""

import hashlib
import platform
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from annotation.match_marks import read_marks
from detection.decoding import COLUMNS
from detection.detector import Detector, Result, detect_match
from detection.match_features import GRID_FPS
from detection.records import is_corrected, read_record, save_record
from extraction.backbones import backbone_hash
from files import UserError, file_sha256, one_writer, read_table, write_table, write_whole
from media.video import CLOCK_SEC, Video, open_container
from plots import plot_timeline

with suppress(ImportError):  # not on Windows
    import resource


@dataclass(frozen=True)
class SavedMatch:
    """A detected match that is saved in its folder."""

    result: Result
    rallies: pd.DataFrame  # those of the corrected table if there is one, else the detected ones
    corrected: bool  # whether they come from a corrected table
    record: dict  # rallies.json
    times_real_time: float | None  # None unless over 95 % was computed in this run


def detect_and_save(
    path: Path, detector: Detector, folder: Path, force: bool = False
) -> SavedMatch:
    """Detects a match and saves it in its folder.

    force=True overwrites a corrected table and the results of another video. Raises UserError if
    path is not a video, and as check_folder and save_result do.
    """
    open_container(path)[0].close()  # fails at once if it is not a video
    sha256 = file_sha256(path)
    check_folder(folder, path, sha256, force)
    result = detect_match(path, detector, folder, sha256=sha256)
    return save_result(result, folder, force)


def save_result(result: Result, folder: Path, force: bool = False) -> SavedMatch:
    """Writes the tables and the picture of a match.

    Keeps a corrected table and uses its rallies, unless force is True. Raises UserError if the
    corrected table cannot be the rallies of this match, and if a file cannot be written.
    """
    csv = folder / "rallies.csv"
    with one_writer(folder, ".results.lock"):
        before = read_record(folder)
        corrected = not force and is_corrected(folder, before)
        rallies = read_rallies(csv, result.video.end_sec) if corrected else result.rallies
        ours = before.get("written_sha256") or []
        if not corrected:
            table = as_text(rallies).to_csv(index=False, lineterminator="\n").encode()
            new = [hashlib.sha256(table).hexdigest()]
            # Record both hashes: after a kill, the table on disk may be the old or the new one.
            save_record(folder, {**before, "written_sha256": ours + new})
            write_whole(csv, table)
            ours = new
        columns = {"time_sec": result.times_sec.round(3), "probability": result.probs.round(4)}
        write_table(folder / "probabilities.csv", pd.DataFrame(columns))
        record = describe_result(result, rallies, corrected) | {"written_sha256": ours}
        save_record(folder, record)
        plot_timeline(result, rallies, folder / "timeline.png", result.detector.synthetic)
    return SavedMatch(result, rallies, corrected, record, record["speed"]["times_real_time"])


def check_folder(folder: Path, video: Path, sha256: str, force: bool = False) -> None:
    """Raises UserError if a folder holds the rallies of another video, unless force is True.

    sha256 is that of the video. Also refuses a file name that is not UTF-8.
    """
    try:
        str(video.resolve()).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{video!r}: the file name is not valid UTF-8; rename the file") from error
    record = read_record(folder)
    if not force and record.get("video_sha256", sha256) != sha256:
        raise UserError(
            f"{folder} holds the rallies of another file, {record.get('video')}; choose another "
            f"folder for {video} with --out DIR, or use --force to overwrite"
        )


def as_text(rallies: pd.DataFrame) -> pd.DataFrame:
    """Returns the table as text with 3 decimals. A missing confidence becomes an empty cell."""
    return rallies.map(lambda value: "" if np.isnan(value) else f"{value:.3f}")


def read_rallies(path: Path, duration_sec: float) -> pd.DataFrame:
    """Reads a table of rallies, in order: start_sec, end_sec, duration_sec, confidence (or NaN).

    The last two columns may be missing, as in tables of other tools. Raises UserError, with the
    name of the file, if these cannot be the rallies of a match of duration_sec.
    """
    read_marks(path, duration_sec)
    table = read_table(path, COLUMNS[:2], others=True).reindex(columns=list(COLUMNS))
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(float)
    numbers["duration_sec"] = (numbers["end_sec"] - numbers["start_sec"]).round(3)
    return numbers.sort_values("start_sec", ignore_index=True)


def describe_result(result: Result, rallies: pd.DataFrame, corrected: bool) -> dict:
    """Returns the contents of rallies.json without written_sha256, for the given rallies."""
    video, detector = result.video, result.detector
    fps, model_config = result.fps, detector.model.config
    steps = np.diff(video.times_sec)
    rows = [
        {
            "number": k + 1,
            **{name: None if np.isnan(value) else value for name, value in row.items()},
            "start_frame": frame_at(video, row["start_sec"]),
            "end_frame": frame_at(video, row["end_sec"]),
            "start_timecode": timecode(row["start_sec"], fps),
            "end_timecode": timecode(row["end_sec"], fps),
        }
        for k, row in enumerate(rallies.to_dict("records"))
    ]
    all_computed = result.computed_sec > 0.95 * video.end_sec
    return {
        "video": video.path.name,
        "video_sha256": result.sha256,
        "duration_sec": round(video.end_sec, 3),
        "fps": round(float(fps), 6),
        "fps_fraction": str(fps),
        "variable_rate": bool(len(steps) and steps.max() - steps.min() > 2.5 * CLOCK_SEC),
        "rallies": rows,
        "corrected": corrected,
        "damaged": [[round(a, 3), round(b, 3)] for a, b in result.unknown],
        "settings": {
            **asdict(detector.decoding),
            "fitted": detector.fitted,
            "reads": "windows" if detector.head is None else "head",
            "features_per_sec": round(GRID_FPS / detector.every, 6),
            "hop_sec": round(detector.hop_sec, 6),
            "precision": detector.precision,
        },
        "model": {
            "file": detector.path.name,
            "backbone_hash": backbone_hash(detector.model.backbone),
            "class_names": list(model_config.class_names),
            "seq_frames": model_config.seq_frames,
            "fps": model_config.fps,
            "resize": model_config.resize,
            "weights_name": detector.weights_name,
            **detector.about,
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        # The speed is unknown unless over 95 % of the match was computed in this run.
        "speed": {
            "wall_sec": round(result.wall_sec, 2),
            "computed_sec": round(result.computed_sec, 2),
            "times_real_time": round(video.end_sec / result.wall_sec, 3) if all_computed else None,
            "peak_rss_mb": peak_rss_mb(),
        },
    }


def frame_at(video: Video, sec: float) -> int:
    """Returns the number (from 0) of the frame on screen at sec; one past the last at the end."""
    return int(np.searchsorted(video.times_sec, sec + CLOCK_SEC, side="right")) - (
        sec + CLOCK_SEC < video.end_sec
    )


def timecode(sec: float, fps: Fraction) -> str:
    """Returns HH:MM:SS:FF, non-drop-frame, counted in frames of fps from the first frame."""
    base = round(fps)
    total, frame = divmod(round(sec * fps), base)
    return f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}:{frame:02d}"


def peak_rss_mb() -> float | None:
    """Returns the peak memory of this process in MB of 1e6 bytes, or None on Windows."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, getrusage also counts the parent's memory before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, others kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
