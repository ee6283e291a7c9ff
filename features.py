"""Frozen features: each frame goes through the backbone once, the result is kept on disk.

    python features.py Data/train Data/validation [--weights imagenet] [--views 1]

About 35 frames a second on two plain cores (AVX2, fp32), so 9 minutes for the 618 training
sequences of the original study, once. A killed run goes on where it was.
"""

import argparse
import copy
import hashlib
import itertools
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
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.transforms import v2
from tqdm import tqdm

from files import UserError, one_writer, run_command, write_whole
from frames import decode_frames, read_bytes
from model import PREPROCESSING, backbone_hash, build_backbone, normalise

T = TypeVar("T")
READ_AHEAD = 4  # sequences decoded while one is computed: 4.5 MB each


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_encoder(backbone: nn.Sequential, device: torch.device | str = "cpu") -> nn.Module:
    """A copy of the backbone made for speed: batch norm folded into convolutions, channels_last.

    The same mathematics as the backbone; features agree to about 1e-5 (test).
    """
    encoder = copy.deepcopy(backbone).eval()
    for parent in encoder.modules():
        parts = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(parts):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return encoder.to(device=device, memory_format=torch.channels_last)


def encode(encoder: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """uint8 RGB frames (N, 3, 224, 224) -> float32 features (N, 512) on the CPU."""
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        batch = normalise(frames.to(device)).contiguous(memory_format=torch.channels_last)
        return encoder(batch).flatten(1).float().cpu()


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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{name} view {view}".encode()))
        return change(frames)


def features_dir(split_dir: str | Path, backbone: nn.Module) -> Path:
    """Where a backbone's features of a split lie: the name follows its weights and preprocessing.

    It does not follow augment: remove the folder after changing that.
    """
    recipe = hashlib.sha256(repr(sorted(PREPROCESSING.items())).encode()).hexdigest()[:6]
    return Path(split_dir) / "features" / f"resnet18-{backbone_hash(backbone)}-fp32-{recipe}"


def extract_features(
    split_dir: str | Path,
    sequences: list[str],
    backbone: nn.Sequential,
    views: int = 1,
    seq_frames: int = 30,
    device: torch.device | str = "cpu",
) -> Path:
    """Computes what is missing or out of date of a split's features, and returns their folder.

    Each sequence becomes <folder>/<sequence>.safetensors: "features", float32 (views, T, 512).
    A file counts as done when it is whole, holds enough views, and was made from the bytes that
    the frames have now. Memory does not grow with the number of sequences. Raises UserError at
    the end, naming every sequence that could not be read (the others are kept), or at once when
    a file cannot be written.
    """
    if views < 1:
        raise UserError(f"views must be at least 1 (the sequence itself), not {views}")
    split_dir = Path(split_dir)
    folder = features_dir(split_dir, backbone)
    encoder = build_encoder(backbone, device)
    failures = []
    title = f"Features {split_dir.name}"
    with one_writer(folder), tqdm(total=len(sequences) * seq_frames, desc=title, unit="fr") as bar:
        for leftover in folder.glob(".*.part"):  # of a killed run; this process holds the folder
            leftover.unlink()

        def read_if_needed(sequence: str) -> tuple[torch.Tensor | None, str]:
            """(uint8 frames (T, 3, 224, 224), or None where the cache is good; fingerprint)"""
            encoded, fingerprint = read_bytes(split_dir / "sequences" / sequence, seq_frames)
            if is_cached(folder / f"{sequence}.safetensors", fingerprint, views, seq_frames):
                return None, fingerprint
            return torch.from_numpy(decode_frames(encoded)), fingerprint

        for sequence, job in read_ahead(sequences, read_if_needed, READ_AHEAD):
            try:
                frames, fingerprint = job.result()
            except UserError as error:
                failures.append(f"{sequence}: {error}")
                continue
            if frames is not None:
                features = torch.stack(
                    [encode(encoder, augment(frames, sequence, view)) for view in range(views)]
                )  # (V, T, D)
                save_features(folder / f"{sequence}.safetensors", features, fingerprint)
            bar.update(seq_frames)
    if failures:
        raise UserError(
            f"{len(failures)} of {len(sequences)} sequences of {split_dir} have no features (the "
            "others are kept); mend or remove:\n  - " + "\n  - ".join(failures)
        )
    return folder


def read_ahead(items: Iterable[T], read: Callable, count: int) -> Iterator[tuple[T, Future]]:
    """Each item with its read(item), `count` of them under way in a thread at any time."""
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[tuple[T, Future]] = deque()
        try:
            for item in items:
                waiting.append((item, reader.submit(read, item)))
                if len(waiting) > count:
                    yield waiting.popleft()
            yield from waiting
        finally:
            reader.shutdown(cancel_futures=True)


def save_features(path: Path, features: torch.Tensor, fingerprint: str) -> None:
    """Writes features (views, T, 512), whole or not at all, with what is_cached looks at."""
    metadata = {"fingerprint": fingerprint, "checksum": _checksum(features)}
    write_whole(path, safetensors.torch.save({"features": features.contiguous()}, metadata))


def is_cached(path: Path, fingerprint: str, views: int, seq_frames: int) -> bool:
    """Whether a feature file is whole, of these frames, and holds at least so many views."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("fingerprint") != fingerprint:
                return False
            features = file.get_tensor("features")
    except (OSError, SafetensorError):  # missing, cut off or overwritten: computed again
        return False
    return (
        features.shape[0] >= views
        and features.shape[1] == seq_frames
        and metadata.get("checksum") == _checksum(features)
    )


def _checksum(features: torch.Tensor) -> str:
    return f"{zlib.crc32(features.contiguous().numpy().tobytes()):08x}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Compute and keep the frozen features of splits.")
    parser.add_argument("split_dirs", nargs="+", metavar="DIR", help="such as Data/train")
    parser.add_argument("--weights", default="imagenet", help="imagenet, random, or a file")
    parser.add_argument("--views", type=int, default=1, help="1 plus the augmented views")
    parser.add_argument("--seq-frames", type=int, default=30)
    options = parser.parse_args()
    if options.views < 1:
        parser.error("--views must be at least 1")
    backbone, weights_name = build_backbone(options.weights)
    print(f"backbone weights: {weights_name}")
    failures = []
    for split_dir in map(Path, options.split_dirs):
        sequences_dir = split_dir / "sequences"
        if not sequences_dir.is_dir():
            failures.append(f"{split_dir} has no folder sequences/")
            continue
        names = sorted(p.name for p in sequences_dir.iterdir() if p.is_dir() and p.name[0] != ".")
        try:
            folder = extract_features(
                split_dir, names, backbone, options.views, options.seq_frames, best_device()
            )
            print(f"{split_dir}: {len(names)} sequences in {folder}")
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("\n".join(failures))
    return 0


if __name__ == "__main__":
    run_command(main)
