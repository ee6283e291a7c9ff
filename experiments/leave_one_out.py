"""Leave-one-out: each marked match is measured by a fit that never saw it.

    result = leave_one_out(Setting(Path("runs/NAME/best_model.pth"), Path("Data")), seeds=[0])
    print_leave_one_out(result)

Of the other matches some validate, which stops the training early and chooses the decoding. The
rest trains the head. The model's file stays as it is.
"""

from pathlib import Path

import plots
from detection.alignment import Shift, warn_of_shift
from detection.evaluation_tables import print_figures
from detection.fitting import ReadyMatch
from experiments.folds import Fold, check_folds, leave_one_out_folds
from experiments.held_out import Job
from experiments.setting import Setting, prepare, run_all, save_result
from experiments.summary import summarise_folds

SHOWN = {"f1_0.5": "F1@0.5", "precision": "precision", "recall": "recall", "accuracy": "accuracy"}


def leave_one_out(setting: Setting, seeds: list[int]) -> dict:
    """Runs a fit for each fold and seed, and summarises what they find. The result fits JSON.

    It holds what Prepared.about and summary.summarise_folds return, the seeds, and the names of the
    matches in each fold. Raises UserError for fewer than three matches or groups, for a fold
    without a rally to train or validate on, and as prepare does.
    """
    prepared = prepare(setting)
    folds = leave_one_out_folds(prepared.units)
    check_folds(folds, prepared.matches)
    jobs = [Job(fold, seed) for seed in seeds for fold in folds]
    return {
        **prepared.about(),
        "seeds": seeds,
        "folds": [_names(fold, prepared.matches) for fold in folds],
        **summarise_folds(list(run_all(prepared, jobs))),
    }


def save_leave_one_out(result: dict, folder: Path) -> list[Path]:
    """Writes leave_one_out.json and .png into a folder; see setting.save_result."""
    return save_result(result, folder, "leave_one_out", plots.plot_f1_by_match)


def print_leave_one_out(result: dict) -> None:
    """Prints all figures, the means with their intervals, and which marks seem shifted."""
    print_figures(result)
    print()
    print_means(result)
    if len(result["seeds"]) > 1:
        by_seed = [f"{seed}: {mean:.3f}" for seed, mean in result["mean_by_seed"].items()]
        print(f"mean F1@0.5 by seed: {', '.join(by_seed)} (the tables are those of the first)")
    for name, match in result["matches"].items():
        if match["shift"]:
            warn_of_shift(result["videos"][name], Shift(**match["shift"]))


def print_means(result: dict) -> None:
    """Prints the means over the matches, each with its 95 % interval."""
    print("mean over the matches, with its 95 % interval (bootstrap over matches)")
    for rate, title in SHOWN.items():
        print(f"  {title:10} {interval_text(result['mean_95'][rate])}")


def interval_text(interval: dict) -> str:
    """Formats summary.mean_interval: 0.932 (0.901 to 0.957)."""
    mean, low, high = (interval[key] for key in ("mean", "low", "high"))
    if mean is None:
        return "-"
    return f"{mean:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def _names(fold: Fold, matches: list[ReadyMatch]) -> dict[str, list[str]]:
    parts = {"held_out": fold.held_out, "train": fold.train, "validation": fold.validation}
    return {part: [matches[k].name for k in which] for part, which in parts.items()}
