"""From probabilities over time to rallies: the best path through play and dead time.

    rallies = decode(times_sec, probs, Decoding(), duration_sec)  # a table: start_sec, end_sec, ...

This is two-state Viterbi decoding with a minimum length for each state (a hidden semi-Markov model;
Rabiner 1989, section IV.D). Of all ways to cut the match into rallies and gaps, it finds the one
with the greatest sum of evidence, minus a cost for each rally. One doubtful second inside a long
rally costs less than ending the rally and starting another. A short break becomes a gap once its
evidence outweighs that cost.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from annotation.ground_truth import Truth, on_known_clock, predictions_that_count
from annotation.match_marks import Marks
from detection.segment_metrics import edge_errors, pairs_at
from files import UserError

Scored = tuple[np.ndarray, np.ndarray, Truth, float]  # times_sec, probs, truth, duration_sec
COLUMNS = ("start_sec", "end_sec", "duration_sec", "confidence")
MAX_LOGIT = 4.0  # the logit of a single step is clipped to this
GRID = {  # what fit_decoding tries, one setting at a time
    "threshold": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "rally_cost": (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0),
    "min_rally_sec": (0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    "min_gap_sec": (0.5, 1.0, 1.5, 2.0, 3.0),
    "start_shift_sec": tuple(np.round(np.arange(-0.6, 0.61, 0.1), 1).tolist()),
    "end_shift_sec": tuple(np.round(np.arange(-0.6, 0.61, 0.1), 1).tolist()),
}


@dataclass(frozen=True)
class Decoding:
    """How probabilities become rallies. fit_decoding chooses the values."""

    threshold: float = 0.5  # probability above which a step counts as play
    rally_cost: float = 2.0  # a rally must be worth this many seconds of evidence at logit 1
    min_rally_sec: float = 2.0  # before the shifts below are added
    min_gap_sec: float = 1.0  # also before the shifts
    start_shift_sec: float = 0.0  # added to each start, to correct a bias of the model
    end_shift_sec: float = 0.0  # added to each end

    def __post_init__(self):
        if not 0 < self.threshold < 1:
            raise UserError(f"threshold must be between 0 and 1, not {self.threshold}")
        for name in ("rally_cost", "min_rally_sec", "min_gap_sec"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be 0 or more, not {getattr(self, name)}")


def decode(
    times_sec: np.ndarray, probs: np.ndarray, decoding: Decoding, duration_sec: float
) -> pd.DataFrame:
    """Returns the rallies as a table of COLUMNS: in order, in seconds, rounded to milliseconds.

    probs (N,) are the probabilities of play, 0 to 1, at the evenly spaced times_sec (N,). NaN means
    unknown and counts neither for play nor against it. confidence is the mean probability over the
    known steps of a rally, or NaN if there are none.
    """
    if not len(probs):
        return pd.DataFrame(columns=list(COLUMNS), dtype=float)
    step_sec = float(times_sec[1] - times_sec[0]) if len(times_sec) > 1 else duration_sec
    logits = _logit(np.clip(probs, 1e-6, 1 - 1e-6)) - _logit(decoding.threshold)
    evidence = np.nan_to_num(np.clip(logits, -MAX_LOGIT, MAX_LOGIT) * step_sec, nan=0.0)
    rows = []
    min_rally = max(round(decoding.min_rally_sec / step_sec), 1)
    min_gap = round(decoding.min_gap_sec / step_sec)
    for first, last in best_path(evidence, decoding.rally_cost, min_rally, min_gap):
        # best_path stretches a short run to the minimum where that pays. Such a run is no rally.
        play = first + np.flatnonzero(evidence[first:last] > 0)
        cut_off = first == 0 or last == len(evidence)
        if not len(play) or (play[-1] + 1 - play[0] < min_rally and not cut_off):
            continue
        first, last = int(play[0]), int(play[-1]) + 1
        start = _edge(times_sec, logits, first, step_sec) + decoding.start_shift_sec
        end = _edge(times_sec, logits, last, step_sec) + decoding.end_shift_sec
        known = probs[first:last][~np.isnan(probs[first:last])]
        start = max(start, 0.0, rows[-1][1] if rows else 0.0)
        end = min(end, duration_sec)
        start, end = round(start, 3), round(end, 3)
        if end - start > 0.001:
            rows.append((start, end, end - start, known.mean() if len(known) else np.nan))
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=float).round(3)


def best_path(
    evidence: np.ndarray, cost: float, min_rally: int, min_gap: int
) -> list[tuple[int, int]]:
    """Returns the runs of steps that are rallies, as (first, one past the last), in order.

    evidence (N,) is above 0 for play. The runs maximise the sum of evidence inside rallies minus
    the sum outside, minus cost for each rally. A rally has at least min_rally steps and a gap at
    least min_gap; both may be shorter at the two ends of the match.
    """
    min_rally, min_gap = max(min_rally, 1), max(min_gap, 1)
    margin = max(min_rally, min_gap)  # steps without evidence: what the ends cut off is long enough
    total = np.cumsum(np.pad(evidence, (margin + 1, margin))).tolist()  # total[t]: first t steps
    N = len(total) - 1
    # The best score of the first t steps if they end in a gap or in a rally, and where it began.
    gap, gap_from = [0.0] * (N + 1), [0] * (N + 1)
    rally, rally_from = [-np.inf] * (N + 1), [0] * (N + 1)
    best_gap, best_rally, gap_at, rally_at = -np.inf, -np.inf, 0, 0
    for t in range(1, N + 1):
        s = t - min_rally  # the latest start of a rally that ends at t
        if s >= 0 and gap[s] - total[s] > best_gap:
            best_gap, gap_at = gap[s] - total[s], s
        rally[t], rally_from[t] = best_gap + total[t] - cost, gap_at
        s = t - min_gap
        if s >= 0 and rally[s] + total[s] > best_rally:
            best_rally, rally_at = rally[s] + total[s], s
        gap[t], gap_from[t] = max((-total[t], 0), (best_rally - total[t], rally_at))
    runs, t, inside = [], N, rally[N] > gap[N]
    while t > 0:
        begin = rally_from[t] if inside else gap_from[t]
        if inside:
            first, last = max(begin - margin, 0), min(t - margin, len(evidence))
            runs.append((first, last))
        t, inside = begin, not inside
    return [(first, last) for first, last in runs[::-1] if first < last]


def _logit(p: float | np.ndarray) -> float | np.ndarray:
    return np.log(p / (1 - p))


def _edge(times_sec: np.ndarray, logits: np.ndarray, step: int, step_sec: float) -> float:
    """Returns the time of the border before this step: where the logit crosses 0.

    The border is half-way between the two steps if the logit does not cross 0 between them. That
    happens where a minimum length moves the border.
    """
    if step == 0:
        return 0.0
    if step == len(logits):
        return float("inf")
    before, after = np.clip(logits[step - 1 : step + 1], -MAX_LOGIT, MAX_LOGIT)
    crosses = before * after < 0
    return float(times_sec[step - 1]) + step_sec * (before / (before - after) if crosses else 0.5)


def unknown_stretches(
    times_sec: np.ndarray, probs: np.ndarray, duration_sec: float
) -> list[tuple[float, float]]:
    """Returns (start_sec, end_sec) of each unknown stretch: probs (N,) at times_sec (N,) are NaN.

    A stretch reaches half-way to the known steps beside it, or to the start or end of the match.
    """
    unknown = np.pad(np.isnan(probs), 1)
    borders = np.flatnonzero(unknown[1:] != unknown[:-1]).reshape(-1, 2)  # first, one past the last
    between = (times_sec[1:] + times_sec[:-1]) / 2
    edges_sec = np.concatenate([[0.0], between, [duration_sec]])  # before each step, and at the end
    return [(float(edges_sec[first]), float(edges_sec[past])) for first, past in borders]


def to_marks(rallies: pd.DataFrame) -> Marks:
    return list(rallies[["start_sec", "end_sec"]].itertuples(index=False, name=None))


def fit_decoding(matches: list[Scored], begin: Decoding | None = None) -> Decoding:
    """Returns the Decoding with the best score on marked matches.

    Improves one value at a time (coordinate ascent over GRID) until no change helps.
    """
    best = begin or Decoding()
    best_score, improved = score(matches, best), True
    while improved:
        improved = False
        for name, values in GRID.items():
            for value in values:
                tried = replace(best, **{name: value})
                if (tried_score := score(matches, tried)) > best_score + 1e-9:
                    best, best_score, improved = tried, tried_score, True
    return best


def score(matches: list[Scored], decoding: Decoding) -> float:
    """Returns the mean score of the matches.

    The score of a match is the mean of F1 at IoU 0.5 and at 0.7, minus a tenth of the mean edge
    error in seconds: 0.1 s of error weighs as much as 1 % of F1. Without pairs the error counts as
    1 s. A match without true rallies scores 1 if none is predicted, else 0.
    """
    scores = []
    for times_sec, probs, truth, duration_sec in matches:
        predicted = predictions_that_count(
            to_marks(decode(times_sec, probs, decoding, duration_sec)), truth
        )
        if not truth.rallies:
            scores.append(float(not predicted))
            continue
        clocked = [on_known_clock(marks, truth.unknown) for marks in (predicted, truth.rallies)]
        pairs = {iou: pairs_at(*clocked, iou) for iou in (0.5, 0.7)}
        f1 = [2 * len(pair) / (len(predicted) + len(truth.rallies)) for pair in pairs.values()]
        errors = np.abs(sum(edge_errors(predicted, truth, pairs[0.5]).values(), []))
        scores.append(np.mean(f1) - 0.1 * (np.mean(errors) if len(errors) else 1.0))
    return float(np.mean(scores))
