"""The server behind labeling.html: sends sequences and saves answers, for local browsers only.

Requests carry names, never paths. Only names that a scan of the data folder found are served.
"""

import json
import random
import secrets
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotation import labels
from annotation.agreement import REPEAT_SHARE, measure_agreement, pick_repeat, save_repeat
from annotation.labels import Answer
from annotation.suggestions import WHY_TRAIN_ONLY, in_doubt_first, most_disputed_first
from collection.sources import read_sources
from files import SPLITS, UserError
from media.frames import FrameError, count_frames, read_bytes
from web.page import read_page

PAGE = Path(__file__).parent / "pages" / "labeling.html"
HOSTS = ["127.0.0.1", "localhost"]
OWN_HEADER = "x-labeling"  # forms cannot send it; scripts of other sites need our permission
MOST_BYTES = 1_000_000  # in a request; the marks of a long match take 20 KB
MOST_ANSWERS = 1000
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@dataclass
class Labelling:
    """What the server shows; `names` holds the sequences that the last scan of each split found."""

    data_dir: Path
    split: str = "train"
    class_names: tuple[str, str] = labels.CLASS_NAMES
    order: str = "name"  # or "uncertain", "review"
    probs: dict[str, float] = field(default_factory=dict)  # of class 1, by sequence of train
    match: str = ""  # name of the video file, when marking a match
    names: dict[str, set[str]] = field(default_factory=dict)
    rng: random.Random = field(default_factory=random.Random)

    def split_dir(self, split: object) -> Path:
        if split not in SPLITS:
            raise HTTPException(400, f"split must be one of {', '.join(SPLITS)}")
        return self.data_dir / split

    def probs_of(self, split_dir: Path) -> dict[str, float]:
        """{sequence: probability of class 1}; empty for other splits than train."""
        return self.probs if split_dir.name == "train" else {}

    def sequence(self, split: object, name: object) -> Path:
        """The folder of a sequence; HTTPException unless the last scan of its split found it."""
        split_dir = self.split_dir(split)
        if split not in self.names:
            self.names[split] = set(labels.list_sequences(split_dir)[0])
        if not isinstance(name, str) or name not in self.names[split]:
            raise HTTPException(404, f"{split} has no sequence {str(name)[:80]!r}")
        return split_dir / "sequences" / name


def build_app(work: Labelling, more_routes: Sequence[Route] = ()) -> Starlette:
    """The whole server: the page, its routes, and the checks on who may send requests."""
    return Starlette(
        routes=[
            Route("/", show_page),
            get("/state", partial(read_state, work)),
            get("/frames", partial(send_frames, work)),
            get("/repeat", partial(next_repeat, work)),
            get("/last", lambda query: labels.last_answer(work.split_dir(query.get("split")))),
            get(
                "/agreement",
                lambda query: asdict(measure_agreement(work.split_dir(query.get("split")))),
            ),
            post("/labels", partial(take_labels, work)),
            post("/repeat", partial(take_repeat, work)),
            post("/undo", partial(take_undo, work)),
            post("/flag", partial(take_flag, work)),
            *more_routes,
        ],
        middleware=[
            Middleware(with_safe_headers),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(same_site_only),
        ],
        exception_handlers={
            HTTPException: tell_http_error,
            UserError: tell_user_error,
            FrameError: tell_frame_error,
        },
    )


def get(path: str, answer: Callable[[dict], dict | Response]) -> Route:
    """A GET route; `answer` runs in a thread and takes the query parameters."""

    async def endpoint(request: Request) -> Response:
        result = await run_in_threadpool(answer, dict(request.query_params))
        return result if isinstance(result, Response) else JSONResponse(result)

    return Route(path, endpoint)


def post(path: str, answer: Callable[[dict], dict]) -> Route:
    """A POST route; `answer` runs in a thread and takes a JSON object of at most MOST_BYTES."""

    async def endpoint(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "the content type must be application/json")
        data = bytearray()
        try:
            async for chunk in request.stream():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise HTTPException(413, f"the request body is longer than {MOST_BYTES} bytes")
        except ClientDisconnect as error:
            raise HTTPException(400, "the request body is incomplete") from error
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "the request body is not valid JSON") from error
        if not isinstance(body, dict):
            raise HTTPException(400, "the request body must be a JSON object")
        return JSONResponse(await run_in_threadpool(answer, body))

    return Route(path, endpoint, methods=["POST"])


def same_site_only(app: ASGIApp) -> ASGIApp:
    """Refuses requests from pages of other sites, and writes without OWN_HEADER.

    Links from other sites to the page itself still work.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = Headers(scope=scope)
        own = f"http://{headers.get('host')}"
        site = headers.get("sec-fetch-site", "none")
        link = scope["path"] == "/" and headers.get("sec-fetch-dest") == "document"
        foreign = (
            headers.get("origin", own) != own
            or (site not in ("same-origin", "none") and not link)
            or (scope["method"] not in ("GET", "HEAD") and OWN_HEADER not in headers)
        )
        if foreign:
            refusal = JSONResponse({"error": "only the labelling page may send this request"}, 403)
            return await refusal(scope, receive, send)
        return await app(scope, receive, send)

    return guarded


def with_safe_headers(app: ASGIApp) -> ASGIApp:
    """Adds headers: no access from other sites, no guessing of content types, no caching."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                sent["x-content-type-options"] = "nosniff"
                sent["cross-origin-resource-policy"] = "same-origin"
                sent.setdefault("cache-control", "no-store")
            await send(message)

        await app(scope, receive, send_safely)

    return wrapped


async def tell_http_error(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def tell_user_error(request: Request, error: UserError) -> Response:
    return JSONResponse({"error": str(error)}, 500)


async def tell_frame_error(request: Request, error: FrameError) -> Response:
    return JSONResponse({"error": error.reason}, 500)


async def show_page(request: Request) -> Response:
    nonce = secrets.token_urlsafe(16)
    page = read_page(PAGE).replace("NONCE", nonce)
    return HTMLResponse(page, headers={"content-security-policy": POLICY.format(nonce=nonce)})


def wanted(body: dict, name: str, kind: type) -> Any:
    """A value of a request; HTTPException unless its type is exactly `kind` (True is no int)."""
    if type(body.get(name)) is not kind:
        raise HTTPException(400, f"{name} must be of type {kind.__name__}")
    return body[name]


def label_in(body: dict) -> str:
    label = wanted(body, "label", str)
    if label not in ("", "0", "1"):
        raise HTTPException(400, 'label must be "0", "1" or "" (no label)')
    return label


def read_state(work: Labelling, query: dict) -> dict:
    """All that the page shows of a split; `names` is in the order of labelling."""
    if work.match:
        return {"match": work.match}
    split_dir = work.split_dir(query.get("split") or work.split)
    names, problems = labels.list_sequences(split_dir)
    there = work.names[split_dir.name] = set(names)
    known = labels.read_labels(split_dir)
    missing = len(known.keys() - there)
    if missing:
        rows = "1 row has" if missing == 1 else f"{missing} rows have"
        problems.append(f"{split_dir.name}.csv: {rows} no folder of frames (kept)")
    probs = work.probs_of(split_dir)
    if work.order == "uncertain" and probs:
        names = in_doubt_first(names, known, probs)
    elif work.order == "review":
        names = most_disputed_first(names, known, probs)
    if work.probs and not probs:
        problems.append(f"sorted by name; {WHY_TRAIN_ONLY}")
    rates = read_sources(split_dir)[["sequence", "fps"]].itertuples(index=False, name=None)
    counts = Counter(count_frames(split_dir / "sequences" / name) for name in names[:9])
    return {
        "match": "",
        "repeat_every": round(1 / REPEAT_SHARE),
        "split": split_dir.name,
        "splits": SPLITS,
        "classes": work.class_names,
        "order": work.order,
        "names": names,
        "labels": {name: known[name] for name in names if name in known},
        "flags": [name for name in labels.read_flags(split_dir) if name in there],
        "fps": {name: float(fps) for name, fps in rates if float(fps) != 30},
        "seq_frames": counts.most_common(1)[0][0] if counts else 30,
        "problems": problems,
    }


def send_frames(work: Labelling, query: dict) -> Response:
    """A sequence's encoded frames in one response.

    First the number of frames, then the size of each in bytes, all uint32 little-endian; then the
    bytes of each frame.
    """
    folder = work.sequence(query.get("split"), query.get("sequence"))
    frames, _ = read_bytes(folder, None)
    if not frames:
        raise FrameError(folder, "the folder has no frames")
    sizes = struct.pack(f"<{len(frames) + 1}I", len(frames), *map(len, frames))
    return Response(sizes + b"".join(frames), media_type="application/octet-stream")


def take_labels(work: Labelling, body: dict) -> dict:
    """Saves {split, answers: [{sequence, label, seen}]}, then sends the model's probabilities."""
    split_dir = work.split_dir(body.get("split"))
    given = wanted(body, "answers", list)
    if not 0 < len(given) <= MOST_ANSWERS or not all(isinstance(each, dict) for each in given):
        raise HTTPException(400, f"answers must be a list of 1 to {MOST_ANSWERS} objects")
    answers = [
        Answer(wanted(each, "sequence", str), label_in(each), wanted(each, "seen", str))
        for each in given
    ]
    for answer in answers:
        work.sequence(split_dir.name, answer.sequence)
    if len({answer.sequence for answer in answers}) < len(answers):
        raise HTTPException(400, "answers holds the same sequence twice")
    time, conflicts = labels.save_labels(split_dir, answers)
    probs = work.probs_of(split_dir)
    shown = {a.sequence: probs[a.sequence] for a in answers if a.sequence in probs}
    return {"time": time, "conflicts": conflicts, "probs": shown}


def take_repeat(work: Labelling, body: dict) -> dict:
    """Saves {split, sequence, label}: a blind second answer."""
    folder = work.sequence(body.get("split"), body.get("sequence"))
    if not label_in(body):
        raise HTTPException(400, 'the label of a second answer must be "0" or "1"')
    return {"time": save_repeat(folder.parent.parent, folder.name, body["label"])}


def next_repeat(work: Labelling, query: dict) -> dict:
    """The sequence to ask a second time now; null if none is due."""
    name = pick_repeat(work.split_dir(query.get("split")), work.rng)
    return {"sequence": name if name in work.names.get(query["split"], ()) else None}


def take_undo(work: Labelling, body: dict) -> dict:
    """Undoes the changes of {split, time}, or the last ones if time is ""."""
    split_dir = work.split_dir(body.get("split"))
    changes = labels.undo(split_dir, wanted(body, "time", str) or None)
    return {"changes": [dict(zip(("sequence", "label", "done"), c, strict=True)) for c in changes]}


def take_flag(work: Labelling, body: dict) -> dict:
    """Saves {split, sequence, flagged}."""
    folder = work.sequence(body.get("split"), body.get("sequence"))
    labels.save_flag(folder.parent.parent, folder.name, wanted(body, "flagged", bool))
    return {}
