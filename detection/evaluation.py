"""Predicted rallies of whole matches against those that people marked: read and measured.

    python detecting_rallies.py evaluate --predicted DIR --truth DIR [--json FILE]

Predictions are the folders that detection leaves, `<match>_rallies/`, or tables `<match>.csv`;
true rallies are tables `<match>.csv`, as in Data/matches or beside drawn matches. segment_metrics
says what is measured. Imports no torch.
"""

import json
import math
import os
from pathlib import Path

from annotation.match_marks import match_name, read_marks
from detection.evaluation_tables import print_evaluation
from detection.records import SUFFIX, is_corrected, read_record
from detection.segment_metrics import measure_match, summarise
from files import UserError, write_whole

NO_TRUTH = (".log.csv", ".points.csv")  # tables beside those of rallies
BEYOND_SEC = 1.0  # so far may true rallies go on after what rallies.json takes for the end


def find_predicted(predicted: Path) -> dict[str, Path]:
    """{name of a match: its table of predicted rallies}, in order of the names.

    `predicted` is one folder `<match>_rallies`, a folder of such, or a folder of `<match>.csv`.
    Where there are folders of that name, tables beside them are not taken: those beside drawn
    matches are the truth. Raises UserError where there is no table.
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
            f"{predicted} has neither a folder <match>{SUFFIX} with a rallies.csv nor a table "
            "<match>.csv: first python detecting_rallies.py MATCH.mp4 --model FILE"
        )
    return tables


def find_truth(truth: Path) -> dict[str, Path]:
    """{name of a match: its table of true rallies}, in order of the names; the logs left out.

    Raises UserError where there is none.
    """
    if not (tables := _tables(truth)):
        raise UserError(
            f"no table of true rallies, <match>.csv, in {truth}: mark some with python labeling.py "
            "--match VIDEO, then say --truth Data/matches"
        )
    return tables


def record_path(table: Path) -> Path | None:
    """The rallies.json beside a rallies.csv, if there is one."""
    path = table.with_name("rallies.json")
    return path if table.name == "rallies.csv" and path.exists() else None


def read_speed(path: Path) -> dict:
    """duration_sec, times_real_time, peak_rss_mb and written_sha256 (of the rallies.csv as it was
    detected) of a rallies.json; None for what it lacks.

    Raises UserError for what is no such record, or no number above 0.
    """
    record = read_record(path.parent)
    try:
        speed = record.get("speed") or {}
        values = {"duration_sec": record.get("duration_sec")}
        values |= {name: speed.get(name) for name in ("times_real_time", "peak_rss_mb")}
        wrong = [name for name, v in values.items() if v is not None and not 0 < v < math.inf]
    except (AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}): detect the match again") from error
    if wrong:
        raise UserError(f"{path}: {wrong[0]} is no number above 0: detect the match again")
    return values | {"written_sha256": record.get("written_sha256")}


def evaluate_folders(predicted: Path, truth: Path) -> dict:
    """What the predictions are worth on the matches that have both; JSON can hold it.

    matches: {name: measure_match(...) with duration_from, times_real_time, peak_rss_mb, corrected:
    whether a person has changed the detected table since, as far as rallies.json can tell}; pooled,
    mean, worst and empty of summarise; median_edges: of all pairs, start_sec and end_sec; speed:
    times_real_time of all matches that tell it together, the highest peak_rss_mb, and how many
    tell; missing: true rallies without prediction, and extra: predictions without truth, which are
    in no number; synthetic: whether the truth is that of the drawn sample. A prediction of
    "Title [ID]", as yt-dlp names files, goes with the truth of that id.

    Raises UserError for tables that cannot be read, for a folder compared with itself, and where no
    match has both.
    """
    predicted, truth = Path(predicted), Path(truth)
    true_tables, predicted_tables = find_truth(truth), find_predicted(predicted)
    tables = {}
    for name, table in predicted_tables.items():
        names = (name, match_name(f"{name}.mp4"))
        name = next((each for each in names if each in true_tables), name)
        if name in tables:
            raise UserError(f"{tables[name]} and {table} are both of {name}: take one away")
        tables[name] = table
    common = sorted(tables.keys() & true_tables.keys())
    if not common:
        raise UserError(
            f"no match has both: predicted in {predicted} are {_some(tables)}, true in {truth} "
            f"{_some(true_tables)}; they go by the video's name: X{SUFFIX}/rallies.csv or X.csv, "
            "and X.csv"
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
    """Evaluates, prints, and writes the result as JSON if asked to.

    Returns 1 where true rallies have no prediction, else 0. Raises UserError, see evaluate_folders.
    """
    result = evaluate_folders(predicted, truth)
    print_evaluation(result)
    if json_path is not None:
        write_whole(json_path, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
        print(f"written: {json_path}")
    return 1 if result["missing"] else 0


def _evaluate_match(table: Path, true_table: Path) -> dict:
    if table.samefile(true_table):
        raise UserError(f"{table} would be compared with itself: is --predicted the right folder?")
    predicted, truth = read_marks(table), read_marks(true_table)
    path = record_path(table)
    record = read_speed(path) if path else {}
    known = record.get("duration_sec")
    last = max((end for _, end in predicted + truth), default=0.0)
    if truth and known and truth[-1][1] > known + BEYOND_SEC:
        raise UserError(
            f"{true_table}: a rally ends at {truth[-1][1]:.3f} s, and the match in which rallies "
            f"were detected at {known:.3f} s: are these the marks of another file?"
        )
    return measure_match(predicted, truth, max(known or 0.0, last)) | {
        "duration_from": "rallies.json" if known else "last rally",
        "times_real_time": record.get("times_real_time"),
        "peak_rss_mb": record.get("peak_rss_mb"),
        "corrected": bool(record.get("written_sha256")) and is_corrected(table.parent, record),
    }


def _speed(matches: list[dict]) -> dict:
    timed = [each for each in matches if each["times_real_time"]]
    took = sum(each["duration_sec"] / each["times_real_time"] for each in timed)
    times = sum(each["duration_sec"] for each in timed) / took if took else None
    peak = max((each["peak_rss_mb"] for each in matches if each["peak_rss_mb"]), default=None)
    reporting = sum(bool(each["times_real_time"] or each["peak_rss_mb"]) for each in matches)
    return {"times_real_time": times, "peak_rss_mb": peak, "matches": reporting}


def _tables(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: give the folder in which the tables are")
    tables = [path for path in sorted(folder.glob("*.csv")) if not path.name.startswith(".")]
    others = [path for path in tables if path.name.endswith(NO_TRUTH)]
    return {p.stem: p for p in tables if p not in others and p.name != "probabilities.csv"}


def _some(names: dict) -> str:
    return ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
