"""What a model thinks of the training sequences: which to look at first, while labelling them.

Of the training split alone: whoever orders or judges validation or test sequences by what a model
says of them bends the very measurement of that model. Imports no torch.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from files import UserError, read_table

WHY_TRAIN_ALONE = (
    "a model may order and suggest labels of train alone: in validation and test the labels would "
    "lean towards its answers, and its score there would be too good"
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

    predict runs a .pth. Sequences that the file says nothing about are left out.
    Raises UserError for other splits than train, and for files that are neither.
    """
    if split_dir.name != "train":
        raise UserError(WHY_TRAIN_ALONE)
    if model.suffix in (".csv", ".pth") and not model.is_file():
        raise UserError(f"there is no file {model}; it should be one of a run's")
    if model.suffix == ".csv":
        probs = _read_predictions(model)
    elif model.suffix == ".pth":
        probs = predict(model, split_dir, sequences)
    else:
        raise UserError(f"{model} is neither a run's best_model.pth nor its predictions.csv")
    known = {name: probs[name] for name in sequences if name in probs}
    if not known:
        raise UserError(f"{model} says nothing about the sequences of {split_dir}")
    return known


def _read_predictions(path: Path) -> dict[str, float]:
    table = read_table(path, COLUMNS)
    table = table[table["split"] == "train"]
    probs = pd.to_numeric(table["probability"], errors="coerce")
    bad = table[~probs.between(0, 1)]
    if len(bad):
        raise UserError(
            f"{path}: the probability of {bad['sequence'].iloc[0]} is "
            f"{bad['probability'].iloc[0] or 'missing'}, and should be from 0 to 1"
        )
    return dict(zip(table["sequence"], probs, strict=True))


def in_doubt_first(
    sequences: list[str], labels: dict[str, str], probs: dict[str, float]
) -> list[str]:
    """Those without a label by how near the model's probability is to one half, then the others."""

    def doubt(name: str) -> tuple[bool, float]:
        return labels.get(name) in ("0", "1"), abs(probs.get(name, 1.0) - 0.5)

    return sorted(sequences, key=doubt)


def most_disputed_first(
    sequences: list[str], labels: dict[str, str], probs: dict[str, float]
) -> list[str]:
    """The labelled sequences, those first whose label and probability lie farthest apart."""
    labelled = [name for name in sequences if labels.get(name) in ("0", "1")]
    return sorted(labelled, key=lambda n: -abs(int(labels[n]) - probs.get(n, int(labels[n]))))
