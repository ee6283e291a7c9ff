"""The pictures of main.ipynb. Each function draws one, saves it to `path`, and returns it."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from cli import count_of
from files import UserError, write_whole
from media.frames import FrameError, read_sequence

COLOURS = ("#8a94a6", "#d1495b")  # class 0, class 1
NOTE = "synthetic data"
DPI = 80  # sharp enough to read on a page


def _save(figure: Figure, path: str | Path | None, synthetic: bool = False) -> Figure:
    if synthetic:
        figure.supxlabel(NOTE, x=0.995, ha="right", fontsize=8, color="0.5")
    if path is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        write_whole(path, picture.getvalue())
    plt.close(figure)  # the notebook shows the returned figure once
    return figure


def plot_balance(
    table: pd.DataFrame, class_names: tuple[str, str], path: Path | None = None, synthetic=False
) -> Figure:
    """Stacked bars of dataset.describe's table: sequences of each class in each split."""
    figure, ax = plt.subplots(figsize=(7, 2.2), layout="constrained", dpi=DPI)
    left = np.zeros(len(table))
    for name, colour in zip(class_names, COLOURS, strict=True):
        bars = ax.barh(table.index, table[name], left=left, color=colour, label=name)
        ax.bar_label(bars, label_type="center", color="white")
        left += table[name]
    ax.invert_yaxis()
    ax.set_xlabel("sequences")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right")
    return _save(figure, path, synthetic)


def plot_strips(
    folders: list[Path], titles: list[str], path: Path | None = None, synthetic=False
) -> Figure:
    """A row of 6 evenly spaced frames for each sequence folder, below its title.

    Raises UserError for a sequence that cannot be read.
    """
    figure = plt.figure(figsize=(8, 1.6 * len(folders)), layout="constrained", dpi=DPI)
    rows = figure.subfigures(len(folders), 1, squeeze=False)[:, 0]
    for row, folder, title in zip(rows, folders, titles, strict=True):
        try:
            frames = read_sequence(folder, seq_frames=None)  # (T, 3, H, W)
        except FrameError as error:
            raise UserError(f"{error}: repair it, or delete its folder and its row") from error
        row.suptitle(title, x=0.01, ha="left", fontsize=10)
        axes = row.subplots(1, 6)
        for ax, k in zip(axes, np.linspace(0, len(frames) - 1, len(axes)).astype(int), strict=True):
            ax.imshow(frames[k].transpose(1, 2, 0))
            ax.set_axis_off()
    return _save(figure, path, synthetic)


def plot_history(history: pd.DataFrame, path: Path | None = None, synthetic=False) -> Figure:
    """Training and validation loss and accuracy by epoch; a dotted line at the kept epoch."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained", dpi=DPI)
    best = history["epoch"][history["val_loss"].idxmin()]
    for ax, what in zip(axes, ("loss", "accuracy"), strict=True):
        ax.plot(history["epoch"], history[f"train_{what}"], color=COLOURS[0], label="training")
        ax.plot(history["epoch"], history[f"val_{what}"], color=COLOURS[1], label="validation")
        ax.axvline(best, color="0.7", linestyle=":", label=f"kept: epoch {best}")
        ax.set(xlabel="epoch", title=what)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    return _save(figure, path, synthetic)


def plot_test(
    labels: np.ndarray,
    probs: dict[str, np.ndarray],
    class_names: tuple[str, str],
    path: Path | None = None,
    synthetic=False,
) -> Figure:
    """ROC and precision-recall curves of {name: probabilities (N,)}; confusion of the first."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained", dpi=DPI)
    first = next(iter(probs.values()))
    ConfusionMatrixDisplay.from_predictions(
        labels, first > 0.5, ax=axes[0], display_labels=class_names, cmap="Greys", colorbar=False
    )
    axes[0].set_title("test sequences")
    for (name, p), colour in zip(probs.items(), reversed(COLOURS), strict=False):
        false_rate, true_rate, _ = roc_curve(labels, p)
        area = f"{name} (area {roc_auc_score(labels, p):.2f})"
        axes[1].plot(false_rate, true_rate, color=colour, label=area)
        precision, recall, _ = precision_recall_curve(labels, p)
        average = f"{name} (average {average_precision_score(labels, p):.2f})"
        axes[2].step(recall, precision, where="post", color=colour, label=average)
    axes[1].set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    axes[2].set(title="precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.05))
    for ax in axes[1:]:
        ax.legend(loc="lower center", fontsize=8)
    return _save(figure, path, synthetic)


def plot_f1_by_match(result: dict, path: Path | None = None, synthetic=False) -> Figure:
    """F1 at IoU 0.5 of each match, sorted, and the mean with its 95 % interval.

    result is what experiments.leave_one_out returns. With several seeds a match has a dot for each.
    """
    by_match = {
        name: [f1 for f1 in match["f1_by_seed"].values() if f1 is not None]
        for name, match in result["matches"].items()
    }
    by_match = {name: np.array(f1) for name, f1 in by_match.items() if f1}
    names = sorted(by_match, key=lambda name: by_match[name].mean())
    height = 1.2 + 0.22 * len(names)
    figure, ax = plt.subplots(figsize=(8, height), layout="constrained", dpi=DPI)
    mean = result["mean_95"]["f1_0.5"]
    if mean["low"] is not None:
        ax.axvspan(mean["low"], mean["high"], color="0.9", lw=0)
    if mean["mean"] is not None:
        ax.axvline(mean["mean"], color="0.6", lw=1, label=f"mean {mean['mean']:.3f}")
        ax.legend(frameon=False, loc="lower left")
    for row, name in enumerate(names):
        ax.plot(by_match[name], np.full(len(by_match[name]), row), "o", color=COLOURS[1], ms=4)
    ax.set_yticks(range(len(names)), [_shortened(name) for name in names], fontsize=8)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.7, len(names) - 0.3))
    ax.set_xlabel("F1 at IoU 0.5, by a fit that never saw the match; grey: 95 % of the mean")
    ax.grid(axis="y", color="0.93")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return _save(figure, path, synthetic)


def plot_learning_curve(result: dict, path: Path | None = None, synthetic=False) -> Figure:
    """F1 at IoU 0.5 by the number of training matches: a dot for each seed, a line for the mean.

    result is what experiments.learning_curve returns.
    """
    figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained", dpi=DPI)
    curve = {int(size): each for size, each in result["curve"].items() if each["mean"] is not None}
    for size, each in curve.items():
        f1 = [value for value in each["f1_by_seed"].values() if value is not None]
        ax.plot([size] * len(f1), f1, "o", color=COLOURS[0], ms=4)
    means = [each["mean"] for each in curve.values()]
    ax.plot(list(curve), means, color=COLOURS[1], label="mean over seeds")
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(curve), [str(size) for size in curve])
    ax.set(
        xlabel="training matches", ylabel="F1 at IoU 0.5 on matches held out", ylim=(-0.02, 1.02)
    )
    ax.legend(frameon=False, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
    return _save(figure, path, synthetic)


def _shortened(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def plot_timeline(
    result,
    rallies: pd.DataFrame,
    path: str | Path | None = None,
    synthetic: bool = False,
    truth=None,
) -> Figure:
    """Probability of play over a match, with rallies shaded; a row for each 5 minutes or more.

    result is a detection.detector.Result, truth an annotation.ground_truth.Truth or None. Stretches
    where the file is damaged are hatched. The true rallies are drawn as a line below, which is
    hatched where the ground truth is unknown.
    """
    times_sec, probs, duration_sec = result.times_sec, result.probs, result.video.end_sec
    has_truth = truth is not None and bool(truth.rallies or truth.unknown)
    rows = int(np.clip(np.ceil(duration_sec / 300), 1, 12))
    span_sec = duration_sec / rows
    figure, axes = plt.subplots(
        rows, figsize=(11, 1.0 + 0.95 * rows), layout="constrained", dpi=DPI, squeeze=False
    )
    for k, ax in enumerate(axes[:, 0]):
        left, right = k * span_sec, (k + 1) * span_sec
        here = slice(*np.searchsorted(times_sec, [left - 1, right + 1]))
        for row in rallies[(rallies.end_sec > left) & (rallies.start_sec < right)].itertuples():
            ax.axvspan(row.start_sec, row.end_sec, color=COLOURS[1], alpha=0.3, lw=0)
        for start, end in truth.rallies if has_truth else ():
            ax.plot([start, end], [-0.1, -0.1], color="0.2", lw=3, solid_capstyle="butt")
        for start, end in truth.unknown if has_truth else ():
            span = {"xmin": start, "xmax": end, "ymin": 0, "ymax": 0.1}
            ax.axvspan(**span, facecolor="none", edgecolor="0.5", hatch="/////", lw=0)
        ax.plot(times_sec[here], probs[here], color="0.25", lw=0.8)
        for start, end in result.unknown:
            ax.axvspan(start, end, facecolor="0.9", edgecolor="0.7", hatch="///", lw=0)
        ax.set_xlim(left, right)
        ax.set_ylim(-0.18 if has_truth else -0.03, 1.03)
        ax.set_yticks([0, 1])
        ax.xaxis.set_major_formatter(lambda sec, _: f"{int(sec) // 60}:{int(sec) % 60:02d}")
        ax.spines[["top", "right"]].set_visible(False)
    in_play = rallies["duration_sec"].sum() / duration_sec
    count = count_of(len(rallies), "rally", "rallies")
    title = (
        f"{result.video.path.name}: {count}, {in_play:.0%} of {duration_sec / 60:.1f} min in play"
    )
    axes[0, 0].set_title(title, parse_math=False)
    legend = "probability of play; shaded: rallies"
    legend += "; line: true rallies" if has_truth else ""
    legend += "; line hatched: not known" if has_truth and truth.unknown else ""
    axes[-1, 0].set_xlabel(f"min:s ({legend})")
    return _save(figure, path, synthetic)
