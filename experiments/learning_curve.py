"""The learning curve: how F1 grows with the number of training matches.

Only marked matches of train and validation take part. Each seed draws anew which of them measure,
validate and train.
"""

from pathlib import Path

import plots
from experiments.folds import check_folds, learning_curve_folds
from experiments.held_out import Job
from experiments.setting import Setting, prepare, run_all, save_result
from experiments.summary import summarise_curve


def learning_curve(setting: Setting, sizes: list[int], seeds: list[int]) -> dict:
    """Runs a fit for each size and seed. The result fits JSON: about, seeds, curve.

    Raises UserError for fewer than three matches or groups, if no size is possible, and as prepare
    does.
    """
    prepared = prepare(setting)
    folds = {seed: learning_curve_folds(prepared.units, sizes, seed) for seed in seeds}
    possible = set.intersection(*map(set, folds.values()))  # by group, seeds differ in their sizes
    size_of = {
        Job(fold, seed): size
        for seed, by_size in folds.items()
        for size, fold in by_size.items()
        if size in possible
    }
    jobs = list(size_of)
    check_folds([job.fold for job in jobs], prepared.matches)
    results = {size: [] for size in sorted(set(size_of.values()))}
    for job, outcomes in run_all(prepared, jobs):
        results[size_of[job]].append((job, outcomes))
    return {**prepared.about(), "seeds": seeds, "curve": summarise_curve(results)}


def save_learning_curve(result: dict, folder: Path) -> list[Path]:
    """Writes learning_curve.json and .png into a folder; see setting.save_result."""
    return save_result(result, folder, "learning_curve", plots.plot_learning_curve)


def print_learning_curve(result: dict) -> None:
    """Prints a line for each number of training matches."""
    print("training matches: mean F1@0.5 over the seeds, lowest and highest")
    for size, each in result["curve"].items():
        if each["mean"] is None:
            print(f"{size:>6}: no rally was true or predicted")
        else:
            print(f"{size:>6}: {each['mean']:.3f} ({each['low']:.3f} to {each['high']:.3f})")
