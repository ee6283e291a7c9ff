"""Reads the frame of a video file that is on screen at a given time: the exact one or an error.

`open_video` reads the file's packets once (about a second for an hour of video), which tells when
each frame comes on screen. `read_sequence_at` decodes the frames of a sequence, and seeks where
that is faster. Times count from the first frame.

PyAV decodes, because OpenCV ignores the errors that a decoder reports: a frame patched up from
damaged data looks like any other, and a lost frame is replaced by its neighbour. The pixels are
the same as OpenCV's, bit for bit.
"""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from files import UserError
from media.frames import FrameError, resize_frame

CLOCK_SEC = 0.001  # Matroska and FLV round timestamps to milliseconds
SEEK_FRAMES = 16  # the cost of a seek: within this distance, decoding on is faster
AHEAD_FRAMES = 8  # decoded after a sequence, to detect damage that begins in its last frame
HOLE_PERIODS, HOLE_SEC = 3, 0.25  # a frame that stays longer than both hides a hole in the file
LOST_PERIODS = 1.75  # frame periods; a longer step in a transport stream means lost packets
LAST_FRAMES = 16  # not trusted if the file is truncated
NOWHERE = 1 << 62  # a position after every frame, so that the next read seeks
PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE; 0 is unknown, higher values are interlaced
UNREADABLE = (av.FFmpegError, IndexError)  # PyAV raises IndexError for a stream that appears late
TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class Damage(Exception):
    """Frames first to last (indices, both included) do not decode as the packets promise."""

    def __init__(self, first: int, last: int):
        super().__init__(first, last)
        self.first, self.last = first, last


@dataclass
class Video:
    """An open video. A frame's index is its position in display order."""

    path: Path
    container: av.container.InputContainer
    stream: av.VideoStream
    pts: np.ndarray  # int64 (N,), when each frame comes on screen, in the stream's time base
    times_sec: np.ndarray  # float64 (N,), pts in seconds after the first frame
    key_pts: np.ndarray  # int64 (K,), pts of the key frames, where decoding can start
    key_dts: np.ndarray  # int64 (K,), when they are decoded; seeking uses it
    damaged: np.ndarray  # bool (N,), frames known to be wrong or missing
    period_sec: float  # median time from one frame to the next
    header_sec: float  # length according to the file, 0 if it has none
    broken: bool  # whether reading the packets ended in an error
    interlaced: bool  # then two packets, one field each, may make one frame
    decoder: Iterator[tuple[int, av.VideoFrame]] = field(default_factory=lambda: iter(()))
    position: int = NOWHERE  # index of the last decoded frame
    skip_pts: int = 0  # earlier frames serve only as references
    recent: dict[int, av.VideoFrame | Future] = field(default_factory=dict)

    def close(self) -> None:
        """Closes the file, also if it was reopened after damage."""
        self.container.close()

    @property
    def end_sec(self) -> float:
        """When the last frame leaves the screen."""
        return float(self.times_sec[-1]) + self.period_sec

    @property
    def is_truncated(self) -> bool:
        """Whether the video ends before the length that the file gives."""
        allowed_sec = max(1.0, min(0.02 * self.header_sec, 5.0))
        return self.broken or self.header_sec - self.end_sec > allowed_sec


def open_video(path: str | Path) -> Video:
    """Opens a video file. Raises UserError if it is missing, not a video, or has no frames."""
    path = Path(path)
    container, stream, complaints = open_container(path)
    try:
        return _read_index(path, container, stream, complaints)
    except BaseException:
        container.close()
        raise


def _read_index(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    complaints: bool,  # whether FFmpeg's demuxer reported errors on opening
) -> Video:
    """Finds when each frame of an open file comes on screen, and which frames are damaged."""
    packets = _read_packets(container, stream)
    if not packets.shown:
        raise UserError(
            f"{path}: no frame in it has a timestamp; if a player plays the file, rewrite it with "
            "timestamps: ffmpeg -i FILE -c copy NEW.mp4"
        )
    pts = np.array(sorted(packets.shown))
    if complaints and pts[0] * stream.time_base > HOLE_SEC:
        raise UserError(
            f"{path}: its beginning is damaged, so its timestamps cannot be trusted; download or "
            "copy it again"
        )
    times_sec = (pts - pts[0]) * float(stream.time_base)
    steps_sec = np.diff(times_sec)
    rate = stream.average_rate or 30
    video = Video(
        path,
        container,
        stream,
        pts,
        times_sec,
        key_pts=np.array(sorted(packets.keys)),
        key_dts=np.array([packets.keys[key] for key in sorted(packets.keys)]),
        damaged=np.zeros(len(pts), bool),
        period_sec=_period(steps_sec, float(1 / rate)),
        header_sec=_declared_sec(container, stream, float(pts[0] * stream.time_base)),
        broken=packets.broken,
        interlaced=stream.codec_context.field_order > PROGRESSIVE,
    )
    lost = np.searchsorted(pts, np.array(packets.losses).reshape(-1, 2)).clip(max=len(pts) - 1)
    if container.format.name == "mpegts":
        steps = np.flatnonzero(steps_sec > LOST_PERIODS * video.period_sec)
        lost = np.concatenate([lost, np.stack([steps, steps + 1], 1)])
    for first, last in lost:
        _mark_damaged(video, first, last)
    if video.is_truncated:
        video.damaged[-LAST_FRAMES:] = True
    if container.format.name == "avi" and len(pts) != stream.frames:
        video.damaged[:] = True  # AVI tells time by counting frames
    return video


def open_container(path: Path) -> tuple[av.container.InputContainer, av.VideoStream, bool]:
    """(container, its main video stream, whether FFmpeg's demuxer reported errors on opening).

    Raises UserError if the file is missing, not a video, or has no video stream. The caller closes
    the container.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path}: this is a folder; name the video files in it")
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    with _listening() as complaints:
        try:
            container = av.open(path, options={"fflags": "+genpts"}, metadata_errors="ignore")
        except (av.FFmpegError, OSError) as error:
            raise UserError(
                f"{path}: not a readable video, or truncated before its index "
                f"({error.strerror}); download or copy it again"
            ) from error
    covers = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & covers]
    if not streams:
        container.close()
        raise UserError(
            f"{path}: no video stream in it, or one with an unknown codec; if a player shows a "
            "picture, convert the file: ffmpeg -i FILE NEW.mp4"
        )
    stream = streams[0]
    stream.codec_context.thread_count = 1  # with more, FFmpeg sometimes does not report damage
    stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer"}
    return container, stream, any(name == container.format.name for _, name, _ in complaints)


def _period(steps_sec: np.ndarray, average_sec: float) -> float:
    """The median step; the average if they differ only by rounding, as in Matroska."""
    median_sec = float(np.median(steps_sec)) if len(steps_sec) else average_sec
    return average_sec if abs(median_sec - average_sec) < CLOCK_SEC else median_sec


def _declared_sec(
    container: av.container.InputContainer, stream: av.VideoStream, first_sec: float
) -> float:
    """The length in seconds that the file gives for its video, else for all of it; 0 if none."""
    if "matroska" not in container.format.name:  # Matroska gives the end time, not the length
        first_sec = 0.0
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if tag:  # in Matroska
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - first_sec
    return max((container.duration or 0) / av.time_base - first_sec, 0.0)


@contextmanager
def _listening() -> Iterator[list[tuple[int, str, str]]]:
    """Collects FFmpeg's error messages as (level, source, text)."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as messages:
            yield messages
    finally:
        av.logging.set_level(None)


@dataclass
class Packets:
    """What a file's packets tell about its frames; times in the stream's time base."""

    shown: set[int] = field(default_factory=set)  # pts of each frame
    keys: dict[int, int] = field(default_factory=dict)  # pts of each key frame -> dts to seek to
    losses: list[tuple[int, int]] = field(default_factory=list)  # (first pts, last pts)
    broken: bool = False  # whether reading ended in an error


def _read_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Packets:
    """Reads all packets of a stream without decoding them."""
    summary = Packets()
    previous, latest_pts, latest_dts, complaint = None, 0, None, False
    with _listening() as complaints:
        packets = container.demux(stream)
        while True:
            complaints_before = len(complaints)
            try:
                packet = next(packets)
            except StopIteration:
                break
            except UNREADABLE:
                summary.broken = True
                break
            complaint |= len(complaints) > complaints_before
            if packet.pts is None:
                continue
            if packet.is_keyframe:
                summary.keys[packet.pts] = packet.pts if packet.dts is None else packet.dts
            if packet.is_discard:  # an edit list hides it: decoded, but not shown
                continue
            summary.shown.add(packet.pts)
            if packet.is_corrupt or complaint:
                summary.losses.append((packet.pts, packet.pts))
            if complaint and previous is not None:
                summary.losses.append((previous, previous))
            if latest_dts is not None and packet.dts is not None and packet.dts < latest_dts:
                summary.losses.append((packet.pts, latest_pts))  # the timestamps jump back
            latest_pts, latest_dts = max(latest_pts, packet.pts), packet.dts
            previous, complaint = packet.pts, False
    summary.broken |= complaint
    return summary


def _mark_damaged(video: Video, first: int, last: int) -> None:
    """Marks frames first to last as damaged, from the key frame before to the key frame after."""
    keys = np.searchsorted(video.pts, video.key_pts)
    before, after = keys[keys <= first], keys[keys > last]
    begin = before[-1] if len(before) else 0
    end = after[0] if len(after) else len(video.pts)
    video.damaged[begin:end] = True


def frames_at(
    video: Video, start_sec: float, seq_frames: int = 30, fps: float | None = 30.0
) -> np.ndarray:
    """Indices of the frames on screen at start_sec + k/fps, k < seq_frames: int64 (seq_frames,).

    fps None takes consecutive frames of the file. Raises FrameError if the video ends before the
    sequence does, or the file has a hole there.
    """
    leave_sec = np.append(video.times_sec[1:], video.end_sec)
    steps_sec = np.arange(seq_frames) / fps if fps else np.zeros(1)
    wanted_sec = start_sec + steps_sec + CLOCK_SEC
    indices = np.searchsorted(video.times_sec, wanted_sec, side="right") - 1
    if fps is None:
        indices = indices[0] + np.arange(seq_frames)
    if indices[-1] >= len(leave_sec) or wanted_sec[-1] >= video.end_sec:
        raise FrameError(video.path, f"the video ends at {video.end_sec:.2f} s")
    longest_sec = max(HOLE_PERIODS * video.period_sec, HOLE_SEC)
    for index in np.unique(indices):
        if leave_sec[index] - video.times_sec[index] > longest_sec:
            hole = f"no frames from {video.times_sec[index]:.2f} to {leave_sec[index]:.2f} s"
            raise FrameError(video.path, hole)
    return indices


def read_sequence_at(
    video: Video, start_sec: float, seq_frames: int = 30, fps: float | None = 30.0
) -> list[np.ndarray]:
    """The frames on screen at start_sec + k/fps, k < seq_frames: uint8 (224, 224, 3) BGR each.

    fps None takes consecutive frames of the file. Raises FrameError if the video ends before the
    sequence does, if frames are missing or damaged, or the file has a hole there.
    """
    indices = frames_at(video, start_sec, seq_frames, fps).tolist()
    if video.damaged[indices[0] : indices[-1] + 1].any():
        raise FrameError(video.path, "the file is damaged there")
    video.recent = {k: frame for k, frame in video.recent.items() if k >= indices[0]}
    try:
        with ThreadPoolExecutor() as pool:  # resizes frames while the next ones are decoded
            _decode(video, indices, pool)
            for k in set(indices):  # some were decoded ahead by the last call
                if isinstance(video.recent[k], av.VideoFrame):
                    video.recent[k] = _small(video.recent[k], pool)
    except Damage as damage:
        _mark_damaged(video, damage.first, damage.last)
        video.decoder, video.position, video.recent = iter(()), NOWHERE, {}
        video.container.close()  # after damage a decoder can be wrong for long
        video.container, video.stream, _ = open_container(video.path)
        raise FrameError(video.path, "the file is damaged there") from damage
    return [video.recent[k].result() for k in indices]


def _small(frame: av.VideoFrame, pool: ThreadPoolExecutor) -> Future:
    """A future uint8 (224, 224, 3) BGR, upright, equal to OpenCV's reader and cv2.resize."""
    image = frame.to_ndarray(format="bgr24", interpolation="BICUBIC")  # not thread-safe
    if frame.rotation % 360 in TURNS:
        image = cv2.rotate(image, TURNS[frame.rotation % 360])
    return pool.submit(resize_frame, image)


def _decode(video: Video, indices: list[int], pool: ThreadPoolExecutor) -> None:
    """Decodes the wanted frames, and AHEAD_FRAMES after them, into video.recent.

    The frames between are decoded and checked too, but not kept. Raises Damage.
    """
    last = min(indices[-1] + AHEAD_FRAMES, len(video.pts) - 1)
    ahead = range(indices[-1] + 1, last + 1)
    missing = {*indices, *ahead} - video.recent.keys()
    if not missing:
        return
    first = max(min(missing) - video.interlaced, 0)
    before = video.key_pts[video.key_pts <= video.pts[first]]
    if not len(before):
        raise Damage(0, first)
    key = int(np.searchsorted(video.pts, before[-1]))
    if not video.position < first or key - video.position > SEEK_FRAMES:
        video.decoder, video.position = _decode_from(video, int(before[-1])), key - 1
    video.skip_pts = int(video.pts[first])
    shown = None
    while video.position < last:
        expected = max(video.position + 1, first)
        index, frame = next(video.decoder, (len(video.pts), None))
        decoded = {index: frame}
        if video.interlaced and index == expected + 1:  # a second field completed the frame between
            decoded = {expected: shown, index: frame}
        elif index > expected or index < video.position:
            raise Damage(expected, index)
        video.position, shown = index, frame
        for k in decoded.keys() & missing:
            video.recent[k] = decoded[k] if k in ahead else _small(decoded[k], pool)


def _decode_from(video: Video, key_pts: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (index, frame) from a key frame on, in the order of the decoder. Raises Damage."""
    stream = video.stream
    position = int(np.searchsorted(video.pts, key_pts))
    packets = _packets_from(video, key_pts)
    at = key_pts
    while True:
        try:
            packet = next(packets)
            if packet.pts is not None:
                at = packet.pts
                if at < key_pts:  # shown before the key frame, needs earlier frames
                    continue
                skip = "NONREF" if at < video.skip_pts else "DEFAULT"
                if stream.codec_context.skip_frame != skip:
                    stream.codec_context.skip_frame = skip
            frames = packet.decode()
        except (StopIteration, av.EOFError):
            return
        except UNREADABLE as error:
            raise Damage(position, int(np.searchsorted(video.pts, at))) from error
        for frame in frames:
            index = int(np.searchsorted(video.pts, frame.pts))
            if frame.is_corrupt or index == len(video.pts) or video.pts[index] != frame.pts:
                raise Damage(position, index)
            position = index
            yield index, frame


def _packets_from(video: Video, key_pts: int) -> Iterator[av.Packet]:
    """Yields the packets from a key frame on; seeks further back if a seek lands after it."""
    here = int(np.searchsorted(video.key_pts, key_pts))
    for back in (0, 1, 4, 16, 64):
        video.container.seek(int(video.key_dts[max(here - back, 0)]), stream=video.stream)
        packets = video.container.demux(video.stream)
        for packet in packets:
            if packet.is_keyframe and packet.pts == key_pts:
                yield packet
                yield from packets
                return
            if packet.dts is not None and packet.dts > key_pts:
                break
    raise av.error.InvalidDataError(0, "no seek reaches the key frame")
