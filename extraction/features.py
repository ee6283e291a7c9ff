"""Frozen features: every frame goes through the backbone once, and the result is cached on disk.

    folder = extract_features(Path("Data/train"), names, backbone)    # UserError if any failed
    features = load_features(folder / "seq_00001.safetensors")        # (views, 30, 512)

Call it again to resume a killed run: finished sequences are skipped. media.frames reads the frames,
several sequences ahead of the backbone. dataset.SequenceDataset, for training on frames, is not
used here.
"""

import hashlib
import json
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torchvision.transforms import v2
from tqdm import tqdm

from extraction.backbones import PREPROCESSING, backbone_hash
from extraction.encoder import (
    build_encoder,
    count_streams,
    encode,
    encoding_pool,
    pick_precision,
)
from files import UserError, is_remote, one_writer, write_whole
from media.frames import FrameError, decode_frames, frame_paths, read_bytes, sequence_names

T = TypeVar("T")
_drawing = threading.Lock()


def augment(frames: torch.Tensor, name: str, view: int) -> torch.Tensor:
    """uint8 (T, 3, H, W) -> uint8 (T, 3, H, W): a random flip, rotation and colour change.

    All frames get the same change. View 0 is the original sequence. The change depends only on
    the sequence name and the view number, so a view is the same every time it is computed.
    """
    if view == 0:
        return frames
    change = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomRotation(5, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02),
        ]
    )
    with _drawing, torch.random.fork_rng(devices=[]):  # all threads share the global generator
        torch.manual_seed(zlib.crc32(f"{name} view {view}".encode()))
        return change(frames)


def features_dir(split_dir: str | Path, backbone: nn.Module, precision: str = "fp32") -> Path:
    """The folder of a split's features, named by precision and hashes of weights and PREPROCESSING.

    The name does not depend on the code of augment: delete the folder after you change that.
    """
    recipe = hashlib.sha256(repr(sorted(PREPROCESSING.items())).encode()).hexdigest()[:6]
    split_dir = Path(split_dir) if isinstance(split_dir, str) else split_dir
    return split_dir / "features" / f"resnet18-{backbone_hash(backbone)}-{precision}-{recipe}"


def extract_features(
    split_dir: str | Path,
    sequences: list[str],
    backbone: nn.Sequential,
    views: int = 1,
    seq_frames: int = 30,
    device: torch.device | str = "cpu",
    precision: str = "auto",
    on_failure: Callable[[str, str], None] | None = None,
) -> Path:
    """Computes the missing and outdated features of a split, and returns their folder.

    Each sequence becomes <folder>/<sequence>.safetensors: "features", float32 (views, T, 512).
    A file is up to date if it is complete, has enough views, and was made from the bytes that the
    frames have now. If the names, sizes and times of the frames are unchanged, their bytes are not
    read. Memory does not grow with the number of sequences. The encoder is built only if a sequence
    needs it. on_failure(sequence, reason) is called for each sequence that cannot be read. Without
    on_failure, a UserError at the end names them all; the features of the others are saved. Raises
    UserError at once if a file cannot be written.
    """
    if views < 1:
        raise UserError(f"views must be at least 1 (the original sequence), not {views}")
    split_dir = Path(split_dir)
    precision = pick_precision(precision, device)
    folder = features_dir(split_dir, backbone, precision)
    get_encoder = build_once(lambda: build_encoder(backbone, device, precision))
    failures: dict[str, str] = {}
    on_failure = on_failure or failures.__setitem__
    title = f"Features {split_dir.name}"
    with (
        one_writer(folder),
        encoding_pool(device) as pool,
        tqdm(total=len(sequences) * seq_frames, desc=title, unit="fr") as bar,
    ):
        remove_leftovers(folder)

        def compute(sequence: str) -> None:
            compute_sequence(get_encoder, split_dir, sequence, folder, views, seq_frames)

        for sequence, job in read_ahead(pool, sequences, compute, 2 * count_streams(device)):
            try:
                job.result()
                bar.update(seq_frames)
            except FrameError as error:
                on_failure(sequence, error.reason)
    refuse_failures(split_dir, failures, len(sequences))
    return folder


def build_once(build: Callable[[], T]) -> Callable[[], T]:
    """Returns a function that calls build() once, at its first call, and shares the result.

    It is safe to call from several threads.
    """
    building, built = threading.Lock(), []

    def get() -> T:
        with building:
            if not built:
                built.append(build())
            return built[0]

    return get


def compute_sequence(
    get_encoder: Callable[[], nn.Module],
    split_dir: Path,
    sequence: str,
    folder: Path,
    views: int,
    seq_frames: int,
) -> None:
    """Computes the features of one sequence and saves them in folder, unless they are up to date.

    Raises FrameError for unreadable frames, and UserError if the file cannot be written.
    """
    frames_dir, path = split_dir / "sequences" / sequence, folder / f"{sequence}.safetensors"
    cached, metadata = read_cache(path)
    if cached is None or cached.shape[0] < views or cached.shape[1] != seq_frames:
        metadata = {}
    stamp = stamp_frames(frames_dir)
    if stamp and metadata.get("stamp") == stamp:
        return
    encoded, fingerprint = read_bytes(frames_dir, seq_frames)
    if metadata.get("fingerprint") == fingerprint:
        if stamp:  # the data was copied: save the new stamp, so that the next run skips its bytes
            save_features(path, cached, fingerprint, stamp)
        return
    frames = torch.from_numpy(decode_frames(encoded, frames_dir))
    encoder = get_encoder()
    features = [encode(encoder, augment(frames, sequence, view)) for view in range(views)]
    save_features(path, torch.stack(features), fingerprint, stamp)  # (V, T, D)


def refuse_failures(split_dir: str | Path, failures: dict[str, str], count: int) -> None:
    """Raises a UserError that names the failures {sequence: reason}, if any, of count sequences."""
    if failures:
        named = "".join(f"\n  - {sequence}: {why}" for sequence, why in failures.items())
        raise UserError(
            f"could not read {len(failures)} of {count} sequences in {split_dir} (the features of "
            f"the others are saved); repair or delete:{named}"
        )


def remove_leftovers(folder: Path) -> None:
    """Deletes half-written files of a killed run. Call it only while holding one_writer(folder).

    Remote folders have no such lock, so a half-written file there may be in use by another machine.
    """
    if is_remote(folder):
        return
    for leftover in folder.glob(".*.part"):
        leftover.unlink(missing_ok=True)


def read_ahead(
    pool: ThreadPoolExecutor, items: Iterable[T], function: Callable, count: int
) -> Iterator[tuple[T, Future]]:
    """Yields (item, future of function(item)) in order, with `count` more items running in pool."""
    waiting: deque[tuple[T, Future]] = deque()
    for item in items:
        waiting.append((item, pool.submit(function, item)))
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def stamp_frames(frames_dir: Path) -> str:
    """A hash of the names, sizes and times of a sequence's frames; "" if they are unknown."""
    if is_remote(frames_dir):  # remote file systems have no reliable times
        return ""
    try:
        stats = [(path.name, path.stat()) for path in frame_paths(frames_dir)]
    except OSError:
        return ""
    listing = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return hashlib.blake2b(listing.encode(), digest_size=16).hexdigest()


def save_features(path: Path, features: torch.Tensor, fingerprint: str, stamp: str = "") -> None:
    """Writes features float32 (views, T, 512) atomically, with the data to check them later.

    fingerprint is the hash of the frames' bytes (read_bytes), stamp that of stamp_frames.
    """
    about = {"fingerprint": fingerprint, "stamp": stamp, "checksum": _checksum(features)}
    metadata = {"about": json.dumps(about)}  # one entry: safetensors writes several in any order
    write_whole(path, safetensors.torch.save({"features": features.contiguous()}, metadata))


def read_cache(path: Path) -> tuple[torch.Tensor | None, dict[str, str]]:
    """(features (views, T, 512), their metadata); (None, {}) if the file is missing or corrupt."""
    try:
        data = path.read_bytes()
        features = safetensors.torch.load(data)["features"]
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = json.loads(header["__metadata__"]["about"])
    except (OSError, SafetensorError, ValueError, KeyError):  # the caller computes them again
        return None, {}
    return (features, metadata) if metadata.get("checksum") == _checksum(features) else (None, {})


def load_features(path: Path, remedy: str = "run extract_features again") -> torch.Tensor:
    """Reads cached features, float32 (views, T, 512). Raises UserError, with the remedy."""
    try:
        with safe_open(path, "pt") as file:
            return file.get_tensor("features")
    except (OSError, SafetensorError) as error:
        raise UserError(f"could not read {path} ({error}): {remedy}") from error


def features_shape(path: Path) -> tuple[int, ...]:
    """The shape (views, T, 512) of cached features, without reading them."""
    try:
        with safe_open(path, "pt") as file:
            return tuple(file.get_slice("features").get_shape())
    except (OSError, SafetensorError) as error:
        raise UserError(f"could not read {path} ({error}): run extract_features again") from error


def is_cached(path: Path, fingerprint: str, views: int, seq_frames: int) -> bool:
    """Whether a feature file is complete, was made from these frames, and has enough views."""
    features, metadata = read_cache(path)
    return (
        features is not None
        and metadata.get("fingerprint") == fingerprint
        and features.shape[0] >= views
        and features.shape[1] == seq_frames
    )


def _checksum(features: torch.Tensor) -> str:
    return f"{zlib.crc32(features.contiguous().numpy().tobytes()):08x}"


def list_sequences(split_dir: Path) -> list[str]:
    """The names of all sequences of a split, labelled or not.

    Raises UserError if the folder or its sequences/ is missing.
    """
    folder = split_dir / "sequences"
    if not folder.is_dir():
        if not split_dir.is_dir():
            raise UserError(f"no such folder: {split_dir}")
        raise UserError(f"{split_dir} has no folder sequences/: is it the folder of a split?")
    return sequence_names(split_dir)
