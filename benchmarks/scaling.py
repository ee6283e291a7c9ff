"""Time extraction on Ray with one and two workers of one thread, and by features.py without Ray.

    python benchmarks/scaling.py [--sequences 48] [--data Data/train]

Frames per second are measured from the first to the last file of features. The time before the
first file, in which Ray and its workers start, is printed separately. The three runs alternate,
twice, each in its own process, and means are printed. Without --data the frames come from a drawn
(SYNTHETIC) match. It takes about 5 minutes on 2 plain cores.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

import ray
from ray.cluster_utils import Cluster

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from experiment import FRAMES, frames_for

from extraction.backbones import build_backbone
from extraction.features import extract_features
from extraction.ray_cluster import connect
from extraction.ray_extraction import extract_on_ray

ROUNDS = 2


def time_job(split_dir: Path, names: list[str], workers: int) -> tuple[float, float]:
    """(frames per second from the first file to the last, seconds before the first file).

    workers 0 runs extract_features without Ray.
    """
    backbone = build_backbone("random")[0]
    shutil.rmtree(split_dir / "features", ignore_errors=True)
    begun = time.time()
    if workers:
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": workers})
        connect(nodes.address)
        folder = extract_on_ray(split_dir, names, backbone)
        ray.shutdown()
        nodes.shutdown()
    else:
        folder = extract_features(split_dir, names, backbone)
    times = sorted(path.stat().st_mtime for path in folder.glob("*.safetensors"))
    return FRAMES * (len(times) - 1) / (times[-1] - times[0]), times[0] - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time extraction with one and two Ray workers, and without Ray."
    )
    parser.add_argument(
        "--sequences",
        type=int,
        default=48,
        metavar="N",
        help="number of sequences to measure on (default: 48)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of a split, such as Data/train (default: a drawn, SYNTHETIC match)",
    )
    options = parser.parse_args()
    rates: dict[int, list[float]] = {0: [], 1: [], 2: []}
    starts: dict[int, list[float]] = {0: [], 1: [], 2: []}
    with tempfile.TemporaryDirectory() as scratch:
        split_dir, names = frames_for(options, Path(scratch))
        for _ in range(ROUNDS):
            for workers in rates:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    rate, start = pool.submit(time_job, split_dir, names, workers).result()
                rates[workers].append(rate)
                starts[workers].append(start)
    for workers, name in enumerate(("features.py, both cores", "Ray, 1 worker", "Ray, 2 workers")):
        print(f"{name:24}{mean(rates[workers]):8.1f} frames/s, first file after ", end="")
        print(f"{mean(starts[workers]):.0f} s")
    one, two, plain = (mean(rates[workers]) for workers in (1, 2, 0))
    figures = {
        "one_worker_fps": one,
        "two_workers_fps": two,
        "scaling": two / one,
        "over_features_py": two / plain,
        "start_sec": mean(starts[2]),
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
