"""Labels of collected sequences from the marks of the match that they come from.

At least half inside a rally is label 1. What a person has labelled stays. Imports no torch.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from annotation.change_log import Change, standing
from annotation.labels import Answer, read_class_names, read_labels, read_log, save_labels
from annotation.mark_owners import read_owners
from annotation.match_marks import Marks, list_tables, match_name, read_marks
from collection.sources import read_sources, video_key, video_name
from files import SPLITS, UserError
from media.frames import count_frames


@dataclass(frozen=True)
class MarkedMatch:
    """A table of marks, and the collected video that they are of."""

    name: str  # of the table
    marks: Marks
    key: str  # the video's video_key


@dataclass
class MatchLabels:
    """What became of the sequences of one match in one split."""

    split: str
    match: str  # the name of its table of marks
    rallies: int
    labelled: int = 0  # from the marks
    after_last: int = 0  # of these, those after the last rally
    kept: int = 0  # a person's labels
    taken_back: int = 0  # labels that earlier marks had made, after until_sec
    differing: list[str] = field(default_factory=list)  # a person's labels, other than the marks
    straddling: list[str] = field(default_factory=list)  # sequences that an edge of a rally cuts


def inside_sec(start_sec: float, end_sec: float, marks: Marks) -> float:
    """How much of the time from start_sec to end_sec lies in rallies."""
    return sum(max(0.0, min(end, end_sec) - max(start, start_sec)) for start, end in marks)


def label_of(start_sec: float, end_sec: float, marks: Marks) -> int:
    """1 where at least half of the sequence lies in rallies."""
    return int(inside_sec(start_sec, end_sec, marks) >= (end_sec - start_sec) / 2 - 1e-6)


def label_from_matches(
    data_dir: Path,
    video: str | None = None,
    until_sec: float | None = None,
    splits: tuple[str, ...] = SPLITS,
) -> list[MatchLabels]:
    """Labels the sequences of a marked match, or of all of them, but those of a person's.

    Of a match without any rally only with until_sec. Where that is given, only sequences that end
    by then; what earlier marks had made of the others is taken back. Raises UserError, before
    anything is labelled, for marks that could be of two videos, and where there are none.
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


def _collected_matches(
    data_dir: Path, video: str | None, sources: dict[str, pd.DataFrame]
) -> list[MarkedMatch]:
    """The marked matches (or the one of a video) that sequences were collected from."""
    tables, owners = list_tables(data_dir), read_owners(data_dir)
    if video is not None:
        name = video_name(video, data_dir)
        tables = [path for path in tables if path.stem == match_name(name)]
    if not tables:
        what = "marks" if video is None else f"marks of {video}"
        raise UserError(f"no {what} in {data_dir / 'matches'}: first labeling.py --match VIDEO")
    if video is not None:
        owners = owners.with_owner(name)
    collected = pd.concat([table["video"] for table in sources.values()]).unique()
    matches = []
    for path in tables:
        marks, owner = read_marks(path), owners.owner_among(path.stem, collected)
        if owner is not None:
            matches.append(MarkedMatch(path.stem, marks, video_key(owner)))
    return matches


def _label_rows(
    split_dir: Path,
    rows: pd.DataFrame,
    match: MarkedMatch,
    until_sec: float | None,
    labels: dict[str, str],
    last_change: dict[str, Change],
) -> MatchLabels:
    """Labels the rows of one match in one split. last_change is the last one of each sequence."""
    result = MatchLabels(split_dir.name, match.name, len(match.marks))
    last_end_sec = match.marks[-1][1] if match.marks else 0.0
    if until_sec is None:
        until_sec = float("inf") if match.marks else 0.0
    answers = []
    for row in rows.itertuples():
        frames = count_frames(split_dir / "sequences" / row.sequence)
        if not frames:
            continue
        start_sec = float(row.start_sec)
        end_sec = start_sec + frames / float(row.fps)
        old, change = labels.get(row.sequence, ""), last_change.get(row.sequence)
        from_marks = change is not None and change.what == "marks" and change.new == old
        if end_sec > until_sec:
            if old and from_marks:
                result.taken_back += 1
                answers.append(Answer(row.sequence, "", old))
            continue
        label = str(label_of(start_sec, end_sec, match.marks))
        if 0.001 < inside_sec(start_sec, end_sec, match.marks) < end_sec - start_sec - 0.001:
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
    """label_from_matches; prints what a person should look at, and returns the exit code."""
    names = read_class_names(data_dir)
    results = label_from_matches(data_dir, video, until_sec, splits)
    if not results:
        print("no sequence of a marked match has been collected", file=sys.stderr)
        return 1
    for result in results:
        rallies = "1 rally" if result.rallies == 1 else f"{result.rallies} rallies"
        print(
            f"{result.split}, {result.match}: {result.labelled} labelled from {rallies}; "
            f"{result.kept} that a person labelled kept"
        )
        if result.taken_back:
            print(f"  {result.taken_back} come later: their labels from marks are taken back")
        if not result.rallies:
            print("  if there is no rally in it at all, say how long it is: --until-sec SEC")
        if result.after_last and until_sec is None:
            print(
                f"  {result.after_last} of them come after the last rally and are {names[0]}: if "
                "the match is not marked to its end, say how far with --until-sec SEC"
            )
        if result.straddling:
            print(f"  an edge of a rally cuts: {', '.join(result.straddling)}")
        if result.differing:
            print(f"  a person's label differs from the marks: {', '.join(result.differing)}")
    return 0
