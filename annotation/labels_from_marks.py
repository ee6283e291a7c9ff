"""Labels collected sequences from the marks of the match that they come from.

A sequence gets label 1 if at least half of it lies inside rallies. A sequence that touches an
unknown stretch gets no label. Labels that do not come from marks are kept. Imports no torch.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from annotation.change_log import Change, standing
from annotation.ground_truth import Truth, inside_sec, read_truth
from annotation.labels import Answer, read_class_names, read_labels, read_log, save_labels
from annotation.mark_owners import read_owners
from annotation.match_marks import Marks, list_tables, match_name
from cli import count_of
from collection.sources import read_sources, video_key, video_name
from files import SPLITS, UserError
from media.frames import count_frames

TOUCHES_SEC = 0.001  # a shorter overlap is rounding


@dataclass(frozen=True)
class MarkedMatch:
    """A table of marks and the collected video that it belongs to."""

    name: str  # the table's file name without .csv
    truth: Truth
    key: str  # the video's video_key


@dataclass
class MatchLabels:
    """What was done with the sequences of one match in one split."""

    split: str
    match: str  # the name of the table of marks
    rallies: int
    labelled: int = 0  # sequences labelled from the marks
    after_last: int = 0  # how many of them start after the last rally
    kept: int = 0  # manual labels
    taken_back: int = 0  # earlier labels from marks, removed: after until_sec, or unknown now
    differing: list[str] = field(default_factory=list)  # manual labels that differ from the marks
    straddling: list[str] = field(default_factory=list)  # sequences in which a rally starts or ends
    unknown: list[str] = field(default_factory=list)  # sequences that touch an unknown stretch


def label_of(start_sec: float, end_sec: float, marks: Marks) -> int:
    """1 if at least half of the time lies in rallies, else 0."""
    return int(inside_sec(start_sec, end_sec, marks) >= (end_sec - start_sec) / 2 - 1e-6)


def label_from_matches(
    data_dir: Path,
    video: str | None = None,
    until_sec: float | None = None,
    splits: tuple[str, ...] = SPLITS,
) -> list[MatchLabels]:
    """Labels the sequences of one marked match (video), or of all; manual labels are kept.

    until_sec is how far the match is marked: only sequences that end by then are labelled, and
    labels that earlier marks gave to later ones are removed, as are those that they gave to
    sequences of stretches that are unknown now. None means to the end of the match.
    But of a match without any rally, None means the start: labels of earlier marks are removed, and
    nothing is labelled. Raises UserError, before anything is labelled, if there are no marks or if
    marks could belong to two videos.
    """
    sources = {split: read_sources(data_dir / split) for split in SPLITS}
    matches = _collected_matches(data_dir, video, sources)
    results = []
    for split in splits:
        keys = sources[split]["video"].map(video_key)
        rows_by_match = [(match, sources[split][keys == match.key]) for match in matches]
        rows_by_match = [(match, rows) for match, rows in rows_by_match if len(rows)]
        if not rows_by_match:
            continue
        labels = read_labels(data_dir / split)
        last_change = {change.sequence: change for change in standing(read_log(data_dir / split))}
        for match, rows in rows_by_match:
            results.append(
                _label_rows(data_dir / split, rows, match, until_sec, labels, last_change)
            )
    return results


def unknown_sequences(split_dir: Path) -> set[str]:
    """The sequences of a split that touch an unknown stretch of their match: they need no label."""
    data_dir, unknown = split_dir.parent, set()
    if not list_tables(data_dir) or (sources := read_sources(split_dir)).empty:
        return unknown
    for match in _collected_matches(data_dir, None, {split_dir.name: sources}):
        for row in sources[sources["video"].map(video_key) == match.key].itertuples():
            if inside_sec(*_span_of(split_dir, row), match.truth.unknown) > TOUCHES_SEC:
                unknown.add(row.sequence)
    return unknown


def _span_of(split_dir: Path, row: NamedTuple) -> tuple[float, float]:
    """(start_sec, end_sec) of the sequence of a row of sequences.csv; equal without its frames."""
    frames = count_frames(split_dir / "sequences" / row.sequence)
    return float(row.start_sec), float(row.start_sec) + frames / float(row.fps)


def _collected_matches(
    data_dir: Path, video: str | None, sources: dict[str, pd.DataFrame]
) -> list[MarkedMatch]:
    """The marked matches (or the one of a video) that have collected sequences."""
    tables, owners = list_tables(data_dir), read_owners(data_dir)
    if video is not None:
        name = video_name(video, data_dir)
        tables = [path for path in tables if path.stem == match_name(name)]
    if not tables:
        what = "marks" if video is None else f"marks of {video}"
        raise UserError(f"no {what} in {data_dir / 'matches'}; first run labeling.py --match VIDEO")
    if video is not None:
        owners = owners.with_owner(name)
    collected = pd.concat([table["video"] for table in sources.values()]).unique()
    matches = []
    for path in tables:
        truth, owner = read_truth(path), owners.owner_among(path.stem, collected)
        if owner is not None:
            matches.append(MarkedMatch(path.stem, truth, video_key(owner)))
    return matches


def _label_rows(
    split_dir: Path,
    rows: pd.DataFrame,
    match: MarkedMatch,
    until_sec: float | None,
    labels: dict[str, str],
    last_change: dict[str, Change],
) -> MatchLabels:
    """Labels the rows of one match in one split. last_change is {sequence: its last change}."""
    marks, unknown = match.truth.rallies, match.truth.unknown
    result = MatchLabels(split_dir.name, match.name, len(marks))
    last_end_sec = marks[-1][1] if marks else 0.0
    if until_sec is None:
        until_sec = float("inf") if marks else 0.0
    answers = []
    for row in rows.itertuples():
        start_sec, end_sec = _span_of(split_dir, row)
        if end_sec == start_sec:
            continue
        old, change = labels.get(row.sequence, ""), last_change.get(row.sequence)
        from_marks = change is not None and change.what == "marks" and change.new == old
        is_unknown = inside_sec(start_sec, end_sec, unknown) > TOUCHES_SEC
        if is_unknown and (from_marks or not old):
            result.unknown.append(row.sequence)
        result.kept += is_unknown and bool(old) and not from_marks
        if is_unknown or end_sec > until_sec:
            if old and from_marks:
                result.taken_back += 1
                answers.append(Answer(row.sequence, "", old))
            continue
        label = str(label_of(start_sec, end_sec, marks))
        inside = inside_sec(start_sec, end_sec, marks)
        if TOUCHES_SEC < inside < end_sec - start_sec - TOUCHES_SEC:
            result.straddling.append(row.sequence)
        if old and not from_marks:
            result.kept += 1
            result.differing += [row.sequence] if old != label else []
            continue
        result.labelled += 1
        result.after_last += start_sec >= last_end_sec
        if label != old:
            answers.append(Answer(row.sequence, label, old))
    _, meanwhile = save_labels(split_dir, answers, "marks")
    result.labelled -= len(meanwhile)
    result.kept += len(meanwhile)
    return result


def print_labels_from_marks(
    data_dir: Path, video: str | None, until_sec: float | None, splits: tuple[str, ...]
) -> int:
    """Runs label_from_matches, prints what a person should check, and returns the exit code."""
    names = read_class_names(data_dir)
    results = label_from_matches(data_dir, video, until_sec, splits)
    if not results:
        print(
            "no sequence comes from a marked match; run collecting_data.py first", file=sys.stderr
        )
        return 1
    for result in results:
        print(
            f"{result.split}, {result.match}: {count_of(result.labelled, 'sequence')} labelled "
            f"from {count_of(result.rallies, 'rally', 'rallies')}; "
            f"{count_of(result.kept, 'manual label')} kept"
        )
        if result.taken_back:
            labels = count_of(result.taken_back, "label")
            print(f"  removed {labels} that earlier marks gave where now nothing is known")
        if not result.rallies:
            print("  no rally is marked; if the match has none, give its length: --until-sec SEC")
        if result.after_last and until_sec is None:
            print(
                f"  {result.after_last} of them came after the last rally and got {names[0]}; if "
                "the match is not marked to its end, give the last marked second: --until-sec SEC"
            )
        if result.straddling:
            print(f"  a rally starts or ends in: {', '.join(result.straddling)}")
        if result.unknown:
            print(f"  in unknown stretches, not labelled: {', '.join(result.unknown)}")
        if result.differing:
            print(f"  manual label differs from the marks: {', '.join(result.differing)}")
    return 0
