"""What a trained model says of sequences on disk, by their cached features."""

import sys
from pathlib import Path

import torch
from torch import nn

from extraction.encoder import best_device, pick_precision
from extraction.features import extract_features, features_dir, is_cached, load_features
from files import UserError
from media.frames import FrameError, read_bytes


def predict_sequences(model: nn.Module, split_dir: Path, sequences: list[str]) -> dict[str, float]:
    """{sequence: probability of class 1} by a RES_LSTM in eval mode.

    Features that are not cached are computed, about a second each. Sequences that cannot be read
    are named on stderr and left out.
    """
    seq_frames, device = model.config.seq_frames, best_device()
    precision = pick_precision("auto", device)
    try:
        extract_features(split_dir, sequences, model.backbone, 1, seq_frames, device, precision)
    except UserError as error:  # the page shows those that cannot be read as such
        print(f"without suggestions: {error}", file=sys.stderr)
    folder = features_dir(split_dir, model.backbone, precision)
    probs = {}
    with torch.inference_mode():
        for name in sequences:
            path = folder / f"{name}.safetensors"
            try:
                _, fingerprint = read_bytes(split_dir / "sequences" / name, seq_frames)
            except FrameError:  # named above
                continue
            if is_cached(path, fingerprint, 1, seq_frames):
                probs[name] = model.classify(load_features(path)[:1]).sigmoid().item()
    return probs
