"""Marking a whole match: opens its file, and serves the page that plays it and saves marks."""

import math
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from annotation.app import Labelling, get, post, wanted
from annotation.ground_truth import unknown_path
from annotation.mark_owners import claim_table
from annotation.match_marks import (
    Marks,
    check_marks,
    last_change_time,
    read_marks,
    save_marks,
    undo_marks,
)
from annotation.server import serve
from collection.downloading import find_file
from collection.find_videos import find_in_data
from files import UserError
from media.proxy import has_proxy, make_proxy, offset_sec, proxy_path, why_not_playable
from media.video import open_video

WHAT = {"rally": "rally", "unknown": "stretch"}  # each kind of mark, and what messages call it


@dataclass
class Match:
    """A match that is being marked."""

    path: Path
    marks_path: Path
    times_sec: np.ndarray  # float64 (N,), the timestamp of each frame; the first is 0
    end_sec: float
    why_not: str  # why a browser cannot play the file itself; "" if it can
    proposals: Marks = field(default_factory=list)
    progress: float | None = None  # of making the proxy, 0 to 1; None if none is being made
    error: str = ""  # why the proxy could not be made
    stopped: threading.Event = field(default_factory=threading.Event)
    starting: threading.Lock = field(default_factory=threading.Lock)


def open_match(path: Path, data_dir: Path, proposals: Path | None = None) -> Match:
    """Reads a match's timestamps and proposals, and claims its table of marks.

    Raises UserError if the file is not a video, or if marks or proposals are not valid.
    """
    video = open_video(path)
    video.close()
    table = claim_table(data_dir, path)
    read_marks(table, video.end_sec)
    read_marks(unknown_path(table), what="stretch")
    if proposals and not proposals.is_file():
        raise UserError(f"no such file: {proposals}; give --proposals a table start_sec,end_sec")
    return Match(
        path,
        table,
        video.times_sec,
        video.end_sec,
        why_not_playable(path),
        read_marks(proposals, video.end_sec) if proposals else [],
    )


def find_match(video: str, data_dir: Path) -> Path:
    """The file of a match, given as a path, a name in the data folder or a YouTube address.

    Raises UserError for an address that is not downloaded.
    """
    path = find_file(find_in_data(video, data_dir), data_dir)
    if path is None:
        raise UserError(f"{video} is not downloaded yet; download it with collecting_data.py")
    return path


def mark_match(
    path: Path,
    data_dir: Path,
    *,
    class_names: tuple[str, str],
    proposals: Path | None,
    port: int | None,
    browser: bool,
) -> int:
    """Serves the marking page until Ctrl-C; returns the exit code.

    proposals is a table start_sec,end_sec of rallies to confirm; port is None for any free one.
    """
    match = open_match(path, data_dir, proposals)
    work = Labelling(data_dir, "train", class_names, match=path.name)
    try:
        return serve(work, match_routes(match), f"marking {path}", port, browser)
    finally:
        match.stopped.set()


def match_routes(match: Match) -> list[Route]:
    """The requests of the marking page."""
    return [
        get("/match", lambda query: read_match(match)),
        get("/neighbour", lambda query: find_neighbour(match, query)),
        Route("/video", partial(send_video, match)),
        post("/marks", lambda body: take_marks(match, body)),
        post("/marks/undo", lambda body: take_marks_undo(match, body)),
        post("/proxy", lambda body: start_proxy(match)),
    ]


def read_match(match: Match) -> dict:
    """All that the page shows of the match; offset_sec is player time minus match time."""
    rallies = read_marks(match.marks_path)
    free = [p for p in match.proposals if all(p[1] <= s or e <= p[0] for s, e in rallies)]
    unknown = stretches_shown(match, read_marks(unknown_path(match.marks_path), what="stretch"))
    played = played_file(match)
    return {
        "name": match.path.name,
        "table": str(match.marks_path),
        "end_sec": match.end_sec,
        "marks": {"rally": rallies, "proposal": free, "unknown": unknown},
        "why_not": match.why_not,
        "ready": played is not None,
        "offset_sec": offset_sec(played) if played else 0.0,
        "progress": match.progress,
        "error": match.error,
    }


def played_file(match: Match) -> Path | None:
    """The file that the browser plays: the proxy, or the match itself; None if not ready yet."""
    if has_proxy(match.path):
        return proxy_path(match.path)
    return None if match.why_not else match.path


async def send_video(match: Match, request: Request) -> Response:
    """The video, or the requested byte range of it, so that a browser can seek."""
    played = played_file(match)
    if played is None:
        raise HTTPException(404, "the copy for browsers is not ready yet")
    if not played.is_file():
        raise HTTPException(404, f"{played} does not exist any more")
    kind = "video/webm" if played.suffix == ".webm" else "video/mp4"
    return FileResponse(played, media_type=kind, headers={"cache-control": "no-cache"})


def find_neighbour(match: Match, query: dict) -> dict:
    """{sec}: timestamp of the frame `frames` after (negative: before) the one at `sec`, clamped."""
    try:
        sec, frames = float(query["sec"]), int(query["frames"])
    except (KeyError, ValueError) as error:
        raise HTTPException(400, "sec must be a number and frames a whole number") from error
    if not math.isfinite(sec):
        raise HTTPException(400, "sec must be finite")
    index = int(np.searchsorted(match.times_sec, sec + 0.001, side="right")) - 1 + frames
    last = len(match.times_sec)  # the index after the last frame stands for the end of the match
    index = min(max(index, 0), last)
    return {"sec": round(float(np.append(match.times_sec, match.end_sec)[index]), 3)}


def marks_in(body: dict, name: str) -> Marks:
    """A list of [start_sec, end_sec] in a request."""
    marks = wanted(body, name, list)
    if not all(isinstance(mark, list) and len(mark) == 2 for mark in marks):
        raise HTTPException(400, f"{name} must be a list of [start_sec, end_sec]")
    return [(seconds_in(start), seconds_in(end)) for start, end in marks]


def seconds_in(value: object) -> float:
    """A finite number in a request; HTTPException otherwise."""
    if type(value) not in (int, float):
        raise HTTPException(400, "seconds must be a number")
    try:
        sec = float(value)
    except OverflowError:  # an integer of 400 digits
        sec = math.inf
    if not math.isfinite(sec):
        raise HTTPException(400, "seconds must be finite")
    return sec


def take_marks(match: Match, body: dict) -> dict:
    """Saves {kind, marks, seen}; kind is a key of WHAT.

    If other marks than seen are there, saves nothing and time is "".
    """
    kind, marks, seen = wanted(body, "kind", str), marks_in(body, "marks"), marks_in(body, "seen")
    if kind not in WHAT:
        raise HTTPException(400, f"kind must be one of {', '.join(WHAT)}")
    if kind == "rally":
        time, now = save_marks(match.marks_path, marks, seen, match.end_sec)
        return {"time": time, "marks": now}
    check_marks(marks, match.end_sec, WHAT[kind])
    path = unknown_path(match.marks_path)
    stored = read_marks(path, what=WHAT[kind])
    marks, seen = (stretches_stored(match, shown, stored) for shown in (marks, seen))
    time, now = save_marks(path, marks, seen, math.inf, what=WHAT[kind])
    return {"time": time, "marks": stretches_shown(match, now)}


def stretches_shown(match: Match, stored: Marks) -> Marks:
    """The unknown stretches inside the match, which imported ones may exceed by hours."""
    end_sec = round(match.end_sec, 3)
    return [(start, min(end, end_sec)) for start, end in stored if start < end_sec]


def stretches_stored(match: Match, shown: Marks, stored: Marks) -> Marks:
    """The stretches as the table holds them: the reverse of stretches_shown.

    An end at the end of the match becomes the later end in the table, if there is one. Stretches
    after the match are kept.
    """
    end_sec = round(match.end_sec, 3)
    last_end = max([end_sec, *(end for start, end in stored if start < end_sec)])
    after = [(start, end) for start, end in stored if start >= end_sec]
    return [(start, last_end if end >= end_sec else end) for start, end in shown] + after


def take_marks_undo(match: Match, body: dict) -> dict:
    """Undoes the changes of {time}, or the last ones of either kind if it is "".

    Returns {kind, marks}: the marks now of the kind that has changed, or null if nothing is left.
    """
    time = wanted(body, "time", str) or None
    tables = {"rally": match.marks_path, "unknown": unknown_path(match.marks_path)}
    times = {kind: last_change_time(path, time) or "" for kind, path in tables.items()}
    kind = max(times, key=times.__getitem__)
    if not times[kind]:
        return {"kind": None, "marks": None}
    marks = undo_marks(tables[kind], times[kind], WHAT[kind])
    if kind == "unknown" and marks is not None:
        marks = stretches_shown(match, marks)
    return {"kind": kind, "marks": marks}


def start_proxy(match: Match) -> dict:
    """Starts making the copy that browsers can play, unless it exists or is being made."""
    with match.starting:
        if match.progress is None and not has_proxy(match.path):
            match.progress, match.error = 0.0, ""
            threading.Thread(target=_make_proxy, args=(match,)).start()
    return read_match(match)


def _make_proxy(match: Match) -> None:
    def on_progress(progress: float) -> None:
        if match.stopped.is_set():
            raise UserError(f"{proxy_path(match.path)} is not finished: the server was stopped")
        match.progress = progress

    try:
        make_proxy(match.path, on_progress)
    except UserError as error:
        match.error = str(error)
    finally:
        match.progress = None
