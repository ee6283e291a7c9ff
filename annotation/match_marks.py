"""The rallies of a whole match as a person marks them: Data/matches/<video name>.csv.

    start_sec,end_sec

Times are seconds from the first frame, to the millisecond. Rallies are in order and do not overlap.
Every save is whole on disk, and is logged beside the table. Tables of unknown stretches (see
ground_truth.py) are read and saved in the same way. Imports no torch.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from annotation.change_log import (
    Change,
    last_changes,
    log_path,
    read_changes,
    time_now,
    write_with_log,
)
from annotation.labels import PATIENCE_SEC
from collection.sources import video_key, youtube_id
from files import UserError, one_writer, read_table

COLUMNS = ("start_sec", "end_sec")
UNDONE = ("label", "import", "shift")  # the kinds of changes that undo can take back
Marks = list[tuple[float, float]]  # (start_sec, end_sec) of each rally, in order


def match_name(name: str) -> str:
    """The name of the marks of a video, given its video_name: the YouTube id, else the file name
    without its suffix."""
    key = video_key(name)
    return youtube_id(key) or Path(key).stem


def marks_path(data_dir: Path, name: str) -> Path:
    return data_dir / "matches" / f"{name}.csv"


def list_tables(data_dir: Path) -> list[Path]:
    """The tables of marks of all matches, without their logs."""
    tables = sorted((data_dir / "matches").glob("*.csv"))
    return [path for path in tables if not path.name.endswith(".log.csv")]


def check_marks(marks: Marks, duration_sec: float = float("inf"), what: str = "rally") -> None:
    """Raises UserError, naming the first wrong times, unless marks can be the rallies of a match.

    A rally may start when the one before it ends. `what` is what messages call a mark.
    """
    for start, end in marks:
        if start < 0:
            raise UserError(f"the {what} from {start:.3f} to {end:.3f} s starts before 0 s")
        if not start < end:
            raise UserError(f"the {what} from {start:.3f} to {end:.3f} s must end after its start")
    ordered = sorted(marks)
    for (start, end), (following, _) in zip(ordered, ordered[1:], strict=False):
        if following < end:
            raise UserError(
                f"the {what} from {start:.3f} to {end:.3f} s overlaps "
                f"the one from {following:.3f} s"
            )
    for _, end in ordered:
        if end > duration_sec + 0.001:
            raise UserError(
                f"a {what} ends at {end:.3f} s, but the match ends at {duration_sec:.3f} s; are "
                "these the marks of another video?"
            )


def read_marks(path: Path, duration_sec: float = float("inf"), what: str = "rally") -> Marks:
    """A table's rallies (or what else it holds) in order of time; none if there is no file.

    Raises UserError, naming the file, for values that are not numbers and for what check_marks
    refuses.
    """
    if not path.exists():
        return []
    table = read_table(path, COLUMNS)
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(float)
    bad = table[~np.isfinite(numbers).all(axis=1)]
    if len(bad):
        raise UserError(f"{path}: the row {','.join(bad.iloc[0])} must be two numbers, in seconds")
    marks = sorted(numbers.round(3).itertuples(index=False, name=None))
    try:
        check_marks(marks, duration_sec, what)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return marks


def save_marks(
    path: Path,
    marks: Marks,
    seen: Marks,
    duration_sec: float,
    *,
    kind: str = "label",
    what: str = "rally",
) -> tuple[str, Marks]:
    """Replaces the marks seen by new ones; returns (time of the change, the marks now).

    `kind` is what the log calls the change, `what` what messages call a mark. If another program
    has changed the table since, nothing is saved and the time is "". Raises UserError for marks
    that check_marks refuses, and if they cannot be saved.
    """
    marks = sorted((round(start, 3), round(end, 3)) for start, end in marks)
    check_marks(marks, duration_sec, what)
    with one_writer(path.parent, f".{path.stem}.lock", PATIENCE_SEC):
        now = read_marks(path, what=what)
        if now != sorted(seen) and now != marks:
            return "", now
        time = time_now()
        gone, new = [m for m in now if m not in marks], [m for m in marks if m not in now]
        changes = [Change(time, _text(mark), "1", "", kind) for mark in gone]
        changes += [Change(time, _text(mark), "", "1", kind) for mark in new]
        _write(path, marks, changes)
    return time, marks


def last_change_time(path: Path, time: str | None = None) -> str | None:
    """The time of the changes that undo_marks would undo; None if there is nothing to undo."""
    changes = _changes_to_undo(path, time)
    return changes[0].time if changes else None


def undo_marks(path: Path, time: str | None = None, what: str = "rally") -> Marks | None:
    """Undoes the changes of that time, or the last ones; returns the marks now.

    None if there is nothing to undo. Raises UserError if the marks have changed since so that the
    old ones no longer fit.
    """
    with one_writer(path.parent, f".{path.stem}.lock", PATIENCE_SEC):
        changes = _changes_to_undo(path, time)
        if not changes:
            return None
        marks = read_marks(path, what=what)
        for change in changes:
            mark = _mark(change.sequence)
            if change.new and mark not in marks:
                raise UserError(
                    f"cannot undo: the {what} {change.sequence} s was changed elsewhere since"
                )
            if change.new:
                marks.remove(mark)
            elif change.old and mark not in marks:
                marks.append(mark)
        marks.sort()
        check_marks(marks, what=what)
        now = time_now()
        back = [Change(now, c.sequence, c.new, c.old, f"undo {c.time}") for c in changes]
        _write(path, marks, back)
    return marks


def _changes_to_undo(path: Path, time: str | None) -> list[Change]:
    return last_changes(read_changes(log_path(path)), time, UNDONE)


def _text(mark: tuple[float, float]) -> str:
    return f"{mark[0]:.3f}-{mark[1]:.3f}"


def _mark(text: str) -> tuple[float, float]:
    start, end = text.split("-")
    return float(start), float(end)


def _write(path: Path, marks: Marks, changes: list[Change]) -> None:
    rows = [(f"{start:.3f}", f"{end:.3f}") for start, end in marks]
    write_with_log(path, pd.DataFrame(rows, columns=list(COLUMNS), dtype=str), changes)
