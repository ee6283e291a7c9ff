"""Computes the features of a whole match in one pass over its video and caches them in pieces.

    folder = extract_match(open_video("final.mp4"), backbone, "final_rallies", every=4)

The frames lie on a grid of 30 a second. Step k is the frame on screen at k * every / 30 seconds. It
is picked and resized as the frames of collected sequences are, and goes through the backbone once.
A piece is written whole or not at all, so an interrupted run resumes. Memory does not grow with the
match.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from extraction.encoder import build_encoder, count_streams, encode, encoding_pool, pick_precision
from extraction.features import (
    features_dir,
    is_cached,
    load_features,
    read_ahead,
    remove_leftovers,
    save_features,
)
from files import file_sha256, one_writer
from media.frames import FrameError
from media.video import CLOCK_SEC, Video, read_sequence_at

GRID_FPS = 30  # frames per second of the grid
PIECE_STEPS = 240  # steps in a file of the cache: 32 s at every 4th frame, half a megabyte
BATCH_STEPS = 30


@dataclass(frozen=True)
class StepFeatures:
    """The features of a match, which are read when they are needed.

    read(first, last) returns those of steps first to last (excluded): float32 (last - first, D),
    NaN where they are unknown.
    """

    steps: int
    read: Callable[[int, int], torch.Tensor]

    @cached_property
    def sums(self) -> tuple[int, torch.Tensor, torch.Tensor]:
        """The number of known steps, their sum and their sum of squares, float64 (D,) each.

        They are kept, so that a match is read once for this, however many heads it trains.
        """
        count, total, squares = 0, 0.0, 0.0
        for first in range(0, self.steps, PIECE_STEPS):
            block = self.read(first, min(first + PIECE_STEPS, self.steps)).double()
            block = block[~block[:, 0].isnan()]
            count, total = count + len(block), total + block.sum(0)
            squares = squares + block.square().sum(0)
        return count, total, squares


def cached_steps(folder: Path, steps: int) -> StepFeatures:
    """The features of a match in the folder that extract_match returns."""
    return StepFeatures(steps, partial(load_steps, folder))


def steps_in_memory(features: torch.Tensor) -> StepFeatures:
    """Features (S, D) that are in memory."""
    return StepFeatures(len(features), partial(_slice, features))


def _slice(features: torch.Tensor, first: int, last: int) -> torch.Tensor:
    return features[first:last]


def count_steps(video: Video, every: float) -> int:
    """Returns how many steps of the grid lie inside the video."""
    return int(np.ceil(round((video.end_sec - CLOCK_SEC) * GRID_FPS / every, 6)))


def pieces_dir(
    out_dir: str | Path, backbone: nn.Sequential, every: float, precision: str = "fp32"
) -> Path:
    """Returns the folder of the pieces, named after weights, precision, preprocessing and grid."""
    folder = features_dir(out_dir, backbone, precision)
    return folder.with_name(f"{folder.name}-every{every:.6g}")


def extract_match(
    video: Video,
    backbone: nn.Sequential,
    out_dir: str | Path,
    every: float = 1,
    device: torch.device | str = "cpu",
    on_progress: Callable[[float, float], None] = lambda done_sec, computed_sec: None,
    sha256: str | None = None,
    precision: str = "auto",
) -> Path:
    """Computes the missing features of a match below out_dir and returns their folder.

    Piece p is <folder>/<p>.safetensors, p with five digits: "features", float32 (1, steps, 512),
    NaN where the file is damaged or its frames have a hole. A piece counts as done if it is whole
    and was computed from the bytes that the video has now; sha256 is theirs, if known.
    on_progress gets the seconds of the match that are done, and how many of them this call
    computed. Raises UserError if the folder cannot be written.
    """
    precision = pick_precision(precision, device)
    folder = pieces_dir(out_dir, backbone, every, precision)
    fingerprint, steps = sha256 or file_sha256(video.path), count_steps(video, every)
    sizes = [min(PIECE_STEPS, steps - first) for first in range(0, steps, PIECE_STEPS)]
    with one_writer(folder):
        remove_leftovers(folder)
        missing = [
            p for p, n in enumerate(sizes) if not is_cached(_path(folder, p), fingerprint, 1, n)
        ]
        there_sec = (steps - sum(sizes[p] for p in missing)) * every / GRID_FPS
        on_progress(there_sec, 0.0)
        if not missing:
            return folder
        batches = [
            (piece, first, min(BATCH_STEPS, sizes[piece] - first))
            for piece in missing
            for first in range(0, sizes[piece], BATCH_STEPS)
        ]

        def read_batch(batch: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
            piece, first, count = batch
            return read_steps(video, piece * PIECE_STEPS + first, count, every)

        def encode_batch(batch: tuple[tuple[int, int, int], Future]) -> torch.Tensor:
            frames, known = batch[1].result()
            features = torch.full((len(known), 512), float("nan"))
            if known.any():
                features[torch.from_numpy(known)] = encode(encoder, torch.from_numpy(frames))
            return features

        encoder = build_encoder(backbone, device, precision)
        ahead, computed, parts = 2 * count_streams(device), 0, []
        reader = ThreadPoolExecutor(1)
        with encoding_pool(device) as pool:
            try:
                decoded = read_ahead(reader, batches, read_batch, ahead)
                for ((piece, _, _), _), job in read_ahead(pool, decoded, encode_batch, ahead):
                    parts.append(job.result())
                    computed += len(parts[-1])
                    if sum(map(len, parts)) == sizes[piece]:
                        save_features(_path(folder, piece), torch.cat(parts)[None], fingerprint)
                        parts = []
                    done_sec = computed * every / GRID_FPS
                    on_progress(there_sec + done_sec, done_sec)
            finally:
                reader.shutdown(cancel_futures=True)
    return folder


def _path(folder: Path, piece: int) -> Path:
    return folder / f"{piece:05d}.safetensors"


def read_steps(video: Video, first: int, count: int, every: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 RGB frames (K, 3, 224, 224) of the K readable steps; bool (count,): which."""
    rate = GRID_FPS / every
    try:
        images = read_sequence_at(video, first / rate, count, rate)
        known = np.ones(count, bool)
    except FrameError:  # some steps are damaged: read them one by one
        images, known = [], np.zeros(count, bool)
        for k in range(count):
            try:
                images += read_sequence_at(video, (first + k) / rate, 1, rate)
                known[k] = True
            except FrameError:
                continue  # stays unknown, and the report says so
    frames = np.empty((len(images), *images[0].shape) if images else (0, 1, 1, 3), np.uint8)
    for k, image in enumerate(images):
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=frames[k])
    return frames.transpose(0, 3, 1, 2), known


def load_steps(folder: Path, first: int, last: int) -> torch.Tensor:
    """Loads the features of steps first to last (excluded): float32 (last - first, 512)."""
    parts = []
    for piece in range(first // PIECE_STEPS, -(-last // PIECE_STEPS)):
        begin = piece * PIECE_STEPS
        part = load_features(_path(folder, piece), "run it again")[0]
        parts.append(part[max(first - begin, 0) : last - begin])
    return torch.cat(parts)  # (last - first, D)
