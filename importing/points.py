"""From the points of a match, as others labelled them, to its rallies and unknown stretches.

Each format says what it knows of each point. What follows for the time between the points is the
same for all formats, and is decided here. Imports no torch.
"""

from dataclasses import dataclass, replace

from annotation.ground_truth import Truth
from annotation.match_marks import Marks

OPEN_END_SEC = 36_000.0  # later than the end of any film; a stretch up to here has no known end


@dataclass(frozen=True)
class Point:
    """What is known of a point. Times are in seconds; without start_sec it is no rally.

    A point without a rally makes the gap between its neighbours unknown: all of it, or the span
    `hidden` if that is given.
    """

    start_sec: float | None = None
    last_sec: float = 0.0  # the last moment that is certainly play
    end_sec: float = 0.0  # of the rally, unless the next one starts earlier
    unknown_before_sec: float = 0.0  # nothing is known for so long before the start
    unknown_after_sec: float = 0.0  # and for so long after the end
    hidden: tuple[float, float] | None = None
    point_missing: bool = False  # another point was played since the one before


@dataclass(frozen=True)
class Labels:
    """What a format says about a match."""

    truth: Truth
    last_sec: float  # the last moment with a label
    timed: int  # points with a usable time, of which those in doubt are no rallies


def truth_of(points: list[Point], end_missing: bool = False) -> Truth:
    """The rallies and unknown stretches of points in the order of play.

    Points that overlap contradict each other: none of them becomes a rally. end_missing: a point
    was played after the last one. Unknown stretches stop at the neighbouring rallies.
    """
    points = without_overlaps(points)
    starts = [point.start_sec for point in points if point.start_sec is not None] + [OPEN_END_SEC]
    rallies, unknown = [], []
    gap = (0.0, starts[0])
    for point in points:
        if point.point_missing:
            unknown.append(gap)
        if point.start_sec is None:
            unknown.append(clip(point.hidden, gap) if point.hidden else gap)
            continue
        start = point.start_sec
        unknown.append(clip((start - point.unknown_before_sec, start), gap))
        following = starts[len(rallies) + 1]
        end = min(point.end_sec, following)
        rallies.append((start, end))
        gap = (end, following)
        unknown.append(clip((end, end + point.unknown_after_sec), gap))
    if end_missing:
        unknown.append(gap)
    return Truth(rallies, merge(unknown))


def without_overlaps(points: list[Point]) -> list[Point]:
    """The points; those that start before the one before them has ended, and that one, without
    their rally."""
    while True:
        timed = [k for k, point in enumerate(points) if point.start_sec is not None]
        bad = set()
        for one, other in zip(timed, timed[1:], strict=False):
            if points[other].start_sec <= points[one].last_sec:
                bad |= {one, other}
        if not bad:
            return points
        points = [
            replace(point, start_sec=None, hidden=None) if k in bad else point
            for k, point in enumerate(points)
        ]


def clip(span: tuple[float, float], limits: tuple[float, float]) -> tuple[float, float]:
    """The part of a span within the limits; where there is none, its end is not after its start."""
    return max(span[0], limits[0]), min(span[1], limits[1])


def merge(spans: Marks) -> Marks:
    """The spans to the millisecond, in order; those that overlap or touch are made one."""
    merged: Marks = []
    for start, end in sorted((round(start, 3), round(end, 3)) for start, end in spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
