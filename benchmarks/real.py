"""Measure detection on real clips: each group is found by a head that never saw it.

    python benchmarks/real.py --data FOLDER [--weights FILE] [--work DIR] [--seeds 0 1 2]

FOLDER is laid out as real_clips.py says. The clips of a group, a match or a venue, are joined to
one match (real_matches.py). Each group is held out in turn. The next one in the order of their
names validates: it stops the training early and chooses the decoding. The others train the head.

Beside the head stand two baselines. "main camera" takes the main camera for a rally: the window
model learns the two views of stills, each repeated to a second, and its decoding is fitted on the
same validation group. "majority" always gives the class that most steps of the training groups
have. The labels of a held-out group only measure. With --work, the features are kept for the next
run. The 64 minutes of clips in benchmarks/README.md took 20 minutes to extract and 25 to learn
from, beside other work on 2 plain cores.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from torch import nn
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from real_clips import EVERY, STEP_SEC, Clip, encode_stills, prepare_clip, read_clips, read_stills
from real_matches import StillSplit, join_clips, split_stills

from cli import positive, run_command
from dataset import FeatureDataset
from detection.detector import Detector, load_detector
from detection.fitting import ReadyMatch
from detection.match_features import GRID_FPS, steps_in_memory
from detection.segment_metrics import measure_match
from detection.temporal_head import HeadConfig, label_steps
from experiments.folds import check_folds, leave_one_out_folds
from experiments.held_out import Job, run_job
from extraction.backbones import build_backbone
from extraction.features import save_features
from model import RES_LSTM, ModelConfig
from train_utils import TrainConfig, fit, seed_everything

JOIN_SEED = 0  # the joined matches are the same whatever the seeds of the training
WINDOW_STEPS = 8  # of the window model: a second at the steps of the head
SCORES = ["auc", "balanced_accuracy", "accuracy", "f1_50"]


def join_groups(
    groups: dict[str, list[Clip]], split: StillSplit, backbone: nn.Sequential, work: Path
) -> list[ReadyMatch]:
    """Joins the clips of each group to a match. Features of clips are kept below work."""
    matches = []
    for group, clips in groups.items():
        prepared = [prepare_clip(clip, backbone, work) for clip in tqdm(clips, group)]
        pictures = encode_stills(split.pauses[group], backbone)
        features, truth = join_clips(prepared, pictures, JOIN_SEED)
        end_sec = len(features) * STEP_SEC
        matches.append(ReadyMatch(group, steps_in_memory(features), truth, end_sec))
    return matches


def load_views(split: StillSplit, backbone: nn.Sequential, folder: Path) -> list[FeatureDataset]:
    """Makes the window model's sequences of train and validation: each is one still, repeated.

    The label is 1 for the view of the main camera, else 0.
    """
    sets = []
    for stills in (split.train, split.validation):
        names = [still.path.stem for still in stills]
        for name, features in zip(names, encode_stills(stills, backbone), strict=True):
            sequence = features.repeat(1, WINDOW_STEPS, 1)
            save_features(folder / f"{name}.safetensors", sequence, fingerprint=name)
        labels = [int(still.is_court) for still in stills]
        sets.append(FeatureDataset(folder, pd.DataFrame({"sequence": names, "label": labels})))
    return sets


def train_on_views(
    sets: list[FeatureDataset], backbone: nn.Sequential, weights_name: str, seed: int, run_dir: Path
) -> Detector:
    """Trains the window model on the sets of load_views. A window begins at every step."""
    seed_everything(seed)
    model = RES_LSTM(backbone, ModelConfig(seq_frames=WINDOW_STEPS, fps=GRID_FPS / EVERY))
    model.standardise(sets[0].plain_batches())  # features of other weights may hardly vary
    fit(model, *sets, TrainConfig(seed=seed), run_dir, weights_name)
    return load_detector(run_dir / "best_model.pth", hop_sec=STEP_SEC)


def score_steps(times_sec: np.ndarray, probs: np.ndarray, match: ReadyMatch) -> dict:
    """AUC and, at probability 0.5, accuracies of the known steps: probs (N,) at times_sec (N,)."""
    at = np.round(times_sec / STEP_SEC).astype(int)
    labels, weights = (x.numpy()[at] for x in label_steps(match.features.steps, match.truth, EVERY))
    known = (weights > 0) & ~np.isnan(probs)
    labels, probs = labels[known], probs[known]
    return {
        "auc": roc_auc_score(labels, probs),
        "balanced_accuracy": balanced_accuracy_score(labels, probs > 0.5),
        "accuracy": float(((probs > 0.5) == labels).mean()),
    }


def score_majority(train: list[ReadyMatch], match: ReadyMatch) -> dict:
    """The scores of the class that most known steps of the training matches have."""
    pairs = [label_steps(each.features.steps, each.truth, EVERY) for each in train]
    labels, weights = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    play = bool(labels[weights > 0].mean() > 0.5)
    times_sec = np.arange(match.features.steps) * STEP_SEC
    found = [(0.0, match.end_sec)] if play else []
    return score_steps(times_sec, np.full(len(times_sec), float(play)), match) | {
        "f1_50": measure_match(found, match.truth, match.end_sec)["iou"]["0.5"]["f1"]
    }


def measure(matches: list[ReadyMatch], detectors: dict[int, Detector]) -> pd.DataFrame:
    """A row of SCORES for each method, group and seed. detectors: {seed: the window model}."""
    folds, rows = leave_one_out_folds([match.name for match in matches]), []
    check_folds(folds, matches)
    for fold in folds:
        (match,) = (matches[k] for k in fold.held_out)
        scores = score_majority([matches[k] for k in fold.train], match)
        rows.append({"method": "majority", "group": match.name, "seed": 0, **scores})
        for seed, detector in detectors.items():
            for method, config in (("head", HeadConfig(every=EVERY)), ("main camera", None)):
                (outcome,) = run_job(detector, matches, config, Job(fold, seed))
                scores = score_steps(outcome.times_sec, outcome.probs, match)
                scores["f1_50"] = outcome.measured["iou"]["0.5"]["f1"]
                rows.append({"method": method, "group": match.name, "seed": seed, **scores})
    return pd.DataFrame(rows)


def print_scores(rows: pd.DataFrame, matches: list[ReadyMatch]) -> dict:
    """Prints the joined matches and a table for each method; returns all figures for JSON."""
    figures = {"groups": {}, "methods": {}}
    for match in matches:
        labels, weights = label_steps(match.features.steps, match.truth, EVERY)
        figures["groups"][match.name] = {
            "minutes": match.end_sec / 60,
            "rallies": len(match.truth.rallies),
            "share_known": float(weights.mean()),
            "share_play": float(labels[weights > 0].mean()),
        }
    about = pd.DataFrame.from_dict(figures["groups"], orient="index")
    print(about.to_string(float_format="{:.3f}".format))
    for method, table in rows.groupby("method", sort=False):
        groups, seeds = (table.groupby(by)[SCORES].mean() for by in ("group", "seed"))
        mean = groups.mean()
        print(f"\n{method}" + (f", mean over {len(seeds)} seeds" if len(seeds) > 1 else ""))
        print(pd.concat([groups, mean.to_frame("mean").T]).to_string(float_format="{:.3f}".format))
        figures["methods"][method] = {
            "groups": groups.to_dict("index"),
            "mean": mean.to_dict(),
            "mean_by_seed": {str(seed): row for seed, row in seeds.to_dict("index").items()},
        }
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure detection on real clips.")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FOLDER", help="folder of the clips and stills")
    add("--work", type=Path, metavar="DIR", help="keep the features in this folder")
    add(
        "--weights",
        default="imagenet",
        help="imagenet, random, or a resnet18 file (default: imagenet)",
    )
    add(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        metavar="N",
        help="training seeds (default: 0 1 2)",
    )
    add("--clips", type=positive(int), metavar="N", help="clips of each group (default: all)")
    options = parser.parse_args()
    groups: dict[str, list[Clip]] = {}
    for clip in read_clips(options.data):
        groups.setdefault(clip.group, []).append(clip)
    groups = {group: groups[group][: options.clips] for group in sorted(groups)}
    split = split_stills(read_stills(options.data), list(groups))
    backbone, weights_name = build_backbone(options.weights)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        matches = join_groups(groups, split, backbone, options.work or scratch / "work")
        sets = load_views(split, backbone, scratch / "views")
        detectors = {
            seed: train_on_views(sets, backbone, weights_name, seed, scratch / f"seed{seed}")
            for seed in options.seeds
        }
        rows = measure(matches, detectors)
    print(f"\nreal clips, backbone weights {weights_name}")
    figures = print_scores(rows, matches)
    print(json.dumps({"weights": weights_name, "seeds": options.seeds, **figures}))
    return 0


if __name__ == "__main__":
    run_command(main)
