"""Prints an evaluation of detected rallies as tables. Imports no torch."""

import pandas as pd

from cli import count_of
from detection.segment_metrics import LENGTHS, THRESHOLDS

RULES = {  # (whose rule, what counts as correct, the precision and recall that they report)
    "shuttlecut": (
        "shuttlecut",
        "both edges within 2.5 s, and at least half of the longer rally shared; one-to-one",
        0.85,
        0.84,
    ),
    "chien_fang": (
        "Chien and Fang 2023 (LENIENT)",
        "true rally inside the predicted one (within 0.1 s), or partial overlap; not one-to-one",
        0.897,
        0.889,
    ),
}


def print_evaluation(result: dict) -> None:
    """Prints the result of evaluate_folders as aligned tables, with "-" for undefined values."""
    kind = "SYNTHETIC " if result["synthetic"] else ""
    matches = count_of(len(result["matches"]), f"{kind}match", f"{kind}matches")
    print(f"{result['predicted']} against {result['truth']}: {matches}\n")
    print_figures(result)
    _print_notes(result)


def print_figures(result: dict) -> None:
    """Prints the figures of matches, given matches, pooled, mean and worst of evaluate_folders."""
    pooled, worst, mean = result["pooled"], result["worst"], result["mean"]
    print(matches_table(result).to_string())
    print("F1@0.5: F1 at IoU 0.5. start, end: median error in seconds, of the pairs at IoU 0.5.")
    print(
        "accuracy: share of correct samples, one every 0.1 s. Their F1 over all matches: "
        f"{_cell(pooled['time']['f1'])}"
    )
    if worst:
        print(f"worst match: {worst['match']}, F1 {worst['f1']:.3f} at IoU 0.5")
    print(
        f"number of rallies: {pooled['predicted']} predicted, {pooled['true']} true; error "
        f"{_percent(pooled['count_error_relative'])} over all matches, "
        f"{_percent(mean['count_error_relative'])} in the mean of the matches\n"
    )
    scores = ("true", "predicted", "precision", "recall", "f1")
    lengths = {name: [pooled["by_length"][name][score] for score in scores] for name in LENGTHS}
    print(
        _table(
            "length (IoU 0.5)", lengths, ["true", "predicted", "precision", "recall", "F1"]
        ).to_string()
    )
    print("\nedge errors of all pairs at IoU 0.5 (bias: the mean signed error, + means late)")
    edges = {edge: _edge_cells(errors) for edge, errors in pooled["edges"].items()}
    columns = ["pairs", "median (s)", "mean (s)", "bias (s)", "over 0.5 s"]
    print(_table("edge", edges, columns).to_string())
    print("\nby the rules of other projects (what they report is for other matches)")
    by_rule = {
        name: [*(pooled["rules"][key][score] for score in ("precision", "recall")), *reported]
        for key, (name, _, *reported) in RULES.items()
    }
    print(
        _table(
            "rule", by_rule, ["precision", "recall", "reported precision", "reported recall"]
        ).to_string()
    )
    print(*(f"{name}: {rule}" for name, rule, *_ in RULES.values()), sep="\n")
    unknown_sec, all_sec = pooled["unknown_sec"], pooled["duration_sec"]
    if unknown_sec:
        print(f"not counted: {unknown_sec:.0f} of {all_sec:.0f} s, unknown in the ground truth")


def _print_notes(result: dict) -> None:
    """Prints the speed, and which matches the figures leave out."""
    print()
    speed, matches = result["speed"], result["matches"]
    if speed["matches"]:
        peak = speed["peak_rss_mb"]
        memory = "" if peak is None else f", at most {peak:.0f} MB of memory"
        print(
            f"speed: {_cell(speed['times_real_time'])} times real time{memory} "
            f"(reported for {speed['matches']} of {len(matches)})"
        )
    guessed = [name for name, each in matches.items() if each["duration_from"] != "rallies.json"]
    notes = {
        "CORRECTED by a person after detection, so the scores are not the detector's alone": [
            name for name, each in matches.items() if each["corrected"]
        ],
        "no duration in a rallies.json, so the match is taken to end with its last rally": guessed,
        "no true and no predicted rally, so not in the mean F1": result["empty"],
        "NOT EVALUATED, ground truth without a prediction": result["missing"],
        "not evaluated, prediction without ground truth": result["extra"],
    }
    for note, names in notes.items():
        if names:
            print(f"{note}: {', '.join(names)}")


def matches_table(result: dict) -> pd.DataFrame:
    """Returns a table of text: a row for each match, their mean (without counts), and all pooled.

    result holds matches, mean and pooled as evaluate_folders returns them.
    """
    parts = result["matches"] | {"mean": result["mean"], "pooled": result["pooled"]}
    f1 = [f"F1@{threshold}" for threshold in THRESHOLDS]
    columns = ["true", "pred.", *f1, "start", "end", "splits", "merges", "accuracy"]
    cells = {name: _match_cells(measured) for name, measured in parts.items()}
    return _table("match", cells, columns)


def _match_cells(measured: dict) -> list:
    f1 = [measured["iou"][threshold]["f1"] for threshold in THRESHOLDS]
    edges = [measured["edges"][edge]["median_abs_sec"] for edge in ("start", "end")]
    counts = [measured.get(key) for key in ("true", "predicted", "splits", "merges")]
    return [*counts[:2], *f1, *edges, *counts[2:], measured["time"]["accuracy"]]


def _edge_cells(errors: dict) -> list:
    bias = None if errors["bias_sec"] is None else f"{errors['bias_sec']:+.3f}"
    off = [errors[key] for key in ("pairs", "median_abs_sec", "mean_abs_sec")]
    return [*off, bias, _percent(errors["share_large"])]


def _table(what: str, rows: dict[str, list], columns: list[str]) -> pd.DataFrame:
    """Returns {row name: its cells} as a table of text. `what` names the rows."""
    texts = {name: [_cell(cell) for cell in cells] for name, cells in rows.items()}
    table = pd.DataFrame.from_dict(texts, orient="index", columns=columns)
    return table.rename_axis(columns=what)


def _cell(value: str | float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
