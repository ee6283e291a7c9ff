"""Sequences on disk: their folders, their image files, and decoding.

Imports no torch, so that collecting and labelling start fast.
"""

import hashlib
import os
import re
from pathlib import Path

import cv2
import numpy as np

from files import is_remote

SIZE = 224  # pixels, height and width of a frame
RESIZE = "area"  # what sequences.csv records for `resize_frame`
FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
NUMBER = re.compile(r"\d+")


def sequence_names(split_dir: Path) -> list[str]:
    """The sorted names of a split's sequence folders, without hidden ones.

    Raises OSError if the folder sequences/ is missing or unreadable.
    """
    folder = split_dir / "sequences"
    entries = folder.iterdir() if is_remote(folder) else os.scandir(folder)  # scandir is faster
    return sorted(entry.name for entry in entries if entry.name[0] != "." and _is_folder(entry))


def sequence_folders(split_dir: Path) -> list[Path]:
    """The paths of a split's sequence folders; none if there is no folder sequences/."""
    folder = split_dir / "sequences"
    if not folder.is_dir():
        return []
    return [folder / name for name in sequence_names(split_dir)]


def _is_folder(entry: os.DirEntry | Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


class FrameError(Exception):
    """Missing or damaged frames: where, and why. The caller adds the remedy."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def frame_names(folder: Path) -> list[str]:
    """The names of a sequence's image files, ordered by the numbers in them."""
    names = [path.name for path in folder.iterdir()]
    images = [n for n in names if n[0] != "." and n.lower().endswith(FRAME_SUFFIXES)]
    return sorted(images, key=lambda n: [int(s) for s in NUMBER.findall(n.rpartition(".")[0])])


def frame_paths(folder: Path) -> list[Path]:
    """The paths of a sequence's image files, ordered by the numbers in their names."""
    return [folder / name for name in frame_names(folder)]


def count_frames(folder: Path) -> int:
    """The number of image files of a sequence; 0 if its folder cannot be read."""
    try:
        return len(frame_names(folder))
    except OSError:
        return 0


def read_bytes(
    folder: Path, seq_frames: int | None = 30, which: slice = slice(None)
) -> tuple[list[bytes], str]:
    """(encoded frames of a sequence, hex digest of their bytes); `which` selects some frames.

    Raises FrameError when the folder is missing, unreadable, or does not hold seq_frames image
    files. None allows any number.
    """
    try:
        names = frame_names(folder)
        if seq_frames is not None and len(names) != seq_frames:
            raise FrameError(folder, f"{len(names)} frames instead of {seq_frames}")
        frames = [(folder / name).read_bytes() for name in names[which]]
    except OSError as error:
        raise FrameError(folder, f"cannot be read: {error.strerror or error}") from error
    digest = hashlib.blake2b(digest_size=16)
    for frame in frames:
        digest.update(len(frame).to_bytes(8, "little") + frame)
    return frames, digest.hexdigest()


def resize_frame(picture: np.ndarray) -> np.ndarray:
    """Resizes a picture, uint8 (H, W, 3), to SIZE x SIZE pixels; the aspect ratio is not kept."""
    return cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def decode_frames(encoded: list[bytes], folder: Path) -> np.ndarray:
    """Decodes images of a folder to uint8 (T, 3, 224, 224) RGB, 0 to 255, resized if needed.

    In memory the colours come last, as in OpenCV and PyTorch's channels_last. Raises FrameError,
    which names the folder and the frame, for the first image that is truncated or unreadable.
    """
    frames = np.empty((len(encoded), SIZE, SIZE, 3), np.uint8)
    for k, data in enumerate(encoded):
        cut_off = data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-4096:]
        bgr = None if cut_off or not data else cv2.imdecode(np.frombuffer(data, np.uint8), 1)
        if bgr is None:
            what = "truncated" if cut_off else "not a readable image"
            raise FrameError(folder, f"frame {k + 1} is {what}")
        if bgr.shape[:2] != (SIZE, SIZE):
            bgr = resize_frame(bgr)
        cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=frames[k])
    return frames.transpose(0, 3, 1, 2)


def read_sequence(folder: str | Path, seq_frames: int | None = 30) -> np.ndarray:
    """The frames of one sequence, uint8 (T, 3, 224, 224) RGB, 0 to 255. Raises FrameError."""
    folder = Path(folder)
    return decode_frames(read_bytes(folder, seq_frames)[0], folder)
