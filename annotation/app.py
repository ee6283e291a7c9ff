"""The server behind labeling.html: sequences out, answers in, for this machine's browser alone.

Requests carry names, never paths, and only names that a scan of the folder found are served.
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
from annotation.suggestions import WHY_TRAIN_ALONE, in_doubt_first, most_disputed_first
from collection.sources import read_sources
from files import SPLITS, UserError
from media.frames import FrameError, count_frames, read_bytes
from web.page import read_page

PAGE = Path(__file__).parent / "pages" / "labeling.html"
HOSTS = ["127.0.0.1", "localhost"]
OWN_HEADER = "x-labeling"  # a form cannot send it, a script of another site not without asking
MOST_BYTES = 1_000_000  # of a request: the marks of a long match take 20 KB
MOST_ANSWERS = 1000
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@dataclass
class Labelling:
    """What the server shows; `names` are those of each split's last scan."""

    data_dir: Path
    split: str = "train"
    class_names: tuple[str, str] = labels.CLASS_NAMES
    order: str = "name"  # or "uncertain", "review"
    probs: dict[str, float] = field(default_factory=dict)  # of train's sequences
    match: str = ""  # the file's name, where a match is marked
    names: dict[str, set[str]] = field(default_factory=dict)
    rng: random.Random = field(default_factory=random.Random)

    def split_dir(self, split: object) -> Path:
        if split not in SPLITS:
            raise HTTPException(400, f"split should be one of {', '.join(SPLITS)}")
        return self.data_dir / split

    def probs_of(self, split_dir: Path) -> dict[str, float]:
        """What the model says of a split's sequences: nothing but of train's."""
        return self.probs if split_dir.name == "train" else {}

    def sequence(self, split: object, name: object) -> Path:
        """The folder of a sequence that the last scan of its split found."""
        split_dir = self.split_dir(split)
        if split not in self.names:
            self.names[split] = set(labels.list_sequences(split_dir)[0])
        if not isinstance(name, str) or name not in self.names[split]:
            raise HTTPException(404, f"{split} has no sequence {str(name)[:80]!r}")
        return split_dir / "sequences" / name


def build_app(work: Labelling, more_routes: Sequence[Route] = ()) -> Starlette:
    """The whole server: the page, its routes, and who is let in."""
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
    """A route that answers a query in a thread of its own."""

    async def endpoint(request: Request) -> Response:
        result = await run_in_threadpool(answer, dict(request.query_params))
        return result if isinstance(result, Response) else JSONResponse(result)

    return Route(path, endpoint)


def post(path: str, answer: Callable[[dict], dict]) -> Route:
    """A route that takes a JSON object, of no more than MOST_BYTES."""

    async def endpoint(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "the body should be application/json")
        data = bytearray()
        try:
            async for chunk in request.stream():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise HTTPException(413, f"the body is longer than {MOST_BYTES} bytes")
        except ClientDisconnect as error:
            raise HTTPException(400, "the body ended too soon") from error
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "the body is not JSON") from error
        if not isinstance(body, dict):
            raise HTTPException(400, "the body should be an object")
        return JSONResponse(await run_in_threadpool(answer, body))

    return Route(path, endpoint, methods=["POST"])


def same_site_only(app: ASGIApp) -> ASGIApp:
    """Lets nothing in that a page of another site asks for, and no write without OWN_HEADER.

    A link to the page itself may be followed from anywhere.
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
            refusal = JSONResponse({"error": "only the labelling page itself may ask this"}, 403)
            return await refusal(scope, receive, send)
        return await app(scope, receive, send)

    return guarded


def with_safe_headers(app: ASGIApp) -> ASGIApp:
    """Tells browsers to show no answer to other sites, guess no types and keep nothing."""

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
    """A value of a request; HTTPException unless it is of just this type (True is no int)."""
    if type(body.get(name)) is not kind:
        raise HTTPException(400, f"{name} should be of type {kind.__name__}")
    return body[name]


def label_in(body: dict) -> str:
    label = wanted(body, "label", str)
    if label not in ("", "0", "1"):
        raise HTTPException(400, 'label should be "0", "1", or "" for none')
    return label


def read_state(work: Labelling, query: dict) -> dict:
    """All that the page shows of a split, its sequences in the order in which to label them."""
    if work.match:
        return {"match": work.match}
    split_dir = work.split_dir(query.get("split") or work.split)
    names, problems = labels.list_sequences(split_dir)
    there = work.names[split_dir.name] = set(names)
    known = labels.read_labels(split_dir)
    missing = len(known.keys() - there)
    if missing:
        problems.append(f"{missing} rows of {split_dir.name}.csv have no folder; they are kept")
    probs = work.probs_of(split_dir)
    if work.order == "uncertain" and probs:
        names = in_doubt_first(names, known, probs)
    elif work.order == "review":
        names = most_disputed_first(names, known, probs)
    if work.probs and not probs:
        problems.append(f"in the order of their numbers, without the model: {WHY_TRAIN_ALONE}")
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
    """A sequence's encoded frames in one answer: how many, the bytes of each, then each; the
    numbers are uint32, little-endian."""
    folder = work.sequence(query.get("split"), query.get("sequence"))
    frames, _ = read_bytes(folder, None)
    if not frames:
        raise FrameError(folder, "there are no frames in it")
    sizes = struct.pack(f"<{len(frames) + 1}I", len(frames), *map(len, frames))
    return Response(sizes + b"".join(frames), media_type="application/octet-stream")


def take_labels(work: Labelling, body: dict) -> dict:
    """Saves {split, answers: [{sequence, label, seen}]}, and only then says what the model says."""
    split_dir = work.split_dir(body.get("split"))
    given = wanted(body, "answers", list)
    if not 0 < len(given) <= MOST_ANSWERS or not all(isinstance(each, dict) for each in given):
        raise HTTPException(400, f"answers should be 1 to {MOST_ANSWERS} objects")
    answers = [
        Answer(wanted(each, "sequence", str), label_in(each), wanted(each, "seen", str))
        for each in given
    ]
    for answer in answers:
        work.sequence(split_dir.name, answer.sequence)
    if len({answer.sequence for answer in answers}) < len(answers):
        raise HTTPException(400, "a sequence is in answers twice")
    time, conflicts = labels.save_labels(split_dir, answers)
    probs = work.probs_of(split_dir)
    shown = {a.sequence: probs[a.sequence] for a in answers if a.sequence in probs}
    return {"time": time, "conflicts": conflicts, "probs": shown}


def take_repeat(work: Labelling, body: dict) -> dict:
    """Saves {split, sequence, label}, a second answer."""
    folder = work.sequence(body.get("split"), body.get("sequence"))
    if not label_in(body):
        raise HTTPException(400, 'the label of a repeat should be "0" or "1"')
    return {"time": save_repeat(folder.parent.parent, folder.name, body["label"])}


def next_repeat(work: Labelling, query: dict) -> dict:
    """The sequence to be shown once more now, if one is due."""
    name = pick_repeat(work.split_dir(query.get("split")), work.rng)
    return {"sequence": name if name in work.names.get(query["split"], ()) else None}


def take_undo(work: Labelling, body: dict) -> dict:
    """Takes back {split, time}, or the last changes where time is ""."""
    split_dir = work.split_dir(body.get("split"))
    changes = labels.undo(split_dir, wanted(body, "time", str) or None)
    return {"changes": [dict(zip(("sequence", "label", "done"), c, strict=True)) for c in changes]}


def take_flag(work: Labelling, body: dict) -> dict:
    """Saves {split, sequence, flagged}."""
    folder = work.sequence(body.get("split"), body.get("sequence"))
    labels.save_flag(folder.parent.parent, folder.name, wanted(body, "flagged", bool))
    return {}
