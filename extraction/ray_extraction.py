"""Extract the features of a split on all machines of a Ray cluster.

    connect(address)
    folder = extract_on_ray(split_dir, names, backbone)

The files are the same as those of extraction.features.extract_features.
"""

from pathlib import Path

import torch
from torch import nn

from extraction.encoder import build_encoder, encoding_pool
from extraction.features import (
    build_once,
    compute_sequence,
    features_dir,
    refuse_failures,
    remove_leftovers,
)
from extraction.ray_cluster import choose_precision, map_on_actors
from files import UserError, one_writer
from media.frames import FrameError

MOST_SEQUENCES = 16  # per task: about 15 s on one core, the most that a dead worker loses


def extract_on_ray(
    split_dir: Path,
    sequences: list[str],
    backbone: nn.Sequential,
    views: int = 1,
    seq_frames: int = 30,
    precision: str = "auto",
) -> Path:
    """Does what extract_features does, on the cluster that connect joined. Returns the folder.

    split_dir is a path or an address that means the same folder on all machines. Raises UserError
    as extract_features does.
    """
    split_dir = split_dir.resolve()  # workers have a different working folder
    precision = choose_precision(precision)
    folder = features_dir(split_dir, backbone, precision)
    with one_writer(folder):
        remove_leftovers(folder)
        about = (backbone, split_dir, folder, views, seq_frames, precision)
        rows = map_on_actors(SequenceEncoder, about, sequences, MOST_SEQUENCES)
        failures = {}
        for row in rows:
            if row["end"]:
                raise UserError(row["end"])
            if row["problem"]:
                failures[row["item"]] = row["problem"]
    refuse_failures(split_dir, dict(sorted(failures.items())), len(sequences))
    return folder


class SequenceEncoder:
    """An actor for Ray Data: computes and saves the features of a batch of sequence names.

    It returns a row per sequence: item (its name), problem (why its frames cannot be read, or "")
    and end (an error that must end the job, or "").
    """

    def __init__(self, backbone, split_dir, folder, views, seq_frames, precision):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"  # many workers: no MPS
        self.get_encoder = build_once(lambda: build_encoder(backbone, self.device, precision))
        self.where = split_dir, folder, views, seq_frames

    def __call__(self, batch: dict) -> dict:
        split_dir, *rest = self.where

        def compute(name: str) -> tuple[str, str]:
            try:
                compute_sequence(self.get_encoder, split_dir, name, *rest)
            except FrameError as error:
                return error.reason, ""
            except UserError as error:  # Ray would bury a raised error in pages of traceback
                return "", str(error)
            return "", ""

        names = [str(item) for item in batch["item"]]
        with encoding_pool(self.device) as pool:
            problems, ends = zip(*pool.map(compute, names), strict=True)
        return {"item": names, "problem": list(problems), "end": list(ends)}
