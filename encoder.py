"""The frozen backbone made for speed: uint8 frames in, features out, on whatever this machine has.

    encoder = build_encoder(backbone, device, pick_precision("auto", device))
    with encoding_pool(device) as pool:
        features = [job.result() for job in [pool.submit(encode, encoder, f) for f in frames]]

On CPUs each core takes a batch of its own: small batches that stay in its cache beat one batch
that all cores share by about a third (benchmarks/extraction.py).
"""

import copy
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from files import PRECISIONS, UserError
from model import PREPROCESSING
from winograd import WinogradBlock

CPU_BATCH = 10  # frames: 128 MB a core in fp32. Part of what makes features equal to the bit


def best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def has_native_bf16(device: torch.device | str) -> bool:
    """Whether bfloat16 is quicker than float32 there, not emulated."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities() if kind == "cpu" else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def pick_precision(precision: str, device: torch.device | str) -> str:
    """ "fp32" or "bf16": what is asked for, or with "auto" what this device is quickest with."""
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return precision


def build_encoder(
    backbone: nn.Sequential, device: torch.device | str = "cpu", precision: str = "fp32"
) -> nn.Module:
    """A copy of the backbone made for speed, for encode: the same mathematics, other arithmetic.

    Batch norm is folded into convolutions, the scale of normalise into the first one, and memory
    is channels_last. In fp32 features agree with the backbone's to about 1e-5 (test). In bf16 the
    cosine is 0.9999 or more: whole numbers up to 256 are exact there, so what goes in is the pixel
    less the mean rounded, and the rest of the mean is in the first bias.
    """
    encoder = copy.deepcopy(backbone).eval()
    for parent in encoder.modules():
        parts = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(parts):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    encoder.avgpool = nn.Identity()  # encode does it, in float32
    mean = 255 * torch.tensor(PREPROCESSING["mean"]).view(3, 1, 1)
    std = 255 * torch.tensor(PREPROCESSING["std"]).view(3, 1, 1)
    centre = mean.round() if precision == "bf16" else mean
    with torch.no_grad():
        encoder.conv1.weight /= std
        encoder.conv1.bias += (encoder.conv1.weight * (centre - mean)).sum((1, 2, 3))
    encoder.register_buffer("centre", centre)
    if precision == "fp32" and torch.device(device).type == "cpu":
        for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
            for name, block in layer.named_children():
                layer.add_module(name, WinogradBlock(block))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return encoder.to(device=device, dtype=dtype, memory_format=torch.channels_last)


def encode(encoder: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """uint8 RGB frames (N, 3, 224, 224) -> float32 features (N, 512) on the CPU."""
    weight = encoder.conv1.weight
    batch = CPU_BATCH if weight.device.type == "cpu" else max(len(frames), 1)
    features = []
    with torch.inference_mode():
        for part in frames.split(batch):
            pixels = part.to(weight.device).to(weight.dtype, memory_format=torch.channels_last)
            maps = encoder(pixels.sub_(encoder.centre))  # (N, 512, 7, 7)
            features.append(maps.mean((2, 3), dtype=torch.float32))  # (N, 512)
    return torch.cat(features).cpu()


def count_streams(device: torch.device | str) -> int:
    """How many threads may encode at once: all cores, but one where MPS computes."""
    kind = torch.device(device).type
    cores = torch.get_num_threads() if kind == "cpu" else os.cpu_count() or 1
    return 1 if kind == "mps" else cores


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

    if device.type == "cuda":
        torch.cuda.synchronize(device)  # the encoder's weights are there before any stream reads
    pool = ThreadPoolExecutor(count_streams(device), initializer=prepare)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        blas.restore_original_limits()
        torch.set_num_threads(threads)  # threads that begin later take theirs from the last call
