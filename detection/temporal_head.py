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

from annotation.ground_truth import Truth
from detection.match_features import GRID_FPS, StepFeatures
from files import UserError
from train_utils import epochs_since_best

Labelled = tuple[StepFeatures, Truth]  # the features of a match, and its ground truth
BLOCK_STEPS = 4096  # steps of a match that the head classifies at once
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
    train: list[Labelled],
    val: list[Labelled],
    config: HeadConfig | None = None,
    seed: int = 0,
    max_epochs: int = MAX_EPOCHS,
) -> tuple[MatchHead, list[tuple[float, float]]]:
    """Trains a head on matches: the features and the ground truth of each.

    Stops early on validation loss. Returns the head of the best epoch, in eval mode, and (train
    loss, validation loss) of each epoch, as means over steps. Steps with unknown features (NaN) or
    in unknown stretches do not count in either loss. Features are read crop by crop, so memory does
    not grow with the number of matches. Raises UserError if train or validation has no rally at
    all, or if the validation loss is not finite.
    """
    config = config or HeadConfig()
    if not all(any(truth.rallies for _, truth in part) for part in (train, val)):
        raise UserError(
            "no rally is marked in the matches of train, or in those of validation; mark some with "
            "python labeling.py --match VIDEO"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = MatchHead(config)
        mean, std = mean_and_std([features for features, _ in train])
        head.feature_mean.copy_(mean)
        head.feature_std.copy_(std.clamp(min=1e-6))
        sets = [
            [
                (features, *label_steps(features.steps, truth, config.every))
                for features, truth in part
            ]
            for part in (train, val)
        ]
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
            val_loss = _mean_loss(head, sets[1])
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


def match_logits(head: MatchHead, features: StepFeatures) -> torch.Tensor:
    """Returns the logits of all steps of a match, float32 (S,); NaN where features are unknown.

    The features are read block by block, each with the steps around it that its output depends on,
    so memory does not grow with the match.
    """
    reach, steps = head.config.reach, features.steps
    logits, held = torch.empty(steps), torch.empty(0, head.config.feature_size)
    with torch.inference_mode():
        for first in range(0, steps, BLOCK_STEPS):
            last = min(first + BLOCK_STEPS, steps)
            begin, end = max(first - reach, 0), min(last + reach, steps)
            read = torch.cat([held, features.read(begin, end)])
            filled = hold_last(read)[len(held) :]
            block = head(filled[None])[0]
            block[read[len(held) :, 0].isnan()] = float("nan")
            logits[first:last] = block[first - begin : last - begin]
            # The last step before the next block, repeated if that block begins with unknown steps.
            before = max(last - reach, 0) - begin - 1
            held = filled[before : before + 1] if before >= 0 else held
    return logits


def mean_and_std(matches: list[StepFeatures]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the mean and the standard deviation of the known steps of all matches: (D,) each."""
    count, total, squares = map(sum, zip(*(features.sums for features in matches), strict=True))
    mean = total / count
    variance = (squares / count - mean**2).clamp(min=0) * count / (count - 1)
    return mean.float(), variance.sqrt().float()


def label_steps(steps: int, truth: Truth, every: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns labels and weights of the steps of a match: float32 (S,) each.

    The label is 1 if the time of the step lies in a rally, else 0. The weight is 0 in an unknown
    stretch, else 1.
    """
    seconds = torch.arange(steps) * every / GRID_FPS
    labels, weights = torch.zeros(steps), torch.ones(steps)
    for start, end in truth.rallies:
        labels[(seconds >= start) & (seconds < end)] = 1
    for start, end in truth.unknown:
        weights[(seconds >= start) & (seconds < end)] = 0
    return labels, weights


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
    sizes = np.array([max(features.steps, CROP_STEPS) for features, _, _ in matches])
    for _ in range(max(MIN_BATCHES, round(sizes.sum() / CROP_STEPS / BATCH_SIZE))):
        crops = []
        for k in rng.choice(len(matches), BATCH_SIZE, p=sizes / sizes.sum()):
            crops.append(_crop(*matches[k], int(rng.integers(sizes[k] - CROP_STEPS + 1))))
        yield [torch.stack(parts) for parts in zip(*crops, strict=True)]


def _crop(
    features: StepFeatures, labels: torch.Tensor, weights: torch.Tensor, first: int
) -> list[torch.Tensor]:
    """Reads CROP_STEPS steps: features, labels, weights. A short match gets steps of weight 0."""
    last = min(first + CROP_STEPS, features.steps)
    read = features.read(first, last)
    known = (~read[:, 0].isnan()).float()
    parts = (hold_last(read), labels[first:last], weights[first:last] * known)
    short = CROP_STEPS - len(read)
    return [torch.cat([part, part.new_zeros(short, *part.shape[1:])]) for part in parts]


def _mean_loss(head: MatchHead, matches: list) -> float:
    """Returns the mean loss over all steps of matches that count; NaN if there is none."""
    losses, count = 0.0, 0.0
    for features, labels, weights in matches:
        logits = match_logits(head, features)
        weights = weights * (~logits.isnan()).float()
        losses += float(_loss_sum(logits.nan_to_num(), labels, weights))
        count += float(weights.sum())
    return losses / count if count else float("nan")


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
