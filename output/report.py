"""Writes report.html, the page on which a person checks and corrects the rallies of a match.

save_report fills the template pages/report.html with the rallies, the probabilities and the address
of the video. The report needs no server and no network: a browser opens it as a file, plays the
video from where it is, and saves the corrected rallies.csv. Imports no torch.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from files import UserError, write_whole
from media.proxy import SUFFIX, has_proxy, make_proxy, offset_sec, proxy_path, why_not_playable
from web.page import read_page

TEMPLATE = Path(__file__).parent / "pages" / "report.html"
PLACE = "REPORT_DATA"  # placeholder of the data in the template
VALUES_PER_SEC = 5
MOST_VALUES = 5 * 7200  # enough for two hours; longer matches get fewer values per second


@dataclass(frozen=True)
class Facts:
    """What the report says about a match besides its rallies, and about how they were found."""

    model: str = ""  # name of the checkpoint file
    weights: str = ""  # of the backbone
    synthetic: bool = False  # model trained on the SYNTHETIC sample: the header says so
    fps: float = 30.0  # frame rate of the match
    times_real_time: float | None = None
    unknown: list[tuple[float, float]] = field(default_factory=list)  # stretches, drawn hatched
    settings: dict = field(default_factory=dict)  # {name: value} of all other settings


def prepare_video(
    video: Path, folder: Path, on_progress: Callable[[float], None]
) -> tuple[Path, float]:
    """Returns the file that the report in folder plays, and its offset from proxy.offset_sec.

    That is the video itself if all browsers play it, else the proxy beside it. A missing proxy is
    made; on_progress gets the share done, 0 to 1. Raises UserError if video is not a video, and if
    the proxy cannot be made or written.
    """
    why_not = why_not_playable(video)
    if not why_not:
        return video, offset_sec(video)
    if has_proxy(video):
        proxy = proxy_path(video)
        return proxy, offset_sec(proxy)
    try:
        tempfile.TemporaryFile(dir=video.parent).close()
    except OSError as error:
        raise UserError(
            f"{video}: not every browser plays it ({why_not}), so the report in {folder} "
            f"needs a converted copy, but {video.parent} is not writable "
            f"({error.strerror or error}); make it writable, or move the video to another folder"
        ) from error
    proxy = make_proxy(video, on_progress)
    return proxy, offset_sec(proxy)


def save_report(
    folder: Path,
    video: Path,
    rallies: pd.DataFrame,
    probabilities: tuple[np.ndarray, np.ndarray],
    duration_sec: float,
    facts: Facts,
    offset_sec: float = 0.0,
) -> Path:
    """Writes folder/report.html, whole, and returns its path.

    video is the file to play, and offset_sec the time of its player minus the time of the match,
    both as prepare_video returns them. rallies has start_sec, end_sec and confidence (0 to 1, NaN
    if there is none), in order and without overlaps. probabilities are times_sec and probs, float
    (N,) each, with times in order and NaN where the match is unknown. duration_sec is the length of
    the match. Times count from the first frame. Raises UserError if the page cannot be written.
    """
    times_sec, probs = thin_probabilities(*probabilities)
    name = video.name.removesuffix(SUFFIX)
    columns = zip(rallies["start_sec"], rallies["end_sec"], rallies["confidence"], strict=True)
    rows = [
        (round(float(start), 3), round(float(end), 3), _number(sure, 4))
        for start, end, sure in columns
    ]
    data = {
        "name": name,
        "url": video_url(video, folder),
        "key": hashlib.sha256(json.dumps([name, duration_sec, rows]).encode()).hexdigest()[:16],
        "duration_sec": round(float(duration_sec), 3),
        "offset_sec": float(offset_sec),
        "frame_sec": 1 / facts.fps,
        "synthetic": facts.synthetic,
        "facts": list_facts(facts),
        "unknown": [(round(start, 2), round(end, 2)) for start, end in facts.unknown],
        "step_sec": usual_step_sec(times_sec),
        "rallies": rows,
        "times_sec": [round(float(time), 2) for time in times_sec],
        "percent": [_number(100 * prob, 0) for prob in probs],
    }
    page = read_page(TEMPLATE).replace(PLACE, as_script_data(data), 1)
    path = folder / "report.html"
    write_whole(path, page.encode())
    return path


def video_url(video: Path, folder: Path) -> str:
    """Returns the percent-encoded address of the video for a page in folder.

    The address is relative, so that both can move together, unless they share only the root folder.
    Symbolic links are not resolved, because a browser resolves .. in an address by text alone.
    """
    video, folder = Path(os.path.abspath(video)), Path(os.path.abspath(folder))
    if video.anchor != folder.anchor:  # another drive
        return video.as_uri()
    if Path(os.path.commonpath([video, folder])) == Path(video.anchor):
        return video.as_uri()
    parts = Path(os.path.relpath(video, folder)).parts
    return "/".join(quote(os.fsencode(part), safe="") for part in parts)


def as_script_data(data: dict) -> str:
    """Returns JSON that is safe inside a script element: ASCII only, and never a "<"."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def thin_probabilities(times_sec: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thins to at most VALUES_PER_SEC and MOST_VALUES in all: times_sec and probs, float64 (M,).

    Each value is the mean over a step, NaN if any value in the step is unknown.
    """
    times_sec, probs = np.asarray(times_sec, float), np.asarray(probs, float)
    if len(times_sec) != len(probs):
        raise ValueError(f"{len(times_sec)} times for {len(probs)} probabilities")
    if not len(probs):
        return times_sec, probs
    step_sec = max(1 / VALUES_PER_SEC, (times_sec[-1] - times_sec[0]) / (MOST_VALUES - 1))
    steps = np.floor((times_sec - times_sec[0]) / step_sec + 1e-6)
    _, firsts, counts = np.unique(steps, return_index=True, return_counts=True)
    return np.add.reduceat(times_sec, firsts) / counts, np.add.reduceat(probs, firsts) / counts


def usual_step_sec(times_sec: np.ndarray) -> float:
    """Returns the median step between times (N,) in seconds; 1.0 if there are fewer than two."""
    return float(np.median(np.diff(times_sec))) if len(times_sec) > 1 else 1.0


def list_facts(facts: Facts) -> list[tuple[str, str]]:
    """Returns how the rallies were found, as (name, value) texts for the page."""
    listed = {"model": facts.model, "weights": facts.weights}
    if facts.times_real_time:
        listed["speed"] = f"{facts.times_real_time:.1f} times real time"
    listed |= facts.settings
    return [(name.replace("_", " "), str(value)) for name, value in listed.items() if value != ""]


def _number(value: float, digits: int) -> float | int | None:
    """Rounds a number for JSON. NaN becomes None, because JSON has no NaN."""
    if np.isnan(value):
        return None
    return round(float(value), digits) if digits else round(float(value))
