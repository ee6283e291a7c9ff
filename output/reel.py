"""The rallies of a match as one video, or as a file each, cut to the frame and with their sound.

A cut's edges go to the nearest frame's coming on screen, so that touching cuts share an edge and
no frame is shown twice. Each cut is one run of ffmpeg, which seeks to shortly before it: pictures
as H.264 whose times count from the cut's start, sound as PCM that is then made exactly as long as
the pictures. The sound of all cuts is encoded in one piece. So nothing adds up from cut to cut.

Seconds count from the file's first frame, as in video.open_video. Imports no torch. Beside the
target there must be space for the reel twice, and for 0.7 GB of sound for an hour of rallies.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from annotation.match_marks import Marks, check_marks
from files import UserError
from media.proxy import LEFT_SEC, run_ffmpeg
from media.video import UNREADABLE, Video, open_video

SAMPLE_RATE = 48000
SAMPLE_BYTES = 4  # stereo, 16 bits
TIMESCALE = 90000  # ticks per second of the pictures; a whole number of them at all common rates
BACK_SEC = (3.0, 60.0, float("inf"))  # how far before a cut to seek, further where frames lack
EARLY_SEC = 0.5  # sought before a key frame, for in a transport stream a seek lands near it only
GUARD_SEC = 10.0  # read beyond a cut, by then all that is interleaved with it has come
SOUND_JUMP_SEC = 0.02  # sound that its times put so far off is moved, by silence or by a cut
KEY_SEC = 2.0  # from key frame to key frame
CUTS_SHARE = 0.95  # of the progress; the rest is putting together
CLIP_NAME = re.compile(r"rally_\d{3,}\.mp4")
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Cut:
    """Frames first up to, but not including, last; on screen from start_sec to end_sec."""

    first: int
    last: int
    start_sec: float
    end_sec: float

    @property
    def length_sec(self) -> float:
        return self.end_sec - self.start_sec


def pad_rallies(
    rallies: Marks, pre_roll_sec: float, post_roll_sec: float, duration_sec: float
) -> Marks:
    """Rallies in order of time, each with some seconds before and after it, within the match.

    Where two neighbours' paddings would overlap, the gap between them is divided in the proportion
    of what was asked for. Raises UserError for rallies that check_marks refuses, and for one that
    begins after the match's end.
    """
    if min(pre_roll_sec, post_roll_sec) < 0:
        raise UserError("seconds before and after a rally cannot be less than 0")
    check_marks(rallies)
    rallies = sorted(rallies)
    starts = [max(start - pre_roll_sec, 0.0) for start, _ in rallies]
    ends = [min(end + post_roll_sec, duration_sec) for _, end in rallies]
    for k, ((_, end), (following, _)) in enumerate(zip(rallies, rallies[1:], strict=False)):
        if ends[k] > starts[k + 1]:
            post_share = post_roll_sec / (pre_roll_sec + post_roll_sec)
            ends[k] = starts[k + 1] = end + post_share * (following - end)
    if rallies and rallies[-1][0] >= duration_sec:
        raise UserError(
            f"a rally begins at {rallies[-1][0]:.3f} s, and the match ends at {duration_sec:.3f} "
            "s: are these the rallies of another file?"
        )
    return list(zip(starts, ends, strict=True))


def make_reel(
    video_path: str | Path, cuts: Marks, target: str | Path, on_progress: OnProgress
) -> Path:
    """Writes all cuts, in order, as one MP4 (H.264, AAC) and returns its path.

    on_progress gets the share done, 0 to 1. Without sound in the file there is none in the reel.
    Damaged frames are shown as FFmpeg mends them. Raises UserError for no cuts, cuts outside
    the video, no video, and when the reel cannot be made or written; what was there then stays.
    """
    target = Path(target)
    video, frames = _open(video_path, cuts, [target])
    with closing(video), _workplace(video, target.parent) as folder:
        os.replace(_join(video, frames, folder, _rising(on_progress)), target)
    on_progress(1.0)
    return target


def make_clips(
    video_path: str | Path, cuts: Marks, folder: str | Path, on_progress: OnProgress
) -> list[Path]:
    """Writes each cut as an MP4 of its own, rally_001.mp4 and on, and returns their paths.

    Once all are done they replace the folder's clips of an earlier run, of which none is left. The
    rest is as with make_reel.
    """
    folder = Path(folder)
    earlier = [p for p in folder.glob("rally_*.mp4") if CLIP_NAME.fullmatch(p.name)]
    video, frames = _open(video_path, cuts, earlier)
    paths = [folder / f"rally_{k:03d}.mp4" for k in range(1, len(frames) + 1)]
    shares = np.cumsum([0.0, *(cut.length_sec for cut in frames)])
    shares /= shares[-1]
    rising = _rising(on_progress)
    with closing(video), _workplace(video, folder) as temporary:
        for cut, path, *part in zip(frames, paths, shares, shares[1:], strict=False):
            _join(video, [cut], temporary, _within(rising, *part)).rename(temporary / path.name)
        for path in paths:
            os.replace(temporary / path.name, path)
        for surplus in set(earlier) - set(paths):
            surplus.unlink()
    on_progress(1.0)
    return paths


def _open(video_path: str | Path, cuts: Marks, targets: list[Path]) -> tuple[Video, list[Cut]]:
    """The open video, its cuts snapped to its frames. Refuses to replace the video itself."""
    if not cuts:
        raise UserError(f"{video_path}: no rallies to show")
    video = open_video(video_path)
    try:
        if any(path.exists() and path.samefile(video_path) for path in targets):
            raise UserError(
                f"{video_path}: its rallies would be written over it; choose another place"
            )
        return video, [_snap(video, start, end) for start, end in cuts]
    except BaseException:
        video.close()
        raise


def _snap(video: Video, start_sec: float, end_sec: float) -> Cut:
    """The cut whose edges are those of frames, or, while one stands for long, the times given."""
    if not 0 <= start_sec < min(end_sec, video.end_sec):
        raise UserError(
            f"{video.path}: no rally can be from {start_sec:.3f} to {end_sec:.3f} s, the video "
            f"ends at {video.end_sec:.3f} s"
        )
    edges_sec = np.append(video.times_sec, video.end_sec)
    snapped_sec = []
    for sec in (start_sec, end_sec):
        nearest = float(edges_sec[np.abs(edges_sec - sec).argmin()])
        snapped_sec.append(nearest if abs(nearest - sec) <= video.period_sec else sec)
    start, end = min(snapped_sec[0], float(video.times_sec[-1])), min(snapped_sec[1], video.end_sec)
    first = int(np.searchsorted(edges_sec, start, side="right")) - 1
    end = max(end, float(edges_sec[first + 1])) if end <= start else end
    return Cut(first, int(np.searchsorted(edges_sec[:-1], end)), start, end)


@contextmanager
def _workplace(video: Video, folder: Path) -> Iterator[Path]:
    """A temporary folder in that of the target. Errors of the disk and ffmpeg become UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".reel.*"):  # of a killed run; nobody has written to it for long
            if left.is_dir() and time.time() - left.stat().st_mtime > LEFT_SEC:
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=".reel.", dir=folder) as temporary:
            yield Path(temporary)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "output", None) or getattr(error, "strerror", None) or error
        raise UserError(
            f"{video.path}: its rallies could not be cut out ({reason}); see that {folder} can be "
            "written and has space left, and that a player plays the video"
        ) from error


def _rising(on_progress: OnProgress) -> OnProgress:
    """on_progress, but never told less than before."""
    highest = 0.0

    def on_share(share: float) -> None:
        nonlocal highest
        highest = min(max(highest, share), 1.0)
        on_progress(highest)

    return on_share


def _within(on_share: OnProgress, low: float, high: float) -> OnProgress:
    """on_share for a part of the work, which is from low to high of the whole."""
    return lambda share: on_share(low + min(share, 1.0) * (high - low))


def _join(video: Video, cuts: list[Cut], folder: Path, on_share: OnProgress) -> Path:
    """Writes the cuts as one MP4 in the temporary folder and returns its path."""
    sound = next((s for s in video.container.streams.audio if s.codec_context), None)
    borders_sec = np.cumsum([0.0, *(cut.length_sec for cut in cuts)])
    shares = CUTS_SHARE * borders_sec / borders_sec[-1]
    # What is rounded is the place in the reel, so that the errors do not add up.
    samples = np.diff(np.round(borders_sec * SAMPLE_RATE).astype(int))
    lasting_sec = np.diff(borders_sec.round(6))
    joined, size, lines = folder / "sound.pcm", "", ["ffconcat version 1.0"]
    joined.write_bytes(b"")
    for k, cut in enumerate(cuts):
        part = folder / f"{k}.mp4"
        size = _cut_out(video, sound, cut, part, size, _within(on_share, shares[k], shares[k + 1]))
        if sound:
            _append(part.with_suffix(".pcm"), joined, int(samples[k]) * SAMPLE_BYTES)
        lines += [f"file {part.name}", f"duration {lasting_sec[k]:.6f}"]
    (folder / "cuts.txt").write_text("\n".join([*lines, ""]))
    pcm = ["-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "2", "-i", joined.name]
    command = [
        *[*_ffmpeg(), "-f", "concat", "-i", "cuts.txt", *(pcm if sound else [])],
        *["-map", "0:v", *(["-map", "1:a"] if sound else []), "-c:v", "copy", "-c:a", "aac"],
        *["-b:a", "160k", "-video_track_timescale", str(TIMESCALE), "-movflags", "+faststart"],
        *["-f", "mp4", "joined.mp4"],
    ]
    on_last = _within(on_share, CUTS_SHARE, 1.0)
    # In the folder: its own name, where it has a ? or #, is cut off there by what joins files.
    run_ffmpeg(command, lambda sec: on_last(sec / borders_sec[-1]), folder)
    return folder / "joined.mp4"


def _cut_out(
    video: Video,
    sound: av.AudioStream | None,
    cut: Cut,
    part: Path,
    size: str,
    on_share: OnProgress,
) -> str:
    """Writes a cut's pictures to part, its sound beside it; returns the pictures' "width:height".

    They are given the size, where it is not "". A seek that leads behind the cut's beginning is
    noticed by the frames that lack there, and done again from further back.
    """
    edges_sec = np.append(video.times_sec, video.end_sec)
    third = min(cut.first + 3, cut.last)  # as two fields make a frame, the second may be the third
    for back_sec in BACK_SEC:
        command = _cut_command(video, sound, cut, part, size, back_sec)
        run_ffmpeg(command, lambda sec: on_share(sec / cut.length_sec))
        try:
            with av.open(part) as container:
                stream = container.streams.video[0]
                shown_sec = [p.pts * float(p.time_base) for p in container.demux(stream) if p.size]
                size = f"{stream.width}:{stream.height}"
        except UNREADABLE:  # an MP4 without a frame
            continue
        second_sec = cut.start_sec + [*shown_sec, np.inf, np.inf][1]
        complete = third < cut.first + 3 or second_sec < edges_sec[third]
        if complete or video.damaged[cut.first : cut.last].any():
            return size
    raise UserError(
        f"{video.path}: the frames from {cut.start_sec:.2f} s on cannot be decoded; leave out the "
        f"rally from there to {cut.end_sec:.2f} s"
    )


def _cut_command(
    video: Video, sound: av.AudioStream | None, cut: Cut, part: Path, size: str, back_sec: float
) -> list[str]:
    """The ffmpeg command that writes one cut: H.264 without B-frames to part, PCM beside it.

    -copyts keeps the file's own times, in which a cut is exact wherever the seek has led.
    """
    first_sec = float(video.pts[0] * video.stream.time_base)
    start_sec, end_sec = first_sec + cut.start_sec, first_sec + cut.end_sec
    times_sec = np.concatenate([[-1.0], video.times_sec, [video.end_sec + 1.0]]) + first_sec
    middles_sec = (times_sec[1:] + times_sec[:-1]) / 2  # of frames k - 1 and k: no rounding matters
    key_sec = (video.key_pts - video.pts[0]) * float(video.stream.time_base)
    before = key_sec[key_sec <= cut.start_sec - back_sec]
    begin_sec = (video.container.start_time or 0) / av.time_base
    seek_sec = first_sec + before[-1] - EARLY_SEC - begin_sec if len(before) else 0.0
    seek = ["-noaccurate_seek", "-ss", f"{seek_sec:.6f}"] if seek_sec > 0 else []
    read_sec = end_sec - begin_sec - max(seek_sec, 0.0) + GUARD_SEC
    since_start = f"PTS-({start_sec!r})/TB"
    pictures = (
        f"trim=start={middles_sec[cut.first]:.6f}:end={middles_sec[cut.last]:.6f},"
        f"setpts='if(eq(N,0),0,round({since_start}))',"
        f"crop='2*trunc(iw/2)':'2*trunc(ih/2)':0:0{size and f',scale={size}'},format=yuv420p"
    )
    samples = (
        f"atrim=start={start_sec:.6f}:end={end_sec:.6f},asetpts='round({since_start})',"
        f"aresample={SAMPLE_RATE}:async=1:min_hard_comp={SOUND_JUMP_SEC}:first_pts=0"
    )
    pcm = ["-map", f"0:{sound.index}", "-af", samples, "-ac", "2"] if sound else []
    pcm += ["-f", "s16le", f"file:{part.with_suffix('.pcm')}"] if sound else []
    return [
        *[*_ffmpeg(), "-max_error_rate", "1", "-fflags", "+genpts", "-copyts", *seek],
        *["-t", f"{read_sec:.6f}", "-i", f"file:{video.path}"],
        *["-map", f"0:{video.stream.index}", "-map_metadata", "-1", "-map_chapters", "-1"],
        *["-vf", pictures, "-fps_mode", "passthrough", "-enc_time_base:v", f"1:{TIMESCALE}"],
        *["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-bf", "0"],
        *["-x264-params", "stitchable=1", "-g", str(max(round(KEY_SEC / video.period_sec), 1))],
        *["-video_track_timescale", str(TIMESCALE), "-f", "mp4", f"file:{part}", *pcm],
    ]


def _ffmpeg() -> list[str]:
    quiet = ["-nostdin", "-y", "-loglevel", "error", "-nostats", "-progress", "pipe:1"]
    return [imageio_ffmpeg.get_ffmpeg_exe(), *quiet]


def _append(part: Path, joined: Path, size: int) -> None:
    """Moves a cut's PCM to the end of what is joined, cut off or filled up with silence to size."""
    with open(part, "rb") as source, open(joined, "ab") as target:
        left = size
        while left and (data := source.read(min(left, 1 << 20))):
            target.write(data)
            left -= len(data)
        target.write(bytes(left))
    part.unlink()
