"""Compares predicted with true rallies: pure functions on lists of (start_sec, end_sec).

measured = measure_match(predicted, truth, duration_sec)         # one match
summary = summarise({"final": measured, "semifinal": other})     # pooled, mean and worst match

Unknown stretches of the ground truth count neither for nor against: lengths and overlaps are of
known time only, samples are left out, and so are the errors of edges at which such a stretch lies.

Undefined values are None, never NaN: precision without predictions, recall without true rallies, F1
without either, edge errors without pairs. F1 is 0 if only one side is empty. Imports no torch.
"""

import math
from collections.abc import Iterable

import numpy as np
from scipy.optimize import linear_sum_assignment

from annotation.ground_truth import Truth, inside_sec, on_known_clock, predictions_that_count
from annotation.match_marks import Marks

THRESHOLDS = ("0.3", "0.5", "0.7")  # of IoU, as keys of the results
LENGTHS = {  # of a rally: (longer than, at most) in seconds; 4 s and 10 s are in the middle group
    "under 4 s": (0.0, 3.9995),  # marks are rounded to milliseconds
    "4 to 10 s": (3.9995, 10.0005),
    "over 10 s": (10.0005, math.inf),
}
STEP_SEC = 0.1  # between the samples of the accuracy over time
LARGE_ERROR_SEC = 0.5  # an edge error above this counts as large
SHUTTLECUT_SEC = 2.5  # the largest edge error that shuttlecut's rule allows
SLACK_SEC = 0.1  # three frames at 30 fps, in Chien and Fang's rule
TOUCHES_SEC = 0.0015  # between an edge and an unknown stretch; marks are rounded to milliseconds
TINY = 1e-9  # rounding error of float sums, for values exactly at a threshold
EDGE_RATES = ("median_abs_sec", "mean_abs_sec", "bias_sec", "share_large")
RATES = ("precision", "recall", "f1", "accuracy", "count_error_relative", *EDGE_RATES)


def overlap_matrix(predicted: Marks, truth: Marks) -> np.ndarray:
    """Returns float64 (P, T): the seconds that each predicted and each true rally share."""
    p, t = _array(predicted), _array(truth)
    ends = np.minimum(p[:, None, 1], t[None, :, 1])
    return np.maximum(0.0, ends - np.maximum(p[:, None, 0], t[None, :, 0]))


def iou_matrix(predicted: Marks, truth: Marks) -> np.ndarray:
    """Returns float64 (P, T), 0 to 1: intersection over union of each two rallies, in time."""
    shared = overlap_matrix(predicted, truth)
    return shared / (_lengths(predicted)[:, None] + _lengths(truth)[None, :] - shared)


def pairs_at(predicted: Marks, truth: Marks, threshold: float) -> list[tuple[int, int]]:
    """Returns one-to-one pairs (index of predicted, index of true) with at least the threshold IoU.

    Of all pairings, it takes those with the most pairs, and of these one with the greatest total
    IoU.
    """
    iou = iou_matrix(predicted, truth)
    return _best_pairs(iou >= threshold - TINY, iou)


def shuttlecut_pairs(predicted: Marks, truth: Marks) -> list[tuple[int, int]]:
    """Returns one-to-one pairs by the rule of github.com/MagnyCopper/shuttlecut (eval/evaluate.py).

    Both edges are at most 2.5 s off, and the shared time is at least half of the longer rally. In
    shuttlecut each true rally in turn takes the free prediction that shares most with it. Here the
    number of pairs is the greatest possible. The two differ only if a prediction shares exactly
    half with each of two true rallies.
    """
    p, t = _array(predicted), _array(truth)
    near = (np.abs(p[:, None] - t[None, :]) <= SHUTTLECUT_SEC + TINY).all(axis=2)
    longer = np.maximum(_lengths(predicted)[:, None], _lengths(truth)[None, :])
    half = overlap_matrix(predicted, truth) >= longer / 2 - TINY
    return _best_pairs(near & half, iou_matrix(predicted, truth))


def chien_fang_hits(predicted: Marks, truth: Marks) -> np.ndarray:
    """Returns bool (P, T): hits by the lenient rule of Chien and Fang (2023, arXiv 2307.16000).

    A prediction hits a true rally if the true rally lies inside it, with a tolerance of three
    frames (0.1 s) at each edge. It also hits if the two overlap partly (one both starts and ends
    first), however little they share. A prediction inside a longer true rally is not a hit. The
    rule is not one-to-one: precision is the share of predictions that hit any true rally, recall
    the share of true rallies that any prediction hits. So one prediction over a whole game scores
    1.
    """
    p, t = _array(predicted), _array(truth)
    before, after = (p[:, None] - t[None, :]).transpose(2, 0, 1)  # (P, T) each, of both edges
    inside = (before <= SLACK_SEC + TINY) & (after >= -SLACK_SEC - TINY)
    return (overlap_matrix(predicted, truth) > 0) & (inside | (before * after > 0))


def edge_errors(predicted: Marks, truth: Truth, pairs: list[tuple[int, int]]) -> dict:
    """Returns {"start", "end": predicted minus true, in seconds, of each pair with a known edge}.

    The edge of a true rally is not known if an unknown stretch lies at it.
    """
    errors = {}
    for k, edge in enumerate(("start", "end")):
        doubtful = np.array([stretch[1 - k] for stretch in truth.unknown])
        known = [
            (predicted[p][k], truth.rallies[t][k])
            for p, t in pairs
            if not (np.abs(doubtful - truth.rallies[t][k]) < TOUCHES_SEC).any()
        ]
        errors[edge] = [round(found - true, 6) for found, true in known]
    return errors


def measure_match(predicted: Marks, truth: Truth, duration_sec: float) -> dict:
    """Measures the predicted rallies of one match of duration_sec. The result fits JSON.

    - unknown_sec: how much of the match the ground truth does not know.
    - predicted, true: numbers of rallies; count_error: predicted minus true.
    - splits: one true rally found as several. Pieces are predictions with at least half of their
      length inside the true rally; each such rally adds its number of pieces minus one.
    - merges: several true rallies found as one. A prediction that covers at least half of each of
      n true rallies adds n - 1.
    - iou: {threshold: make_scores(...)} of the best pairs.
    - by_length: make_scores at IoU 0.5 for short, medium and long rallies. A pair and a missed true
      rally count by the length of the true rally, a prediction without a pair by its own length.
    - edges: measure_edges of the pairs at IoU 0.5; errors: the errors themselves, in seconds.
    - time: make_scores and accuracy of samples at the centres of bins of 0.1 s up to duration_sec.
    - rules: make_scores by the rules of other projects.
    """
    everything, counted = predicted, predictions_that_count(predicted, truth)
    predicted, rallies = (on_known_clock(m, truth.unknown) for m in (counted, truth.rallies))
    iou = {name: pairs_at(predicted, rallies, float(name)) for name in THRESHOLDS}
    number = (len(predicted), len(rallies))
    shared, hits = overlap_matrix(predicted, rallies), chien_fang_hits(predicted, rallies)
    hitting, hit = (int(hits.any(axis=axis).sum()) for axis in (1, 0))
    inside = (shared >= _lengths(predicted)[:, None] / 2 - TINY).sum(axis=0)  # (T,) pieces
    covered = (shared >= _lengths(rallies)[None, :] / 2 - TINY).sum(axis=1)  # (P,) true rallies
    errors = edge_errors(counted, truth, iou["0.5"])
    return {
        "duration_sec": duration_sec,
        "unknown_sec": inside_sec(0.0, duration_sec, truth.unknown),
        "predicted": number[0],
        "true": number[1],
        "count_error": number[0] - number[1],
        "count_error_relative": abs(number[0] - number[1]) / number[1] if rallies else None,
        "iou": {name: make_scores(len(pairs), *number) for name, pairs in iou.items()},
        "by_length": _measure_lengths(predicted, rallies, iou["0.5"]),
        "edges": {edge: measure_edges(values) for edge, values in errors.items()},
        "errors": errors,
        "time": _measure_time(everything, truth, duration_sec),
        "splits": int(np.maximum(inside - 1, 0).sum()),
        "merges": int(np.maximum(covered - 1, 0).sum()),
        "rules": {
            "shuttlecut": make_scores(len(shuttlecut_pairs(predicted, rallies)), *number),
            "chien_fang": make_scores(hitting, *number, hit),
        },
    }


def make_scores(tp: int, predicted: int, true: int, true_hit: int | None = None) -> dict:
    """Returns precision, recall, F1 and the counts that they come from.

    precision = tp / predicted, recall = true_hit / true, F1 = their harmonic mean. One-to-one pairs
    need no true_hit: it equals tp. Otherwise tp counts the predictions that hit a true rally, and
    true_hit the true rallies that are hit ("found" in the result).
    """
    true_hit = tp if true_hit is None else true_hit
    precision = tp / predicted if predicted else None
    recall = true_hit / true if true else None
    both = (precision or 0.0) + (recall or 0.0)
    f1 = 2 * (precision or 0.0) * (recall or 0.0) / both if both else 0.0
    rates = {"precision": precision, "recall": recall, "f1": f1 if predicted or true else None}
    return rates | {"tp": tp, "found": true_hit, "predicted": predicted, "true": true}


def measure_edges(errors: list[float]) -> dict:
    """Summarises edge errors in seconds, each predicted minus true.

    Returns pairs (their number), median_abs_sec, mean_abs_sec, bias_sec (the mean, above 0 means
    late) and share_large (the share above 0.5 s). Without errors, all but pairs are None.
    """
    if not errors:
        return {"pairs": 0} | dict.fromkeys(EDGE_RATES)
    off = np.abs(errors)
    return {
        "pairs": len(errors),
        "median_abs_sec": float(np.median(off)),
        "mean_abs_sec": float(off.mean()),
        "bias_sec": float(np.mean(errors)),
        "share_large": float((off > LARGE_ERROR_SEC).mean()),
    }


def summarise(by_match: dict[str, dict]) -> dict:
    """Summarises {match name: measure_match(...)} of at least one match. The result fits JSON.

    - pooled: the scores of the summed counts of all matches (micro average), edges over all their
      pairs. count_error_relative is |sum of predicted - sum of true| / sum of true.
    - mean: the mean of each rate over the matches that have it.
    - worst: the match with the lowest F1 at IoU 0.5, None if no match has an F1.
    - empty: the matches without any true or predicted rally. They have no F1 and do not count in
      its mean.
    """
    measured = list(by_match.values())
    f1 = {name: each["iou"]["0.5"]["f1"] for name, each in by_match.items()}
    defined = {name: value for name, value in f1.items() if value is not None}
    worst = min(defined, key=defined.get, default=None)
    return {
        "pooled": _pool(measured),
        "mean": _mean_rates(measured) | {"matches": len(defined)},
        "worst": None if worst is None else {"match": worst, "f1": defined[worst]},
        "empty": [name for name, value in f1.items() if value is None],
    }


def _pool(measured: list[dict]) -> dict:
    """Adds the counts of all matches and computes the rates of the sums."""
    errors = {edge: [e for m in measured for e in m["errors"][edge]] for edge in ("start", "end")}
    summed = ("predicted", "true", "count_error", "splits", "merges")
    total = {
        name: sum(m[name] for m in measured) for name in ("duration_sec", "unknown_sec", *summed)
    }
    off, true = abs(total["count_error"]), total["true"]
    scores = {
        kind: {name: _pool_scores(m[kind][name] for m in measured) for name in measured[0][kind]}
        for kind in ("iou", "by_length", "rules")
    }
    counts = ("tp", "predicted", "true", "samples")
    return {
        **total,
        "count_error_relative": off / true if true else None,
        **scores,
        "edges": {edge: measure_edges(values) for edge, values in errors.items()},
        "time": _time_scores(*(sum(m["time"][name] for m in measured) for name in counts)),
    }


def _pool_scores(scores: Iterable[dict]) -> dict:
    counts = [(s["tp"], s["predicted"], s["true"], s["found"]) for s in scores]
    return make_scores(*(sum(column) for column in zip(*counts, strict=True)))


def _mean_rates(measured: list[dict]) -> dict:
    """Averages the RATES at any depth of dicts with the same keys, over the dicts that have one."""
    result = {}
    for name, first in measured[0].items():
        if isinstance(first, dict) and name != "errors":
            result[name] = _mean_rates([each[name] for each in measured])
        elif name in RATES:
            known = [each[name] for each in measured if each[name] is not None]
            result[name] = sum(known) / len(known) if known else None
    return result


def _best_pairs(allowed: np.ndarray, iou: np.ndarray) -> list[tuple[int, int]]:
    """Picks the most one-to-one pairs of those allowed (P, T) that overlap, then by total IoU."""
    allowed = allowed & (iou > 0)
    more_than_all_iou = min(iou.shape) + 1
    rows, columns = linear_sum_assignment(allowed * (more_than_all_iou + iou), maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) for row, column in pairs if allowed[row, column]]


def _measure_lengths(predicted: Marks, truth: Marks, pairs: list[tuple[int, int]]) -> dict:
    """Returns make_scores for each of LENGTHS; measure_match says which length counts."""
    paired_p, paired_t = {p for p, _ in pairs}, {t for _, t in pairs}
    result = {}
    for name, (low, high) in LENGTHS.items():
        true = {t for t, sec in enumerate(_lengths(truth)) if low < sec <= high}
        predicted_here = {p for p, sec in enumerate(_lengths(predicted)) if low < sec <= high}
        tp = len(paired_t & true)
        result[name] = make_scores(tp, tp + len(predicted_here - paired_p), len(true))
    return result


def _measure_time(predicted: Marks, truth: Truth, duration_sec: float) -> dict:
    samples = max(0, math.ceil(duration_sec / STEP_SEC - 0.5 - TINY))
    known = ~_inside(truth.unknown, samples)
    inside_predicted = _inside(predicted, samples) & known
    inside_true = _inside(truth.rallies, samples) & known
    counted = (inside_predicted & inside_true, inside_predicted, inside_true, known)
    return _time_scores(*(int(each.sum()) for each in counted))


def _time_scores(tp: int, predicted: int, true: int, samples: int) -> dict:
    wrong = predicted + true - 2 * tp
    accuracy = (samples - wrong) / samples if samples else None
    return make_scores(tp, predicted, true) | {"accuracy": accuracy, "samples": samples}


def _inside(marks: Marks, samples: int) -> np.ndarray:
    """Returns bool (samples,): whether the centre of each bin lies in a rally, its end excluded."""
    inside = np.zeros(samples, bool)
    for mark in marks:  # the first bin centres at or after start and end
        start, end = (max(0, math.ceil(sec / STEP_SEC - 0.5 - 1e-6)) for sec in mark)
        inside[start:end] = True
    return inside


def _array(marks: Marks) -> np.ndarray:
    return np.asarray(marks, dtype=np.float64).reshape(-1, 2)


def _lengths(marks: Marks) -> np.ndarray:
    return _array(marks) @ [-1.0, 1.0]
