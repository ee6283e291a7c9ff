"""Checks whether the marks of a match fit its film, or are shifted against it.

Published marks count from the first frame of the film that was labelled. The film that one
downloads may begin earlier or later. Imports no torch.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotation.ground_truth import Truth

STEP_SEC = 0.1  # from one shift that is tried to the next
MOST_SEC = 20.0  # the largest shift that is tried, either way
LARGE_SEC = 0.5  # a larger shift is said
ENOUGH = 0.2  # the least separation that says anything: a poor model fits marks nowhere
BETTER = 0.02  # how much more the best shift must separate than none


@dataclass(frozen=True)
class Shift:
    """How far marks must move to fit the probabilities best, and how well they then fit.

    separation is the mean probability inside rallies minus that outside, from -1 to 1.
    """

    sec: float  # above 0: the marks must become later
    separation: float
    separation_now: float  # without a shift

    @property
    def is_large(self) -> bool:
        """Whether the marks fit clearly better after a shift of more than LARGE_SEC."""
        gain = self.separation - self.separation_now
        return abs(self.sec) > LARGE_SEC and self.separation >= ENOUGH and gain >= BETTER


def best_shift(times_sec: np.ndarray, probs: np.ndarray, truth: Truth) -> Shift | None:
    """Finds the shift of the marks, up to 20 s, at which they and the probabilities agree best.

    probs (N,) are probabilities of play at times_sec (N,), NaN where unknown. Unknown stretches
    move with the marks and count neither way. Returns None without a rally or a known probability.
    """
    if not truth.rallies or np.isnan(probs).all():
        return None
    grid = np.arange(times_sec[0], times_sec[-1] + STEP_SEC / 2, STEP_SEC)
    values = np.interp(grid, times_sec, probs)  # NaN beside an unknown probability
    counted = ~np.isnan(values)
    rally, outside = _masks(grid, truth)
    most = min(round(MOST_SEC / STEP_SEC), len(grid) - 1)
    shifts = np.arange(-most, most + 1)
    separations = np.full(len(shifts), -1.0)
    for k, shift in enumerate(shifts):
        inside_here, outside_here = (_moved(mask, shift) & counted for mask in (rally, outside))
        if inside_here.any() and outside_here.any():
            separations[k] = values[inside_here].mean() - values[outside_here].mean()
    best = int(separations.argmax())
    return Shift(
        round(float(shifts[best] * STEP_SEC), 1),
        float(separations[best]),
        float(separations[most]),
    )


def warn_of_shift(video: str | Path, shift: Shift | None) -> None:
    """Prints a warning if the marks of a video fit it clearly better after a shift."""
    if shift and shift.is_large:
        print(
            f"warning: the marks of {video} seem {abs(shift.sec):.1f} s too "
            f"{'early' if shift.sec > 0 else 'late'} for this film; look at it, then move them: "
            f"python labeling.py --match={shlex.quote(str(video))} --shift {shift.sec:+.1f}"
        )


def _masks(grid: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Returns bool (N,) each: whether a time of the grid lies in a rally; whether known outside."""
    rally, unknown = np.zeros(len(grid), bool), np.zeros(len(grid), bool)
    for mask, spans in ((rally, truth.rallies), (unknown, truth.unknown)):
        for start, end in spans:
            mask[(grid >= start) & (grid < end)] = True
    return rally, ~rally & ~unknown


def _moved(mask: np.ndarray, by: int) -> np.ndarray:
    """Returns the mask moved to the right by a number of steps, filled with False."""
    moved = np.zeros_like(mask)
    if by >= 0:
        moved[by:] = mask[: len(mask) - by]
    else:
        moved[:by] = mask[-by:]
    return moved
