"""Labelling a split: chooses it, reads its sequences, and serves the page until Ctrl-C.

Imports neither torch nor PyAV. For whole matches see match_app.py.
"""

from pathlib import Path

from annotation import labels
from annotation.app import Labelling
from annotation.server import serve
from annotation.suggestions import Predict, load_probs
from files import SPLITS, UserError


def label_split(
    data_dir: Path,
    *,
    split: str | None,
    class_names: tuple[str, str],
    order: str,
    model: Path | None,
    predict: Predict,
    port: int | None,
    browser: bool,
) -> int:
    """Serves the page for a split (None: see choose_split). Returns the exit code.

    order is "name", "uncertain" or "review"; model is a run's best_model.pth or predictions.csv.
    Raises UserError if there is nothing to label or to review.
    """
    review = order == "review"
    split = split or choose_split(data_dir, review, bool(model))
    work = Labelling(data_dir, split, class_names, order)
    sequences, problems = labels.list_sequences(work.split_dir(split))
    known = labels.read_labels(work.split_dir(split))
    if not sequences:
        raise UserError(
            "; ".join(problems)
            or f"no sequences in {data_dir / split}; run collecting_data.py first"
        )
    if model:
        work.probs = load_probs(model, data_dir / split, sequences, predict)
    done = sum(known.get(name) in ("0", "1") for name in sequences)
    if review and not done:
        raise UserError(f"nothing to review: no labels in {data_dir / split} yet")
    return serve(work, [], f"labelling {split}, {done} of {len(sequences)} done", port, browser)


def choose_split(data_dir: Path, review: bool = False, model: bool = False) -> str:
    """The first split with unlabelled sequences (for a review: with labelled ones).

    If there is none, the first split with sequences. With a model, always train.
    """
    if model:
        return "train"
    filled = []
    for split in SPLITS:
        names, _ = labels.list_sequences(data_dir / split)
        known = labels.read_labels(data_dir / split)
        if any((known.get(name) in ("0", "1")) == review for name in names):
            return split
        filled += [split] if names else []
    return filled[0] if filled else "train"
