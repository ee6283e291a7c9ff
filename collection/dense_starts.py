"""Where sequences start in a match with marks: half evenly spaced, half near edges of rallies.

An edge is the start or the end of a rally. Detection shows the classifier every second of a match,
and the seconds near edges are the hardest. Starts at a fixed interval rarely meet them.
"""

import math
from bisect import bisect, insort
from collections.abc import Iterator

Spans = list[tuple[float, float]]  # (start_sec, end_sec) of each rally or unknown stretch

NEAR_MS = 1000  # a sequence near an edge contains it, or is closer to it than this
APART_MS = 500  # a start near an edge is at least this far from every other start
GOLDEN = (math.sqrt(5) - 1) / 2


def dense_starts(
    rallies: Spans,
    unknown: Spans,
    length_sec: float,
    every_sec: float,
    start_sec: float,
    end_sec: float,
) -> list[float]:
    """The starts, in seconds to the millisecond and in order: about one per every_sec known.

    Each sequence of length_sec lies between start_sec and end_sec and touches no unknown stretch.
    One start every 2 * every_sec from start_sec on, where known; and as many near edges, or fewer
    if no place is left. The same arguments give the same starts.
    """
    length = _ms(length_sec)
    first, last = _ms(start_sec), _ms(end_sec) - length
    stretches = [(_ms(start), _ms(end)) for start, end in unknown]

    def is_known(start: int) -> bool:
        known = all(start + length <= a or b <= start for a, b in stretches)
        return first <= start <= last and known

    step = max(1, _ms(2 * every_sec))
    starts = [start for start in range(first, last + 1, step) if is_known(start)]
    wanted = 2 * len(starts)
    edges = sorted({_ms(edge) for rally in rallies for edge in rally})
    for start in _near_edges(edges, length):
        if len(starts) >= wanted:
            break
        if is_known(start) and _is_apart(start, starts):
            insort(starts, start)
    return [start / 1000 for start in starts]


def _near_edges(edges: list[int], length: int) -> Iterator[int]:
    """Starts near edges, all in milliseconds: one per edge, then a second one per edge, and so on.

    The order of the edges steps through them by the golden ratio. So any first part of it is spread
    over the match, and over starts and ends of rallies. The place before, at or after an edge
    changes from edge to edge.
    """
    range_ms = length + 2 * NEAR_MS  # of the starts near one edge
    count = range_ms // APART_MS
    offsets = [(k + 0.5) * range_ms / count - length - NEAR_MS for k in range(count)]
    offsets = offsets[::2] + offsets[1::2]  # successive starts of one edge are far apart
    spread = sorted(range(len(edges)), key=lambda edge: edge * GOLDEN % 1)
    for turn in range(count):
        for k, edge in enumerate(spread):
            yield round(edges[edge] + offsets[(k + turn) % count])


def _is_apart(start: int, starts: list[int]) -> bool:
    """Whether start is at least APART_MS from each of starts, which are in order."""
    place = bisect(starts, start)
    return all(abs(start - other) >= APART_MS for other in starts[max(place - 1, 0) : place + 1])


def _ms(seconds: float) -> int:
    """Whole milliseconds, equal for a duration and for the three decimals that a table keeps."""
    return round(round(seconds, 3) * 1000)
