"""Metrics with 95 % intervals, and simple baselines to compare a model with.

metrics = compute_metrics(labels, probs)         # accuracy, F1, ... and accuracy_95, f1_95, ...
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

STUDY_CONFUSION = ((66, 7), (9, 34))  # a row for each true class, a column for each predicted one


def compute_metrics(
    labels: np.ndarray, probs: np.ndarray, threshold: float = 0.5, seed: int = 0
) -> dict:
    """Metrics of labels (N,) in {0, 1} and probabilities (N,), with 95 % intervals.

    accuracy_95 is Wilson's interval (1927). f1_95, precision_95 and recall_95 are percentile
    bootstraps of 2,000 resamples. Both treat sequences as independent. Sequences of one match are
    not quite, so the uncertainty over new matches is larger.
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

    It sees what a second looks like on average, not the order of its frames; with `frame`,
    only that frame's vector. C is small (strong regularisation) because there are more features
    than a few hundred sequences can determine.
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
    """The training split's majority class, as probability 0 or 1 for each test sequence (N,)."""
    return np.full(len(test_set), float(train_set.table["label"].mean() > 0.5))


def study_metrics() -> dict:
    """compute_metrics of the original study's result on its 116 test sequences; no roc_auc.

    The study reports accuracy 0.8621, F1 0.8095, precision 0.8293 and recall 0.7907. Only one
    confusion matrix of 116 sequences gives these: STUDY_CONFUSION. The intervals follow from it.
    """
    (true_0, false_1), (false_0, true_1) = STUDY_CONFUSION
    labels = np.repeat([0, 0, 1, 1], [true_0, false_1, false_0, true_1])
    predictions = np.repeat([0, 1, 0, 1], [true_0, false_1, false_0, true_1])
    return compute_metrics(labels, predictions) | {"roc_auc": None, "average_precision": None}


def results_table(results: dict[str, dict]) -> pd.DataFrame:
    """A row for each {name: compute_metrics(...)}, intervals in brackets; "-" for what is None."""

    def cell(metrics: dict, name: str) -> str:
        low, high = metrics[f"{name}_95"]
        return f"{metrics[name]:.3f} ({low:.3f} to {high:.3f})"

    rows = {
        name: {score: cell(metrics, score) for score in ("accuracy", "f1", "precision", "recall")}
        | {"ROC AUC": _three_digits(metrics["roc_auc"]), "n": metrics["n"]}
        for name, metrics in results.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _three_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


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
    """Rows of save_predictions' table that are wrong at threshold 0.5, the most certain first."""
    wrong = predictions[
        (predictions["split"] == split)
        & ((predictions["probability"] > 0.5) != (predictions["label"] == 1))
    ]
    surest = (wrong["probability"] - 0.5).abs().sort_values(ascending=False).index
    return wrong.loc[surest].head(count)


class McNemar(NamedTuple):
    """Sequences that only the first, or only the second of two models gets right; exact p value."""

    only_first: int
    only_second: int
    p: float


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's exact test (1947) of two models' probabilities (N,) for labels (N,).

    p is the probability that chance alone splits the sequences on which one model is right and the
    other wrong at least as unevenly as they are.
    """
    first_right, second_right = ((probs > 0.5) == (labels == 1) for probs in (first, second))
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    differ = only_first + only_second
    p = scipy.stats.binomtest(only_first, differ).pvalue if differ else 1.0
    return McNemar(only_first, only_second, float(p))


def compare(labels: np.ndarray, answers: dict[str, np.ndarray]) -> str:
    """A sentence that says whether the first of two {name: probabilities (N,)} beats the second."""
    (first, second), test = answers, mcnemar(labels, *answers.values())
    counts = (
        f"Of {len(labels)} test sequences, only the {first} is right on {test.only_first}, "
        f"and only the {second} on {test.only_second}"
    )
    if test.only_first == test.only_second:
        return f"{counts}: neither is better here."
    better = first if test.only_first > test.only_second else second
    p = f"p = {test.p:.3f}" if test.p >= 0.001 else "p < 0.001"
    by_chance = "more than chance explains" if test.p < 0.05 else "which may be chance"
    return f"{counts}: the {better} is ahead, {by_chance} (McNemar's exact test, {p})."
