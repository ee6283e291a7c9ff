"""The temporal head: classifies each step of a match, from cached features, as play or not.

    head, history = fit_head(train_matches, val_matches, HeadConfig(every=4), seed=0)
    logits = head(features)                                   # (B, S, 512) -> (B, S)

The model of main.ipynb classifies a window by itself, and was trained on sequences from anywhere in
a match. The head sees up to 17 s before and after each step (a temporal convolutional network: Bai,
Kolter and Koltun 2018, here not causal). It is trained on every step of marked matches, including
the steps at the edges of rallies.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from annotation.match_marks import Marks
from detection.match_features import GRID_FPS
from files import UserError
from train_utils import epochs_since_best

CROP_STEPS = 256  # length of a crop of a match in a training batch
BATCH_SIZE = 16
MIN_BATCHES = 10  # per epoch, however short the matches are
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
MAX_EPOCHS = 40
PATIENCE = 8


@dataclass(frozen=True)
class HeadConfig:
    """The shape of a MatchHead."""

    every: int = 4  # frames of the 30 fps grid from one step to the next
    feature_size: int = 512
    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    dropout: float = 0.3

    def __post_init__(self):
        object.__setattr__(self, "dilations", tuple(self.dilations))

    @property
    def reach(self) -> int:
        """How many steps before and after a step can change its probability."""
        return 1 + 2 * sum(self.dilations)


class MatchHead(nn.Module):
    """Features and their change from step to step -> 64 channels -> dilated convolutions -> logit.

    Each block adds the output of two convolutions of width 3 to its input (residual).
    """

    def __init__(self, config: HeadConfig):
        super().__init__()
        self.config, C = config, config.channels
        self.register_buffer("feature_mean", torch.zeros(config.feature_size))
        self.register_buffer("feature_std", torch.ones(config.feature_size))
        self.embed = nn.Conv1d(3 * config.feature_size, C, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(C, C, 3, padding=d, dilation=d),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Conv1d(C, C, 3, padding=d, dilation=d),
            )
            for d in config.dilations
        )
        self.logit = nn.Conv1d(C, 1, 1)
        self.dropout = nn.Dropout1d(config.dropout)  # drops a feature from a whole crop

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, S, 512) -> logits (B, S)."""
        x = (features - self.feature_mean) / self.feature_std  # (B, S, D)
        change = torch.diff(x, dim=1, prepend=x[:, :1])  # (B, S, D)
        x = torch.cat([x, change, change.abs()], dim=2).transpose(1, 2)  # (B, 3D, S)
        x = torch.relu(self.embed(self.dropout(x)))  # (B, C, S)
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.logit(x).squeeze(1)  # (B, S)


def fit_head(
    train: list[tuple[torch.Tensor, Marks]],
    val: list[tuple[torch.Tensor, Marks]],
    config: HeadConfig | None = None,
    seed: int = 0,
    max_epochs: int = MAX_EPOCHS,
) -> tuple[MatchHead, list[tuple[float, float]]]:
    """Trains a head on matches: (float32 features (S, 512), rallies) of each.

    Stops early on validation loss. Returns the head of the best epoch, in eval mode, and (train
    loss, validation loss) of each epoch, as means over steps. Steps with unknown features (NaN) do
    not count in either loss. Raises UserError if train or validation has no rally at all, or if the
    validation loss is not finite.
    """
    config = config or HeadConfig()
    if not any(marks for _, marks in train) or not any(marks for _, marks in val):
        raise UserError(
            "no rally is marked in the matches of train, or in those of validation; mark some with "
            "python labeling.py --match VIDEO"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = MatchHead(config)
        known = torch.cat([features[~features[:, 0].isnan()] for features, _ in train])
        head.feature_mean.copy_(known.mean(0))
        head.feature_std.copy_(known.std(0).clamp(min=1e-6))
        sets = [
            [(hold_last(f), *label_steps(f, m, config.every)) for f, m in part]
            for part in (train, val)
        ]
        sets[0] = [_at_least(CROP_STEPS, parts) for parts in sets[0]]
        optimizer = torch.optim.AdamW(
            head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        history, best_state = [], {}
        bar = tqdm(range(max_epochs), "Training the head", unit="epoch")
        for _ in bar:
            head.train()
            losses = [
                _step(head, optimizer, batch) for batch in _batches(sets[0], seed, len(history))
            ]
            head.eval()
            with torch.inference_mode():
                sums = [_loss_sum(head(x[None]), y[None], w[None]) for x, y, w in sets[1]]
                val_loss = float(sum(sums) / sum(float(w.sum()) for _, _, w in sets[1]))
            history.append((float(np.mean(losses)), val_loss))
            if not np.isfinite(val_loss):
                raise UserError(
                    f"could not train the temporal head: its validation loss became {val_loss}; "
                    "check that all features are finite"
                )
            since_best = epochs_since_best([loss for _, loss in history])
            if since_best == 0:
                best_state = {name: value.clone() for name, value in head.state_dict().items()}
            if since_best >= PATIENCE:
                bar.n = bar.total = len(history)  # stopped early: the bar ends full
                bar.close()
                break
        head.load_state_dict(best_state)
    return head.eval(), history


def label_steps(
    features: torch.Tensor, marks: Marks, every: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns labels and weights of the steps of features (S, D).

    labels are float32 (S,): 1 if the time of the step lies in a rally, else 0. weights are float32
    (S,): 0 if the features are unknown (NaN), else 1.
    """
    seconds = torch.arange(len(features)) * every / GRID_FPS
    labels = torch.zeros(len(features))
    for start, end in marks:
        labels[(seconds >= start) & (seconds < end)] = 1
    return labels, (~features[:, 0].isnan()).float()


def hold_last(features: torch.Tensor) -> torch.Tensor:
    """Replaces unknown steps (NaN) of features (S, D) by the last known step, else by the first.

    Returns zeros if no step is known.
    """
    unknown = features[:, 0].isnan()
    if not unknown.any():
        return features
    if unknown.all():
        return torch.zeros_like(features)
    steps = torch.arange(len(features))
    last = torch.where(unknown, -1, steps).cummax(0).values
    return features[torch.where(last < 0, int((~unknown).nonzero()[0]), last)]


def _batches(matches: list, seed: int, epoch: int) -> Iterator[list[torch.Tensor]]:
    """Yields batches of crops of CROP_STEPS at random places.

    An epoch has about as many steps as the matches, and at least MIN_BATCHES batches.
    """
    rng = np.random.default_rng([seed, epoch])
    sizes = np.array([len(x) for x, _, _ in matches])
    for _ in range(max(MIN_BATCHES, round(sizes.sum() / CROP_STEPS / BATCH_SIZE))):
        crops = []
        for k in rng.choice(len(matches), BATCH_SIZE, p=sizes / sizes.sum()):
            first = rng.integers(sizes[k] - CROP_STEPS + 1)
            crops.append([part[first : first + CROP_STEPS] for part in matches[k]])
        yield [torch.stack(parts) for parts in zip(*crops, strict=True)]


def _at_least(size: int, parts: tuple) -> list[torch.Tensor]:
    """Pads a match's features, labels and weights with steps of weight 0 up to size steps."""
    short = max(size - len(parts[0]), 0)
    return [torch.cat([part, part.new_zeros(short, *part.shape[1:])]) for part in parts]


def _loss_sum(logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Returns the binary cross-entropy of (B, S), summed over the known steps."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses * known).sum()


def _step(head: MatchHead, optimizer: torch.optim.Optimizer, batch: list[torch.Tensor]) -> float:
    features, labels, known = batch
    loss = _loss_sum(head(features), labels, known) / known.sum().clamp(min=1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
