"""The rallies of a whole match as a person marks them: Data/matches/<video name>.csv.

    start_sec,end_sec

Seconds from the file's first frame, to the millisecond; in order, none inside another. Every save
is whole on disk and in the log beside the table. Imports no torch.
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
Marks = list[tuple[float, float]]  # (start_sec, end_sec) of each rally, in order


def match_name(name: str) -> str:
    """What the marks of a video of this video_name are called: YouTube's id, else the file's name
    without its suffix."""
    key = video_key(name)
    return youtube_id(key) or Path(key).stem


def marks_path(data_dir: Path, name: str) -> Path:
    return data_dir / "matches" / f"{name}.csv"


def list_tables(data_dir: Path) -> list[Path]:
    """The tables of marks of all matches, without the logs beside them."""
    tables = sorted((data_dir / "matches").glob("*.csv"))
    return [path for path in tables if not path.name.endswith(".log.csv")]


def check_marks(marks: Marks, duration_sec: float = float("inf")) -> None:
    """Raises UserError, naming the first two ends at fault, unless marks can be a match's rallies.

    One may begin when the one before ends.
    """
    for start, end in marks:
        if start < 0:
            raise UserError(f"a rally from {start:.3f} to {end:.3f} s: the match starts at 0")
        if not start < end:
            raise UserError(
                f"a rally from {start:.3f} to {end:.3f} s: its end must be after its start"
            )
    ordered = sorted(marks)
    for (start, end), (following, _) in zip(ordered, ordered[1:], strict=False):
        if following < end:
            raise UserError(
                f"the rally from {start:.3f} to {end:.3f} s overlaps the one from {following:.3f} s"
            )
    for _, end in ordered:
        if end > duration_sec + 0.001:
            raise UserError(
                f"a rally ends at {end:.3f} s, and the match at {duration_sec:.3f} s: are these "
                "the marks of another file?"
            )


def read_marks(path: Path, duration_sec: float = float("inf")) -> Marks:
    """A table's rallies in order of time; none where there is no file.

    Raises UserError, naming the file, for what is no number and for what check_marks refuses.
    """
    if not path.exists():
        return []
    table = read_table(path, COLUMNS)
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(float)
    bad = table[~np.isfinite(numbers).all(axis=1)]
    if len(bad):
        raise UserError(f"{path}: {','.join(bad.iloc[0])} are not two numbers of seconds")
    marks = sorted(numbers.round(3).itertuples(index=False, name=None))
    try:
        check_marks(marks, duration_sec)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return marks


def save_marks(path: Path, marks: Marks, seen: Marks, duration_sec: float) -> tuple[str, Marks]:
    """Writes marks in the place of those seen; returns (the time of the change, what is there now).

    Where another program has changed the table since it was seen, that stays: the time is "".
    Raises UserError for marks that check_marks refuses, and when they cannot be saved.
    """
    marks = sorted((round(start, 3), round(end, 3)) for start, end in marks)
    check_marks(marks, duration_sec)
    with one_writer(path.parent, f".{path.stem}.lock", PATIENCE_SEC):
        now = read_marks(path)
        if now != sorted(seen) and now != marks:
            return "", now
        time = time_now()
        gone, new = [m for m in now if m not in marks], [m for m in marks if m not in now]
        changes = [Change(time, _text(mark), "1", "", "label") for mark in gone]
        changes += [Change(time, _text(mark), "", "1", "label") for mark in new]
        _write(path, marks, changes)
    return time, marks


def undo_marks(path: Path, time: str | None = None) -> Marks | None:
    """Takes back the changes of that time, or the last ones; returns the marks now, None if none is
    left to undo. Raises UserError when other marks are in its way."""
    with one_writer(path.parent, f".{path.stem}.lock", PATIENCE_SEC):
        changes = last_changes(read_changes(log_path(path)), time, ("label",))
        if not changes:
            return None
        marks = read_marks(path)
        for change in changes:
            mark = _mark(change.sequence)
            if change.new and mark not in marks:
                raise UserError(f"the rally {change.sequence} s has been changed elsewhere since")
            if change.new:
                marks.remove(mark)
            elif change.old and mark not in marks:
                marks.append(mark)
        marks.sort()
        check_marks(marks)
        now = time_now()
        back = [Change(now, c.sequence, c.new, c.old, f"undo {c.time}") for c in changes]
        _write(path, marks, back)
    return marks


def _text(mark: tuple[float, float]) -> str:
    return f"{mark[0]:.3f}-{mark[1]:.3f}"


def _mark(text: str) -> tuple[float, float]:
    start, end = text.split("-")
    return float(start), float(end)


def _write(path: Path, marks: Marks, changes: list[Change]) -> None:
    rows = [(f"{start:.3f}", f"{end:.3f}") for start, end in marks]
    write_with_log(path, pd.DataFrame(rows, columns=list(COLUMNS), dtype=str), changes)
