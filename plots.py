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


def plot_timeline(
    result,
    rallies: pd.DataFrame,
    path: str | Path | None = None,
    synthetic: bool = False,
    truth: list[tuple[float, float]] = (),
) -> Figure:
    """Probability of play over a match, with rallies shaded; a row for each 5 minutes or more.

    result is a detection.detector.Result. Unknown stretches (damage) are hatched. The true rallies,
    where they are known, are drawn as a line below.
    """
    times_sec, probs, duration_sec = result.times_sec, result.probs, result.video.end_sec
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
        for start, end in truth:
            ax.plot([start, end], [-0.1, -0.1], color="0.2", lw=3, solid_capstyle="butt")
        ax.plot(times_sec[here], probs[here], color="0.25", lw=0.8)
        for start, end in result.unknown:
            ax.axvspan(start, end, facecolor="0.9", edgecolor="0.7", hatch="///", lw=0)
        ax.set_xlim(left, right)
        ax.set_ylim(-0.18 if len(truth) else -0.03, 1.03)
        ax.set_yticks([0, 1])
        ax.xaxis.set_major_formatter(lambda sec, _: f"{int(sec) // 60}:{int(sec) % 60:02d}")
        ax.spines[["top", "right"]].set_visible(False)
    in_play = rallies["duration_sec"].sum() / duration_sec
    count = count_of(len(rallies), "rally", "rallies")
    title = (
        f"{result.video.path.name}: {count}, {in_play:.0%} of {duration_sec / 60:.1f} min in play"
    )
    axes[0, 0].set_title(title, parse_math=False)
    legend = "probability of play; shaded: rallies" + ("; line: true rallies" if truth else "")
    axes[-1, 0].set_xlabel(f"min:s ({legend})")
    return _save(figure, path, synthetic)
