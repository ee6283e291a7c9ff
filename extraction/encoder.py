"""A fast copy of the frozen backbone: uint8 frames in, features out, on CPU, CUDA or MPS.

    encoder = build_encoder(backbone, device, pick_precision("auto", device))
    with encoding_pool(device) as pool:
        features = [job.result() for job in [pool.submit(encode, encoder, f) for f in frames]]

On a CPU each core works on its own frames, which is faster than all cores on the same frames
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

CPU_BATCH = {torch.float32: 30, torch.bfloat16: 15}  # frames; another size changes the last bits
GPU_BATCH, MOST_STREAMS = 60, 8  # frames per batch, batches at once: limits the GPU memory


def best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def has_native_bf16(device: torch.device | str) -> bool:
    """Whether the device has bfloat16 in hardware. Emulated bfloat16 is slower than float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if kind == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def pick_precision(precision: str, device: torch.device | str) -> str:
    """Returns "fp32" or "bf16". "auto" is bf16 if the device has it in hardware, else fp32."""
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return precision


def build_encoder(
    backbone: nn.Sequential, device: torch.device | str = "cpu", precision: str = "fp32"
) -> nn.Sequential:
    """Returns a fast copy of the backbone, for encode. The backbone itself is not changed.

    Batch norm is folded into the convolutions, and memory is channels_last. In fp32 on a CPU the
    first layers are fused (extraction.stem), and 3x3 convolutions use Winograd's algorithm
    (extraction.winograd). In fp32 the features agree with the backbone's to about 1e-5. In bf16
    their cosine similarity is above 0.9999. tests/extraction/test_encoder.py checks both.
    """
    encoder, kind = fold(backbone, precision), torch.device(device).type
    if precision == "fp32" and kind == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # TF32 keeps only 10 bits of mantissa
    if precision == "fp32" and kind == "cpu":
        try:  # only this path needs Numba, whose import fails if it cannot write its cache
            from extraction.stem import Stem  # noqa: PLC0415
            from extraction.winograd import WinogradBlock  # noqa: PLC0415
        except RuntimeError as error:
            raise UserError(f"{error}: set NUMBA_CACHE_DIR to a writable folder") from error
        layers = [encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4]
        stem = Stem(encoder.conv1, encoder.centre.value)
        encoder = nn.Sequential(OrderedDict(stem=stem))
        for k, blocks in enumerate(layers, 1):
            encoder.add_module(f"layer{k}", nn.Sequential(*map(WinogradBlock, blocks)))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    encoder = encoder.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    if kind == "cuda":
        torch.cuda.synchronize(device)  # finish copying the weights before any stream reads them
    return encoder


def fold(backbone: nn.Sequential, precision: str = "fp32") -> nn.Sequential:
    """A float32 copy that takes uint8 pixels, with batch norm and normalise folded in.

    It has no average pool: encode takes the mean. Its first layer subtracts the mean of normalise
    from the pixels. For bf16 that mean is rounded, because bf16 represents whole numbers up to 256
    exactly; the first bias makes up for the rounding.
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
    """uint8 pixels (N, 3, H, W) -> pixels minus value, in the dtype of value, channels_last."""

    def __init__(self, value: torch.Tensor):
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.to(self.value.dtype, memory_format=torch.channels_last) - self.value


def encode(encoder: nn.Sequential, frames: torch.Tensor) -> torch.Tensor:
    """uint8 RGB frames (N, 3, 224, 224), 0 to 255 -> float32 features (N, 512) on the CPU."""
    kept = next(encoder.buffers())
    size = CPU_BATCH[kept.dtype] if kept.device.type == "cpu" else GPU_BATCH
    features = []
    with torch.inference_mode():
        for part in frames.split(size):
            maps = encoder(part.to(kept.device))  # (N, 512, 7, 7)
            features.append(maps.mean((2, 3), dtype=torch.float32))  # (N, 512)
    return torch.cat(features).cpu()


def count_streams(device: torch.device | str) -> int:
    """How many threads decode and encode at once.

    CPU: torch's number of threads. MPS: 1. CUDA: the number of cores, at most MOST_STREAMS.
    """
    kind = torch.device(device).type
    if kind == "cpu":
        return torch.get_num_threads()
    return 1 if kind == "mps" else min(os.cpu_count() or 1, MOST_STREAMS)


@contextmanager
def encoding_pool(device: torch.device | str) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that decode and encode independently, one core or CUDA stream each.

    torch and BLAS use one thread inside the pool; their numbers of threads are restored at the end.
    """
    device = torch.device(device)
    threads = torch.get_num_threads()
    blas = threadpool_limits(1, "blas")

    def prepare() -> None:
        if device.type == "cuda":  # own streams let copies to the GPU overlap with computation
            torch.cuda.set_stream(torch.cuda.Stream(device))
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(count_streams(device), initializer=prepare)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        blas.restore_original_limits()
        torch.set_num_threads(threads)  # threads started later inherit the last value that was set
