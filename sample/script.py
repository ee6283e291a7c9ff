"""The script of a synthetic broadcast: its scenes in order, with the hits of each rally.

The main camera shows the court before each serve, during the rally, and for 2 to 4 s after it; then
the broadcast cuts away. Rallies take 55 to 65 % of the main camera's time, so the rule "court view
= rally" has an accuracy of only 0.73 per second, over 100 scripts of 2 minutes
(test_sample_match.py checks it). Between rallies the players stand and move as in a rally, only
slower. So a single picture tells little; the change over time tells more.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from sample.score import Board, draw_start, next_serve, win_point

SCENE_KINDS = ("rally", "court", "closeup", "crowd", "replay", "break")
CUTAWAYS = {"closeup": (0.4, 2.8), "crowd": (0.2, 2.3), "replay": (0.28, 3.8), "break": (0.12, 4.5)}


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


def write_script(seed: int, duration_sec: float) -> list[Scene]:
    """The scenes from 0 to duration_sec, without gaps; times are rounded to milliseconds."""
    rng = np.random.default_rng([seed, 0])
    rally_sec = duration_sec * rng.uniform(0.38, 0.43)
    points = max(1, round(rally_sec / 7.7)) if rally_sec >= 3 else 0
    before = after = rallies = np.zeros(0)
    if points:
        rallies = split_time(rng, rally_sec, points, 3.01, 19.9)
        after = split_time(rng, 2.8 * points, points, 2.01, 3.99)
        waiting_sec = rally_sec / rng.uniform(0.55, 0.65) - rally_sec - after.sum()
        before = split_time(rng, max(waiting_sec, points), points, 0.9, 5)
    cut_sec = duration_sec - rallies.sum() - after.sum() - before.sum()

    scenes, shot, board = [], seed * 1000, draw_start(rng)

    def add(length: float, kind: str, flights: np.ndarray | None = None) -> None:
        start = scenes[-1].end_sec if scenes else 0.0
        hits = () if flights is None else start + np.cumsum([0, *flights[:-1]])
        hits = tuple(np.round(hits, 3).tolist())
        scenes.append(Scene(start, round(start + float(length), 3), kind, shot, board, hits))

    for k, gap in enumerate(_draw_cutaways(rng, points, cut_sec)):
        for length, kind in gap:
            shot += 1
            add(length, kind)
        if k < points:
            shot, board = shot + 1, next_serve(board)
            add(before[k], "court")
            flights = rng.uniform(0.8, 1.2, max(2, round(rallies[k] / rng.uniform(0.75, 0.85))))
            add(rallies[k], "rally", flights * rallies[k] / flights.sum())
            late = rng.uniform(1, min(2, after[k]))  # delay until the board shows the point
            winner = scenes[-1].winner
            add(late, "court")
            board = win_point(board, winner)
            add(after[k] - late, "court")
    scenes[-1] = replace(scenes[-1], end_sec=float(duration_sec))
    return scenes


def _draw_cutaways(rng: Generator, points: int, total: float) -> list[list[tuple[float, str]]]:
    """Lists of (seconds, kind) before, between and after the points; together `total` seconds."""
    gaps = [[] for _ in range(points + 1)]
    count = max(round(total / 3), points - 1, 1)
    for k in range(count):
        gap = gaps[1 + k] if k < points - 1 else gaps[rng.integers(points + 1)]
        kinds = [kind for kind in CUTAWAYS if not (kind == "replay" and gap is gaps[0])]
        odds = np.array([CUTAWAYS[kind][0] for kind in kinds])
        gap.append(str(rng.choice(kinds, p=odds / odds.sum())))
    weights = [rng.uniform(0.75, 1.25) * CUTAWAYS[kind][1] for gap in gaps for kind in gap]
    lengths = iter(total * np.array(weights) / sum(weights))
    return [[(float(next(lengths)), kind) for kind in gap] for gap in gaps]
