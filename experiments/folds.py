"""Which matches a head is trained, validated and measured on. No match is in two parts of a fold.

A unit is what is held out together: a match, or all matches of a group, such as one venue in one
month. `units` names the unit of each match.
"""

from dataclasses import dataclass

import numpy as np

from detection.fitting import ReadyMatch
from files import UserError

MEASURED_SHARE = 0.2  # of the units, for a learning curve
VALIDATION_SHARE = 0.2  # of the units that are not held out
FEWEST = 3  # units: one each to hold out, to validate and to train on


@dataclass(frozen=True)
class Fold:
    """Indices of the matches that a fold holds out, trains on and validates on."""

    held_out: tuple[int, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]


def leave_one_out_folds(units: list[str]) -> list[Fold]:
    """Makes a fold for each unit, which holds it out.

    The units follow each other in the order of their names, as on a circle. Those after the one
    that is held out validate: one in five of the rest, at least one. Raises UserError for fewer
    than three units.
    """
    names, folds = _names(units), []
    count = max(1, round(VALIDATION_SHARE * (len(names) - 1)))
    for first in range(len(names)):
        held_out, *others = names[first:] + names[:first]
        folds.append(_fold(units, [held_out], others[count:], others[:count]))
    return folds


def learning_curve_folds(units: list[str], sizes: list[int], seed: int) -> dict[int, Fold]:
    """Draws a fold for each number of training matches: {size: fold}, the sizes in order.

    The seed draws the units that are measured, one in five, and those that validate. All sizes
    share them. The others train, in an order that the seed draws: a larger size contains the
    smaller ones. Sizes beyond the number of training matches are left out. Raises UserError for
    fewer than three units, or if no size is left.
    """
    names = _names(units)
    drawn = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    measured = max(1, round(MEASURED_SHARE * len(drawn)))
    others = drawn[measured:]
    validating = max(1, round(VALIDATION_SHARE * len(others)))
    whole = _fold(units, drawn[:measured], [], others[:validating])
    train = [k for unit in others[validating:] for k, its in enumerate(units) if its == unit]
    folds = {
        size: Fold(whole.held_out, tuple(train[:size]), whole.validation)
        for size in sorted(set(sizes))
        if size <= len(train)
    }
    if not folds:
        raise UserError(
            f"a learning curve from {min(sizes)} training matches needs more marked matches: of "
            f"{len(units)}, {len(train)} are left to train on"
        )
    return folds


def check_folds(folds: list[Fold], matches: list[ReadyMatch]) -> None:
    """Raises UserError if a fold has no rally to train or to validate on."""
    for fold in folds:
        for what, part in (("train", fold.train), ("validate", fold.validation)):
            if not any(matches[k].truth.rallies for k in part):
                names = ", ".join(matches[k].name for k in part)
                raise UserError(
                    f"with {matches[fold.held_out[0]].name} held out, there is no rally to {what} "
                    f"on (in {names}); mark some, or remove the tables of matches without any"
                )


def _names(units: list[str]) -> list[str]:
    names = sorted(set(units))
    if len(names) < FEWEST:
        raise UserError(
            f"needs {FEWEST} marked matches (or groups) at least, one each to measure, to validate "
            f"and to train on; here: {len(names)} ({', '.join(names) or 'none'})"
        )
    return names


def _fold(units: list[str], *parts: list[str]) -> Fold:
    """The fold whose parts are these units."""
    return Fold(*(tuple(k for k, unit in enumerate(units) if unit in part) for part in parts))
