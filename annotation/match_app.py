"""Marking a whole match: its file, the requests that play it and take marks, the page served."""

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
from annotation.mark_owners import claim_table
from annotation.match_marks import Marks, read_marks, save_marks, undo_marks
from annotation.server import serve
from collection.downloading import find_file
from collection.find_videos import find_in_data
from files import UserError
from media.proxy import has_proxy, make_proxy, offset_sec, proxy_path, why_not_playable
from media.video import open_video


@dataclass
class Match:
    """A match that is being marked."""

    path: Path
    marks_path: Path
    times_sec: np.ndarray  # float64 (N,), when each frame comes on screen; the first is 0
    end_sec: float
    why_not: str  # why a browser would not play the file itself, "" if it would
    proposals: Marks = field(default_factory=list)
    progress: float | None = None  # of the proxy that is being made
    error: str = ""  # why it could not be made
    stopped: threading.Event = field(default_factory=threading.Event)
    starting: threading.Lock = field(default_factory=threading.Lock)


def open_match(path: Path, data_dir: Path, proposals: Path | None = None) -> Match:
    """Reads when a match's frames are, and the marks there are; raises UserError for no video,
    and for marks or proposals that are none."""
    video = open_video(path)
    video.close()
    table = claim_table(data_dir, path)
    read_marks(table, video.end_sec)
    if proposals and not proposals.is_file():
        raise UserError(f"there is no file {proposals}")
    return Match(
        path,
        table,
        video.times_sec,
        video.end_sec,
        why_not_playable(path),
        read_marks(proposals, video.end_sec) if proposals else [],
    )


def find_match(video: str, data_dir: Path) -> Path:
    """The file of a match: a path, a name inside the data folder, or an address collected before.

    Raises UserError for an address that is not downloaded.
    """
    path = find_file(find_in_data(video, data_dir), data_dir)
    if path is None:
        raise UserError(f"{video} is not downloaded yet: collect it first, and it is kept")
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
    """Serves the page for one match; proposals is a table start_sec,end_sec to be confirmed."""
    match = open_match(path, data_dir, proposals)
    work = Labelling(data_dir, "train", class_names, match=path.name)
    try:
        return serve(work, match_routes(match), f"marking {path}", port, browser)
    finally:
        match.stopped.set()


def match_routes(match: Match) -> list[Route]:
    return [
        get("/match", lambda query: read_match(match)),
        get("/neighbour", lambda query: find_neighbour(match, query)),
        Route("/video", partial(send_video, match)),
        post("/marks", lambda body: take_marks(match, body)),
        post("/marks/undo", lambda body: take_marks_undo(match, body)),
        post("/proxy", lambda body: start_proxy(match)),
    ]


def read_match(match: Match) -> dict:
    """All that the page shows of the match; `offset_sec` is what its player's time is ahead."""
    marks = read_marks(match.marks_path)
    played = played_file(match)
    return {
        "name": match.path.name,
        "table": str(match.marks_path),
        "end_sec": match.end_sec,
        "marks": marks,
        "proposals": [p for p in match.proposals if all(p[1] <= s or e <= p[0] for s, e in marks)],
        "why_not": match.why_not,
        "ready": played is not None,
        "offset_sec": offset_sec(played) if played else 0.0,
        "progress": match.progress,
        "error": match.error,
    }


def played_file(match: Match) -> Path | None:
    """What the browser gets: the proxy if there is one, or the file itself; None if neither."""
    if has_proxy(match.path):
        return proxy_path(match.path)
    return None if match.why_not else match.path


async def send_video(match: Match, request: Request) -> Response:
    """The file, or the part of it that is asked for, so that a browser can jump about in it."""
    played = played_file(match)
    if played is None:
        raise HTTPException(404, "there is no copy yet that browsers play")
    if not played.is_file():
        raise HTTPException(404, f"{played} is gone")
    kind = "video/webm" if played.suffix == ".webm" else "video/mp4"
    return FileResponse(played, media_type=kind, headers={"cache-control": "no-cache"})


def find_neighbour(match: Match, query: dict) -> dict:
    """{sec}: when the frame comes on screen that is so many `frames` from that on screen at sec."""
    try:
        sec, frames = float(query["sec"]), int(query["frames"])
    except (KeyError, ValueError) as error:
        raise HTTPException(400, "sec should be a number, frames a whole one") from error
    if not math.isfinite(sec):
        raise HTTPException(400, "sec should be finite")
    index = int(np.searchsorted(match.times_sec, sec + 0.001, side="right")) - 1 + frames
    last = len(match.times_sec)  # one beyond the last frame: the end of the match
    index = min(max(index, 0), last)
    return {"sec": round(float(np.append(match.times_sec, match.end_sec)[index]), 3)}


def marks_in(body: dict, name: str) -> Marks:
    """A list of [start_sec, end_sec] in a request."""
    marks = wanted(body, name, list)
    if not all(isinstance(mark, list) and len(mark) == 2 for mark in marks):
        raise HTTPException(400, f"{name} should be a list of [start_sec, end_sec]")
    return [(seconds_in(start), seconds_in(end)) for start, end in marks]


def seconds_in(value: object) -> float:
    """A finite number of a request."""
    if type(value) not in (int, float):
        raise HTTPException(400, "seconds should be a number")
    try:
        sec = float(value)
    except OverflowError:  # a whole number of 400 digits
        sec = math.inf
    if not math.isfinite(sec):
        raise HTTPException(400, "seconds should be finite")
    return sec


def take_marks(match: Match, body: dict) -> dict:
    """Saves {marks, seen}; where others were found than seen, nothing is saved and time is ""."""
    marks, seen = marks_in(body, "marks"), marks_in(body, "seen")
    time, now = save_marks(match.marks_path, marks, seen, match.end_sec)
    return {"time": time, "marks": now}


def take_marks_undo(match: Match, body: dict) -> dict:
    """Takes back {time}, or the last changes where it is ""; marks is null when none is left."""
    return {"marks": undo_marks(match.marks_path, wanted(body, "time", str) or None)}


def start_proxy(match: Match) -> dict:
    """Begins to make the copy that browsers play, unless it is there or being made."""
    with match.starting:
        if match.progress is None and not has_proxy(match.path):
            match.progress, match.error = 0.0, ""
            threading.Thread(target=_make_proxy, args=(match,)).start()
    return read_match(match)


def _make_proxy(match: Match) -> None:
    def on_progress(progress: float) -> None:
        if match.stopped.is_set():
            raise UserError(f"{proxy_path(match.path)}: not finished, because the server was ended")
        match.progress = progress

    try:
        make_proxy(match.path, on_progress)
    except UserError as error:
        match.error = str(error)
    finally:
        match.progress = None
