"""Training on cached features: one epoch, evaluation, and fit with early stopping.

    model = RES_LSTM(backbone); history = fit(model, train_set, val_set, config, run_dir, "random")

An epoch over the original study's 618 training sequences takes about 2 s on 2 cores (make bench).
"""

import platform
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from dataset import FeatureDataset
from extraction.backbones import backbone_hash
from files import UserError, save_json, write_table
from model import RES_LSTM, save_model


@dataclass(frozen=True)
class TrainConfig:
    """Settings of fit. The defaults are those of the original study."""

    learning_rate: float = 1e-4
    batch_size: int = 4
    max_epochs: int = 20
    patience: int = 5
    seed: int = 0

    def __post_init__(self):
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate must be above 0, not {self.learning_rate}")
        for name in ("batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch.

    The same seed on the same machine with as many threads gives the same run, to the last digit.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def train_one_epoch(
    model: RES_LSTM, loader: DataLoader, optimizer: torch.optim.Optimizer, criterion: nn.Module
) -> tuple[float, float]:
    """One pass over batches of features (B, T, D) and labels (B,).

    Returns the mean loss and accuracy over all sequences, measured while the weights change.
    Raises UserError at the first loss that is not finite.
    """
    model.train()
    loss_sum, correct, count = 0.0, 0, 0
    for features, labels in tqdm(loader, "Training", leave=False):
        logits = model.classify(features).squeeze(1)  # (B,)
        loss = criterion(logits, labels)
        if not torch.isfinite(loss):
            raise UserError(
                f"the training loss became {loss.item()} after {count} sequences: lower the "
                f"learning rate (now {optimizer.param_groups[0]['lr']:g}). If this happens in the "
                "first batch, the features contain NaN or infinity: check the backbone weights"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += int(((logits > 0) == (labels > 0.5)).sum())
        count += len(labels)
    return loss_sum / count, correct / count


def evaluate(
    model: RES_LSTM, dataset: FeatureDataset, batch_size: int = 64
) -> tuple[float, np.ndarray]:
    """Evaluates on the whole data set, without augmentation.

    Returns the mean loss and the probability of class 1 for each sequence, float32 (N,).
    """
    model.eval()
    batches = tqdm(dataset.plain_batches(batch_size), "Evaluating", leave=False)
    with torch.inference_mode():
        logits = torch.cat([model.classify(features).squeeze(1) for features in batches])  # (N,)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, dataset.labels)
    return loss.item(), torch.sigmoid(logits).numpy()


def epochs_since_best(val_losses: list[float]) -> int:
    """How many epochs ago the validation loss was lowest; 0 if the last epoch is the best so far.

    At 0 fit saves the model. When the count reaches config.patience, fit stops.
    """
    return len(val_losses) - 1 - int(np.argmin(val_losses))


def fit(
    model: RES_LSTM,
    train_set: FeatureDataset,
    val_set: FeatureDataset,
    config: TrainConfig,
    run_dir: str | Path,
    weights_name: str,
    **about: object,
) -> pd.DataFrame:
    """Trains with early stopping on validation loss; returns the history, one row per epoch.

    Writes config.json, history.csv (after each epoch) and best_model.pth (at each improvement) to
    run_dir, so an interrupted run keeps its best model so far. Raises UserError when the training
    or validation loss is not finite.
    """
    run_dir = Path(run_dir)
    save_config(run_dir, model, config, weights_name, **about)
    order = torch.Generator().manual_seed(config.seed)
    loader = DataLoader(train_set, config.batch_size, shuffle=True, generator=order)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate, fused=True)
    criterion = nn.BCEWithLogitsLoss()
    val_labels = val_set.table["label"].to_numpy()
    history, val_losses = [], []
    try:
        for epoch in range(1, config.max_epochs + 1):
            train_loss, train_accuracy = train_one_epoch(model, loader, optimizer, criterion)
            val_loss, probs = evaluate(model, val_set)
            if not np.isfinite(val_loss):
                raise UserError(f"the validation loss became {val_loss}: lower the learning rate")
            val_accuracy = float(((probs > 0.5) == val_labels).mean())
            history.append([epoch, train_loss, train_accuracy, val_loss, val_accuracy])
            val_losses.append(val_loss)
            print(
                f"Epoch {epoch:02d} | Train Loss: {train_loss:.3f}, Acc: {train_accuracy:.2%} | "
                f"Val Loss: {val_loss:.3f}, Acc: {val_accuracy:.2%}"
            )
            if epochs_since_best(val_losses) == 0:
                save_model(run_dir / "best_model.pth", model, weights_name, epoch=epoch, **about)
                print("improved")
            else:
                print("not improved")
            write_table(run_dir / "history.csv", _history_table(history))
            if epochs_since_best(val_losses) >= config.patience:
                print("Early stopping triggered!")
                break
    except KeyboardInterrupt:
        outcome = f"no epoch was finished, so there is no new model in {run_dir}"
        if val_losses:
            best = int(np.argmin(val_losses))
            outcome = (
                f"the best model so far (epoch {best + 1}, validation loss {val_losses[best]:.3f}) "
                f"is {run_dir / 'best_model.pth'}"
            )
        print(f"\nInterrupted: {outcome}")
        raise
    return _history_table(history)


def _history_table(history: list[list]) -> pd.DataFrame:
    columns = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]
    return pd.DataFrame(history, columns=columns)


def save_config(
    run_dir: Path, model: RES_LSTM, config: TrainConfig, weights_name: str, **about: object
) -> None:
    """Writes config.json: settings, `about`, backbone weights and hash, versions, threads."""
    record = {
        "train": asdict(config),
        "model": asdict(model.config),
        "backbone_weights": weights_name,
        "backbone_hash": backbone_hash(model.backbone),
        **about,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "threads": torch.get_num_threads(),
    }
    save_json(run_dir / "config.json", record)
