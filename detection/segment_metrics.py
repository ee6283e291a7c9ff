"""How well predicted rallies fit the true ones: pure functions on lists of (start_sec, end_sec).

measured = measure_match(predicted, truth, duration_sec)         # one match
summary = summarise({"final": measured, "semifinal": other})     # pooled, mean and worst match

What cannot be told is None, never NaN: precision without predictions, recall without true rallies,
F1 where there is neither, edge errors without pairs. F1 is 0 where one side alone is empty.
Imports no torch.
"""

import math
from collections.abc import Iterable

import numpy as np
from scipy.optimize import linear_sum_assignment

from annotation.match_marks import Marks

THRESHOLDS = ("0.3", "0.5", "0.7")  # of IoU, as they are called in the results
LENGTHS = {  # of a rally: longer than, and not longer than, in seconds; 4 and 10 s are in between
    "under 4 s": (0.0, 3.9995),  # marks are to the millisecond
    "4 to 10 s": (3.9995, 10.0005),
    "over 10 s": (10.0005, math.inf),
}
STEP_SEC = 0.1  # between the samples of the accuracy over time
LARGE_ERROR_SEC = 0.5  # an edge further off is a bad one
SHUTTLECUT_SEC = 2.5  # how far off both edges may be by shuttlecut's rule
SLACK_SEC = 0.1  # three frames at 30 fps, in Chien and Fang's rule
TINY = 1e-9  # what sums of floats may be off where something is exactly at a threshold
EDGE_RATES = ("median_abs_sec", "mean_abs_sec", "bias_sec", "share_large")
RATES = ("precision", "recall", "f1", "accuracy", "count_error_relative", *EDGE_RATES)


def overlap_matrix(predicted: Marks, truth: Marks) -> np.ndarray:
    """float64 (P, T): the seconds that each predicted and each true rally share."""
    p, t = _array(predicted), _array(truth)
    ends = np.minimum(p[:, None, 1], t[None, :, 1])
    return np.maximum(0.0, ends - np.maximum(p[:, None, 0], t[None, :, 0]))


def iou_matrix(predicted: Marks, truth: Marks) -> np.ndarray:
    """float64 (P, T), 0 to 1: shared time over joint time (the Jaccard index of two intervals)."""
    shared = overlap_matrix(predicted, truth)
    return shared / (_lengths(predicted)[:, None] + _lengths(truth)[None, :] - shared)


def pairs_at(predicted: Marks, truth: Marks, threshold: float) -> list[tuple[int, int]]:
    """One-to-one pairs (index of predicted, index of true) whose IoU is at least the threshold.

    Of all such pairings, one with the most pairs, and of these the greatest total IoU.
    """
    iou = iou_matrix(predicted, truth)
    return _best_pairs(iou >= threshold - TINY, iou)


def shuttlecut_pairs(predicted: Marks, truth: Marks) -> list[tuple[int, int]]:
    """One-to-one pairs by shuttlecut's rule (github.com/MagnyCopper/shuttlecut, eval/evaluate.py).

    Both edges are at most 2.5 s off, and the shared time is at least half of the longer one. There
    each true rally in turn takes the free prediction that shares most; here the pairs are the most
    possible, which is the same but where a prediction has exactly a half in each of two.
    """
    p, t = _array(predicted), _array(truth)
    near = (np.abs(p[:, None] - t[None, :]) <= SHUTTLECUT_SEC + TINY).all(axis=2)
    longer = np.maximum(_lengths(predicted)[:, None], _lengths(truth)[None, :])
    half = overlap_matrix(predicted, truth) >= longer / 2 - TINY
    return _best_pairs(near & half, iou_matrix(predicted, truth))


def chien_fang_hits(predicted: Marks, truth: Marks) -> np.ndarray:
    """bool (P, T) by the lenient rule of Chien and Fang (2023, arXiv 2307.16000).

    The true rally lies inside the predicted one, give or take three frames (0.1 s) at either edge,
    or the two overlap crosswise, one both starting and ending first, however little they share. A
    predicted rally that lies inside a longer true one is no hit. Nothing is one-to-one: precision
    is the share of predictions that hit any true rally, recall that of true rallies hit by any, so
    that one prediction over a whole game scores 1.
    """
    p, t = _array(predicted), _array(truth)
    before, after = (p[:, None] - t[None, :]).transpose(2, 0, 1)  # (P, T) each, of both edges
    inside = (before <= SLACK_SEC + TINY) & (after >= -SLACK_SEC - TINY)
    return (overlap_matrix(predicted, truth) > 0) & (inside | (before * after > 0))


def measure_match(predicted: Marks, truth: Marks, duration_sec: float) -> dict:
    """What the predicted rallies of one match of duration_sec are worth; JSON can hold it.

    predicted, true, splits, merges: numbers of rallies. A split is a true rally in which two or
    more predicted ones lie by at least half of their length, a merge a predicted rally that covers
    at least half of two or more true ones; each counts as its pieces less one.
    iou: {threshold: make_scores(...)} of the optimal pairs. by_length: the same at IoU 0.5 for
    short, middling and long rallies; a pair counts by its true rally, as does a true one missed, a
    prediction without a pair by its own length. edges: of the pairs at 0.5, see measure_edges;
    errors: the errors themselves. time: make_scores of the samples at the centres of bins of 0.1 s
    up to duration_sec, and their accuracy. rules: make_scores by other people's rules.
    """
    iou = {name: pairs_at(predicted, truth, float(name)) for name in THRESHOLDS}
    number = (len(predicted), len(truth))
    shared, hits = overlap_matrix(predicted, truth), chien_fang_hits(predicted, truth)
    hitting, hit = (int(hits.any(axis=axis).sum()) for axis in (1, 0))
    inside = (shared >= _lengths(predicted)[:, None] / 2 - TINY).sum(axis=0)  # (T,) pieces
    covered = (shared >= _lengths(truth)[None, :] / 2 - TINY).sum(axis=1)  # (P,) true rallies
    errors = {
        edge: [round(predicted[p][k] - truth[t][k], 6) for p, t in iou["0.5"]]
        for k, edge in enumerate(("start", "end"))
    }
    return {
        "duration_sec": duration_sec,
        "predicted": number[0],
        "true": number[1],
        "count_error": number[0] - number[1],
        "count_error_relative": abs(number[0] - number[1]) / number[1] if truth else None,
        "iou": {name: make_scores(len(pairs), *number) for name, pairs in iou.items()},
        "by_length": _measure_lengths(predicted, truth, iou["0.5"]),
        "edges": {edge: measure_edges(values) for edge, values in errors.items()},
        "errors": errors,
        "time": _measure_time(predicted, truth, duration_sec),
        "splits": int(np.maximum(inside - 1, 0).sum()),
        "merges": int(np.maximum(covered - 1, 0).sum()),
        "rules": {
            "shuttlecut": make_scores(len(shuttlecut_pairs(predicted, truth)), *number),
            "chien_fang": make_scores(hitting, *number, hit),
        },
    }


def make_scores(tp: int, predicted: int, true: int, true_hit: int | None = None) -> dict:
    """precision = tp / predicted, recall = true_hit / true, F1 (their harmonic mean), and counts.

    true_hit is tp where pairs are one-to-one; else tp counts predictions that hit, and true_hit the
    true rallies that are hit ("found" in the result).
    """
    true_hit = tp if true_hit is None else true_hit
    precision = tp / predicted if predicted else None
    recall = true_hit / true if true else None
    both = (precision or 0.0) + (recall or 0.0)
    f1 = 2 * (precision or 0.0) * (recall or 0.0) / both if both else 0.0
    rates = {"precision": precision, "recall": recall, "f1": f1 if predicted or true else None}
    return rates | {"tp": tp, "found": true_hit, "predicted": predicted, "true": true}


def measure_edges(errors: list[float]) -> dict:
    """Of errors in seconds (predicted less true): pairs, median_abs_sec, mean_abs_sec, bias_sec
    (their mean: above 0 is late), share_large (of those over 0.5 s off). None without any."""
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
    """Sums up {name of a match: measure_match(...)} of at least one match; JSON can hold it.

    pooled: the counts of all matches added (micro average), edges over the pairs of all of them;
    count_error_relative is |sum of predicted - sum of true| / sum of true. mean: of each rate over
    the matches that have it. worst: the match of the lowest F1 at IoU 0.5, None where none has one.
    empty: the matches with no rally on either side, which have no F1 and so are in no mean of it.
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
    """Counts of all matches added, and the rates of the sums."""
    errors = {edge: [e for m in measured for e in m["errors"][edge]] for edge in ("start", "end")}
    total = {
        name: sum(m[name] for m in measured)
        for name in ("duration_sec", "predicted", "true", "count_error", "splits", "merges")
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
    """The means of the RATES at any depth in dicts of the same keys, over those that have one."""
    result = {}
    for name, first in measured[0].items():
        if isinstance(first, dict) and name != "errors":
            result[name] = _mean_rates([each[name] for each in measured])
        elif name in RATES:
            known = [each[name] for each in measured if each[name] is not None]
            result[name] = sum(known) / len(known) if known else None
    return result


def _best_pairs(allowed: np.ndarray, iou: np.ndarray) -> list[tuple[int, int]]:
    """The most one-to-one pairs among those allowed (P, T) that overlap, then the highest IoU."""
    allowed = allowed & (iou > 0)
    more_than_all_iou = min(iou.shape) + 1
    rows, columns = linear_sum_assignment(allowed * (more_than_all_iou + iou), maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) for row, column in pairs if allowed[row, column]]


def _measure_lengths(predicted: Marks, truth: Marks, pairs: list[tuple[int, int]]) -> dict:
    """make_scores of each of LENGTHS; measure_match says what counts where."""
    paired_p, paired_t = {p for p, _ in pairs}, {t for _, t in pairs}
    result = {}
    for name, (low, high) in LENGTHS.items():
        true = {t for t, sec in enumerate(_lengths(truth)) if low < sec <= high}
        predicted_here = {p for p, sec in enumerate(_lengths(predicted)) if low < sec <= high}
        tp = len(paired_t & true)
        result[name] = make_scores(tp, tp + len(predicted_here - paired_p), len(true))
    return result


def _measure_time(predicted: Marks, truth: Marks, duration_sec: float) -> dict:
    samples = max(0, math.ceil(duration_sec / STEP_SEC - 0.5 - TINY))
    inside_predicted, inside_true = _inside(predicted, samples), _inside(truth, samples)
    return _time_scores(
        *(int(x.sum()) for x in (inside_predicted & inside_true, inside_predicted, inside_true)),
        samples,
    )


def _time_scores(tp: int, predicted: int, true: int, samples: int) -> dict:
    wrong = predicted + true - 2 * tp
    accuracy = (samples - wrong) / samples if samples else None
    return make_scores(tp, predicted, true) | {"accuracy": accuracy, "samples": samples}


def _inside(marks: Marks, samples: int) -> np.ndarray:
    """bool (samples,): whether the centre of each bin is in a rally; a rally's end is not."""
    inside = np.zeros(samples, bool)
    for mark in marks:  # the first centres at or after start and end
        start, end = (max(0, math.ceil(sec / STEP_SEC - 0.5 - 1e-6)) for sec in mark)
        inside[start:end] = True
    return inside


def _array(marks: Marks) -> np.ndarray:
    return np.asarray(marks, dtype=np.float64).reshape(-1, 2)


def _lengths(marks: Marks) -> np.ndarray:
    return _array(marks) @ [-1.0, 1.0]
