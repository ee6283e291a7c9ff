"""Moves all marks of a match in time, as where a film begins later than the labelled one.

Imports no torch.
"""

from pathlib import Path

from annotation.ground_truth import unknown_path
from annotation.mark_owners import read_owners
from annotation.match_marks import (
    Marks,
    check_marks,
    marks_path,
    match_name,
    read_marks,
    save_marks,
    undo_marks,
)
from cli import count_of
from collection.find_videos import find_in_data
from collection.sources import video_name
from files import UserError
from importing.points import OPEN_END_SEC


def print_shift(video: str, shift_sec: float, data_dir: Path) -> int:
    """Runs shift_match, prints what was moved, and returns the exit code."""
    table, rallies, stretches = shift_match(video, shift_sec, data_dir)
    print(
        f"{table}: {count_of(rallies, 'rally', 'rallies')} and "
        f"{count_of(stretches, 'unknown stretch', 'unknown stretches')} moved by {shift_sec:+g} s"
    )
    return 0


def shift_match(video: str, shift_sec: float, data_dir: Path) -> tuple[Path, int, int]:
    """Moves a match's rallies and unknown stretches by shift_sec seconds (negative: earlier).

    Each table is one logged change that can be undone. Returns (the table of marks, its rallies,
    its unknown stretches). Raises UserError, and moves nothing, if the match has no marks, if a
    rally would start before 0, or if a table is changed meanwhile.
    """
    name = video_name(find_in_data(video, data_dir), data_dir)
    read_owners(data_dir).with_owner(name)
    table = marks_path(data_dir, match_name(name))
    rallies = read_marks(table)
    stretches = read_marks(unknown_path(table), what="stretch")
    if not rallies:
        raise UserError(f"{table} has no rallies; mark them with labeling.py --match {video}")
    moved = [(start + shift_sec, end + shift_sec) for start, end in rallies]
    check_marks(moved)
    moved_stretches = shift_stretches(stretches, shift_sec)
    time = _save(unknown_path(table), moved_stretches, stretches, "stretch")
    try:
        _save(table, moved, rallies, "rally")
    except UserError:
        if time:
            undo_marks(unknown_path(table), time)
        raise
    return table, len(moved), len(moved_stretches)


def shift_stretches(stretches: Marks, shift_sec: float) -> Marks:
    """The stretches moved. One from the start of the film, or to its end, stays so."""
    moved = [
        (
            0.0 if start == 0 else max(0.0, start + shift_sec),
            OPEN_END_SEC if end >= OPEN_END_SEC else end + shift_sec,
        )
        for start, end in stretches
    ]
    return [(start, end) for start, end in moved if end > start]


def _save(table: Path, marks: Marks, seen: Marks, what: str) -> str:
    """Saves one table if there is anything to save; returns the time of the change."""
    if not marks and not seen:
        return ""
    time, _ = save_marks(table, marks, seen, float("inf"), kind="shift", what=what)
    if not time:
        raise UserError(f"{table} was changed meanwhile; try again")
    return time
