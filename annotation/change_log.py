"""The log beside a table of labels or marks; with it every change can be undone, even days later.

    time,sequence,old,new,what

Each line is one change. Changes saved together share a time: it names them, and they are undone
together. `what` is "label", "repeat" (a blind second answer, which leaves the table as it is),
"marks" (a label from the marks of a match), "import" (marks that others published), "shift" (all
marks of a match moved in time) or "undo TIME". Lines are only ever appended.
"""

import csv
import glob
import io
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from files import UserError, write_table

COLUMNS = ("time", "sequence", "old", "new", "what")


class Change(NamedTuple):
    """One line of the log; "" in old or new means no label."""

    time: str
    sequence: str
    old: str
    new: str
    what: str


def log_path(table: Path) -> Path:
    """Data/train/train.csv -> Data/train/train.log.csv"""
    return table.with_name(f"{table.stem}.log.csv")


def time_now() -> str:
    """The time in UTC, as 2026-11-24T20:15:30.123456Z; it names the changes saved together."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def append_changes(path: Path, changes: list[Change]) -> int:
    """Appends lines and syncs them to disk; returns the log's size in bytes before.

    Raises UserError, and leaves the log as it was, if it cannot be written. Removes an unfinished
    last line, which a killed process left and nobody was told is saved.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:  # unbuffered: closing writes nothing more
            size = _whole_bytes(file)
            file.truncate(size)
            if size == 0:
                writer.writerow(COLUMNS)
            writer.writerows(changes)
            try:
                data = text.getvalue().encode()
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return size


def write_with_log(path: Path, table: pd.DataFrame, changes: list[Change]) -> None:
    """Logs changes, then writes the new table; if that fails, removes the changes from the log.

    Call it only while holding the table's lock: it also removes the temporary files that killed
    processes left.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        leftover.unlink(missing_ok=True)
    size = append_changes(log_path(path), changes)
    try:
        write_table(path, table)
    except UserError:
        os.truncate(log_path(path), size)  # else undo would take back a change that was never made
        raise


def _whole_bytes(file: io.FileIO) -> int:
    """The size of the file in bytes up to the end of its last whole line."""
    size = file.seek(0, os.SEEK_END)
    while size:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return size
        size -= 1
    return 0


def read_changes(path: Path) -> list[Change]:
    """All changes, oldest first; none if there is no log. A truncated last line is skipped."""
    if not path.exists():
        return []
    try:
        data = path.read_bytes()
        text = data[: data.rfind(b"\n") + 1].decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}; move it away to start a new log") from error
    bad = [number for number, row in enumerate(rows, 1) if len(row) != len(COLUMNS)]
    if bad or (rows and tuple(rows[0]) != COLUMNS):
        line = f"line {bad[0]}" if bad else "the first line"
        raise UserError(
            f"{path}: {line} is not {','.join(COLUMNS)}; move it away to start a new log"
        )
    return [Change(*row) for row in rows[1:]]


def standing(changes: list[Change]) -> list[Change]:
    """The changes that have not been undone."""
    undone = {c.what.removeprefix("undo ") for c in changes if c.what.startswith("undo ")}
    return [c for c in changes if c.time not in undone and not c.what.startswith("undo ")]


def last_changes(changes: list[Change], time: str | None, kinds: tuple[str, ...]) -> list[Change]:
    """The changes of that time (None: the latest) and of these kinds; none if undone already."""
    left = [change for change in standing(changes) if change.what in kinds]
    time = time or (left[-1].time if left else None)
    return [change for change in left if change.time == time]
