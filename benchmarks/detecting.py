"""Measure the accuracy, speed and memory of detection on unseen drawn matches.

    python benchmarks/detecting.py [--weights random] [--work DIR] [--seeds 0 1 2]

Accuracy: it draws SYNTHETIC matches at 25, 29.97, 30 and 50 frames per second: 8 of 5 minutes for
training, 3 for validation, 6 of 10 minutes for testing. For each seed a temporal head is trained,
fitted, and run on the test matches. Speed: a drawn match enlarged to 1280x720 at 30 frames per
second, from the file to its tables, with features of every frame and at the rate of the head.
Memory: the same match repeated to --long-minutes. With --work, matches and features are kept for
the next run. Accuracy takes about 40 minutes on 2 plain cores, speed and memory 40 more.
"""

import argparse
import itertools
import json
import math
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from collecting import make_match
from experiment import in_new_process

from annotation.ground_truth import read_truth
from detection.decoding import to_marks
from detection.detector import detect_match, load_detector
from detection.fitting import fit_detector, ready_matches
from detection.marked_matches import MarkedMatch
from detection.match_features import BATCH_STEPS, count_steps, read_steps
from detection.records import default_dir
from detection.segment_metrics import measure_match, summarise
from detection.temporal_head import HeadConfig, MatchHead
from extraction.backbones import build_backbone
from extraction.encoder import best_device, build_encoder, encode, encoding_pool, pick_precision
from media.video import open_video
from model import RES_LSTM, save_model, update_checkpoint
from output.results import peak_rss_mb, save_result
from sample.data_set import draw_matches
from sample.match import FRAME_RATES

LEARN, CHECK = (8, 300), (3, 300)  # training and validation: (matches, seconds of each)
SEEDS = {"train": 101, "validation": 201, "test": 301}  # seed of the first match of each split


def draw_splits(folder: Path, sizes: dict[str, tuple[int, int]]) -> dict[str, list[Path]]:
    """The matches of each split, drawn if missing. sizes: {split: (matches, seconds of each)}."""
    jobs, paths = [], {}
    for split, (count, sec) in sizes.items():
        seeds = range(SEEDS[split], SEEDS[split] + count)
        paths[split] = [folder / f"{split}_{seed}_{sec}s.mp4" for seed in seeds]
        rates = itertools.cycle(map(float, FRAME_RATES))
        jobs += zip(paths[split], seeds, itertools.repeat(float(sec)), rates, strict=False)
    draw_matches(jobs)
    return paths


def run_seed(model: Path, paths: dict[str, list[Path]], every: int, seed: int) -> dict:
    """Trains and fits a head with this seed; returns `summarise` of the test matches, and more."""
    detector, ready = load_detector(model), {}
    for split in ("train", "validation"):
        marked = [
            MarkedMatch(path.stem, path, read_truth(path.with_suffix(".csv")))
            for path in paths[split]
        ]
        ready[split] = ready_matches(marked, detector, every)
    fit = fit_detector(detector, *ready.values(), HeadConfig(every=every), seed)
    detector, measured = fit.detector, {}
    for path in paths["test"]:
        result = detect_match(path, detector, default_dir(path))
        truth = read_truth(path.with_suffix(".csv"))
        measured[path.stem] = measure_match(to_marks(result.rallies), truth, result.video.end_sec)
    return summarise(measured) | {
        "matches": {name: each["iou"]["0.5"]["f1"] for name, each in measured.items()},
        "count_errors": [abs(e["count_error"]) / max(e["true"], 1) for e in measured.values()],
        "validation_f1_50": fit.validation["mean"]["iou"]["0.5"]["f1"],
        "decoding": asdict(detector.decoding),
    }


def detect_alone(path: Path, model: Path, out: Path, threads: int) -> dict:
    """rallies.json of one detection without cached features. Call it in a new process."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    result = detect_match(path, load_detector(model), out)
    about = save_result(result, out).record
    wall_sec = time.perf_counter() - began
    about["speed"] |= {"wall_sec": wall_sec, "peak_rss_mb": peak_rss_mb()}
    about["speed"] |= {"times_real_time": result.video.end_sec / wall_sec}
    return about


def time_shares(path: Path, weights: str, every: int, threads: int) -> dict[str, float]:
    """Seconds per minute of a match for decoding alone, and for the backbone alone."""
    torch.set_num_threads(threads)
    with closing(open_video(path)) as video:
        steps = min(count_steps(video, every), 1800 // every)
        began = time.perf_counter()
        for first in range(0, steps - BATCH_STEPS + 1, BATCH_STEPS):
            frames, _ = read_steps(video, first, BATCH_STEPS, every)
        decode_sec = time.perf_counter() - began
    device = best_device()
    encoder = build_encoder(build_backbone(weights)[0], device, pick_precision("auto", device))
    batches = [torch.from_numpy(frames)] * (steps // BATCH_STEPS)
    with encoding_pool(device) as pool:
        list(pool.map(lambda batch: encode(encoder, batch), batches[:2]))
        began = time.perf_counter()
        list(pool.map(lambda batch: encode(encoder, batch), batches))
    minutes = len(batches) * BATCH_STEPS * every / 1800
    return {
        "decode_sec": decode_sec / minutes,
        "backbone_sec": (time.perf_counter() - began) / minutes,
    }


def measure_speed(model: Path, weights: str, every: int, scratch: Path, minutes: float) -> dict:
    """Times for a 1280x720 match at 30 frames per second: every frame, and at the head's rate."""
    video = scratch / "hd.mp4"
    if not video.exists():
        make_match(video, minutes)
    threads, figures = torch.get_num_threads(), {}
    for name, step in (("every_frame", 1), ("default", every)):
        alone = with_every(model, step, scratch)
        out = Path(tempfile.mkdtemp(dir=scratch))
        speed = in_new_process(detect_alone, video, alone, out, threads)["speed"]
        shares = in_new_process(time_shares, video, weights, step, threads)
        whole_sec = 60 / speed["times_real_time"]
        figures[name] = speed | {
            **{part: round(sec, 2) for part, sec in shares.items()},
            "minute_sec": round(whole_sec, 2),
        }
    return figures


def with_every(model: Path, every: int, scratch: Path) -> Path:
    """A copy of the model with an untrained head of `every` frames per step, for timing only."""
    copy = scratch / f"every{every}.pth"
    copy.write_bytes(model.read_bytes())
    head = MatchHead(HeadConfig(every=every))
    update_checkpoint(
        copy, "detection", {"head": {"config": asdict(head.config), "state": head.state_dict()}}
    )
    return copy


def measure_long(model: Path, scratch: Path, minutes: float) -> dict:
    """Peak memory and speed for a long match and its first tenth: the time should grow linearly."""
    figures = {}
    for name, length in (("tenth", minutes / 10), ("whole", minutes)):
        video, out = scratch / f"{name}.mp4", Path(tempfile.mkdtemp(dir=scratch))
        make_match(video, length)
        about = in_new_process(detect_alone, video, model, out, torch.get_num_threads())
        figures[name] = about["speed"] | {"minutes": about["duration_sec"] / 60}
        video.unlink()
    tenth, whole = figures["tenth"], figures["whole"]
    figures["time_per_minute_ratio"] = tenth["times_real_time"] / whole["times_real_time"]
    return figures


def print_accuracy(runs: dict[int, dict]) -> dict:
    """Prints one row per seed; returns the means over seeds, for the JSON line."""
    rows = {}
    for seed, run in runs.items():
        pooled, f1 = run["pooled"], run["mean"]["iou"]
        errors = pooled["edges"]
        rows[seed] = {
            "f1_50": f1["0.5"]["f1"],
            "worst_f1_50": run["worst"]["f1"],
            "f1_30": f1["0.3"]["f1"],
            "f1_70": f1["0.7"]["f1"],
            "edge_median_sec": max(e["median_abs_sec"] or math.nan for e in errors.values()),
            "start_bias_sec": errors["start"]["bias_sec"],
            "end_bias_sec": errors["end"]["bias_sec"],
            # Per match, then averaged: an excess in one must not cancel a lack in another.
            "count_error": sum(run["count_errors"]) / len(run["count_errors"]),
            "splits": pooled["splits"],
            "merges": pooled["merges"],
        }
    table = pd.DataFrame(rows).T.rename_axis(columns="seed")
    print(table.to_string(float_format="{:.3f}".format))
    for name in ("f1_50", "worst_f1_50", "edge_median_sec", "count_error"):
        low, high = table[name].min(), table[name].max()
        print(f"{name:18} mean {table[name].mean():.3f}, from {low:.3f} to {high:.3f}")
    worst = {"worst_f1_50": table["worst_f1_50"].min()}  # of all matches and seeds
    return table.mean().to_dict() | worst | {"seeds": {str(k): row for k, row in rows.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure the accuracy, speed and memory of detection on drawn matches."
    )
    add = parser.add_argument
    add("--work", type=Path, metavar="DIR", help="keep the matches and features in this folder")
    add(
        "--weights", default="random", help="imagenet, random, or a resnet18 file (default: random)"
    )
    add(
        "--every",
        type=int,
        default=4,
        metavar="N",
        help="frames per step of the head, at 30 frames per second (default: 4)",
    )
    add_accuracy = parser.add_argument_group("accuracy").add_argument
    add_accuracy(
        "--seeds",
        type=int,
        nargs="*",
        default=[0, 1, 2],
        metavar="N",
        help="training seeds; give none to skip accuracy (default: 0 1 2)",
    )
    add_accuracy("--matches", type=int, default=6, metavar="N", help="test matches (default: 6)")
    add_accuracy(
        "--minutes",
        type=float,
        default=10,
        metavar="MIN",
        help="length of each test match in minutes (default: 10)",
    )
    add_speed = parser.add_argument_group("speed and memory").add_argument
    add_speed(
        "--speed-minutes",
        type=float,
        default=4,
        metavar="MIN",
        help="length of the 1280x720 match in minutes; 0 skips speed (default: 4)",
    )
    add_speed(
        "--long-minutes",
        type=float,
        default=120,
        metavar="MIN",
        help="length of the long match in minutes; 0 skips memory (default: 120)",
    )
    add_speed(
        "--long-every", type=int, metavar="N", help="--every of the long match (default: same)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        work = options.work or scratch / "work"
        backbone, weights_name = build_backbone(options.weights)
        model = scratch / "model.pth"
        save_model(model, RES_LSTM(backbone), weights_name, synthetic=True)
        figures = {"weights": weights_name}
        if options.seeds:
            sizes = {"train": LEARN, "validation": CHECK}
            sizes["test"] = (options.matches, round(options.minutes * 60))
            paths = draw_splits(work, sizes)
            runs = {seed: run_seed(model, paths, options.every, seed) for seed in options.seeds}
            print(f"\nSYNTHETIC matches, backbone weights {weights_name}")
            figures |= print_accuracy(runs)
        if options.speed_minutes:
            speed = measure_speed(
                model, options.weights, options.every, scratch, options.speed_minutes
            )
            for name, each in speed.items():
                print(
                    f"1280x720, {name}: {each['times_real_time']:.2f}x real time; a minute of "
                    f"video takes {each['minute_sec']:.1f} s (decoding alone "
                    f"{each['decode_sec']:.1f} s, the backbone alone {each['backbone_sec']:.1f} s)"
                )
            figures |= {"times_real_time": speed["every_frame"]["times_real_time"]}
            figures |= {"default_times_real_time": speed["default"]["times_real_time"]}
            figures |= {"peak_rss_mb": max(each["peak_rss_mb"] for each in speed.values())}
            figures |= {"speed": speed}
        if options.long_minutes:
            step = options.long_every or options.every
            timed = with_every(model, step, scratch)
            long = measure_long(timed, scratch, options.long_minutes) | {"every": step}
            whole = long["whole"]
            print(
                f"{whole['minutes']:.0f} minutes, {30 / step:g} steps per second: peak memory "
                f"{whole['peak_rss_mb']:.0f} MB, {whole['times_real_time']:.2f}x real time; a "
                f"minute takes {long['time_per_minute_ratio']:.2f} times as long as in a match a "
                "tenth as long"
            )
            peak = max(whole["peak_rss_mb"], figures.get("peak_rss_mb", 0))
            figures |= {"peak_rss_mb": peak, "long": long}
    figures |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps(figures, default=float))


if __name__ == "__main__":
    main()
