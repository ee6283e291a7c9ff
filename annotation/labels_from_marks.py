"""Labels of collected sequences from the marks of the match that they come from.

At least half inside a rally is label 1. What a person has labelled stays. Imports no torch.
"""

import sys
from pathlib import Path

import pandas as pd

from annotation.change_log import standing
from annotation.labels import Answer, read_class_names, read_labels, read_log, save_labels
from annotation.match_marks import Marks, marked_videos, match_name, read_marks, video_of_marks
from collection.sources import read_sources, video_key, video_name
from files import SPLITS, UserError
from media.frames import count_frames


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
) -> list[dict]:
    """Labels the sequences of a marked match, or of all of them, but those of a person's.

    Of a match without any rally only with until_sec. Where that is given, only sequences that end
    by then; what earlier marks had made of the others is taken back. Returns a dict for each match
    and split that has its sequences: split, video, marks, labelled, of these `after` the last
    rally, kept (a person's), taken_back, and the names of those that `differ` from a person's and
    of those `straddling` an edge. Raises UserError for marks that could be of two videos, and where
    there are none.
    """
    marked = sorted((data_dir / "matches").glob("*.csv"))
    marked = [path for path in marked if not path.name.endswith(".log.csv")]
    if video is not None:
        name = video_name(video, data_dir)
        marked = [path for path in marked if path.stem == match_name(name)]
    if not marked:
        what = "marks" if video is None else f"marks of {video}"
        raise UserError(f"no {what} in {data_dir / 'matches'}: first labeling.py --match VIDEO")
    owners = marked_videos(data_dir)
    result = []
    for path in marked:
        marks, owner = read_marks(path), owners.get(path.stem)
        if video is not None:
            if owner and video_key(owner) != video_key(name) and (data_dir / owner).exists():
                raise UserError(
                    f"{path} holds the marks of {owner}, not of {video}: say --from-match "
                    f"{data_dir / owner}"
                )
            owner = name
        whose = video_of_marks(path, owner, data_dir)
        until = until_sec if until_sec is not None else float("inf") if marks else 0.0
        for split in splits:
            sources = read_sources(data_dir / split)
            rows = sources[sources["video"].map(video_key) == whose]
            if len(rows):
                found = _label_rows(data_dir / split, rows, marks, until)
                result.append({"split": split, "video": path.stem, "marks": len(marks)} | found)
    return result


def _label_rows(split_dir: Path, rows: pd.DataFrame, marks: Marks, until_sec: float) -> dict:
    """What label_from_matches tells of one video in one split."""
    labels = read_labels(split_dir)
    last = {s.sequence: s for s in standing(read_log(split_dir))}
    last_end = marks[-1][1] if marks else 0.0
    found = {"labelled": 0, "after": 0, "kept": 0, "taken_back": 0, "differ": [], "straddling": []}
    answers = []
    for row in rows.itertuples():
        frames = count_frames(split_dir / "sequences" / row.sequence)
        if not frames:
            continue
        start, now = float(row.start_sec), labels.get(row.sequence, "")
        end, change = start + frames / float(row.fps), last.get(row.sequence)
        of_marks = change and change.what == "marks" and change.new == now
        if end > until_sec:
            if now and of_marks:
                found["taken_back"] += 1
                answers.append(Answer(row.sequence, "", now))
            continue
        label = str(label_of(start, end, marks))
        if 0.001 < inside_sec(start, end, marks) < end - start - 0.001:
            found["straddling"].append(row.sequence)
        if now and not of_marks:
            found["kept"] += 1
            found["differ"] += [row.sequence] if now != label else []
            continue
        found["labelled"] += 1
        found["after"] += start >= last_end
        if label != now:
            answers.append(Answer(row.sequence, label, now))
    _, meanwhile = save_labels(split_dir, answers, "marks")
    found["labelled"] -= len(meanwhile)
    found["kept"] += len(meanwhile)
    return found


def print_labels_from_marks(
    data_dir: Path, video: str | None, until_sec: float | None, splits: tuple[str, ...]
) -> int:
    """label_from_matches; prints what a person should look at, and returns the exit code."""
    names = read_class_names(data_dir)
    found = label_from_matches(data_dir, video, until_sec, splits)
    if not found:
        print("no sequence of a marked match has been collected", file=sys.stderr)
        return 1
    for row in found:
        print(
            f"{row['split']}, {row['video']}: {row['labelled']} labelled from {row['marks']} "
            f"rallies; {row['kept']} that a person labelled kept"
        )
        if row["taken_back"]:
            print(f"  {row['taken_back']} come later: their labels from marks are taken back")
        if not row["marks"]:
            print("  if there is no rally in it at all, say how long it is: --until-sec SEC")
        if row["after"] and until_sec is None:
            print(
                f"  {row['after']} of them come after the last rally and are {names[0]}: if the "
                "match is not marked to its end, say how far with --until-sec SEC"
            )
        for text, key in (
            ("an edge of a rally cuts", "straddling"),
            ("a person's label differs from the marks", "differ"),
        ):
            if row[key]:
                print(f"  {text}: {', '.join(row[key])}")
    return 0
