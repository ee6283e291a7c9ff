"""Compare bf16 with fp32 for a trained model: features, probabilities and metrics.

    python benchmarks/precision.py runs/NAME/best_model.pth [--data Data] [--split test]

It computes the features of a labelled split in both precisions, and caches them as features.py
does. Processors without bf16 emulate it: the results are the same up to the order of sums, but it
takes long, 3 minutes for the sample's test split on 2 plain cores (AVX2).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dataset import FeatureDataset, is_synthetic, load_splits
from extraction.encoder import best_device
from extraction.features import extract_features
from metrics import compute_metrics, results_table
from model import load_model
from train_utils import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare the predictions of a model in fp32 and bf16 on a labelled split."
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="checkpoint: a run's best_model.pth")
    add(
        "--data", type=Path, default=Path("Data"), metavar="DIR", help="data folder (default: Data)"
    )
    add("--split", default="test", help="split to compare on (default: test)")
    options = parser.parse_args()
    model, checkpoint = load_model(options.model)
    length = model.config.seq_frames
    table = load_splits(options.data, splits=(options.split,), seq_frames=length)[options.split]
    names, split_dir = list(table["sequence"]), options.data / options.split
    features, probs = {}, {}
    for precision in ("fp32", "bf16"):
        where = (1, length, best_device(), precision)
        part = FeatureDataset(extract_features(split_dir, names, model.backbone, *where), table)
        features[precision] = torch.cat(list(part.plain_batches())).flatten(0, 1)  # (N * T, D)
        probs[precision] = evaluate(model, part)[1]
    labels = table["label"].to_numpy()
    metrics = {precision: compute_metrics(labels, p) for precision, p in probs.items()}
    cosine = torch.cosine_similarity(features["fp32"], features["bf16"])
    print(f"backbone weights: {checkpoint['weights_name']}")
    print(f"{options.split}{' (SYNTHETIC data)' if is_synthetic(options.data) else ''}:")
    print(results_table(metrics).to_string())
    moves = np.abs(probs["fp32"] - probs["bf16"])
    told = ("accuracy", "f1", "confusion")
    same = [metrics["fp32"][name] == metrics["bf16"][name] for name in told]
    figures = {
        "frames": len(cosine),
        "lowest_cosine": cosine.min().item(),
        "mean_cosine": cosine.mean().item(),
        "largest_move": float(moves.max()),
        "mean_move": float(moves.mean()),
        "same_metrics": all(same),  # at the threshold 0.5
        "roc_auc_move": abs(metrics["fp32"]["roc_auc"] - metrics["bf16"]["roc_auc"]),
    }
    print(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main()
