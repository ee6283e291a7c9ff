"""A split's labels, Data/<split>/<split>.csv: every answer is saved whole, none is silently lost.

Each answer names the label that the person saw. If another program or a second tab has changed
that label since, the change is kept and the caller is told. Imports no torch.
"""

import re
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from annotation.change_log import (
    Change,
    append_changes,
    last_changes,
    log_path,
    read_changes,
    time_now,
    write_with_log,
)
from files import UserError, labels_path, one_writer, read_table, write_table
from media.frames import sequence_names

COLUMNS = ("sequence", "label")
LABELS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}  # spreadsheets write 1.0
CLASS_NAMES = ("non-rally", "rally")
UNDONE = ("label", "repeat", "marks")  # the kinds of changes that undo can take back
PATIENCE_SEC = 5.0  # to wait for the lock, which others hold for milliseconds


@dataclass(frozen=True)
class Answer:
    """A new label of a sequence, "0", "1" or "" (none), and the label that the person saw."""

    sequence: str
    label: str
    seen: str


def read_log(split_dir: Path) -> list[Change]:
    """All changes of a split's labels, oldest first."""
    return read_changes(log_path(labels_path(split_dir)))


def list_sequences(split_dir: Path) -> tuple[list[str], list[str]]:
    """(names of the sequences in the order of their numbers, problems of skipped folders)."""
    try:
        names = sequence_names(split_dir)
    except FileNotFoundError:
        return [], [f"no such folder: {split_dir / 'sequences'}; run collecting_data.py first"]
    except OSError as error:
        raise UserError(
            f"cannot read {split_dir / 'sequences'}: {error.strerror or error}"
        ) from error
    odd = [n for n in names if n != n.strip() or not n.isprintable()]
    why = "its name has outer spaces or unprintable characters; rename it"
    problems = [f"skipped the folder {ascii(name)}: {why}" for name in odd]
    return sorted((name for name in names if name not in odd), key=_by_number), problems


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts seq_2 before seq_10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def read_labels(split_dir: Path) -> dict[str, str]:
    """{sequence: "0", "1", or whatever else is in the table}; empty if there is no table.

    A sequence with contradicting rows gets all their labels: "0 and 1".
    """
    return _labels_of(_read_rows(split_dir))


def _labels_of(rows: list[tuple[str, str]]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for sequence, label in rows:
        plain, before = str(LABELS.get(label, label)), labels.get(sequence)
        if not before or plain == before:
            labels[sequence] = plain
        elif plain and plain not in before.split(" and "):
            labels[sequence] = f"{before} and {plain}"
    return labels


def _read_rows(split_dir: Path) -> list[tuple[str, str]]:
    path = labels_path(split_dir)
    if not path.exists():
        return []
    table = read_table(path, COLUMNS, others=True)
    if len(table.columns) > len(COLUMNS):
        raise UserError(
            f"{path} has extra columns ({', '.join(table.columns[2:])}), which would be lost when "
            "a label is saved; move them to another file"
        )
    return list(zip(table["sequence"].tolist(), table["label"].tolist(), strict=True))


def labels_held(split_dir: Path) -> AbstractContextManager[None]:
    """The lock of a split's labels; collecting has its own, which may be held for an hour."""
    return one_writer(split_dir, ".labels.lock", PATIENCE_SEC)


def save_labels(
    split_dir: Path, answers: list[Answer], what: str = "label"
) -> tuple[str, dict[str, str]]:
    """Writes answers to the log, then to the table; returns once both are on disk.

    Returns (time of the changes, conflicts). conflicts is {sequence: its label now} of the answers
    not saved, because the label is neither the one seen nor the new one. Raises UserError when
    nothing could be saved.
    """
    with labels_held(split_dir):
        rows = _read_rows(split_dir)
        labels = _labels_of(rows)
        now = {answer.sequence: labels.get(answer.sequence, "") for answer in answers}
        given = [a for a in answers if now[a.sequence] in (a.seen, a.label)]
        time = time_now()
        changes = [Change(time, a.sequence, now[a.sequence], a.label, what) for a in given]
        _apply(split_dir, rows, changes)
    kept = {a.sequence for a in given}
    return time, {sequence: label for sequence, label in now.items() if sequence not in kept}


def _apply(split_dir: Path, rows: list[tuple[str, str]], changes: list[Change]) -> None:
    """Logs changes, then writes the new labels; the table keeps its order."""
    if not changes:
        return
    count = Counter(sequence for sequence, _ in rows)
    new = {c.sequence: c.new for c in changes if c.new != c.old or count[c.sequence] > 1}
    if not new:
        append_changes(log_path(labels_path(split_dir)), changes)
        return
    left, kept = dict(new), []
    for sequence, label in rows:
        if sequence not in new:
            kept.append((sequence, label))
        elif sequence in left:  # the first row gets the new label, other rows are dropped
            kept.append((sequence, left.pop(sequence)))
    kept += left.items()
    kept = [row for row in kept if row[1] or row[0] not in new]
    table = pd.DataFrame(kept, columns=list(COLUMNS), dtype=str)
    write_with_log(labels_path(split_dir), table, changes)


def undo(split_dir: Path, time: str | None = None) -> list[tuple[str, str, bool]]:
    """Undoes the changes of that time, or the last ones: [(sequence, its label now, done)].

    A label that was changed elsewhere since then is kept (done is False). Empty if there is nothing
    to undo.
    """
    with labels_held(split_dir):
        changes = last_changes(read_log(split_dir), time, UNDONE)
        rows = _read_rows(split_dir)
        labels = _labels_of(rows)
        result, back, now_time = [], [], time_now()
        for change in changes:
            now = labels.get(change.sequence, "")
            done = change.what == "repeat" or now == change.new
            after = change.old if done and change.what != "repeat" else now
            back.append(Change(now_time, change.sequence, now, after, f"undo {change.time}"))
            result.append((change.sequence, after, done))
        _apply(split_dir, rows, back)
    return result


def last_answer(split_dir: Path) -> dict:
    """What undo would take back: {time, sequences}; time is "" if there is nothing to undo."""
    changes = last_changes(read_log(split_dir), None, UNDONE)
    time = changes[0].time if changes else ""
    return {"time": time, "sequences": [change.sequence for change in changes]}


def read_flags(split_dir: Path) -> list[str]:
    """The sequences that a person flagged to come back to."""
    path = split_dir / "flagged.csv"
    return list(read_table(path, ("sequence",))["sequence"]) if path.exists() else []


def save_flag(split_dir: Path, sequence: str, flagged: bool) -> None:
    """Flags a sequence, or removes its flag."""
    with labels_held(split_dir):
        others = [name for name in read_flags(split_dir) if name != sequence]
        names = [*others, sequence] if flagged else others
        write_table(split_dir / "flagged.csv", pd.DataFrame({"sequence": names}, dtype=str))


def read_class_names(data_dir: Path) -> tuple[str, str]:
    """The names of labels 0 and 1: from classes.csv (label,name), else non-rally and rally."""
    path = data_dir / "classes.csv"
    if not path.exists():
        return CLASS_NAMES
    names = dict(read_table(path, ("label", "name")).itertuples(index=False, name=None))
    if set(names) != {"0", "1"} or "" in names.values():
        raise UserError(f"{path} must have the three lines label,name and 0,NAME and 1,NAME")
    return names["0"], names["1"]


def save_class_names(data_dir: Path, names: tuple[str, str]) -> None:
    """Writes classes.csv."""
    write_table(data_dir / "classes.csv", pd.DataFrame({"label": ["0", "1"], "name": names}))
