"""Run a trained model on sequences on disk, from their cached features."""

import sys
from pathlib import Path

import torch
from torch import nn

from collection.sources import SAME_RATE, read_sources
from extraction.encoder import best_device
from extraction.features import extract_features, load_features
from files import UserError


def predict_sequences(model: nn.Module, split_dir: Path, sequences: list[str]) -> dict[str, float]:
    """{sequence: probability of class 1}, from a RES_LSTM in eval mode.

    Features that are not cached are computed first, about a second per sequence. Sequences that
    cannot be read are named on stderr and left out. Raises UserError if features cannot be written,
    or if a sequence was recorded at a different frame rate than the model was trained on.
    """
    refuse_other_rates(model, split_dir, sequences)
    failures: dict[str, str] = {}
    folder = extract_features(
        split_dir,
        sequences,
        model.backbone,
        seq_frames=model.config.seq_frames,
        device=best_device(),
        on_failure=failures.__setitem__,
    )
    for sequence, reason in failures.items():
        print(f"no prediction for {sequence}: {reason}", file=sys.stderr)
    probs = {}
    with torch.inference_mode():
        for name in sequences:
            if name not in failures:
                features = load_features(folder / f"{name}.safetensors")[:1]
                probs[name] = model.classify(features).sigmoid().item()
    return probs


def refuse_other_rates(model: nn.Module, split_dir: Path, sequences: list[str]) -> None:
    """Raises UserError if sequences.csv gives one of these a different frame rate than the model's.

    Rates within 1 % (SAME_RATE) count as the same. A model without a recorded rate takes any.
    """
    if model.config.fps is None:
        return
    sources = read_sources(split_dir)
    rows = sources[sources["sequence"].isin(sequences)]
    others = rows[(rows["fps"].astype(float) / model.config.fps - 1).abs() > SAME_RATE]
    if len(others):
        row = others.iloc[0]
        raise UserError(
            f"{split_dir}: {row['sequence']} has {row['fps']} frames per second, but the model was "
            f"trained on {model.config.fps:g}: use a model trained on this data"
        )
