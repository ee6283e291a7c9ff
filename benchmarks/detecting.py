"""Detection of whole matches, on drawn ones that it has not seen: how well, fast and large.

    python benchmarks/detecting.py [--weights random] [--work DIR] [--seeds 0 1 2]

Draws (SYNTHETIC) matches: 8 of 5 minutes to learn from, 3 for validation, 6 of 10 minutes to
measure on, at 25, 29.97, 30 and 50 frames a second. A head is trained for each seed, fitted, and
run on the 6. Speed: a drawn match enlarged to 1280x720 at 30 frames a second, from the file to its
tables, at every frame of it and at the head's own rate. Memory: the same match repeated to
--long-minutes. With --work, drawings and features stay, and the next run starts there. About 40
minutes on 2 plain cores, and 40 more for the speed and the two hours.
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

from annotation.match_marks import read_marks
from detection.decoding import to_marks
from detection.detector import detect_match, load_detector
from detection.fitting import fit_detector
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

LEARN, CHECK = (8, 300), (3, 300)  # matches to learn from and for validation, seconds each
SEEDS = {"train": 101, "validation": 201, "test": 301}  # of the first drawn match of each


def draw_splits(folder: Path, sizes: dict[str, tuple[int, int]]) -> dict[str, list[Path]]:
    """The matches of each split, drawn if they are not there: {split: (how many, seconds each)}."""
    jobs, paths = [], {}
    for split, (count, sec) in sizes.items():
        seeds = range(SEEDS[split], SEEDS[split] + count)
        paths[split] = [folder / f"{split}_{seed}_{sec}s.mp4" for seed in seeds]
        rates = itertools.cycle(map(float, FRAME_RATES))
        jobs += zip(paths[split], seeds, itertools.repeat(float(sec)), rates, strict=False)
    draw_matches(jobs)
    return paths


def run_seed(model: Path, paths: dict[str, list[Path]], every: int, seed: int) -> dict:
    """summarise of the test matches, with a head trained and fitted from this seed."""
    learnt = {
        split: [(path, read_marks(path.with_suffix(".csv"))) for path in paths[split]]
        for split in ("train", "validation")
    }
    fit = fit_detector(load_detector(model), learnt, HeadConfig(every=every), seed)
    update_checkpoint(model, "detection", fit.detection)
    detector, measured = load_detector(model), {}
    for path in paths["test"]:
        result = detect_match(path, detector, default_dir(path))
        truth = read_marks(path.with_suffix(".csv"))
        measured[path.stem] = measure_match(to_marks(result.rallies), truth, result.video.end_sec)
    return summarise(measured) | {
        "matches": {name: each["iou"]["0.5"]["f1"] for name, each in measured.items()},
        "count_errors": [abs(e["count_error"]) / max(e["true"], 1) for e in measured.values()],
        "validation_f1_50": fit.validation["mean"]["iou"]["0.5"]["f1"],
        "decoding": fit.detection["head_decoding"],
    }


def detect_alone(path: Path, model: Path, out: Path, threads: int) -> dict:
    """rallies.json of one detection from nothing; to be called in a process of its own."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    result = detect_match(path, load_detector(model), out)
    about = save_result(result, out).record
    wall_sec = time.perf_counter() - began
    about["speed"] |= {"wall_sec": wall_sec, "peak_rss_mb": peak_rss_mb()}
    about["speed"] |= {"times_real_time": result.video.end_sec / wall_sec}
    return about


def time_shares(path: Path, weights: str, every: int, threads: int) -> dict[str, float]:
    """Seconds that a minute of a match takes to decode alone, and its backbone alone."""
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
    """Times of a 1280x720 match at 30 frames a second, every frame's features and the head's."""
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
    """A copy of the model whose head reads each so many frames, untrained, to be timed alone."""
    copy = scratch / f"every{every}.pth"
    copy.write_bytes(model.read_bytes())
    head = MatchHead(HeadConfig(every=every))
    update_checkpoint(
        copy, "detection", {"head": {"config": asdict(head.config), "state": head.state_dict()}}
    )
    return copy


def measure_long(model: Path, scratch: Path, minutes: float) -> dict:
    """Peak memory and speed of a long match, and of its first tenth: the time grows as it does."""
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
    """Prints a row a seed; returns the figures of the JSON line, the means over seeds."""
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
            # The mean over matches: too many in one do not make up for too few in another.
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
    parser = argparse.ArgumentParser(description="Measure the detection of whole matches.")
    add = parser.add_argument
    add("--weights", default="random", help="imagenet, random, or a file")
    add("--every", type=int, default=4, help="frames of 30 a second from step to step (4)")
    add("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of training (0 1 2); may be none")
    add("--matches", type=int, default=6, help="to measure on (6)")
    add("--minutes", type=float, default=10, help="how long these are (10)")
    add("--speed-minutes", type=float, default=4, help="of 1280x720; 0: not measured (4)")
    add("--long-minutes", type=float, default=120, help="0: not measured (120)")
    add("--long-every", type=int, help="frames of 30 a second in the long match (as --every)")
    add("--work", type=Path, help="keep drawings and features here")
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
                    f"1280x720, {name}: {each['times_real_time']:.2f}x real time; of a minute's "
                    f"{each['minute_sec']:.1f} s, decoding alone takes {each['decode_sec']:.1f} "
                    f"and the backbone alone {each['backbone_sec']:.1f}"
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
                f"{whole['minutes']:.0f} minutes, {30 / step:g} features a second: "
                f"{whole['peak_rss_mb']:.0f} MB at most, "
                f"{whole['times_real_time']:.2f}x real time; a minute takes "
                f"{long['time_per_minute_ratio']:.2f} times as long as in a tenth of it"
            )
            peak = max(whole["peak_rss_mb"], figures.get("peak_rss_mb", 0))
            figures |= {"peak_rss_mb": peak, "long": long}
    figures |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps(figures, default=float))


if __name__ == "__main__":
    main()
