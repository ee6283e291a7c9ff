"""Time the experiment of the original study: its method compared with ours.

    python benchmarks/experiment.py [--sequences 32] [--data Data/train]

Original: every frame goes through PIL, torchvision transforms and the frozen backbone in every
epoch. Ours: features are computed once, then epochs run on them. Both read the same frames. The
speed is measured on --sequences sequences, the two methods in turn, and projected to 618/256/116
sequences and 17 epochs. Without --data the frames come from a drawn (SYNTHETIC) match. It takes
about 2 minutes on 2 plain cores.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from collection.sequences import Settings, collect_video
from dataset import FeatureDataset
from extraction.backbones import build_backbone
from extraction.features import extract_features, list_sequences, save_features
from media.frames import frame_paths
from model import RES_LSTM
from output.results import peak_rss_mb
from sample.match import draw_match
from train_utils import evaluate, seed_everything, train_one_epoch

TRAIN, VALIDATION, TEST, EPOCHS, FRAMES = 618, 256, 116, 17, 30
ROUNDS = 2


class OriginalDataset(Dataset):
    """Reads sequences as the original study does: with PIL and torchvision transforms."""

    transform = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    def __init__(self, folders: list[Path]):
        self.folders = folders

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = (Image.open(path).convert("RGB") for path in frame_paths(self.folders[k]))
        frames = [self.transform(picture) for picture in pictures]
        return torch.stack(frames), torch.tensor(float(k % 2))


def time_original(folders: list[Path], device: torch.device | str = "cpu") -> float:
    """Seconds of one training epoch in the original's way, with the backbone in every step."""
    model = RES_LSTM(build_backbone("random")[0]).to(device)
    nn.Module.train(model)  # train mode for all, also the backbone's batch norm, as the original
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    criterion = nn.BCEWithLogitsLoss()
    start = time.perf_counter()
    for frames, labels in DataLoader(OriginalDataset(folders), batch_size=4, shuffle=True):
        loss = criterion(model(frames.to(device)).squeeze(1), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def time_extraction(split_dir: Path, names: list[str]) -> tuple[float, float, float]:
    """(seconds for the first sequence, seconds for all others, peak memory in MB)."""
    backbone, _ = build_backbone("random")
    start = time.perf_counter()
    extract_features(split_dir, names[:1], backbone)
    middle = time.perf_counter()
    extract_features(split_dir, names, backbone)
    return middle - start, time.perf_counter() - middle, peak_rss_mb()


def in_new_process(function, *arguments):
    """Calls function in a new process, so that peak memory counts this call only."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def time_training(folder: Path) -> tuple[float, float]:
    """Seconds of (one training epoch on 618 cached sequences, one evaluation of 256)."""
    for k in range(TRAIN):
        save_features(folder / f"{k}.safetensors", torch.randn(1, FRAMES, 512), "")
    table = pd.DataFrame({"sequence": [str(k) for k in range(TRAIN)], "label": [0, 1] * 309})
    train_set = FeatureDataset(folder, table)
    val_set = FeatureDataset(folder, table.head(VALIDATION))
    seed_everything(0)
    model = RES_LSTM(build_backbone("random")[0])
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True
    )
    loader = DataLoader(train_set, batch_size=4, shuffle=True)
    epochs, evaluations = [], []
    for _ in range(3):
        start = time.perf_counter()
        train_one_epoch(model, loader, optimizer, nn.BCEWithLogitsLoss())
        middle = time.perf_counter()
        evaluate(model, val_set)
        epochs.append(middle - start)
        evaluations.append(time.perf_counter() - middle)
    return sorted(epochs)[1], sorted(evaluations)[1]


def measure(split_dir: Path, names: list[str], scratch: Path) -> dict:
    """All figures of the JSON line, measured on the named sequences of one split."""
    folders = [split_dir / "sequences" / name for name in names]
    half = len(names) // ROUNDS
    original_sec = features_sec = start_sec = 0.0
    peaks = []
    for k in range(ROUNDS):  # alternate, so that a slow phase of the machine affects both
        part = slice(k * half, (k + 1) * half)
        original_sec += time_original(folders[part])
        first, others, peak = in_new_process(time_extraction, split_dir, names[part])
        start_sec += first / ROUNDS
        features_sec += others
        peaks.append(peak)
    warm_start_sec, warm_sec, _ = in_new_process(time_extraction, split_dir, names[: ROUNDS * half])
    epoch_sec, evaluation_sec = time_training(scratch)

    original_fps = ROUNDS * half * FRAMES / original_sec
    features_fps = ROUNDS * (half - 1) * FRAMES / features_sec
    sequences = TRAIN + VALIDATION + TEST
    original_all = (EPOCHS * (TRAIN + VALIDATION) + TEST) * FRAMES / original_fps
    training_all = EPOCHS * (epoch_sec + evaluation_sec)
    cold_all = start_sec + (sequences - 1) * FRAMES / features_fps + training_all
    warm_all = warm_start_sec + warm_sec * sequences / (ROUNDS * half) + training_all
    return {
        "epoch_ratio": TRAIN * FRAMES / original_fps / epoch_sec,
        "cold_ratio": original_all / cold_all,
        "warm_ratio": original_all / warm_all,
        "original_fps": original_fps,
        "features_fps": features_fps,
        "features_over_original": features_fps / original_fps,
        "peak_rss_mb": max(peaks),
        "original_epoch_sec": TRAIN * FRAMES / original_fps,
        "epoch_sec": epoch_sec,
        "original_experiment_sec": original_all,
        "cold_experiment_sec": cold_all,
        "warm_experiment_sec": warm_all,
        "sequences": ROUNDS * half,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def frames_for(options: argparse.Namespace, scratch: Path) -> tuple[Path, list[str]]:
    """(a split folder in scratch, names of --sequences sequences in it), from --data or drawn."""
    split_dir = scratch / "train"
    split_dir.mkdir()
    if options.data:
        (split_dir / "sequences").symlink_to((options.data / "sequences").resolve())
    else:
        draw_match(scratch / "match.mp4", seed=1, duration_sec=options.sequences + 1)
        collect_video(scratch / "match.mp4", scratch, "train", Settings(interval_sec=1.0))
    return split_dir, list_sequences(split_dir)[: options.sequences]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time the experiment, compared with the method of the original study."
    )
    parser.add_argument(
        "--sequences",
        type=int,
        default=32,
        metavar="N",
        help="number of sequences to measure on (default: 32)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of a split, such as Data/train (default: a drawn, SYNTHETIC match)",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        split_dir, names = frames_for(options, Path(scratch))
        figures = measure(split_dir, names, Path(scratch) / "features")

    print(f"\n{'':34}{'original':>12}{'ours':>12}{'ratio':>9}")
    ratio = figures["features_over_original"]
    rows = [
        ("frames per second", figures["original_fps"], figures["features_fps"], ratio),
        (
            "one training epoch, s",
            figures["original_epoch_sec"],
            figures["epoch_sec"],
            figures["epoch_ratio"],
        ),
    ]
    for kind in ("cold", "warm"):
        ours = figures[f"{kind}_experiment_sec"]
        rows.append(
            (
                f"the whole experiment, {kind}, s",
                figures["original_experiment_sec"],
                ours,
                figures[f"{kind}_ratio"],
            )
        )
    for name, original, ours, ratio in rows:
        print(f"{name:34}{original:12.1f}{ours:12.2f}{ratio:9.1f}")
    print(f"peak memory of extraction: {figures['peak_rss_mb']:.0f} MB")
    print("cold: features are computed; warm: features are on disk")
    print("the times of the whole experiment are projected, not measured")
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main()
