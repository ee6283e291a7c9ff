"""Make the synthetic sample data set: ten drawn matches, collected and labelled like real ones.

    python -m sample.data_set [--data Data/sample]     # about two minutes on 2 cores

It has five matches for training, two for validation and three for testing: 600 sequences, 2 s
apart. The labels, and the marked rallies in matches/, come from the ground truth of the drawing.
Run it again to resume: finished matches are skipped.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import pandas as pd
from tqdm import tqdm

from annotation.labels_from_marks import label_of
from annotation.match_marks import COLUMNS, marks_path, match_name, read_marks
from cli import run_command
from collection.sequences import Settings, collect_video
from collection.sources import read_sources
from dataset import has_data, is_synthetic
from files import SPLITS, UserError, labels_path, one_writer, read_table, write_table, write_whole
from sample.match import draw_match

VERSION = 3  # increase it when the drawn matches change, so that old samples are refused
DEFAULT_DATA = Path("Data")  # may be missing: build_sample makes it
INTERVAL_SEC = 2.0
SEQUENCE_SEC = 1.0
# (seed, seconds) of each match.
MATCHES = {
    "train": [(seed, 120) for seed in (1, 2, 3, 4, 5)],
    "validation": [(6, 90), (7, 90)],
    "test": [(8, 140), (9, 140), (10, 140)],
}


def data_or_sample(data_dir: str | Path) -> tuple[Path, bool]:
    """Returns (folder to read, whether it is synthetic): data_dir, or a sample made inside it.

    If data_dir has any split folder, it is used as it is, and no sample is made.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir() and data_dir != DEFAULT_DATA:
        raise UserError(f"no such folder: {data_dir} (check the spelling)")
    if not has_data(data_dir):
        print(f"No data in {data_dir}: using the SYNTHETIC sample in {data_dir / 'sample'}.")
        data_dir = build_sample(data_dir / "sample")
    return data_dir, is_synthetic(data_dir)


def build_sample(data_dir: str | Path) -> Path:
    """Draws, collects and labels the sample unless it is complete; returns its folder.

    Raises UserError if the folder holds other data or a sample of another version.
    """
    data_dir = Path(data_dir)
    record = data_dir / "sample.json"
    with one_writer(data_dir):
        if record.exists():
            known = json.loads(record.read_text())
            if known["version"] != VERSION:
                raise UserError(
                    f"the sample in {data_dir} has version {known['version']}, and this code makes "
                    f"version {VERSION}: delete the folder and run again"
                )
            if known["complete"]:
                return data_dir
        elif has_data(data_dir):
            raise UserError(f"{data_dir} holds data that is not the sample: choose another folder")
        about = "drawn by sample/match.py; results from it say nothing about real matches"
        begun = {"version": VERSION, "complete": False, "about": about}
        write_whole(record, json.dumps(begun).encode())
        draw_matches(
            [
                (data_dir / "videos" / f"{split}_{seed}.mp4", seed, duration_sec)
                for split in SPLITS
                for seed, duration_sec in MATCHES[split]
            ]
        )
        for split in SPLITS:
            for video in _videos(split):
                collect_video(data_dir / "videos" / video, data_dir, split, Settings(INTERVAL_SEC))
            label_from_truth(data_dir, split)
            mark_from_truth(data_dir, split)
        write_whole(record, json.dumps({**begun, "complete": True}).encode())
    return data_dir


def _videos(split: str) -> list[str]:
    return [f"{split}_{seed}.mp4" for seed, _ in MATCHES[split]]


def draw_matches(jobs: list[tuple]) -> None:
    """Draws the missing ones of (path, seed, duration_sec[, fps[, rallies]]), a process a core."""
    missing = sorted((job for job in jobs if not job[0].exists()), key=lambda job: -job[2])
    for job in missing:
        job[0].parent.mkdir(parents=True, exist_ok=True)
    fresh = get_context("spawn")  # a forked process can hang if the parent (a notebook) has threads
    with ProcessPoolExecutor(os.cpu_count(), fresh, cv2.setNumThreads, (1,)) as pool:
        drawn = pool.map(draw_match, *zip(*missing, strict=True)) if missing else []
        list(tqdm(drawn, "Drawing matches", len(missing), unit="match"))


def label_from_truth(data_dir: Path, split: str) -> None:
    """Writes <split>.csv: label 1 if at least half of the sequence lies inside true rallies."""
    rows = []
    for row in read_sources(data_dir / split).itertuples():
        truth = read_marks((data_dir / row.video).with_suffix(".csv"))
        start = float(row.start_sec)
        label = label_of(start, start + SEQUENCE_SEC, truth)
        rows.append({"sequence": row.sequence, "label": label})
    write_table(labels_path(data_dir / split), pd.DataFrame(rows))


def mark_from_truth(data_dir: Path, split: str) -> None:
    """Writes matches/<video>.csv from the ground truth, like the marks of a person."""
    for video in _videos(split):
        truth = read_table((data_dir / "videos" / video).with_suffix(".csv"), COLUMNS)
        write_table(marks_path(data_dir, match_name(video)), truth)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sample.data_set",
        description=(
            "Make the SYNTHETIC sample data set: ten drawn matches, collected and labelled. "
            "It takes about two minutes on 2 cores. Run it again to resume."
        ),
    )
    parser.add_argument(
        "--data",
        default="Data/sample",
        metavar="DIR",
        help="folder to make it in (default: Data/sample)",
    )
    options = parser.parse_args()
    print(f"the SYNTHETIC sample is in {build_sample(options.data)}")
    return 0


if __name__ == "__main__":
    run_command(main)
