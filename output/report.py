"""The page on which a person checks and corrects the rallies found in a match: report.html.

`save_report` fills the template beside this file with the rallies, the probabilities and the
video's address. What it writes needs neither a server nor a network: it is opened as a file, plays
the video where it lies, and hands the corrected rallies.csv to the browser to save.

Imports no torch.
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
PLACE = "REPORT_DATA"  # stands in the template where the data goes
VALUES_PER_SEC = 5
MOST_VALUES = 5 * 7200  # those of two hours: longer matches have fewer a second


@dataclass(frozen=True)
class Facts:
    """What the page tells of a match besides its rallies, and of how they were found."""

    model: str = ""  # the file's name
    weights: str = ""  # of the backbone
    synthetic: bool = False  # whether it has learnt from drawn matches: said in the header
    fps: float = 30.0  # of the match: how long a frame lasts
    times_real_time: float | None = None
    unknown: list[tuple[float, float]] = field(default_factory=list)  # not known: hatched
    settings: dict = field(default_factory=dict)  # {name: value} of all else


def prepare_video(
    video: Path, folder: Path, on_progress: Callable[[float], None]
) -> tuple[Path, float]:
    """The file that the report in folder plays, and its offset_sec as proxy.offset_sec has it.

    That is the video itself where all browsers play it, else its proxy beside it, which is made
    if it is not there; on_progress gets the share done, 0 to 1. Raises UserError for what is no
    video, and where the proxy cannot be made or written.
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
            f"{video}: for the report in {folder} it needs a copy that browsers play, because of "
            f"{why_not}, and {video.parent} cannot be written ({error.strerror or error}): give "
            "yourself the right to write there, or put the video in another folder"
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

    video is the file to play and offset_sec its player's time less the match's, both as
    prepare_video gives them. rallies has start_sec, end_sec and confidence (0 to 1, NaN where there
    is none), in order, none over another; probabilities are times_sec and probs, float (N,) each,
    times in order, NaN where nothing is known. duration_sec is the match's. Times count from the
    first frame.

    Raises UserError when it cannot be written.
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
    """The address by which a page in folder finds the video, percent-encoded.

    It is relative, so that both may be moved together, unless they share no folder but the root.
    Links are not followed: a browser takes the .. of an address by its letters.
    """
    video, folder = Path(os.path.abspath(video)), Path(os.path.abspath(folder))
    if video.anchor != folder.anchor:  # another drive
        return video.as_uri()
    if Path(os.path.commonpath([video, folder])) == Path(video.anchor):
        return video.as_uri()
    parts = Path(os.path.relpath(video, folder)).parts
    return "/".join(quote(os.fsencode(part), safe="") for part in parts)


def as_script_data(data: dict) -> str:
    """JSON that may stand inside a script element: ASCII alone, and no "<", whatever is in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def thin_probabilities(times_sec: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most VALUES_PER_SEC a second and MOST_VALUES in all: times_sec and probs, float64 (M,).

    Each is the mean of what falls into its step, NaN where any of that is unknown.
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
    """From one time (N,) to the next, the median; 1 where there are none to tell."""
    return float(np.median(np.diff(times_sec))) if len(times_sec) > 1 else 1.0


def list_facts(facts: Facts) -> list[tuple[str, str]]:
    """What the page tells of how the rallies were found, as (what, value) in words."""
    listed = {"model": facts.model, "weights": facts.weights}
    if facts.times_real_time:
        listed["speed"] = f"{facts.times_real_time:.1f} times real time"
    listed |= facts.settings
    return [(name.replace("_", " "), str(value)) for name, value in listed.items() if value != ""]


def _number(value: float, digits: int) -> float | int | None:
    """A number for JSON, which has no NaN."""
    if np.isnan(value):
        return None
    return round(float(value), digits) if digits else round(float(value))
