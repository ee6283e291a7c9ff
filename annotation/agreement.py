"""How well a person agrees with their own labels, from blind second answers.

A second answer changes no label. The log of the labels keeps it as a change of the kind "repeat".
Imports no torch.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from annotation.change_log import Change, append_changes, log_path, standing, time_now
from annotation.labels import labels_held, read_class_names, read_labels, read_log
from files import labels_path

REPEAT_SHARE = 0.05  # the share of answers that are asked a second time, unannounced
REPEAT_AFTER = 20  # fewest answers in between, so that the first is not just remembered


@dataclass(frozen=True)
class Difference:
    """A sequence with two different answers; first and second are "0" or "1"."""

    sequence: str
    first: str
    second: str


@dataclass(frozen=True)
class Agreement:
    """How well the blind second answers agree with the first ones."""

    n: int  # second answers
    same: int  # how many of them equal the first answer
    kappa: float | None  # Cohen 1960; None if undefined, as with a single class
    same_95: tuple[float, float] | None  # Wilson's 95 % interval of same / n
    different: list[Difference]


def save_repeat(split_dir: Path, sequence: str, label: str) -> str:
    """Logs a blind second answer and leaves the label as it is; returns the time of the change."""
    with labels_held(split_dir):
        first = read_labels(split_dir).get(sequence, "")
        change = Change(time_now(), sequence, first, label, "repeat")
        append_changes(log_path(labels_path(split_dir)), [change])
    return change.time


def pick_repeat(split_dir: Path, rng: random.Random) -> str | None:
    """A sequence to ask a second time: labelled by a person, not recently, not asked twice before.

    None if REPEAT_SHARE of the answers have been repeated already, or if no sequence qualifies.
    """
    changes = standing(read_log(split_dir))
    given = [change.sequence for change in changes if change.what == "label"]
    answered = list(dict.fromkeys(reversed(given)))[::-1]  # in the order of the last answers
    repeated = {change.sequence for change in changes if change.what == "repeat"}
    if len(repeated) >= REPEAT_SHARE * len(answered):
        return None
    labels = read_labels(split_dir)
    old_enough = answered[:-REPEAT_AFTER]
    choice = [s for s in old_enough if s not in repeated and labels.get(s) in ("0", "1")]
    return rng.choice(choice) if choice else None


def measure_agreement(split_dir: Path) -> Agreement:
    """Compares the last second answer to each sequence with the label that it had then."""
    import scipy.stats  # noqa: PLC0415, takes a second to import
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415

    changes = standing(read_log(split_dir))
    repeats = {change.sequence: change for change in changes if change.what == "repeat"}
    pairs = [r for r in repeats.values() if {r.old, r.new} <= {"0", "1"}]
    first, second = [repeat.old for repeat in pairs], [repeat.new for repeat in pairs]
    same = sum(repeat.old == repeat.new for repeat in pairs)
    defined = len({*first, *second}) == 2
    interval = None
    if pairs:
        wilson = scipy.stats.binomtest(same, len(pairs)).proportion_ci(method="wilson")
        interval = (float(wilson.low), float(wilson.high))
    return Agreement(
        n=len(pairs),
        same=same,
        kappa=float(cohen_kappa_score(first, second)) if defined else None,
        same_95=interval,
        different=[Difference(r.sequence, r.old, r.new) for r in pairs if r.old != r.new],
    )


def print_agreement(data_dir: Path, splits: tuple[str, ...]) -> int:
    """Prints Cohen's kappa of each split's second answers and the sequences that differ.

    Returns the exit code.
    """
    names = read_class_names(data_dir)
    for split in splits:
        agreement = measure_agreement(data_dir / split)
        if agreement.same_95 is None:
            print(f"{split}: no second answers yet")
            continue
        low, high = agreement.same_95
        kappa = "not defined (one class)" if agreement.kappa is None else f"{agreement.kappa:.3f}"
        print(
            f"{split}: Cohen's kappa {kappa}; {agreement.same} of {agreement.n} second answers "
            f"agree (95 % interval {low:.3f} to {high:.3f})"
        )
        for each in agreement.different:
            first, second = names[int(each.first)], names[int(each.second)]
            print(f"  {each.sequence}: first {first}, then {second}")
    return 0
