"""Frozen features: each frame goes through the backbone once, the result is kept on disk.

    folder = extract_features(Path("Data/train"), names, backbone)    # UserError if any failed
    features = load_features(folder / "seq_00001.safetensors")        # (views, 30, 512)

A killed run goes on where it was. Frames are read by media.frames, several sequences ahead of the
backbone; dataset.SequenceDataset, which is for training on frames, is not needed here.
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
    """uint8 (T, 3, H, W) -> the same, flipped, turned and tinted: one draw for all its frames.

    View 0 is the sequence itself. The draw depends on the name and the view alone, so a view is
    the same whenever it is computed.
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
    with _drawing, torch.random.fork_rng(devices=[]):  # all threads share one generator
        torch.manual_seed(zlib.crc32(f"{name} view {view}".encode()))
        return change(frames)


def features_dir(split_dir: str | Path, backbone: nn.Module, precision: str = "fp32") -> Path:
    """Where a backbone's features of a split lie: named after weights, precision, preprocessing.

    The name does not follow augment: remove the folder after changing that.
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
    """Computes what is missing or out of date of a split's features, and returns their folder.

    Each sequence becomes <folder>/<sequence>.safetensors: "features", float32 (views, T, 512).
    A file counts as done when it is whole, holds enough views, and was made from the bytes that
    the frames have now; names, sizes and times of the frames that are as they were vouch for the
    bytes. Memory does not grow with the number of sequences. The encoder is built for the first
    sequence that needs it. on_failure gets each sequence that cannot be read, and why; without it,
    a UserError names them all at the end (the features of the others are kept). Raises UserError at
    once when a file cannot be written.
    """
    if views < 1:
        raise UserError(f"views must be at least 1 (the sequence itself), not {views}")
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
    """What build() gives: built when it is first asked for, by one thread, for all of them."""
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
    """Computes a sequence's features into the folder unless they are there.

    Raises FrameError for bad frames, UserError where it cannot write.
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
        if stamp:  # a copy of the data: so that its bytes need not be read the next time
            save_features(path, cached, fingerprint, stamp)
        return
    frames = torch.from_numpy(decode_frames(encoded, frames_dir))
    encoder = get_encoder()
    features = [encode(encoder, augment(frames, sequence, view)) for view in range(views)]
    save_features(path, torch.stack(features), fingerprint, stamp)  # (V, T, D)


def refuse_failures(split_dir: str | Path, failures: dict[str, str], count: int) -> None:
    """Raises UserError if any of so many sequences failed: {sequence: why}."""
    if failures:
        named = "".join(f"\n  - {sequence}: {why}" for sequence, why in failures.items())
        raise UserError(
            f"{len(failures)} of {count} sequences of {split_dir} have no features (the others "
            f"are kept); mend or remove:{named}"
        )


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed run left half-written; for the process that holds the folder.

    A remote folder is held by nobody: there, half-written files may be another machine's.
    """
    if is_remote(folder):
        return
    for leftover in folder.glob(".*.part"):
        leftover.unlink(missing_ok=True)


def read_ahead(
    pool: ThreadPoolExecutor, items: Iterable[T], function: Callable, count: int
) -> Iterator[tuple[T, Future]]:
    """Each item, in order, with its function(item); so many more of them are under way in pool."""
    waiting: deque[tuple[T, Future]] = deque()
    for item in items:
        waiting.append((item, pool.submit(function, item)))
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def stamp_frames(frames_dir: Path) -> str:
    """Changes with names, sizes and times of a sequence's frames; "" where they cannot be had."""
    if is_remote(frames_dir):  # no times to go by there
        return ""
    try:
        stats = [(path.name, path.stat()) for path in frame_paths(frames_dir)]
    except OSError:
        return ""
    listing = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return hashlib.blake2b(listing.encode(), digest_size=16).hexdigest()


def save_features(path: Path, features: torch.Tensor, fingerprint: str, stamp: str = "") -> None:
    """Writes features (views, T, 512), whole or not at all, with what tells whether they hold."""
    about = {"fingerprint": fingerprint, "stamp": stamp, "checksum": _checksum(features)}
    metadata = {"about": json.dumps(about)}  # one entry: safetensors writes several in any order
    write_whole(path, safetensors.torch.save({"features": features.contiguous()}, metadata))


def read_cache(path: Path) -> tuple[torch.Tensor | None, dict[str, str]]:
    """(features (views, T, 512), about them) of a file; (None, {}) unless it is there, whole."""
    try:
        data = path.read_bytes()
        features = safetensors.torch.load(data)["features"]
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = json.loads(header["__metadata__"]["about"])
    except (OSError, SafetensorError, ValueError, KeyError):  # to be computed again
        return None, {}
    return (features, metadata) if metadata.get("checksum") == _checksum(features) else (None, {})


def load_features(path: Path, remedy: str = "run extract_features again") -> torch.Tensor:
    """A file of cached features, float32 (views, T, 512)."""
    try:
        with safe_open(path, "pt") as file:
            return file.get_tensor("features")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}): {remedy}") from error


def features_shape(path: Path) -> tuple[int, ...]:
    """(views, T, 512) of a file of cached features, without reading them."""
    try:
        with safe_open(path, "pt") as file:
            return tuple(file.get_slice("features").get_shape())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}): run extract_features again") from error


def is_cached(path: Path, fingerprint: str, views: int, seq_frames: int) -> bool:
    """Whether a feature file is whole, of these frames, and holds at least so many views."""
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
    """The names of a split's sequences, labelled or not."""
    folder = split_dir / "sequences"
    if not folder.is_dir():
        raise UserError(
            f"{split_dir} {'has no folder sequences/' if split_dir.is_dir() else 'is not there'}"
        )
    return sequence_names(split_dir)
