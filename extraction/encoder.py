"""The frozen backbone made for speed: uint8 frames in, features out, on whatever this machine has.

    encoder = build_encoder(backbone, device, pick_precision("auto", device))
    with encoding_pool(device) as pool:
        features = [job.result() for job in [pool.submit(encode, encoder, f) for f in frames]]

On CPUs each core takes frames of its own, which beats all cores at the same frames
(benchmarks/extracting.py).
"""

import copy
import itertools
import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cli import PRECISIONS
from extraction.backbones import PREPROCESSING
from files import UserError

CPU_BATCH = {torch.float32: 30, torch.bfloat16: 15}  # frames; other batches, other last bits
GPU_BATCH, MOST_STREAMS = 60, 8  # frames, threads: so that a GPU's memory does not run out


def best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def has_native_bf16(device: torch.device | str) -> bool:
    """Whether bfloat16 is quicker than float32 there, not emulated."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if kind == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def pick_precision(precision: str, device: torch.device | str) -> str:
    """ "fp32" or "bf16": what is asked for, or with "auto" what this device is quickest with."""
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return precision


def build_encoder(
    backbone: nn.Sequential, device: torch.device | str = "cpu", precision: str = "fp32"
) -> nn.Sequential:
    """A copy of the backbone made for speed, for encode: the same mathematics, other arithmetic.

    Its memory is channels_last; in fp32 on CPUs the first layers are one, and 3x3 convolutions are
    Winograd's. Features agree with the backbone's to about 1e-5, in bf16 their cosine is 0.9999 or
    more (tests).
    """
    encoder, kind = fold(backbone, precision), torch.device(device).type
    if precision == "fp32" and kind == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # 10 bits are not fp32
    if precision == "fp32" and kind == "cpu":
        try:  # only here is Numba needed; its import fails where it cannot write its cache
            from extraction.stem import Stem  # noqa: PLC0415
            from extraction.winograd import WinogradBlock  # noqa: PLC0415
        except RuntimeError as error:
            raise UserError(f"{error}: set NUMBA_CACHE_DIR to a folder to write in") from error
        layers = [encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4]
        stem = Stem(encoder.conv1, encoder.centre.value)
        encoder = nn.Sequential(OrderedDict(stem=stem))
        for k, blocks in enumerate(layers, 1):
            encoder.add_module(f"layer{k}", nn.Sequential(*map(WinogradBlock, blocks)))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    encoder = encoder.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    if kind == "cuda":
        torch.cuda.synchronize(device)  # the weights are there before any stream reads them
    return encoder


def fold(backbone: nn.Sequential, precision: str = "fp32") -> nn.Sequential:
    """A float32 copy for uint8 pixels: batch norm and normalise in its convolutions, no pooling.

    Pixels come less their mean. In bf16 that is rounded, for whole numbers up to 256 are exact
    there; the rest of the mean is in the first bias.
    """
    parts = OrderedDict(copy.deepcopy(backbone).eval().named_children())
    folded = nn.Sequential(parts)
    for parent in folded.modules():
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(
            list(parent.named_children())
        ):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    mean = 255 * torch.tensor(PREPROCESSING["mean"]).view(3, 1, 1)
    std = 255 * torch.tensor(PREPROCESSING["std"]).view(3, 1, 1)
    centre = mean.round() if precision == "bf16" else mean
    with torch.no_grad():
        folded.conv1.weight /= std
        folded.conv1.bias += (folded.conv1.weight * (centre - mean)).sum((1, 2, 3))
    kept = [(name, part) for name, part in folded.named_children() if name != "avgpool"]
    return nn.Sequential(OrderedDict([("centre", Centre(centre)), *kept]))


class Centre(nn.Module):
    """uint8 pixels (N, 3, H, W) -> less the value, in its dtype, in channels_last."""

    def __init__(self, value: torch.Tensor):
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.to(self.value.dtype, memory_format=torch.channels_last) - self.value


def encode(encoder: nn.Sequential, frames: torch.Tensor) -> torch.Tensor:
    """uint8 RGB frames (N, 3, 224, 224) -> float32 features (N, 512) on the CPU."""
    kept = next(encoder.buffers())
    size = CPU_BATCH[kept.dtype] if kept.device.type == "cpu" else GPU_BATCH
    features = []
    with torch.inference_mode():
        for part in frames.split(size):
            maps = encoder(part.to(kept.device))  # (N, 512, 7, 7)
            features.append(maps.mean((2, 3), dtype=torch.float32))  # (N, 512)
    return torch.cat(features).cpu()


def count_streams(device: torch.device | str) -> int:
    """How many threads may decode and encode at once: all cores, but one where MPS computes."""
    kind = torch.device(device).type
    if kind == "cpu":
        return torch.get_num_threads()
    return 1 if kind == "mps" else min(os.cpu_count() or 1, MOST_STREAMS)


@contextmanager
def encoding_pool(device: torch.device | str) -> Iterator[ThreadPoolExecutor]:
    """Threads that each decode and encode on their own, one core (or CUDA stream) each."""
    device = torch.device(device)
    threads = torch.get_num_threads()
    blas = threadpool_limits(1, "blas")

    def prepare() -> None:
        if device.type == "cuda":  # so that copying to the device goes on beside computing there
            torch.cuda.set_stream(torch.cuda.Stream(device))
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(count_streams(device), initializer=prepare)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        blas.restore_original_limits()
        torch.set_num_threads(threads)  # threads that begin later take theirs from the last call
