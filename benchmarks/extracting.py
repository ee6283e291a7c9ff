"""Compare all ways to run the frozen backbone, in frames per second.

    python benchmarks/extracting.py [--data Data/train] [--sequences 24] [--rounds 3]

It measures the original's loop, the steps from there to encoder.py, OpenVINO, and the bound given
by a large matrix product: each in turn, --rounds times, and prints medians. Then it profiles one
core. bf16 is measured only on processors that have it. Without --data the frames come from a drawn
(SYNTHETIC) match. It takes about 5 minutes on 2 plain cores.
"""

import argparse
import copy
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import openvino
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from experiment import frames_for, time_original

from extraction.backbones import build_backbone, normalise
from extraction.encoder import (
    best_device,
    build_encoder,
    encode,
    encoding_pool,
    fold,
    has_native_bf16,
    pick_precision,
)
from extraction.features import extract_features
from media.frames import read_sequence

PRODUCT = 4096  # rows and columns of the matrix product that gives the bound
OPENVINO_BATCH = 15  # frames per request
PARTS = ("stem", "layer1", "layer2", "layer3", "layer4")
ORIGINAL, OURS, PIPELINE = "the original's loop", "encoder.py", "features.py, from files"
BOUND = "bound: one large matrix product"


def all_threads(module: nn.Module, inputs: torch.Tensor) -> Callable[[], object]:
    """A function that runs module(inputs) with all threads, 30 frames at a time."""

    def run() -> None:
        with torch.inference_mode():
            for frames in inputs.split(30):
                module(frames)
        if inputs.is_cuda:
            torch.cuda.synchronize()

    return run


def a_core_each(encoder: nn.Module, frames: torch.Tensor, device: torch.device) -> Callable:
    """A function that encodes as extract_features does: one sequence per core or stream."""

    def run() -> None:
        with encoding_pool(device) as pool:
            list(pool.map(lambda part: encode(encoder, part), frames.split(30)))

    return run


def by_openvino(backbone: nn.Module, pixels: torch.Tensor, precision: str) -> Callable:
    """A function that runs the same network with OpenVINO on the CPU, two requests at a time."""
    batches = [part.numpy() for part in pixels.split(OPENVINO_BATCH)]
    example = pixels[:OPENVINO_BATCH]
    network = openvino.convert_model(backbone, example_input=example, input=list(example.shape))
    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": 2,
    }
    compiled = openvino.Core().compile_model(network, "CPU", settings)

    def run() -> None:
        queue = openvino.AsyncInferQueue(compiled, 2)
        for batch in batches:
            queue.start_async({0: batch})
        queue.wait_all()

    return run


def matrix_product(precision: str, device: torch.device) -> Callable:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    factor = torch.randn(PRODUCT, PRODUCT, device=device).to(dtype)
    return all_threads(lambda _: torch.mm(factor, factor), factor[:1])


def ways(
    backbone: nn.Sequential, frames: torch.Tensor, device: torch.device, precisions: list[str]
) -> dict[str, Callable]:
    """{name: function} for each way to run the backbone on uint8 frames (N, 3, 224, 224)."""
    pixels, there, last = normalise(frames), frames.to(device), torch.channels_last
    plain = copy.deepcopy(backbone).to(device)
    found = {"fp32, NCHW, unchanged": all_threads(plain, pixels.to(device))}
    plain = copy.deepcopy(plain).to(memory_format=last)
    found["fp32, channels_last"] = all_threads(plain, pixels.to(device, memory_format=last))
    for precision in precisions:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        folded = fold(backbone, precision).to(device, dtype, memory_format=last)
        found[f"{precision}, folded"] = all_threads(folded, there)
        if shutil.which("c++") and device.type != "mps":
            compiled = torch.compile(folded)
            start = time.perf_counter()
            all_threads(compiled, there[:30])()
            print(f"torch.compile of {precision}: {time.perf_counter() - start:.0f} s")
            found[f"{precision}, folded, torch.compile"] = all_threads(compiled, there)
        if device.type == "cpu":
            found[f"{precision}, folded, one core each"] = a_core_each(folded, frames, device)
            found[f"{precision}, OpenVINO"] = by_openvino(backbone, pixels, precision)
        fast = build_encoder(backbone, device, precision)
        found[f"{precision}, {OURS}"] = a_core_each(fast, frames, device)
    return found


def measure(runs: dict[str, tuple[Callable, int]], rounds: int) -> dict[str, float]:
    """Units per second of each (run, units). They alternate, so that a slow phase affects all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for k in tqdm(range(rounds + 1), "Rounds", leave=False):
        for name, (run, _) in runs.items():
            start = time.perf_counter()
            run()
            if k:  # round 0 is a warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: units / median(seconds[name]) for name, (_, units) in runs.items()}


def count_flops(backbone: nn.Sequential) -> dict[str, float]:
    """Floating point operations per frame for each part of the backbone; "" is the whole."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        backbone(torch.zeros(1, 3, 224, 224))
    counts = counter.get_flop_counts()
    parts = {name: sum(counts.get(f"Sequential.{name}", {}).values()) for name in PARTS[1:]}
    whole = sum(counts["Global"].values())
    return parts | {"stem": whole - sum(parts.values()), "": whole}


def profile(encoder: nn.Module, frames: torch.Tensor) -> dict[str, float]:
    """Milliseconds per frame for each part on one core; "rest" is the remainder of encode."""
    seconds, started = dict.fromkeys(PARTS, 0.0), {}
    hooks = []
    for name in PARTS:
        part = getattr(encoder, name)

        def begin(*_, name=name) -> None:
            started[name] = time.perf_counter()

        def end(*_, name=name) -> None:
            seconds[name] += time.perf_counter() - started[name]

        hooks += [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]
    with encoding_pool("cpu") as pool:
        pool.submit(encode, encoder, frames).result()
        seconds.update(dict.fromkeys(PARTS, 0.0))
        start = time.perf_counter()
        pool.submit(encode, encoder, frames).result()
        seconds["rest"] = time.perf_counter() - start - sum(seconds.values())
    for hook in hooks:
        hook.remove()
    return {name: 1000 * sec / len(frames) for name, sec in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare all ways to run the frozen backbone, in frames per second."
    )
    add = parser.add_argument
    add(
        "--sequences",
        type=int,
        default=24,
        metavar="N",
        help="number of sequences that features.py reads (default: 24)",
    )
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of a split, such as Data/train (default: a drawn, SYNTHETIC match)",
    )
    add("--rounds", type=int, default=3, metavar="N", help="measurements of each way (default: 3)")
    options = parser.parse_args()
    device, backbone = best_device(), build_backbone("random")[0]
    best = pick_precision("auto", device)
    precisions = ["fp32", "bf16"] if has_native_bf16(device) else ["fp32"]
    with tempfile.TemporaryDirectory() as scratch:
        split_dir, names = frames_for(options, Path(scratch))
        folders = [split_dir / "sequences" / name for name in names]
        pixels = torch.from_numpy(np.concatenate([read_sequence(f) for f in folders[:4]]))
        count = len(pixels)

        def pipeline() -> None:
            shutil.rmtree(split_dir / "features", ignore_errors=True)
            extract_features(split_dir, names, backbone, device=device)

        runs = {ORIGINAL: (lambda: time_original(folders[:4], device), count)}
        for name, run in ways(backbone, pixels, device, precisions).items():
            runs[name] = (run, count)
        runs[PIPELINE] = (pipeline, 30 * len(names))
        flops = count_flops(backbone)
        for precision in precisions:
            product = matrix_product(precision, device)
            runs[f"{precision}, {BOUND}"] = (product, 2 * PRODUCT**3 / flops[""])
        rates = measure(runs, options.rounds)

    print(f"\n{'':44}{'frames/s':>10}{'times the original':>19}")
    for name, rate in rates.items():
        print(f"{name:44}{rate:10.1f}{rate / rates[ORIGINAL]:19.2f}")
    if best == "fp32" and device.type == "cpu":
        print(f"\n{best} on one core:{'ms per frame':>29}{'GFLOP/s':>10}")
        for name, ms in profile(build_encoder(backbone, device, best), pixels).items():
            speed = f"{flops[name] / ms / 1e6:10.0f}" if flops.get(name) else ""
            print(f"  {name:42}{ms:4.1f}{speed}")
    backbone_fps, pipeline_fps = rates[f"{best}, {OURS}"], rates[PIPELINE]
    figures = {
        "backbone_fps": backbone_fps,
        "pipeline_fps": pipeline_fps,
        "pipeline_over_backbone": pipeline_fps / backbone_fps,
        "over_original": pipeline_fps / rates[ORIGINAL],
        "over_openvino": pipeline_fps / rates.get(f"{best}, OpenVINO", float("nan")),
        "over_matmul_bound": backbone_fps / rates[f"{best}, {BOUND}"],
        "precision": best,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "openvino": openvino.__version__,
    }
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main()
