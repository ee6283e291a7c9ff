"""Cuts the rallies of a match into one video, or into a file each, exact to the frame, with sound.

The edges of a cut move to the nearest time at which a frame comes on screen. So touching cuts share
an edge, and no frame is shown twice. Each cut is one run of ffmpeg, which seeks to shortly before
it. It writes the pictures as H.264 with times from the start of the cut, and the sound as PCM. The
sound is then made exactly as long as the pictures. The sound of all cuts is encoded together,
so errors do not add up from cut to cut.

Seconds count from the file's first frame, as in video.open_video. Imports no torch. The folder of
the target needs free space for twice the reel, plus 0.7 GB of sound per hour of rallies.
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
BACK_SEC = (3.0, 60.0, float("inf"))  # how far before a cut to seek; the next if frames are missing
EARLY_SEC = 0.5  # seek this long before a key frame: in a transport stream a seek is not exact
GUARD_SEC = 10.0  # read this far beyond a cut, for sound that is interleaved late
SOUND_JUMP_SEC = 0.02  # sound this far off its timestamps is moved, by adding silence or cutting
KEY_SEC = 2.0  # from key frame to key frame
CUTS_SHARE = 0.95  # of the progress; joining the cuts is the rest
CLIP_NAME = re.compile(r"rally_\d{3,}\.mp4")
OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Cut:
    """Frames first to last (excluded), on screen from start_sec to end_sec."""

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
    """Returns the rallies in order of time, with seconds added before and after, within the match.

    If the added seconds of two neighbours would overlap, they share the gap in the proportion
    post_roll_sec to pre_roll_sec. Raises UserError for rallies that check_marks refuses, and for a
    rally that begins after the end of the match.
    """
    if min(pre_roll_sec, post_roll_sec) < 0:
        raise UserError(
            f"pre-roll and post-roll must be 0 s or more, not {pre_roll_sec} and {post_roll_sec}"
        )
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
            f"a rally begins at {rallies[-1][0]:.3f} s, but the match ends at {duration_sec:.3f} "
            "s; are these the rallies of another file?"
        )
    return list(zip(starts, ends, strict=True))


def make_reel(
    video_path: str | Path, cuts: Marks, target: str | Path, on_progress: OnProgress
) -> Path:
    """Writes all cuts, in order, as one MP4 (H.264, AAC) and returns its path.

    on_progress gets the share done, 0 to 1. A file without sound gives a reel without sound.
    Damaged frames are shown as FFmpeg conceals them. Raises UserError if there are no cuts, if a
    cut is outside the video, if video_path is not a video, and if the reel cannot be made or
    written. An earlier reel then stays.
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
    """Writes each cut as its own MP4, rally_001.mp4 and so on, and returns their paths.

    When all are done, they replace all clips of an earlier run in the folder. Sound, damaged
    frames, on_progress and errors are as in make_reel.
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
    """Opens the video and snaps the cuts to its frames. Refuses to overwrite the video itself."""
    if not cuts:
        raise UserError(f"{video_path}: there are no rallies for a reel or clips")
    video = open_video(video_path)
    try:
        if any(path.exists() and path.samefile(video_path) for path in targets):
            raise UserError(
                f"{video_path}: the rallies would overwrite the video itself; choose another "
                "folder with --out DIR"
            )
        return video, [_snap(video, start, end) for start, end in cuts]
    except BaseException:
        video.close()
        raise


def _snap(video: Video, start_sec: float, end_sec: float) -> Cut:
    """Returns the cut with its edges at frames, or at the given times inside a long frame."""
    if not 0 <= start_sec < min(end_sec, video.end_sec):
        raise UserError(
            f"{video.path}: a rally cannot last from {start_sec:.3f} to {end_sec:.3f} s; the video "
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
    """A temporary folder in the target's folder. Turns disk and ffmpeg errors into UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".reel.*"):  # left by a killed run, if not written to for long
            if left.is_dir() and time.time() - left.stat().st_mtime > LEFT_SEC:
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=".reel.", dir=folder) as temporary:
            yield Path(temporary)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "output", None) or getattr(error, "strerror", None) or error
        raise UserError(
            f"{video.path}: could not cut out the rallies ({reason}); check that {folder} is "
            "writable and has free space, and that the video plays in a player"
        ) from error


def _rising(on_progress: OnProgress) -> OnProgress:
    """Wraps on_progress so that its share never falls."""
    highest = 0.0

    def on_share(share: float) -> None:
        nonlocal highest
        highest = min(max(highest, share), 1.0)
        on_progress(highest)

    return on_share


def _within(on_share: OnProgress, low: float, high: float) -> OnProgress:
    """Wraps on_share for a part of the work that goes from low to high of the whole."""
    return lambda share: on_share(low + min(share, 1.0) * (high - low))


def _join(video: Video, cuts: list[Cut], folder: Path, on_share: OnProgress) -> Path:
    """Writes the cuts as one MP4 in the temporary folder and returns its path."""
    sound = next((s for s in video.container.streams.audio if s.codec_context), None)
    borders_sec = np.cumsum([0.0, *(cut.length_sec for cut in cuts)])
    shares = CUTS_SHARE * borders_sec / borders_sec[-1]
    # Round the positions in the reel, not the lengths, so that errors do not add up.
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
    # Run in the folder: ffmpeg's concat demuxer truncates a folder name at a ? or #.
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
    """Writes a cut's pictures to part and its sound beside it. Returns the "width:height" of part.

    Scales the pictures to size ("width:height"), unless size is "". If frames are missing at the
    start of the cut, the seek led too far, and the cut is made again from further back. Raises
    UserError if the frames cannot be decoded at all.
    """
    edges_sec = np.append(video.times_sec, video.end_sec)
    third = min(cut.first + 3, cut.last)  # two fields make a frame, so the second may be the third
    for back_sec in BACK_SEC:
        command = _cut_command(video, sound, cut, part, size, back_sec)
        run_ffmpeg(command, lambda sec: on_share(sec / cut.length_sec))
        try:
            with av.open(part) as container:
                stream = container.streams.video[0]
                shown_sec = [p.pts * float(p.time_base) for p in container.demux(stream) if p.size]
                size = f"{stream.width}:{stream.height}"
        except UNREADABLE:  # the MP4 has no frame
            continue
        second_sec = cut.start_sec + [*shown_sec, np.inf, np.inf][1]
        complete = third < cut.first + 3 or second_sec < edges_sec[third]
        if complete or video.damaged[cut.first : cut.last].any():
            return size
    raise UserError(
        f"{video.path}: could not decode the frames from {cut.start_sec:.2f} s on; remove the "
        f"rally between {cut.start_sec:.2f} and {cut.end_sec:.2f} s from rallies.csv"
    )


def _cut_command(
    video: Video, sound: av.AudioStream | None, cut: Cut, part: Path, size: str, back_sec: float
) -> list[str]:
    """Returns the ffmpeg command of one cut: H.264 without B-frames to part, PCM beside it.

    -copyts keeps the file's own timestamps, so the cut is exact wherever the seek lands.
    """
    first_sec = float(video.pts[0] * video.stream.time_base)
    start_sec, end_sec = first_sec + cut.start_sec, first_sec + cut.end_sec
    times_sec = np.concatenate([[-1.0], video.times_sec, [video.end_sec + 1.0]]) + first_sec
    # Half-way between frames k - 1 and k, where rounding does no harm.
    middles_sec = (times_sec[1:] + times_sec[:-1]) / 2
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
    """Moves a cut's PCM to the end of joined, truncated or padded with silence to size bytes."""
    with open(part, "rb") as source, open(joined, "ab") as target:
        left = size
        while left and (data := source.read(min(left, 1 << 20))):
            target.write(data)
            left -= len(data)
        target.write(bytes(left))
    part.unlink()
