"""The script of a synthetic broadcast: its scenes in order, with the hits of each rally.

The times of the rallies are random, or given, such as those of a real match. The main camera shows
the court before each serve, during the rally, and for 2 to 4 s after it; then the broadcast cuts
away. Random rallies take 55 to 65 % of the main camera's time, so the rule "court view = rally" has
an accuracy of only 0.73 per second, over 100 scripts of 2 minutes (test_sample_match.py checks it).
Between rallies the players stand and move as in a rally, only slower. So a single picture tells
little; the change over time tells more.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from sample.score import Board, draw_start, next_serve, win_point

SCENE_KINDS = ("rally", "court", "closeup", "crowd", "replay", "break")
CUTAWAYS = {"closeup": (0.4, 2.8), "crowd": (0.2, 2.3), "replay": (0.28, 3.8), "break": (0.12, 4.5)}
SHORTEST_CUTAWAY_SEC = 1.5  # with given rallies


@dataclass(frozen=True)
class Scene:
    """A part of the match. Consecutive scenes with the same seed are one shot, without a cut."""

    start_sec: float
    end_sec: float
    kind: str
    seed: int
    board: Board
    hits: tuple = ()  # of a rally: the times of its hits in seconds, the serve first

    @property
    def winner(self) -> int:
        """The side that wins the rally: the last to hit."""
        return (self.board.server + len(self.hits) - 1) % 2


def split_time(rng: Generator, total: float, count: int, low: float, high: float) -> np.ndarray:
    """Splits total seconds into random lengths (count,), between low and high if possible."""
    low, high = min(low, 0.9 * total / count), max(high, 1.1 * total / count)
    while True:  # draw again until no length is too long
        weights = rng.gamma(2.0, size=count)
        lengths = low + (total - count * low) * weights / weights.sum()
        if lengths.max() <= high:
            return lengths


def write_script(
    seed: int, duration_sec: float, rallies: list[tuple[float, float]] | None = None
) -> list[Scene]:
    """The scenes from 0 to duration_sec, without gaps; times are rounded to milliseconds.

    rallies, (start_sec, end_sec) each, are drawn by the seed unless given. Where a gap between
    given rallies is too short for a cutaway, the main camera cuts to itself. Raises ValueError if
    given rallies are less than 1 s from each other or from an end of the match.
    """
    rng = np.random.default_rng([seed, 0])
    if rallies is None:
        lengths, before, after = _draw_times(rng, duration_sec)
    else:
        lengths, before, after, cut_sec = _fit_times(rng, duration_sec, rallies)

    scenes, shot, board = [], seed * 1000, draw_start(rng)

    def add(length: float, kind: str, flights: np.ndarray | None = None) -> None:
        start = scenes[-1].end_sec if scenes else 0.0
        hits = () if flights is None else start + np.cumsum([0, *flights[:-1]])
        hits = tuple(np.round(hits, 3).tolist())
        scenes.append(Scene(start, round(start + float(length), 3), kind, shot, board, hits))

    if rallies is None:
        total = duration_sec - lengths.sum() - after.sum() - before.sum()
        gaps = _draw_cutaways(rng, len(lengths), total)
    else:
        gaps = [_fill_gap(rng, sec, opening=k == 0) for k, sec in enumerate(cut_sec)]
    for k, gap in enumerate(gaps):
        for length, kind in gap:
            shot += 1
            add(length, kind)
        if k < len(lengths):
            shot, board = shot + 1, next_serve(board)
            add(before[k], "court")
            add(lengths[k], "rally", _draw_flights(rng, lengths[k]))
            late = rng.uniform(min(1, after[k] / 2), min(2, after[k]))  # until the board shows it
            winner = scenes[-1].winner
            add(late, "court")
            board = win_point(board, winner)
            add(after[k] - late, "court")
    scenes[-1] = replace(scenes[-1], end_sec=float(duration_sec))
    return scenes


def _draw_times(rng: Generator, duration_sec: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds of each rally, of the court before and of the court after it, (rallies,) each."""
    rally_sec = duration_sec * rng.uniform(0.38, 0.43)
    points = max(1, round(rally_sec / 7.7)) if rally_sec >= 3 else 0
    if not points:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    lengths = split_time(rng, rally_sec, points, 3.01, 19.9)
    after = split_time(rng, 2.8 * points, points, 2.01, 3.99)
    waiting_sec = rally_sec / rng.uniform(0.55, 0.65) - rally_sec - after.sum()
    return lengths, split_time(rng, max(waiting_sec, points), points, 0.9, 5), after


def _fit_times(
    rng: Generator, duration_sec: float, rallies: list[tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """_draw_times for given rallies, and the seconds of cutaways (rallies + 1,) around them."""
    starts, ends = np.round(np.reshape(rallies, (-1, 2)), 3).T
    gap_sec = np.append(starts, duration_sec) - np.append(0, ends)
    if (ends <= starts).any() or (gap_sec < 1).any():
        raise ValueError(
            "rallies must be in order, and at least 1 s from each other and from both ends of the "
            f"match (0 and {duration_sec:g} s): {rallies}"
        )
    before = np.round(rng.uniform(0.9, 4.1, len(starts)), 3)
    after = np.round(rng.uniform(2, 3.6, len(starts)), 3)
    cut_sec = gap_sec - np.append(before, 0) - np.append(0, after)
    for k in np.flatnonzero(cut_sec < SHORTEST_CUTAWAY_SEC) if len(starts) else []:
        cut_sec[k] = 0
        if k == 0:
            before[k] = gap_sec[k]
        elif k == len(starts):
            after[-1] = gap_sec[k]
        else:
            before[k] = round(gap_sec[k] * before[k] / (before[k] + after[k - 1]), 3)
            after[k - 1] = gap_sec[k] - before[k]
    return ends - starts, before, after, cut_sec


def _draw_flights(rng: Generator, rally_sec: float) -> np.ndarray:
    """Seconds from each hit of a rally to the next one or the landing, float (hits,)."""
    count = max(1, round(rally_sec / rng.uniform(0.75, 0.85)))
    while True:  # draw again until the players have time for each stroke
        flights = rng.uniform(0.8, 1.2, count)
        flights = flights * rally_sec / flights.sum()
        if count == 1 or flights.min() > 0.5:
            return flights


def _draw_cutaways(rng: Generator, points: int, total: float) -> list[list[tuple[float, str]]]:
    """Lists of (seconds, kind) before, between and after the points; together `total` seconds."""
    gaps = [[] for _ in range(points + 1)]
    count = max(round(total / 3), points - 1, 1)
    for k in range(count):
        gap = gaps[1 + k] if k < points - 1 else gaps[rng.integers(points + 1)]
        gap.append(_draw_kind(rng, opening=gap is gaps[0]))
    lengths = iter(_draw_lengths(rng, total, [kind for gap in gaps for kind in gap]))
    return [[(float(next(lengths)), kind) for kind in gap] for gap in gaps]


def _fill_gap(rng: Generator, total: float, opening: bool) -> list[tuple[float, str]]:
    """The cutaways of one gap, (seconds, kind) each, in whole milliseconds; none in no time."""
    if not total:
        return []
    kinds = [_draw_kind(rng, opening) for _ in range(max(1, round(total / 3)))]
    ends = np.round(np.cumsum(_draw_lengths(rng, total, kinds)), 3)
    return list(zip(np.diff(ends, prepend=0).tolist(), kinds, strict=True))


def _draw_kind(rng: Generator, opening: bool) -> str:
    """A random kind of cutaway. Before the first rally (opening) there is nothing to replay."""
    kinds = [kind for kind in CUTAWAYS if not (kind == "replay" and opening)]
    odds = np.array([CUTAWAYS[kind][0] for kind in kinds])
    return str(rng.choice(kinds, p=odds / odds.sum()))


def _draw_lengths(rng: Generator, total: float, kinds: list[str]) -> np.ndarray:
    """Random seconds for cutaways of these kinds, float (len(kinds),); together `total`."""
    weights = [rng.uniform(0.75, 1.25) * CUTAWAYS[kind][1] for kind in kinds]
    return total * np.array(weights) / sum(weights)
