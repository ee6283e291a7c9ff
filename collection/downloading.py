"""Downloads YouTube videos with pytubefix, whole or not at all. Every error names its remedy.

pytubefix takes a third of a second to import, and local files do not need it. So it is imported in
the functions that use it.
"""

import logging
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from collection.download_errors import BY_HAND, Incomplete, explain, is_transient, words
from collection.sources import is_address, watch_address, youtube_id
from files import UserError, one_writer
from media.frames import FrameError
from media.video import open_video, read_sequence_at

TIMEOUT_SEC = 30.0  # without a response, or without a byte
WAITS_SEC = (2, 8, 30)  # before each retry
ENOUGH_LINES = 360  # more than the 224 that a sequence keeps
MOST_LINES = 720
SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".m4v")  # of files from another downloader
MAX_EMPTY_REQUESTS = 8  # requests in a row without a byte, after which the attempt ends


def find_download(video_id: str, videos_dir: Path) -> Path | None:
    """The file of a video in videos_dir, downloaded here or put there by hand; None without one."""
    names = (f"{video_id}", f"*[[]{video_id}]")  # our name, and the default of yt-dlp
    paths = [p for name in names for suffix in SUFFIXES for p in videos_dir.glob(name + suffix)]
    return next((path for path in paths if path.is_file()), None)


def find_file(video: str | Path, data_dir: Path) -> Path | None:
    """The file of a video; None for an address that is not downloaded yet.

    Raises UserError for addresses of other sites than YouTube.
    """
    if is_address(video):
        return find_download(id_of(video), data_dir / "videos")
    return Path(video)


def id_of(address: str | Path) -> str:
    """The video id in a YouTube address. Raises UserError for other addresses."""
    video_id = youtube_id(address)
    if video_id is None:
        raise UserError(
            f"{address}: not the address of a YouTube video, which ends in an id of 11 characters; "
            "from another site, download the video yourself and pass the file"
        )
    return video_id


def download(video_id: str, videos_dir: Path, client: str | None = None) -> Path:
    """Downloads a video unless its file exists in videos_dir; returns the file.

    A new file is checked: it has the announced size, and its first and last frames decode.
    Transient errors get three retries. Raises UserError with a remedy.
    """
    with one_writer(videos_dir):
        downloaded = find_download(video_id, videos_dir)
        return downloaded or _retry(
            watch_address(video_id), lambda: _download_once(video_id, videos_dir, client)
        )


def look_up(video_id: str, client: str | None = None) -> tuple[float, int]:
    """(length in seconds, size in bytes) of the download. Retries and raises as `download`."""

    def once() -> tuple[float, int]:
        with _pytubefix():
            youtube = _youtube(video_id, client)
            stream = choose_stream(youtube)
            return float(youtube.length), stream.filesize

    return _retry(watch_address(video_id), once)


def playlist_videos(address: str, client: str | None = None) -> list[str]:
    """The watch addresses of a playlist's videos, in order. Retries and raises as `download`."""

    def once() -> list[str]:
        import pytubefix  # noqa: PLC0415, a third of a second

        with _pytubefix():
            chosen = {"client": client} if client else {}
            return list(pytubefix.Playlist(address, **chosen).video_urls)

    videos = [watch_address(youtube_id(url)) for url in _retry(address, once)]
    if not videos:
        raise UserError(f"{address}: the playlist has no videos; is it private?")
    return videos


def check_client(client: str) -> None:
    """Raises UserError if pytubefix has no client of this name."""
    from pytubefix.innertube import InnerTube  # noqa: PLC0415, a third of a second

    try:
        InnerTube(client)
    except KeyError as error:
        raise UserError(
            f"--client {client}: pytubefix has no client of this name; try WEB, ANDROID_VR, IOS or "
            "TV (leave --client out unless the default fails)"
        ) from error


def choose_stream(youtube):
    """The stream to download: progressive mp4, else video-only H.264 mp4 of at most 720 lines.

    Of several, it takes the smallest with at least 360 lines, else the largest. Raises UserError,
    which lists the offered streams, if none is suitable.
    """
    offered = list(youtube.streams)
    plain = [s for s in offered if s.subtype == "mp4" and not s.is_sabr and not s.is_otf]
    fitting = [s for s in plain if s.is_progressive]
    fitting = fitting or [
        s
        for s in plain
        if s.type == "video" and s.video_codec.startswith("avc1") and 0 < _lines(s) <= MOST_LINES
    ]
    if not fitting:
        kinds = {
            f"{s.subtype} {s.resolution or 'sound'} {'+'.join(s.codecs)}"
            + (" by SABR" if s.is_sabr else "")
            for s in offered
        }
        raise UserError(
            f"{watch_address(youtube.video_id)}: no suitable stream (H.264 mp4, at most 720p); "
            f"offered: {', '.join(sorted(kinds)) or 'none'}; try another --client, or {BY_HAND}"
        )
    return min(fitting, key=lambda s: (_lines(s) < ENOUGH_LINES, abs(_lines(s) - ENOUGH_LINES)))


def _lines(stream) -> int:
    digits = (stream.resolution or "0p").removesuffix("p")
    return int(digits) if digits.isdecimal() else 0


def _youtube(video_id: str, client: str | None, on_progress: Callable | None = None):
    import pytubefix  # noqa: PLC0415, a third of a second

    chosen = {"client": client} if client else {}
    address = watch_address(video_id)
    return pytubefix.YouTube(address, on_progress_callback=on_progress, **chosen)


@contextmanager
def _pytubefix() -> Iterator[None]:
    """Sets the time limit for requests that pytubefix sends without one, and silences its log."""
    before = socket.getdefaulttimeout()
    logging.getLogger("pytubefix").setLevel(logging.CRITICAL)
    socket.setdefaulttimeout(TIMEOUT_SEC)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _download_once(video_id: str, videos_dir: Path, client: str | None) -> Path:
    """One attempt, into ID.mp4.part, which is renamed once its size and frames are checked.

    The checks are needed: pytubefix returns without an error after a 404 half-way, and accepts any
    file of the right size.
    """
    part, path = videos_dir / f"{video_id}.mp4.part", videos_dir / f"{video_id}.mp4"

    empty = []  # requests since the last byte

    def show(_stream, chunk: bytes, _remaining: int) -> None:
        bar.update(len(chunk))
        empty.clear()

    with _pytubefix():
        stream = choose_stream(_youtube(video_id, client, show))
        size = stream.filesize
        free = shutil.disk_usage(videos_dir).free
        if free < size:
            raise UserError(
                f"{watch_address(video_id)}: the download takes {size / 1e6:.0f} MB, but only "
                f"{free / 1e6:.0f} MB are free in {videos_dir}: free some space, or choose another "
                "folder with --data"
            )
        try:
            bar = tqdm(desc=video_id, total=size, unit="B", unit_scale=True)
            with bar, _limit_empty_requests(empty):
                stream.download(
                    output_path=str(videos_dir),
                    filename=part.name,
                    skip_existing=False,
                    timeout=TIMEOUT_SEC,
                )
            got = part.stat().st_size
            if got != size:
                raise Incomplete(f"received {got} of {size} bytes")
            _check_video(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


@contextmanager
def _limit_empty_requests(empty: list) -> Iterator[None]:
    """Ends a download after MAX_EMPTY_REQUESTS requests in a row without a byte.

    pytubefix itself would repeat them forever.
    """
    import pytubefix  # noqa: PLC0415, a third of a second

    urlopen = pytubefix.request.urlopen

    def counted(*arguments, **options):
        empty.append(arguments)
        if len(empty) > MAX_EMPTY_REQUESTS:
            raise Incomplete(f"{MAX_EMPTY_REQUESTS} responses in a row were empty")
        return urlopen(*arguments, **options)

    pytubefix.request.urlopen = counted
    try:
        yield
    finally:
        pytubefix.request.urlopen = urlopen


def _check_video(path: Path) -> None:
    """Raises Incomplete unless the first and last frames decode and the length is complete."""
    try:
        with closing(open_video(path)) as video:
            if video.is_truncated:
                raise Incomplete(
                    f"received {video.end_sec:.0f} s of {video.header_sec:.0f} s of video"
                )
            read_sequence_at(video, 0.0, seq_frames=1)
            read_sequence_at(video, float(video.times_sec[-1]), seq_frames=1)
    except (UserError, FrameError) as error:
        reason = error.reason if isinstance(error, FrameError) else error
        raise Incomplete(f"the downloaded file does not decode: {reason}") from error


def _retry(name: str, attempt: Callable):
    """The result of attempt(). Retries after transient errors; turns others into UserError."""
    for wait_sec in (*WAITS_SEC, None):
        try:
            return attempt()
        except UserError:
            raise
        except Exception as error:
            if wait_sec is None or not is_transient(error):
                raise UserError(f"{name}: {explain(error)}") from error
            tqdm.write(f"{name}: {words(error)}; trying again in {wait_sec} s", sys.stderr)
            time.sleep(wait_sec)
