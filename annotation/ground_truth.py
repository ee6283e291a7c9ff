"""What is known of a match: its rallies, and the stretches of which nothing is known.

    Data/matches/<name>.csv    start_sec,end_sec    the rallies
    Data/unknown/<name>.csv    start_sec,end_sec    the unknown stretches

In an unknown stretch there may be a rally or not. So no sequence is labelled there, no step there
trains the head, and no figure counts there. Everything else outside the rallies is known not to be
play. Imports no torch.
"""

from dataclasses import dataclass, field
from pathlib import Path

from annotation.match_marks import Marks, read_marks

ROUNDING_SEC = 0.0005  # marks are rounded to milliseconds


@dataclass(frozen=True)
class Truth:
    """The ground truth of a match. No rally and no unknown stretch overlaps another of either."""

    rallies: Marks
    unknown: Marks = field(default_factory=list)  # (start_sec, end_sec) of each stretch, in order


def unknown_path(marks_table: Path) -> Path:
    """The table of unknown stretches, Data/unknown/x.csv for Data/matches/x.csv. May not exist."""
    return marks_table.absolute().parent.parent / "unknown" / marks_table.name


def read_truth(marks_table: Path, duration_sec: float = float("inf")) -> Truth:
    """The rallies of a table of marks, and the unknown stretches from the table beside it.

    A stretch ends with the match at the latest, and what a rally covers is known. Raises UserError
    as read_marks does.
    """
    rallies = read_marks(marks_table, duration_sec)
    stretches = read_marks(unknown_path(marks_table), what="stretch")
    after = [(duration_sec, float("inf"))] if duration_sec < float("inf") else []
    return Truth(rallies, without(stretches, [*rallies, *after]))


def predictions_that_count(predicted: Marks, truth: Truth) -> Marks:
    """The predicted rallies without those of which the ground truth cannot say anything.

    These lie in unknown stretches altogether, or for the most part and touch no true rally.
    """
    if not truth.unknown:
        return predicted
    kept = []
    for start, end in predicted:
        known_sec = end - start - inside_sec(start, end, truth.unknown)
        hits = inside_sec(start, end, truth.rallies) > 0
        if hits or known_sec > max((end - start) / 2, ROUNDING_SEC):
            kept.append((start, end))
    return kept


def on_known_clock(spans: Marks, unknown: Marks) -> Marks:
    """The spans on a clock that stands still in unknown stretches: only known time has length."""
    if not unknown:
        return spans
    return [tuple(sec - inside_sec(0.0, sec, unknown) for sec in span) for span in spans]


def without(spans: Marks, holes: Marks) -> Marks:
    """The parts of the spans outside the holes, in order; parts under a millisecond are dropped.

    The spans must not overlap each other; the holes may.
    """
    parts = []
    for start, end in sorted(spans):
        for hole_start, hole_end in sorted(holes):
            if hole_end <= start or hole_start >= end:
                continue
            parts.append((start, hole_start))
            start = hole_end
        parts.append((start, end))
    return [(start, end) for start, end in parts if end - start > ROUNDING_SEC]


def inside_sec(start_sec: float, end_sec: float, spans: Marks) -> float:
    """How many seconds between start_sec and end_sec lie in spans that do not overlap."""
    return sum(max(0.0, min(end, end_sec) - max(start, start_sec)) for start, end in spans)
