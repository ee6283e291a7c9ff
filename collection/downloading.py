"""YouTube videos onto the disk with pytubefix, whole or not at all; every failure with its remedy.

pytubefix is imported when it is needed: that takes a third of a second, and files need none of it.
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

from collection.download_errors import BY_HAND, Incomplete, explain, may_pass, words
from collection.sources import is_address, watch_address, youtube_id
from files import UserError, one_writer
from media.frames import FrameError
from media.video import open_video, read_sequence_at

TIMEOUT_SEC = 30.0  # without an answer, or without a byte
WAITS_SEC = (2, 8, 30)  # before each further attempt
ENOUGH_LINES = 360  # more than the 224 that a sequence keeps
MOST_LINES = 720
SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".m4v")  # of files that another downloader left
FRUITLESS = 8  # so many requests in a row without a byte are enough


def find_download(video_id: str, videos_dir: Path) -> Path | None:
    """The video's file if it is there already, downloaded here or put there by hand."""
    names = (f"{video_id}", f"*[[]{video_id}]")  # ours, and yt-dlp's own
    paths = [p for name in names for suffix in SUFFIXES for p in videos_dir.glob(name + suffix)]
    return next((path for path in paths if path.is_file()), None)


def find_file(video: str | Path, data_dir: Path) -> Path | None:
    """The file of a video; None for an address whose file is not there yet."""
    if is_address(video):
        return find_download(id_of(video), data_dir / "videos")
    return Path(video)


def id_of(address: str | Path) -> str:
    """The id in a YouTube address; raises UserError, which says what to do, for other addresses."""
    video_id = youtube_id(address)
    if video_id is None:
        raise UserError(
            f"{address}: not the address of a YouTube video, which ends in an id of 11 characters; "
            "of another site, download the video first and pass the file"
        )
    return video_id


def download(video_id: str, videos_dir: Path, client: str | None = None) -> Path:
    """The video's file in videos_dir, downloaded unless it is there; whole, and proved to decode.

    Raises UserError with a remedy. Errors that may pass get three further attempts.
    """
    with one_writer(videos_dir):
        downloaded = find_download(video_id, videos_dir)
        return downloaded or _persist(
            watch_address(video_id), lambda: _download_once(video_id, videos_dir, client)
        )


def look_up(video_id: str, client: str | None = None) -> tuple[float, int]:
    """(seconds, bytes) that downloading the video would bring. Raises UserError as `download`."""

    def once() -> tuple[float, int]:
        with _pytubefix():
            youtube = _youtube(video_id, client)
            stream = choose_stream(youtube)
            return float(youtube.length), stream.filesize

    return _persist(watch_address(video_id), once)


def playlist_videos(address: str, client: str | None = None) -> list[str]:
    """The watch addresses of a playlist's videos, in its order. Raises UserError as `download`."""

    def once() -> list[str]:
        import pytubefix  # noqa: PLC0415, a third of a second

        with _pytubefix():
            chosen = {"client": client} if client else {}
            return list(pytubefix.Playlist(address, **chosen).video_urls)

    videos = [watch_address(youtube_id(url)) for url in _persist(address, once)]
    if not videos:
        raise UserError(f"{address}: no videos in it; is the playlist private?")
    return videos


def check_client(client: str) -> None:
    """Raises UserError unless pytubefix knows a client of this name."""
    from pytubefix.innertube import InnerTube  # noqa: PLC0415, a third of a second

    try:
        InnerTube(client)
    except KeyError as error:
        raise UserError(
            f"--client {client}: pytubefix knows no client of this name; try WEB, ANDROID_VR, IOS "
            "or TV (its own choice is best unless it fails)"
        ) from error


def choose_stream(youtube):
    """The stream to download: progressive mp4, else video-only H.264 mp4 of at most 720 lines.

    Of several, the smallest with at least 360 lines. Raises UserError that lists what is offered.
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
            f"{watch_address(youtube.video_id)}: no suitable stream, that is an H.264 mp4 of up to "
            f"720p; offered: {', '.join(sorted(kinds)) or 'none at all'}. Try another --client, or "
            + BY_HAND
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
    """Where pytubefix asks without a time limit, gives it one; keeps its advice to itself."""
    before = socket.getdefaulttimeout()
    logging.getLogger("pytubefix").setLevel(logging.CRITICAL)
    socket.setdefaulttimeout(TIMEOUT_SEC)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _download_once(video_id: str, videos_dir: Path, client: str | None) -> Path:
    """One whole attempt, into ID.mp4.part, which is renamed once it is found to be right.

    pytubefix ends as if all were well after a 404 in the middle, and takes any file of the right
    size for the video: so both are checked here.
    """
    part, path = videos_dir / f"{video_id}.mp4.part", videos_dir / f"{video_id}.mp4"

    fruitless = []  # the requests since a byte came

    def show(_stream, chunk: bytes, _remaining: int) -> None:
        bar.update(len(chunk))
        fruitless.clear()

    with _pytubefix():
        stream = choose_stream(_youtube(video_id, client, show))
        size = stream.filesize
        free = shutil.disk_usage(videos_dir).free
        if free < size:
            raise UserError(
                f"{watch_address(video_id)}: {size / 1e6:.0f} MB to download, {free / 1e6:.0f} MB "
                f"free in {videos_dir}: free some space, or choose another folder with --data"
            )
        try:
            bar = tqdm(desc=video_id, total=size, unit="B", unit_scale=True)
            with bar, _bounded_asking(fruitless):
                stream.download(
                    output_path=str(videos_dir),
                    filename=part.name,
                    skip_existing=False,
                    timeout=TIMEOUT_SEC,
                )
            got = part.stat().st_size
            if got != size:
                raise Incomplete(f"{got} of {size} bytes came")
            _check_video(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


@contextmanager
def _bounded_asking(fruitless: list) -> Iterator[None]:
    """Ends a download whose requests bring nothing: pytubefix would repeat them for ever."""
    import pytubefix  # noqa: PLC0415, a third of a second

    urlopen = pytubefix.request.urlopen

    def counted(*arguments, **options):
        fruitless.append(arguments)
        if len(fruitless) > FRUITLESS:
            raise Incomplete(f"{FRUITLESS} answers in a row held no byte")
        return urlopen(*arguments, **options)

    pytubefix.request.urlopen = counted
    try:
        yield
    finally:
        pytubefix.request.urlopen = urlopen


def _check_video(path: Path) -> None:
    """Raises Incomplete unless a first and a last frame decode and the pictures reach the end."""
    try:
        with closing(open_video(path)) as video:
            if video.breaks_off:
                raise Incomplete(f"only {video.end_sec:.0f} s of {video.header_sec:.0f} s came")
            read_sequence_at(video, 0.0, seq_frames=1)
            read_sequence_at(video, float(video.times_sec[-1]), seq_frames=1)
    except (UserError, FrameError) as error:
        reason = error.reason if isinstance(error, FrameError) else error
        raise Incomplete(f"what came does not decode: {reason}") from error


def _persist(name: str, attempt: Callable):
    """attempt's result. Tries again after errors that may pass; says every other in one line."""
    for wait_sec in (*WAITS_SEC, None):
        try:
            return attempt()
        except UserError:
            raise
        except Exception as error:
            if wait_sec is None or not may_pass(error):
                raise UserError(f"{name}: {explain(error)}") from error
            tqdm.write(f"{name}: {words(error)}; trying again in {wait_sec} s", sys.stderr)
            time.sleep(wait_sec)
