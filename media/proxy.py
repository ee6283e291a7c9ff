"""What a browser plays for a match: the file itself, or its proxy, a small H.264 copy beside it.

A proxy has the times of video.open_video: its first frame is at 0 s, and each later frame comes on
screen as long after it as in the file. `offset_sec` is the time of the first frame in a file's own
timeline; it is 0 for a proxy.

Imports no torch. An hour of 1080p takes about 13 minutes on two cores.
"""

import glob
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

import av
import imageio_ffmpeg

from files import UserError
from media.video import UNREADABLE, Video, open_container, open_video

PLAYED = {  # container: (video, audio codecs) that Chrome, Firefox and Safari all play in it
    "mp4": ({"h264"}, {"aac", "mp3"}),
    "webm": ({"vp8", "vp9"}, {"opus", "vorbis"}),
}
SUFFIX = ".proxy.mp4"  # added to the whole name of the file
LATE_SEC = 0.1  # Chromium cannot seek to the last x s of an MP4 that begins at x s
WORDS = {
    "mpegts": "MPEG-TS",
    "mpeg4": "MPEG-4 part 2",
    "mpeg1video": "MPEG-1",
    "mpeg2video": "MPEG-2",
    "ac3": "AC-3",
    "eac3": "E-AC-3",
}
HEAD_FRAMES = 64  # the first frame on screen is one of these: H.264 reorders 16 at most
TIMESCALE = 90000  # ticks per second in a proxy; a frame lasts a whole number at all common rates
HEIGHT = 480
LEFT_SEC = 600  # a partial copy that nobody writes to for this long is a leftover


def why_not_playable(path: str | Path) -> str:
    """Why some browser does not play this video file, such as "HEVC video"; "" if all play it.

    Reads only the beginning of the file. Raises UserError if it is missing, not a video, or has no
    video stream.
    """
    container, pictures, _ = open_container(Path(path))
    with container:
        kind = _container_kind(container, path)
        if kind not in PLAYED:
            return f"the {kind} container"
        for stream, played in zip([pictures, *container.streams.audio], PLAYED[kind], strict=False):
            if (codec := _codec(stream)) not in played:
                return f"{_words(codec)} {'video' if stream is pictures else 'audio'}"
        if (colours := _colours(pictures.codec_context.format)) != "4:2:0":
            return f"{colours} video"
        streams = [pictures, *container.streams.audio]
        begin_sec = min(float((s.start_time or 0) * s.time_base) for s in streams)
        return f"timestamps that begin at {begin_sec:.2f} s" if begin_sec > LATE_SEC else ""


def offset_sec(path: str | Path) -> float:
    """What to subtract from a <video>'s currentTime to get seconds since the first shown frame.

    For a proxy or a playable file. HTML keeps a file's own timeline, so this is the time of the
    first frame in the file, with edit lists applied. Chromium's mediaTime agrees. Raises UserError
    as why_not_playable, and if no frame has a timestamp.
    """
    container, pictures, _ = open_container(Path(path))
    with container:
        try:
            packets = container.demux(pictures)
            shown = (p.pts for p in packets if p.pts is not None and not p.is_discard)
            first_pts = min(islice(shown, HEAD_FRAMES), default=None)
        except UNREADABLE:
            first_pts = None
        if first_pts is None:
            raise UserError(
                f"{path}: its first frames have no timestamps; rewrite the file with them: "
                "ffmpeg -i FILE -c copy NEW.mp4"
            )
        return float(first_pts * pictures.time_base)


def proxy_path(path: str | Path) -> Path:
    """The path of a file's proxy. It contains the suffix: final.mkv and final.avi have one each."""
    path = Path(path)
    return path.with_name(path.name + SUFFIX)


def has_proxy(path: str | Path) -> bool:
    """Whether the file has a finished proxy of its current content.

    make_proxy gives the proxy the modification time that the file had at the start, then renames
    it into place. So equal times mean that the proxy is complete and the file has not been written
    to or replaced, not even by an older file. ("Newer than the file" would not be enough: a
    replaced file may bring an old time.) A proxy copied without its times is made again.
    """
    try:
        return proxy_path(path).stat().st_mtime_ns == Path(path).stat().st_mtime_ns
    except OSError:
        return False


def make_proxy(path: str | Path, on_progress: Callable[[float], None]) -> Path:
    """Makes a video file's proxy and returns its path; on_progress gets the share done, 0 to 1.

    Raises UserError if the file is not a video, or the proxy cannot be made or written. Any
    exception, also one raised by on_progress, ends ffmpeg and leaves no partial file; an older
    proxy stays.
    """
    path, proxy = Path(path), proxy_path(path)
    writer = f"{os.getpid()}.{threading.get_native_id()}"
    temporary = path.with_name(f".{proxy.name}.{writer}.part")
    _remove_leftovers(path)
    with closing(open_video(path)) as video:
        command = _command(video, temporary)
    try:
        changed_ns = path.stat().st_mtime_ns
        try:
            run_ffmpeg(command, lambda done_sec: on_progress(min(done_sec / video.end_sec, 1.0)))
            os.utime(temporary, ns=(changed_ns, changed_ns))
            os.replace(temporary, proxy)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "output", None) or getattr(error, "strerror", None) or error
        raise UserError(
            f"{path}: could not make a copy that browsers play ({reason}); check that "
            f"{path.parent} is writable and has free space, or convert the video to H.264 in MP4 "
            "yourself and use that file"
        ) from error
    on_progress(1.0)
    return proxy


def _remove_leftovers(path: Path) -> None:
    """Removes partial copies that killed processes left; a running ffmpeg writes all the time."""
    for part in path.parent.glob(f".{glob.escape(proxy_path(path).name)}.*.part"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > LEFT_SEC:
                part.unlink()


def _command(video: Video, target: Path) -> list[str]:
    """The ffmpeg command that writes a proxy to target.

    Video and audio are shifted so that the first frame is at 0, and the first frame that decodes
    is put at 0 as well. Otherwise B-frames or a late first frame would need an edit list in MP4,
    and browsers read edit lists differently. Audio before the first frame is dropped; silence
    fills the time before audio that begins later.
    """
    streams = [video.stream, *(s for s in video.container.streams.audio if s.codec_context)][:2]
    first_sec = float(video.pts[0] * video.stream.time_base)
    since_first = f"round(PTS-({first_sec!r})/TB)"
    height = f"2*max(1,trunc(min(ih,{HEIGHT})/2))"
    pictures = f"setpts='if(eq(N,0),0,{since_first})',scale=-2:'{height}',format=yuv420p"
    every_sec = "expr:isnan(prev_forced_t)+gte(t,prev_forced_t+1)"
    return [
        *[imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-loglevel", "error", "-nostats"],
        *["-progress", "pipe:1", "-max_error_rate", "1", "-fflags", "+genpts", "-copyts"],
        *["-i", f"file:{video.path}", "-map_metadata", "-1", "-map_chapters", "-1"],
        *(word for stream in streams for word in ("-map", f"0:{stream.index}")),
        *["-vf", pictures, "-fps_mode", "passthrough", "-enc_time_base:v", f"1:{TIMESCALE}"],
        *["-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-bf", "0"],
        *["-force_key_frames", every_sec, "-video_track_timescale", str(TIMESCALE)],
        *["-af", f"asetpts='{since_first}',aresample=async=1:first_pts=0"],
        *["-c:a", "aac", "-b:a", "96k", "-ac", "2", "-ar", "48000"],
        *["-movflags", "+faststart", "-f", "mp4", f"file:{target}"],
    ]


def run_ffmpeg(
    command: list[str], on_time: Callable[[float], None], folder: Path | None = None
) -> None:
    """Runs ffmpeg, in a folder if one is given; on_time gets the seconds written so far.

    Raises CalledProcessError, whose output is the last line that ffmpeg printed as an error.
    """
    complaint = ""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
    ) as process:
        try:
            for line in map(str.strip, process.stdout):
                if time := re.fullmatch(r"out_time_us=(\d+)", line):
                    on_time(int(time[1]) / 1e6)
                elif line and not re.fullmatch(r"\w+=.*", line):
                    complaint = line
            process.wait()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command[0], complaint)


def _container_kind(container: av.container.InputContainer, path: str | Path) -> str:
    name = container.format.name
    if name == "matroska,webm":  # WebM is Matroska with "webm" in its first bytes
        with open(path, "rb") as file:
            return "webm" if b"webm" in file.read(128) else "Matroska"
    return "mp4" if "mp4" in name.split(",") else _words(name)


def _codec(stream: av.stream.Stream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def _words(name: str) -> str:
    return WORDS.get(name) or ("PCM" if name.startswith("pcm_") else name.upper())


def _colours(form: av.VideoFormat | None) -> str:
    """The pixel format as "10-bit" or, for 8 bits, "4:2:0"; else FFmpeg's own name."""
    if form is not None and form.components[0].bits > 8:
        return f"{form.components[0].bits}-bit"
    sampling = re.fullmatch(r"yuvj?(\d)(\d)(\d)p", form.name if form else "")
    return ":".join(sampling.groups()) if sampling else str(form and form.name)
