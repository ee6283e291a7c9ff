"""Summarises what held-out matches came to. Every result fits JSON."""

import numpy as np

from detection.segment_metrics import THRESHOLDS, summarise
from experiments.held_out import Job, Outcome

RESAMPLES = 2000  # of the bootstrap
RATES = {
    **{f"f1_{name}": (lambda m, name=name: m["iou"][name]["f1"]) for name in THRESHOLDS},
    "precision": lambda m: m["iou"]["0.5"]["precision"],
    "recall": lambda m: m["iou"]["0.5"]["recall"],
    "accuracy": lambda m: m["time"]["accuracy"],
    "count_error": lambda m: m["count_error_relative"],
    "start_median_sec": lambda m: m["edges"]["start"]["median_abs_sec"],
    "end_median_sec": lambda m: m["edges"]["end"]["median_abs_sec"],
}  # of measure_match(...), at IoU 0.5 unless the name says another


def summarise_folds(results: list[tuple[Job, list[Outcome]]]) -> dict:
    """Summarises leave-one-out.

    - matches: {name: the record of its outcome}, of the first seed; f1_by_seed has all.
    - pooled, mean, worst, empty: see segment_metrics.summarise, of the first seed.
    - mean_by_seed: {seed: the mean F1 at IoU 0.5 over the matches}.
    - mean_95: {rate: mean_interval(...)} over the matches. A match counts with its mean over seeds.
    """
    by_seed: dict[int, dict[str, Outcome]] = {}
    for job, outcomes in results:
        by_seed.setdefault(job.seed, {}).update((each.match, each) for each in outcomes)
    by_seed = {seed: dict(sorted(by_seed[seed].items())) for seed in sorted(by_seed)}
    first = next(iter(by_seed.values()))
    f1 = {
        seed: {n: RATES["f1_0.5"](o.measured) for n, o in found.items()}
        for seed, found in by_seed.items()
    }
    return {
        "matches": {
            name: outcome.as_record() | {"f1_by_seed": {str(s): f1[s][name] for s in by_seed}}
            for name, outcome in first.items()
        },
        **summarise({name: outcome.measured for name, outcome in first.items()}),
        "mean_by_seed": {
            str(seed): mean_interval(list(values.values()))["mean"] for seed, values in f1.items()
        },
        "mean_95": {
            name: mean_interval(
                [
                    mean_of([rate(found[match].measured) for found in by_seed.values()])
                    for match in first
                ]
            )
            for name, rate in RATES.items()
        },
    }


def summarise_curve(results: dict[int, list[tuple[Job, list[Outcome]]]]) -> dict:
    """Summarises a learning curve: {number of training matches: f1_by_seed, mean, low, high}.

    f1_by_seed is the mean F1 at IoU 0.5 over the measured matches; low and high are the smallest
    and the largest of it.
    """
    curve = {}
    for size, jobs in sorted(results.items()):
        f1 = {
            str(job.seed): mean_of([RATES["f1_0.5"](o.measured) for o in outcomes])
            for job, outcomes in sorted(jobs, key=lambda pair: pair[0].seed)
        }
        known = [value for value in f1.values() if value is not None]
        edges = {"low": min(known, default=None), "high": max(known, default=None)}
        curve[str(size)] = {"f1_by_seed": f1, "mean": mean_of(known), **edges}
    return curve


def mean_of(values: list[float | None]) -> float | None:
    """Returns the mean of the values that are not None; None if all are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def mean_interval(values: list[float | None]) -> dict:
    """Returns mean, low, high and n: the mean of n values and its 95 % bootstrap interval.

    The interval is that of percentiles (Efron 1979), from 2,000 resamples. Values that are None are
    left out. Without values the mean is None; with fewer than two, so are low and high.
    """
    known = np.array([value for value in values if value is not None], float)
    low = high = None
    if len(known) > 1:
        drawn = np.random.default_rng(0).integers(len(known), size=(RESAMPLES, len(known)))
        low, high = np.quantile(known[drawn].mean(1), [0.025, 0.975]).tolist()
    return {"mean": mean_of(known.tolist()), "low": low, "high": high, "n": len(known)}
