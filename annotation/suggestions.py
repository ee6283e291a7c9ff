"""A model's probabilities for the training sequences: which to label or review first.

Only for train. If a model influenced the labels of validation or test, its scores there would be
too good. Imports no torch.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from files import UserError, read_table

WHY_TRAIN_ONLY = (
    "a model is used for train only: labels of validation and test would lean towards its answers, "
    "and its scores there would be too good"
)
COLUMNS = ("sequence", "probability", "split")
Predict = Callable[[Path, Path, list[str]], dict[str, float]]  # model, split_dir, sequences


def load_probs(
    model: Path,
    split_dir: Path,
    sequences: list[str],
    predict: Predict,
) -> dict[str, float]:
    """{sequence: probability of class 1} from a run's predictions.csv or best_model.pth.

    predict runs a .pth file. Sequences without a prediction are left out. Raises UserError for
    other splits than train, for files that are neither, and if no sequence has a prediction.
    """
    if split_dir.name != "train":
        raise UserError(WHY_TRAIN_ONLY)
    if model.suffix in (".csv", ".pth") and not model.is_file():
        raise UserError(f"no such file: {model}; give a run's best_model.pth or predictions.csv")
    if model.suffix == ".csv":
        probs = _read_predictions(model)
    elif model.suffix == ".pth":
        probs = predict(model, split_dir, sequences)
    else:
        raise UserError(f"{model} is neither a run's best_model.pth nor its predictions.csv")
    known = {name: probs[name] for name in sequences if name in probs}
    if not known:
        raise UserError(f"{model} has no prediction for any sequence of {split_dir}")
    return known


def _read_predictions(path: Path) -> dict[str, float]:
    table = read_table(path, COLUMNS)
    table = table[table["split"] == "train"]
    probs = pd.to_numeric(table["probability"], errors="coerce")
    bad = table[~probs.between(0, 1)]
    if len(bad):
        raise UserError(
            f"{path}: the probability of {bad['sequence'].iloc[0]} is "
            f"{bad['probability'].iloc[0] or 'missing'}; it must be between 0 and 1"
        )
    return dict(zip(table["sequence"], probs, strict=True))


def in_doubt_first(
    sequences: list[str], labels: dict[str, str], probs: dict[str, float]
) -> list[str]:
    """Unlabelled sequences first, in order of how near their probability is to 0.5."""

    def doubt(name: str) -> tuple[bool, float]:
        return labels.get(name) in ("0", "1"), abs(probs.get(name, 1.0) - 0.5)

    return sorted(sequences, key=doubt)


def most_disputed_first(
    sequences: list[str], labels: dict[str, str], probs: dict[str, float]
) -> list[str]:
    """The labelled sequences, those with the largest gap between label and probability first."""
    labelled = [name for name in sequences if labels.get(name) in ("0", "1")]
    return sorted(labelled, key=lambda n: -abs(int(labels[n]) - probs.get(n, int(labels[n]))))
