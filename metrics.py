"""What a run's numbers are worth: metrics with their 95 % intervals, simpler answers beside them.

results = compute_metrics(labels, probs)         # accuracy, F1, ... and accuracy_95, f1_95, ...
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dataset import FeatureDataset
from files import write_table


def compute_metrics(
    labels: np.ndarray, probs: np.ndarray, threshold: float = 0.5, seed: int = 0
) -> dict:
    """Metrics of labels (N,) in {0, 1} and probabilities (N,), with 95 % intervals.

    accuracy_95 is Wilson's interval (1927); f1_95, precision_95 and recall_95 are percentile
    bootstraps of 2,000 resamples. Both take the sequences as independent, which sequences of one
    match are not quite: the true uncertainty over matches is larger.
    """
    labels, predictions = (
        np.asarray(labels).astype(int),
        (np.asarray(probs) > threshold).astype(int),
    )
    correct = int((labels == predictions).sum())
    wilson = scipy.stats.binomtest(correct, len(labels)).proportion_ci(method="wilson")
    scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    return {
        "n": len(labels),
        "accuracy": correct / len(labels),
        "accuracy_95": [wilson.low, wilson.high],
        **{name: float(f(labels, predictions, zero_division=0)) for name, f in scores.items()},
        **_bootstrap_intervals(labels, predictions, seed),
        "roc_auc": float(roc_auc_score(labels, probs)),
        "average_precision": float(average_precision_score(labels, probs)),
        "confusion": confusion_matrix(labels, predictions, labels=[0, 1]).tolist(),
        "threshold": threshold,
    }


def _bootstrap_intervals(labels: np.ndarray, predictions: np.ndarray, seed: int) -> dict:
    """95 % percentile bootstrap of F1, precision and recall; an empty denominator counts as 0."""
    drawn = np.random.default_rng(seed).integers(len(labels), size=(2000, len(labels)))
    truth, predicted = labels[drawn], predictions[drawn]  # (2000, N)
    hits = (truth & predicted).sum(1)
    ratios = {
        "f1": (2 * hits, truth.sum(1) + predicted.sum(1)),
        "precision": (hits, predicted.sum(1)),
        "recall": (hits, truth.sum(1)),
    }
    return {
        f"{name}_95": np.quantile(above / np.maximum(below, 1), [0.025, 0.975]).tolist()
        for name, (above, below) in ratios.items()
    }


def logistic_baseline(
    train_set: FeatureDataset, test_set: FeatureDataset, frame: int | None = None
) -> np.ndarray:
    """Probabilities (N,) of a logistic regression on each sequence's mean feature vector (512,).

    It sees what a second looks like on average, not the order of its frames; with a frame, that
    one alone. C is small (strong regularisation) because there are more features than a few
    hundred sequences can determine.
    """

    def pick(features: torch.Tensor) -> torch.Tensor:  # (B, T, D) -> (B, D)
        return features.mean(dim=1) if frame is None else features[:, frame]

    train_x, test_x = (
        torch.cat([pick(features) for features in part.plain_batches()]).numpy()
        for part in (train_set, test_set)
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=5000))
    model.fit(train_x, train_set.table["label"])
    return model.predict_proba(test_x)[:, 1]


def majority_baseline(train_set: FeatureDataset, test_set: FeatureDataset) -> np.ndarray:
    """The training split's commoner class as a probability, 0 or 1, for each test sequence (N,)."""
    return np.full(len(test_set), float(train_set.table["label"].mean() > 0.5))


def results_table(results: dict[str, dict]) -> pd.DataFrame:
    """A row for each {name: compute_metrics(...)}, intervals in brackets."""

    def cell(metrics: dict, name: str) -> str:
        low, high = metrics[f"{name}_95"]
        return f"{metrics[name]:.3f} ({low:.3f} to {high:.3f})"

    rows = {
        name: {score: cell(metrics, score) for score in ("accuracy", "f1", "precision", "recall")}
        | {"ROC AUC": f"{metrics['roc_auc']:.3f}", "n": metrics["n"]}
        for name, metrics in results.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def save_predictions(
    path: Path, tables: dict[str, pd.DataFrame], probs: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Writes and returns sequence,label,probability,split of every split."""
    parts = [
        table.assign(probability=probs[split].round(6), split=split)
        for split, table in tables.items()
    ]
    predictions = pd.concat(parts, ignore_index=True)
    write_table(path, predictions)
    return predictions


def most_confident_mistakes(predictions: pd.DataFrame, split: str, count: int) -> pd.DataFrame:
    """The rows of save_predictions' table that are wrong at one half, the surest first."""
    wrong = predictions[
        (predictions["split"] == split)
        & ((predictions["probability"] > 0.5) != (predictions["label"] == 1))
    ]
    surest = (wrong["probability"] - 0.5).abs().sort_values(ascending=False).index
    return wrong.loc[surest].head(count)


class McNemar(NamedTuple):
    """Two models on the same sequences: how many each alone has right, and the exact p value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's exact test (1947) of two models' probabilities (N,) for labels (N,).

    A small p says that chance would not make one of them right so much oftener than the other.
    """
    first_right, second_right = ((probs > 0.5) == (labels == 1) for probs in (first, second))
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    differ = only_first + only_second
    p = scipy.stats.binomtest(only_first, differ).pvalue if differ else 1.0
    return McNemar(only_first, only_second, float(p))


def compare(labels: np.ndarray, answers: dict[str, np.ndarray]) -> str:
    """In words, whether the first of two {name: probabilities (N,)} beats the second."""
    (first, second), test = answers, mcnemar(labels, *answers.values())
    counts = (
        f"Of {len(labels)} test sequences, the {first} alone is right on {test.only_first}, "
        f"the {second} alone on {test.only_second}"
    )
    if test.only_first == test.only_second:
        return f"{counts}: they are equally good here."
    better = first if test.only_first > test.only_second else second
    p = f"p = {test.p:.3f}" if test.p >= 0.001 else "p < 0.001"
    sure = "more than chance would give" if test.p < 0.05 else "a difference that chance could give"
    return f"{counts}: the {better} is ahead, {sure} (McNemar's exact test, {p})."
