"""What a trained model says of sequences on disk, by their cached features."""

import sys
from pathlib import Path

import torch
from torch import nn

from extraction.encoder import best_device
from extraction.features import compute_features, load_features


def predict_sequences(model: nn.Module, split_dir: Path, sequences: list[str]) -> dict[str, float]:
    """{sequence: probability of class 1} by a RES_LSTM in eval mode.

    Features that are not cached are computed, about a second each. Sequences that cannot be read
    are named on stderr and left out. Raises UserError when features cannot be written.
    """
    seq_frames = model.config.seq_frames
    computed = compute_features(
        split_dir, sequences, model.backbone, seq_frames=seq_frames, device=best_device()
    )
    for sequence, reason in computed.failures.items():
        print(f"no suggestion for {sequence}: {reason}", file=sys.stderr)
    probs = {}
    with torch.inference_mode():
        for name in sequences:
            if name not in computed.failures:
                features = load_features(computed.folder / f"{name}.safetensors")[:1]
                probs[name] = model.classify(features).sigmoid().item()
    return probs
