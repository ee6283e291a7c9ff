"""Which scene of a synthetic broadcast is when: rallies with their hits, and all that lies between.

The court is also shown between rallies, for 35 to 50 % of the time without play, so that telling
the court view from other scenes is not enough: "court view = rally" has an accuracy of 0.73 per
second, over 100 scripts of 2 minutes (test_sample_match.py measures it and holds it below 0.85).
Banners, which most court views without play carry and no rally does, tell more: they are what the
sample is mostly learnt from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

SCENE_KINDS = ("rally", "court", "closeup", "crowd", "replay", "break")
FILLER_SEC = {"closeup": 2.8, "crowd": 2.3, "replay": 3.8, "break": 4.5}  # typical lengths


@dataclass(frozen=True)
class Scene:
    """A stretch of the match; scenes in a row with the same seed are one shot, without a cut."""

    start_sec: float
    end_sec: float
    kind: str
    seed: int
    hits: tuple = ()  # seconds on the match's clock, the serve first; rallies only


def split_time(rng: Generator, total: float, count: int, low: float, high: float) -> np.ndarray:
    """Cuts total seconds into random lengths within low..high where that is possible, (count,)."""
    low, high = min(low, 0.9 * total / count), max(high, 1.1 * total / count)
    while True:  # draw again until none is too long
        weights = rng.gamma(2.0, size=count)
        lengths = low + (total - count * low) * weights / weights.sum()
        if lengths.max() <= high:
            return lengths


def write_script(seed: int, duration_sec: float) -> list[Scene]:
    """Which scene is when, from 0 to duration_sec without gaps, on a grid of milliseconds."""
    rng = np.random.default_rng([seed, 0])
    rally_sec = duration_sec * rng.uniform(0.36, 0.41)
    court_sec = (duration_sec - rally_sec) * rng.uniform(0.38, 0.48)
    filler_sec = duration_sec - rally_sec - court_sec
    points = max(1, round(rally_sec / 7.7)) if rally_sec >= 3 else 0
    rallies = split_time(rng, rally_sec, points, 3.01, 19.9) if points else []
    courts = split_time(rng, court_sec, max(2 * points, 1), 1.5, 7)

    # A gap of cut-away scenes lies before, between and after the rallies.
    gaps = [[] for _ in range(points + 1)]
    count = max(round(filler_sec / 3.0), points - 1, 1)
    for k in range(count):
        gap = gaps[1 + k] if k < points - 1 else gaps[rng.integers(points + 1)]
        odds = {"closeup": 0.4, "crowd": 0.2, "replay": 0.28, "break": 0.12}
        if gap and gap[-1] != "closeup":
            odds[gap[-1]] = 0
        if gap is gaps[0]:
            odds["replay"] = 0
        odds = np.array(list(odds.values()))
        gap.append(str(rng.choice(list(FILLER_SEC), p=odds / odds.sum())))
    weights = rng.uniform(0.75, 1.25, count) * [FILLER_SEC[kind] for gap in gaps for kind in gap]
    fillers = iter(filler_sec * weights / weights.sum())

    pieces, courts, shot = [], list(courts), seed * 1000  # (length, kind, shot)
    for k, gap in enumerate(gaps):
        gap = [(next(fillers), kind) for kind in gap]
        if k > 0:  # the court after the rally, now and then only after a cut away
            gap.insert(int(len(gap) > 1 and rng.random() < 0.25), (courts.pop(), "court"))
        elif not points:
            gap.append((courts.pop(), "court"))
        for n, (length, kind) in enumerate(gap):
            shot += not (n == 0 and kind == "court")
            pieces.append((length, kind, shot))
        if k < points:
            shot += 1
            pieces += [(courts.pop(), "court", shot), (rallies[k], "rally", shot)]

    borders = np.round(np.cumsum([0] + [length for length, _, _ in pieces]), 3)
    borders[-1] = duration_sec
    script = []
    for (_, kind, shot), start, end in zip(pieces, borders[:-1], borders[1:], strict=True):
        hits = ()
        if kind == "rally":
            flights = rng.uniform(0.75, 1.25, max(2, round((end - start) / rng.uniform(0.9, 1.1))))
            hits = start + np.cumsum([0, *flights[:-1]]) * (end - start) / flights.sum()
            hits = tuple(np.round(hits, 3).tolist())
        script.append(Scene(float(start), float(end), kind, shot, hits))
    return script
