"""Compares the predicted rallies of whole matches with the ground truth.

    python detecting_rallies.py evaluate --predicted DIR --truth DIR [--json FILE]

Predictions are `<match>_rallies/` folders, as detection writes them, or tables `<match>.csv`. The
ground truth is a folder of tables `<match>.csv`, such as Data/matches or the videos folder of the
synthetic sample; unknown stretches come from the folder unknown/ beside it. segment_metrics defines
the metrics. Imports no torch.
"""

import json
import math
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from annotation.ground_truth import Truth, read_truth
from annotation.match_marks import match_name, read_marks
from detection.alignment import Shift, best_shift, warn_of_shift
from detection.evaluation_tables import print_evaluation
from detection.records import SUFFIX, is_corrected, read_record
from detection.segment_metrics import measure_match, summarise
from files import UserError, read_table, write_whole

NO_TRUTH = (".log.csv", ".points.csv")  # tables that hold no rallies
BEYOND_SEC = 1.0  # how far a true rally may end after the duration in rallies.json


def find_predicted(predicted: Path) -> dict[str, Path]:
    """Returns {match name: table of its predicted rallies}, sorted by name.

    `predicted` is a `<match>_rallies` folder, a folder of such folders, or a folder of
    `<match>.csv` tables. Tables beside `<match>_rallies` folders are ignored: beside the matches of
    the sample they are the ground truth. Raises UserError if there is no table.
    """
    folders = [predicted, *sorted(predicted.glob(f"*{SUFFIX}"))]
    names = {each: os.path.basename(os.path.abspath(each)) for each in folders if each.is_dir()}
    folders = [each for each in names if names[each].endswith(SUFFIX)]
    tables = {names[each].removesuffix(SUFFIX): each / "rallies.csv" for each in folders}
    tables = {name: table for name, table in tables.items() if table.exists()}
    if not folders:
        tables = _tables(predicted)
    if not tables:
        raise UserError(
            f"no predictions in {predicted}: it has no folder <match>{SUFFIX} with a rallies.csv "
            "and no table <match>.csv; detect a match first: python detecting_rallies.py MATCH.mp4 "
            "--model FILE"
        )
    return tables


def find_truth(truth: Path) -> dict[str, Path]:
    """Returns {match name: table of its true rallies}, sorted by name, without the logs.

    Raises UserError if there is no table.
    """
    if not (tables := _tables(truth)):
        raise UserError(
            f"no ground-truth table <match>.csv in {truth}; mark a match with python labeling.py "
            "--match VIDEO, then use --truth Data/matches"
        )
    return tables


def record_path(table: Path) -> Path | None:
    """Returns the rallies.json beside a rallies.csv, or None if there is none."""
    path = table.with_name("rallies.json")
    return path if table.name == "rallies.csv" and path.exists() else None


def read_speed(path: Path) -> dict:
    """Reads duration_sec, times_real_time, peak_rss_mb and written_sha256 from a rallies.json.

    written_sha256 is the hash of the rallies.csv as detection wrote it. A value is None if the file
    lacks it. Raises UserError if the file is damaged or a number is not above 0.
    """
    record = read_record(path.parent)
    try:
        speed = record.get("speed") or {}
        values = {"duration_sec": record.get("duration_sec")}
        values |= {name: speed.get(name) for name in ("times_real_time", "peak_rss_mb")}
        wrong = [name for name, v in values.items() if v is not None and not 0 < v < math.inf]
    except (AttributeError, TypeError) as error:
        raise UserError(f"could not read {path} ({error}); detect the match again") from error
    if wrong:
        raise UserError(f"{path}: {wrong[0]} is not a number above 0; detect the match again")
    return values | {"written_sha256": record.get("written_sha256")}


def evaluate_folders(predicted: Path, truth: Path) -> dict:
    """Measures the predictions of all matches that also have ground truth. The result fits JSON.

    - matches: {name: measure_match(...)}, with duration_from, times_real_time, peak_rss_mb;
      corrected: whether a person changed the detected table, as far as rallies.json can tell;
      shift: the alignment.Shift at which the probabilities fit the ground truth best, or None.
    - pooled, mean, worst, empty: see summarise.
    - median_edges: start_sec and end_sec, the median absolute errors of all pairs.
    - speed: times_real_time of all matches that record it taken together, the highest peak_rss_mb,
      and the number of matches that record either.
    - missing: matches with ground truth but no prediction; extra: with a prediction but no ground
      truth. No figure includes them.
    - synthetic: whether the ground truth belongs to the SYNTHETIC sample.

    A prediction "Title [ID]", as yt-dlp names files, goes with the ground truth "ID". Raises
    UserError if a table cannot be read, if a table would be compared with itself, and if no match
    has both a prediction and ground truth.
    """
    predicted, truth = Path(predicted), Path(truth)
    true_tables, predicted_tables = find_truth(truth), find_predicted(predicted)
    tables = {}
    for name, table in predicted_tables.items():
        names = (name, match_name(f"{name}.mp4"))
        name = next((each for each in names if each in true_tables), name)
        if name in tables:
            raise UserError(
                f"{tables[name]} and {table} are both predictions of {name}; remove one of them"
            )
        tables[name] = table
    common = sorted(tables.keys() & true_tables.keys())
    if not common:
        raise UserError(
            f"no match has both a prediction and ground truth; predicted in {predicted}: "
            f"{_some(tables)}; ground truth in {truth}: {_some(true_tables)}; a prediction "
            f"X{SUFFIX}/rallies.csv or X.csv needs ground truth X.csv"
        )
    matches = {name: _evaluate_match(tables[name], true_tables[name]) for name in common}
    summary = summarise(matches)
    edges = summary["pooled"]["edges"]
    return {
        "predicted": str(predicted),
        "truth": str(truth),
        "synthetic": any((each / "sample.json").exists() for each in (truth, truth / "..")),
        "matches": matches,
        **summary,
        "median_edges": {f"{edge}_sec": edges[edge]["median_abs_sec"] for edge in edges},
        "speed": _speed(list(matches.values())),
        "missing": sorted(true_tables.keys() - tables.keys()),
        "extra": sorted(tables.keys() - true_tables.keys()),
    }


def run_evaluation(predicted: Path, truth: Path, json_path: Path | None = None) -> int:
    """Prints the result of evaluate_folders and writes it to json_path, if given.

    Returns 1 if a match with ground truth has no prediction, else 0. Raises UserError as
    evaluate_folders does.
    """
    result = evaluate_folders(predicted, truth)
    print_evaluation(result)
    for name, match in result["matches"].items():
        if match["shift"]:
            warn_of_shift(name, Shift(**match["shift"]))
    if json_path is not None:
        write_whole(json_path, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
        print(f"saved all figures to {json_path}")
    return 1 if result["missing"] else 0


def _evaluate_match(table: Path, true_table: Path) -> dict:
    if table.samefile(true_table):
        raise UserError(
            f"{table} would be compared with itself; set --predicted to the folder of the "
            "predictions"
        )
    predicted, truth = read_marks(table), read_truth(true_table)
    path = record_path(table)
    record = read_speed(path) if path else {}
    known = record.get("duration_sec")
    last_true = max((end for _, end in truth.rallies), default=0.0)
    if known and last_true > known + BEYOND_SEC:
        raise UserError(
            f"{true_table}: a rally ends at {last_true:.3f} s, but {path} says that the match ends "
            f"at {known:.3f} s; are these the marks of another file?"
        )
    last = max([last_true, *(end for _, end in predicted)])
    return measure_match(predicted, truth, max(known or 0.0, last)) | {
        "duration_from": "rallies.json" if known else "last rally",
        "times_real_time": record.get("times_real_time"),
        "peak_rss_mb": record.get("peak_rss_mb"),
        "corrected": bool(record.get("written_sha256")) and is_corrected(table.parent, record),
        "shift": _find_shift(table, truth),
    }


def _find_shift(table: Path, truth: Truth) -> dict | None:
    """Returns the best shift of the ground truth against the probabilities beside rallies.csv."""
    path = table.with_name("probabilities.csv")
    if table.name != "rallies.csv" or not path.exists():
        return None
    columns = read_table(path, ("time_sec", "probability")).apply(pd.to_numeric, errors="coerce")
    times_sec, probs = columns.to_numpy(float).T
    if np.isnan(times_sec).any():
        raise UserError(f"{path} is damaged; detect the match again")
    shift = best_shift(times_sec, probs, truth) if len(probs) > 1 else None
    return shift and asdict(shift)


def _speed(matches: list[dict]) -> dict:
    timed = [each for each in matches if each["times_real_time"]]
    took = sum(each["duration_sec"] / each["times_real_time"] for each in timed)
    times = sum(each["duration_sec"] for each in timed) / took if took else None
    peak = max((each["peak_rss_mb"] for each in matches if each["peak_rss_mb"]), default=None)
    reporting = sum(bool(each["times_real_time"] or each["peak_rss_mb"]) for each in matches)
    return {"times_real_time": times, "peak_rss_mb": peak, "matches": reporting}


def _tables(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}; give the folder that holds the tables")
    tables = [path for path in sorted(folder.glob("*.csv")) if not path.name.startswith(".")]
    others = [path for path in tables if path.name.endswith(NO_TRUTH)]
    return {p.stem: p for p in tables if p not in others and p.name != "probabilities.csv"}


def _some(names: dict) -> str:
    return ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
