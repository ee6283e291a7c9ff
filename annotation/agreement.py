"""How well a person agrees with themselves: blind second answers, which change no label.

They stand in the log of the labels as changes of the kind "repeat". Imports no torch.
"""

import random
from pathlib import Path

from annotation.change_log import Change, append_changes, log_path, standing, time_now
from annotation.labels import labels_held, labels_path, read_class_names, read_labels, read_log

REPEAT_SHARE = 0.05  # of the answers come back for a second one, unannounced
REPEAT_AFTER = 20  # answers at least, so that the first one is not just remembered


def save_repeat(split_dir: Path, sequence: str, label: str) -> str:
    """Keeps the second, blind answer in the log, the label as it is; returns the change's time."""
    with labels_held(split_dir):
        first = read_labels(split_dir).get(sequence, "")
        change = Change(time_now(), sequence, first, label, "repeat")
        append_changes(log_path(labels_path(split_dir)), [change])
    return change.time


def pick_repeat(split_dir: Path, rng: random.Random) -> str | None:
    """A sequence to be answered once more: one of a person's, not asked twice, not just now.

    None while so many have come back that they are REPEAT_SHARE of the answers.
    """
    changes = standing(read_log(split_dir))
    given = [change.sequence for change in changes if change.what == "label"]
    answered = list(dict.fromkeys(reversed(given)))[::-1]  # in the order of their last answers
    repeated = {change.sequence for change in changes if change.what == "repeat"}
    if len(repeated) >= REPEAT_SHARE * len(answered):
        return None
    labels = read_labels(split_dir)
    old_enough = answered[:-REPEAT_AFTER]
    choice = [s for s in old_enough if s not in repeated and labels.get(s) in ("0", "1")]
    return rng.choice(choice) if choice else None


def measure_agreement(split_dir: Path) -> dict:
    """How well a person's blind second answers agree with the first ones.

    n, same, kappa (Cohen 1960; None where it is not defined, as with a single class), same_95
    (Wilson's 95 % interval of the share that agree), and of those that differ: sequence, first,
    second.
    """
    import scipy.stats  # noqa: PLC0415, spares labelling a second
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415

    changes = standing(read_log(split_dir))
    repeats = {
        change.sequence: change for change in changes if change.what == "repeat"
    }  # the last of each
    pairs = [s for s in repeats.values() if {s.old, s.new} <= {"0", "1"}]
    first, second = [change.old for change in pairs], [change.new for change in pairs]
    same = sum(change.old == change.new for change in pairs)
    defined = len({*first, *second}) == 2
    wilson = scipy.stats.binomtest(same, len(pairs)).proportion_ci(method="wilson") if pairs else ()
    return {
        "n": len(pairs),
        "same": same,
        "kappa": float(cohen_kappa_score(first, second)) if defined else None,
        "same_95": list(wilson) or None,
        "different": [
            {"sequence": s.sequence, "first": s.old, "second": s.new}
            for s in pairs
            if s.old != s.new
        ],
    }


def print_agreement(data_dir: Path, splits: tuple[str, ...]) -> int:
    """Prints Cohen's kappa of each split's blind repeats, and what was answered differently."""
    names = read_class_names(data_dir)
    for each in splits:
        found = measure_agreement(data_dir / each)
        if not found["n"]:
            print(f"{each}: no sequence has come back for a second answer yet")
            continue
        low, high = found["same_95"]
        kappa = f"{found['kappa']:.3f}" if found["kappa"] is not None else "not defined (one class)"
        print(
            f"{each}: Cohen's kappa {kappa}; {found['same']} of {found['n']} second answers agree "
            f"(95 % interval {low:.3f} to {high:.3f})"
        )
        for row in found["different"]:
            first, second = names[int(row["first"])], names[int(row["second"])]
            print(f"  {row['sequence']}: first {first}, then {second}")
    return 0
