import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from dataset import FeatureDataset
from metrics import (
    compare,
    compute_metrics,
    logistic_baseline,
    majority_baseline,
    mcnemar,
    most_confident_mistakes,
    results_table,
    study_metrics,
)


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = (rng.random(116) < 0.37).astype(int)
    return labels, np.clip(0.3 * labels + rng.random(116) * 0.7, 0, 1)


def test_the_studys_metrics_are_those_it_reports_with_our_intervals():
    metrics = study_metrics()
    assert metrics["n"] == 116 and metrics["roc_auc"] is None
    assert metrics["accuracy"] == pytest.approx(0.8621, abs=5e-5)
    assert metrics["accuracy_95"] == pytest.approx([0.788, 0.913], abs=5e-4)
    assert metrics["f1"] == pytest.approx(0.8095, abs=5e-5)
    assert metrics["precision"] == pytest.approx(0.8293, abs=5e-5)
    assert metrics["recall"] == pytest.approx(0.7907, abs=5e-5)


def test_no_other_confusion_matrix_of_116_gives_the_studys_metrics():
    reported = {"accuracy": 0.8621, "f1": 0.8095, "precision": 0.8293, "recall": 0.7907}
    tp, fp, fn = np.meshgrid(*[np.arange(1, 117)] * 3, indexing="ij")
    tn = 116 - tp - fp - fn
    found = {
        "accuracy": (tp + tn) / 116,
        "f1": 2 * tp / (2 * tp + fp + fn),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
    }
    fits = tn >= 0
    for name, value in reported.items():
        fits &= np.abs(found[name] - value) <= 5.001e-5
    assert np.argwhere(fits).tolist() == [[33, 6, 8]]  # one less each: 34, 7, 9


def test_bootstrap_intervals_match_scipy(answers):
    labels, probs = answers
    predictions = (probs > 0.5).astype(int)
    metrics = compute_metrics(labels, probs)
    scores = {  # by their formulas, not by scikit-learn
        "f1": lambda y, p, axis: 2 * (y & p).sum(axis) / (y.sum(axis) + p.sum(axis)),
        "precision": lambda y, p, axis: (y & p).sum(axis) / p.sum(axis),
        "recall": lambda y, p, axis: (y & p).sum(axis) / y.sum(axis),
    }
    for name, score in scores.items():
        reference = scipy.stats.bootstrap(
            (labels, predictions),
            score,
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=1000,
            rng=np.random.default_rng(1),
        ).confidence_interval
        assert metrics[f"{name}_95"] == pytest.approx(list(reference), abs=0.02)
        assert metrics[f"{name}_95"][0] < metrics[name] < metrics[f"{name}_95"][1]


def test_a_classifier_that_never_predicts_rally_has_f1_zero():
    metrics = compute_metrics(np.array([0, 1, 0, 1]), np.zeros(4))
    assert (metrics["f1"], metrics["precision"], metrics["accuracy"]) == (0, 0, 0.5)
    assert metrics["f1_95"] == [0, 0]


def test_the_threshold_decides_what_counts_as_a_rally(answers):
    labels, probs = answers
    assert compute_metrics(labels, probs, threshold=0.0)["recall"] == 1


def test_compare_counts_what_only_one_model_gets_right():
    labels = np.ones(40, int)
    ahead = {"a": np.ones(40), "b": np.r_[np.zeros(10), np.ones(30)]}
    assert "only the a is right on 10, and only the b on 0" in compare(labels, ahead)
    assert "the a is ahead, more than chance explains" in compare(labels, ahead)
    behind = {"a": np.r_[0, np.ones(39)], "b": np.ones(40)}
    assert "the b is ahead, which may be chance" in compare(labels, behind)
    assert mcnemar(labels, *behind.values()) == (0, 1, 1.0)
    assert mcnemar(labels, *ahead.values()).p == pytest.approx(2 * 0.5**10)
    assert "neither is better" in compare(labels, {"a": np.ones(40), "b": np.ones(40)})


def test_mistakes_are_sorted_by_confidence():
    predictions = pd.DataFrame(
        {
            "sequence": list("abcde"),
            "label": [0, 1, 1, 0, 1],
            "probability": [0.7, 0.01, 0.6, 0.9, 0.02],
            "split": ["test"] * 4 + ["train"],
        }
    )
    assert list(most_confident_mistakes(predictions, "test", 2)["sequence"]) == ["b", "d"]


def feature_set(features, labels):
    part = FeatureDataset.__new__(FeatureDataset)
    part.features, part.count = features, 1
    part.table = pd.DataFrame({"label": labels})
    part.labels = torch.tensor(labels, dtype=torch.float32)
    return part


def test_baselines_use_the_mean_features_and_the_majority_class():
    labels = [0, 1, 0] * 10
    features = torch.randn(30, 1, 30, 512) + torch.tensor(labels).view(30, 1, 1, 1)
    part = feature_set(features, labels)
    assert ((logistic_baseline(part, part) > 0.5) == np.array(labels)).all()
    shuffled = feature_set(features[:, :, torch.randperm(30)], labels)
    assert np.allclose(logistic_baseline(part, shuffled), logistic_baseline(part, part), atol=1e-5)
    assert (majority_baseline(part, part) == 0).all()


def test_the_one_frame_baseline_ignores_the_other_frames():
    labels = [0, 1, 0] * 10
    features = torch.randn(30, 1, 30, 512)
    features[:, :, 15] += torch.tensor(labels).view(30, 1, 1)
    part = feature_set(features, labels)
    probs = logistic_baseline(part, part, frame=15)
    assert ((probs > 0.5) == np.array(labels)).all()
    features[:, :, :15] = 0
    features[:, :, 16:] = 0
    assert np.array_equal(logistic_baseline(part, part, frame=15), probs)
    assert np.ptp(logistic_baseline(part, part, frame=14)) < 1e-6


def test_the_results_table_shows_intervals(answers):
    table = results_table({"model": compute_metrics(*answers)})
    assert " to " in table.loc["model", "accuracy"] and table.loc["model", "n"] == 116
