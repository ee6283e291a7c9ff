"""Measure how time and memory grow with the number of sequences, and of whole matches.

    python benchmarks/growth.py [--sizes 100 1000 10000 100000] [--picture benchmarks/growth.png]
    python benchmarks/growth.py --sizes --matches 10 50      # only matches, of 60 minutes each

Sequences: it times reading a split, extraction with all features cached, loading the features, and
one epoch of training. The frames are noise and the features random (SYNTHETIC). All are hard links
to ten sequences, so that 100,000 need 1 GB of disk instead of 20 GB; real files would be slower to
read. It takes about 12 minutes on 2 plain cores. growing_matches.py measures matches. Each size
runs in its own process.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from math import log
from multiprocessing import get_context
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from growing_matches import grow_matches

from dataset import FeatureDataset, load_splits
from extraction.backbones import build_backbone
from extraction.features import extract_features, features_dir, save_features, stamp_frames
from media.frames import frame_names, read_bytes
from model import RES_LSTM
from output.results import peak_rss_mb
from train_utils import seed_everything, train_one_epoch

FRAMES, SOURCES = 30, 10  # ten real sequences, because ext4 allows 65,000 links to a file
STAGES = {
    "read": "reading the split",
    "extract": "extraction, nothing to do",
    "load": "loading the features",
    "epoch": "one epoch",
}


def name_of(k: int) -> str:
    return f"seq_{k:06d}"


def write_sources(split_dir: Path, backbone: nn.Module) -> None:
    """Writes the sequences, with features, that all others will link to."""
    rng = np.random.default_rng(0)
    for k in range(SOURCES):
        folder = split_dir / "sequences" / name_of(k)
        folder.mkdir(parents=True)
        for number in range(1, FRAMES + 1):
            picture = rng.integers(0, 60, (224, 224, 3), np.uint8)
            cv2.imwrite(str(folder / f"{number:05d}.jpg"), picture)
        fingerprint = read_bytes(folder)[1]
        path = features_dir(split_dir, backbone) / f"{name_of(k)}.safetensors"
        save_features(path, torch.rand(1, FRAMES, 512), fingerprint, stamp_frames(folder))


def grow(split_dir: Path, features: Path, first: int, last: int) -> None:
    """Adds sequences first to last (exclusive) as links, and writes the labels of all."""
    sequences, names = split_dir / "sequences", frame_names(split_dir / "sequences" / name_of(0))
    for k in tqdm(range(first, last), "Linking", leave=False):
        source = name_of(k % SOURCES)
        os.mkdir(sequences / name_of(k))
        for name in names:
            os.link(f"{sequences}/{source}/{name}", f"{sequences}/{name_of(k)}/{name}")
        os.link(features / f"{source}.safetensors", features / f"{name_of(k)}.safetensors")
    rows = "".join(f"{name_of(k)},{k % 2}\n" for k in range(last))
    (split_dir / f"{split_dir.name}.csv").write_text("sequence,label\n" + rows)


def measure(data_dir: Path) -> dict[str, dict[str, float]]:
    """{stage: its seconds, and the peak memory of this process so far in MB}."""
    figures, backbone = {}, build_backbone("random")[0]
    begun = time.perf_counter()

    def done(stage: str) -> None:
        nonlocal begun
        now = time.perf_counter()
        figures[stage] = {"sec": now - begun, "peak_mb": peak_rss_mb()}
        begun = time.perf_counter()

    table = load_splits(data_dir, splits=("train",), seq_frames=30)["train"]
    done("read")
    names = list(table["sequence"])
    folder = extract_features(data_dir / "train", names, backbone, precision="fp32")
    done("extract")
    train_set = FeatureDataset(folder, table)
    done("load")
    seed_everything(0)
    model = RES_LSTM(backbone)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-4, fused=True)
    loader = DataLoader(train_set, batch_size=4, shuffle=True)
    train_one_epoch(model, loader, optimizer, nn.BCEWithLogitsLoss())
    done("epoch")
    return figures


def plot_growth(figures: dict[int, dict], path: Path) -> None:
    sizes = list(figures)
    picture, (times, memory) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for stage, title in STAGES.items():
        times.loglog(sizes, [figures[n][stage]["sec"] for n in sizes], "o-", label=title)
    times.loglog(sizes, [n / 1e4 for n in sizes], ":", color="grey", label="linear: 0.1 ms each")
    times.set(xlabel="sequences", ylabel="seconds", title="Time")
    times.legend()
    peaks = [figures[n]["epoch"]["peak_mb"] / 1000 for n in sizes]
    memory.semilogx(sizes, peaks, "o-", label="peak of the whole process")
    memory.axhline(4, ls=":", color="grey", label="4 GB")
    memory.set(xlabel="sequences", ylabel="GB", title="Memory", ylim=(0, 4.4))
    memory.legend()
    picture.suptitle("Growth (synthetic frames, hard links)")
    picture.savefig(path, dpi=120)


def grow_sequences(sizes: list[int], picture: Path | None) -> dict:
    """Measures each number of sequences, prints it, and returns the figures for JSON."""
    backbone, figures = build_backbone("random")[0], {}
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = Path(scratch)
        split_dir, there = data_dir / "train", SOURCES
        write_sources(split_dir, backbone)
        features = features_dir(split_dir, backbone)
        for size in sorted(sizes):
            grow(split_dir, features, there, size)
            there = size
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                figures[size] = pool.submit(measure, data_dir).result()
            stages = figures[size]
            told = [f"{title} {stages[stage]['sec']:.2f} s" for stage, title in STAGES.items()]
            peak_mb = stages["epoch"]["peak_mb"]
            print(f"{size:7,} sequences: {', '.join(told)}, peak memory {peak_mb:.0f} MB")
    if picture:
        plot_growth(figures, picture)
    last, most = sorted(figures)[-2:]
    result = {"sequences": most, "peak_mb": round(figures[most]["epoch"]["peak_mb"])}
    for stage in STAGES:  # an exponent of 1 means linear growth
        ratio = figures[most][stage]["sec"] / figures[last][stage]["sec"]
        result[f"{stage}_sec"] = round(figures[most][stage]["sec"], 2)
        result[f"{stage}_exponent"] = round(log(ratio) / log(most / last), 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure how time and memory grow with the number of sequences."
    )
    add = parser.add_argument
    add(
        "--sizes",
        type=int,
        nargs="*",
        default=[100, 1000, 10_000, 100_000],
        metavar="N",
        help="numbers of sequences, two or more; none skips them (default: 100 1000 10000 100000)",
    )
    add(
        "--matches",
        type=int,
        nargs="*",
        default=[10, 50],
        metavar="N",
        help="numbers of whole matches, 5 or more each; none skips them (default: 10 50)",
    )
    add("--minutes", type=float, default=60, metavar="MIN", help="of each match (default: 60)")
    add("--picture", type=Path, metavar="FILE", help="save a plot of the results here")
    options = parser.parse_args()
    if len(set(options.sizes)) == 1:
        parser.error("--sizes needs at least two different numbers")
    if options.matches and min(options.matches) < 5:
        parser.error("--matches needs numbers of 5 or more")
    result = {}
    if options.sizes:
        result |= grow_sequences(options.sizes, options.picture)
    if options.matches:
        with tempfile.TemporaryDirectory() as scratch:
            result |= grow_matches(options.matches, options.minutes, Path(scratch))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
