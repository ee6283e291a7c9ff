"""Part of growth.py: how time and memory of a fit grow with the number of whole matches.

The cached features are random (SYNTHETIC), 55 MB for an hour of match. A fifth of the matches
validates. It times the first reading (for mean and deviation), an epoch of training with its
validation, and how long the next fit takes to start, as the next fold does. 10 and 50 matches of an
hour take about 10 minutes on 2 plain cores, and 3 GB of disk.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from annotation.ground_truth import Truth
from detection.detector import load_detector
from detection.fitting import ReadyMatch, fit_detector
from detection.match_features import GRID_FPS, PIECE_STEPS, cached_steps
from detection.temporal_head import HeadConfig, fit_head, mean_and_std
from extraction.backbones import build_backbone
from extraction.features import save_features
from model import RES_LSTM, save_model
from output.results import peak_rss_mb

EVERY = 4  # frames of 30 a second from one step to the next
EPOCHS = 3  # to time


def write_match(folder: Path, minutes: float, seed: int) -> int:
    """Writes the cached features of a match that nobody played; returns its number of steps."""
    steps, rng = round(minutes * 60 * GRID_FPS / EVERY), np.random.default_rng(seed)
    for piece, first in enumerate(range(0, steps, PIECE_STEPS)):
        count = min(PIECE_STEPS, steps - first)
        features = torch.from_numpy(rng.random((1, count, 512), np.float32))
        save_features(folder / f"{piece:05d}.safetensors", features, "made up")
    return steps


def measure_fit(folder: Path, count: int, minutes: float, model: Path) -> dict[str, float]:
    """Seconds and peak memory of a fit on this many of the written matches."""
    steps = round(minutes * 60 * GRID_FPS / EVERY)
    rallies = [(start, start + 8.0) for start in np.arange(10.0, minutes * 60 - 20, 40.0)]
    matches = [
        ReadyMatch(str(k), cached_steps(folder / str(k), steps), Truth(rallies), minutes * 60)
        for k in range(count)
    ]
    train, val = matches[count // 5 :], matches[: count // 5]
    detector, config, hours = load_detector(model), HeadConfig(every=EVERY), count * minutes / 60
    begun = time.perf_counter()
    mean_and_std([match.features for match in train])
    read_sec = time.perf_counter() - begun
    labelled = [[(match.features, match.truth) for match in part] for part in (train, val)]
    begun = time.perf_counter()
    fit_head(*labelled, config, max_epochs=EPOCHS)
    epoch_sec = (time.perf_counter() - begun) / EPOCHS
    begun = time.perf_counter()
    mean_and_std([match.features for match in train])
    start_sec = time.perf_counter() - begun
    begun = time.perf_counter()
    fit_detector(detector, train, val, config, max_epochs=1)
    return {
        "read_sec": read_sec,
        "epoch_sec_per_hour": epoch_sec / hours,
        "next_start_sec": start_sec,
        "fit_of_one_epoch_sec": time.perf_counter() - begun,
        "peak_mb": peak_rss_mb(),
    }


def grow_matches(sizes: list[int], minutes: float, scratch: Path) -> dict:
    """Measures a fit for each number of matches, prints it, and returns the figures for JSON."""
    model, figures = scratch / "model.pth", {}
    save_model(model, RES_LSTM(build_backbone("random")[0]), "random")
    for k in tqdm(range(max(sizes)), "Writing matches", leave=False):
        write_match(scratch / str(k), minutes, k)
    for size in sorted(sizes):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            told = pool.submit(measure_fit, scratch, size, minutes, model).result()
        figures[size] = told
        print(
            f"{size:4} matches of {minutes:g} minutes: first reading {told['read_sec']:.1f} s, an "
            f"epoch {told['epoch_sec_per_hour']:.2f} s for an hour of match, the next fit starts "
            f"after {told['next_start_sec']:.3f} s, peak memory {told['peak_mb']:.0f} MB"
        )
    least, most = (figures[size] for size in (min(sizes), max(sizes)))
    return {
        "matches": max(sizes),
        "matches_peak_mb": round(most["peak_mb"]),
        "epoch_per_hour_ratio": round(most["epoch_sec_per_hour"] / least["epoch_sec_per_hour"], 3),
        "by_matches": {str(size): each for size, each in figures.items()},
    }
