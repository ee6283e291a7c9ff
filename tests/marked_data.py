"""Marked matches for tests: numbered videos, and a fake backbone that reads the number.

So a test decides which frames are play. The head, the decoding and all files are real.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from conftest import number_in
from detection import fitting, match_features, temporal_head
from detection.temporal_head import HeadConfig
from experiments import setting

RALLIES = [(4.0, 9.0), (14.0, 21.0), (25.0, 28.0)]  # of every match here, 30 s each


def stand_in(_encoder, frames):
    """Returns features of numbered frames: 1 in a rally, else -1, plus a little noise."""
    numbers = [number_in(frame.numpy().transpose(1, 2, 0)) for frame in frames]
    features = torch.from_numpy(np.random.default_rng(numbers).normal(0, 0.3, (len(numbers), 512)))
    for row, number in zip(features, numbers, strict=True):
        row[:16] += 1 if any(start <= number / 30 < end for start, end in RALLIES) else -1
    return features.float()


def use_fake_backbone(patch):
    """Features are those of stand_in; a small head and few steps are enough for them."""
    patch.setattr(match_features, "encode", stand_in)
    for module in (fitting, setting):
        patch.setattr(module, "HeadConfig", partial(HeadConfig, channels=8, dilations=(1, 2)))
    patch.setattr(temporal_head, "MIN_BATCHES", 3)
    patch.setattr(temporal_head, "BATCH_SIZE", 4)
    patch.setattr(temporal_head, "CROP_STEPS", 64)


def write_marked(data: Path, footage: Path, split_by_name: dict[str, str]) -> Path:
    """Writes a data folder in which each match is a copy of the footage, with RALLIES as marks."""
    (data / "matches").mkdir(parents=True)
    lines = ["split,video"]
    for name, split in split_by_name.items():
        # Different bytes, so that no match is a copy of another.
        (data / f"{name}.mp4").write_bytes(footage.read_bytes() + name.encode())
        lines.append(f"{split},{name}.mp4")
        table = pd.DataFrame(RALLIES, columns=["start_sec", "end_sec"])
        table.to_csv(data / "matches" / f"{name}.csv", index=False)
    (data / "videos.csv").write_text("\n".join(lines) + "\n")
    return data
