"""A stand-in for YouTube: a media server on 127.0.0.1 that works or fails, and its videos.

    with media_server(data) as server:
        youtube = stand_in({"AAAAAAAAAAA": [server.offer("404 late"), server.offer()]})
        monkeypatch.setattr("pytubefix.YouTube", youtube)

The first attempt at that video then gets a 404 half-way; all later attempts get the whole video.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytubefix
from pytubefix.monostate import Monostate

MOST_REQUESTS = 100  # then it answers 410, to end any loop
CUT_BYTES = 500
WAIT_SEC = 2  # the longest wait before a connection is closed
KINDS = {  # {itag: MIME type}; other itags are video-only H.264
    17: 'video/3gpp; codecs="mp4v.20.3, mp4a.40.2"',
    18: 'video/mp4; codecs="avc1.42001E, mp4a.40.2"',
    22: 'video/mp4; codecs="avc1.64001F, mp4a.40.2"',
    59: 'video/mp4; codecs="avc1.4D401F, mp4a.40.2"',
    43: 'video/webm; codecs="vp8.0, vorbis"',
    140: 'audio/mp4; codecs="mp4a.40.2"',
    251: 'audio/webm; codecs="opus"',
    243: 'video/webm; codecs="vp9"',
    396: 'video/mp4; codecs="av01.0.04M.08"',
}


def format_of(itag: int, url: str = "http://127.0.0.1/?", size: int = 1, **more) -> dict:
    """A stream as YouTube's answer describes it; size 0 stands for an unknown size."""
    return {
        "itag": itag,
        "url": url,
        "mimeType": KINDS.get(itag, 'video/mp4; codecs="avc1.4d401e"'),
        "contentLength": str(size),
        "bitrate": 500_000,
        "approxDurationMs": "60000",
        "lastModified": "1700000000000000",
        "is_otf": False,
        **more,
    }


class MediaServer(ThreadingHTTPServer):
    """Serves `files`; `asked` lists the requests, as "HEAD" or "GET 0-4095"."""

    daemon_threads = True

    def __init__(self, data: bytes):
        super().__init__(("127.0.0.1", 0), Answers)
        self.files, self.asked, self.closing = [data], [], threading.Event()

    def offer(
        self, mode: str = "ok", data: bytes | None = None, size: int | None = None, itag: int = 18
    ) -> list[dict]:
        """The streams of one attempt: one stream of this server's data, or of `data`.

        `size` is the size to announce (default: the true one). Modes:
        ok: the data, as YouTube serves it;
        403, or another code: this error for every request;
        404 late, or another code: this error from the second range on;
        silent: no answer; stall: half a body, then nothing;
        cut: each connection closes after CUT_BYTES of its body;
        nothing: from the second range on, the connection closes before the body;
        empty: from the second range on, empty bodies;
        no length: no Content-Length, the connection closes at the end.
        """
        if data is not None:
            self.files.append(data)
        place = len(self.files) - 1 if data is not None else 0
        url = f"http://127.0.0.1:{self.server_port}/{place}/{quote(mode)}?expire=1"
        return [format_of(itag, url, len(self.files[place]) if size is None else size)]

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # pytubefix closes most connections early
            super().handle_error(request, client_address)


class Answers(BaseHTTPRequestHandler):
    timeout = 5

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        place, mode = unquote(parts.path).strip("/").split("/")
        asked = parse_qs(parts.query).get("range", ["0-99999999999"])[0]
        first, last = map(int, asked.split("-"))
        self.server.asked.append("HEAD" if self.command == "HEAD" else f"GET {asked}")
        code = mode.removesuffix(" late")
        if len(self.server.asked) > MOST_REQUESTS:
            return self.send_error(410)
        if code.isdecimal() and (first or code == mode):
            return self.send_error(int(code))
        if mode == "silent":
            return self._wait()
        body = self.server.files[int(place)][first : last + 1]
        if mode == "empty" and first:
            body = b""
        self.send_response(200)
        if mode != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD" or mode == "nothing" and first:
            return None
        ends = {"stall": len(body) // 2, "cut": CUT_BYTES}
        self.wfile.write(body[: ends.get(mode)])
        return self._wait() if mode == "stall" else None

    def _wait(self) -> None:
        self.server.closing.wait(WAIT_SEC)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def media_server(data: bytes) -> Iterator[MediaServer]:
    """Serves data until the with block ends."""
    with mock.patch.dict(os.environ, no_proxy="127.0.0.1"), MediaServer(data) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def stand_in(answers: dict[str, list], length_sec: int = 60) -> type:
    """A class to replace pytubefix.YouTube; its `made` lists the objects created.

    The k-th object of a video answers with answers[id][k], or with the last answer if there are
    fewer: streams as `MediaServer.offer` gives them, or an error to raise.
    """

    class YouTube:
        made = []

        def __init__(self, url, client="its own choice", on_progress_callback=None):
            self.video_id = pytubefix.extract.video_id(url)
            self.watch_url = f"https://youtube.com/watch?v={self.video_id}"
            self.client, self.on_progress = client, on_progress_callback
            before = sum(other.video_id == self.video_id for other in self.made)
            self.answer = answers[self.video_id][: before + 1][-1]
            self.made.append(self)

        @property
        def streams(self):
            if isinstance(self.answer, BaseException):
                raise self.answer
            state = Monostate(on_progress=self.on_progress, on_complete=None, youtube=self)
            return pytubefix.StreamQuery(
                [
                    pytubefix.Stream(
                        stream={**stream, "url": f"{stream['url']}&attempt={len(self.made)}"},
                        monostate=state,
                        po_token=None,
                        video_playback_ustreamer_config=None,
                    )
                    for stream in self.answer
                ]
            )

        @property
        def length(self):
            if isinstance(self.answer, BaseException):
                raise self.answer
            return length_sec

    return YouTube
