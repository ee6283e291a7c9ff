"""The rallies of a whole match as a person marks them: Data/matches/<video name>.csv.

    start_sec,end_sec

Seconds from the file's first frame, to the millisecond; in order, none inside another. Every save
is whole on disk and in the log beside the table. Imports no torch.
"""

from pathlib import Path

import pandas as pd

from files import SPLITS, UserError, one_writer, read_table, write_table
from frames import frame_paths
from labels import PATIENCE_SEC, Answer, labels_path, read_labels, save_labels
from sources import read_sources, video_key, video_name, youtube_id
from steps import Step, append_steps, last_step, log_path, read_steps, standing, time_now

COLUMNS = ("start_sec", "end_sec")
Marks = list[tuple[float, float]]  # (start_sec, end_sec) of each rally, in order


def match_name(name: str) -> str:
    """What the marks of a video of this video_name are called: YouTube's id, else the file's name
    without its suffix."""
    key = video_key(name)
    return youtube_id(key) or Path(key).stem


def marks_path(data_dir: Path, name: str) -> Path:
    return data_dir / "matches" / f"{name}.csv"


def check_marks(marks: Marks, duration_sec: float = float("inf")) -> None:
    """Raises UserError, naming the first two ends at fault, unless marks can be a match's rallies.

    One may begin when the one before ends.
    """
    for start, end in marks:
        if not 0 <= start < end:
            raise UserError(
                f"a rally from {start:.3f} to {end:.3f} s: its end must be after its start"
            )
        if end > duration_sec + 0.001:
            raise UserError(f"a rally ends at {end:.3f} s, and the match at {duration_sec:.3f} s")
    ordered = sorted(marks)
    for (start, end), (following, _) in zip(ordered, ordered[1:], strict=False):
        if following < end:
            raise UserError(
                f"the rally from {start:.3f} to {end:.3f} s overlaps the one from {following:.3f} s"
            )


def read_marks(path: Path) -> Marks:
    """A table's rallies in order of time; none where there is no file.

    Raises UserError for what is no number, and for what check_marks refuses.
    """
    if not path.exists():
        return []
    table = read_table(path, COLUMNS)
    numbers = table.apply(pd.to_numeric, errors="coerce")
    bad = table[numbers.isna().any(axis=1)]
    if len(bad):
        raise UserError(f"{path}: {','.join(bad.iloc[0])} are not two numbers of seconds")
    marks = sorted(numbers.astype(float).round(3).itertuples(index=False, name=None))
    try:
        check_marks(marks)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return marks


def save_marks(path: Path, marks: Marks, seen: Marks, duration_sec: float) -> tuple[str, Marks]:
    """Writes marks in the place of those seen; returns (the step's name, what is on disk now).

    Where another program has changed the table since it was seen, that stays: the name is "".
    Raises UserError for marks that check_marks refuses, and when they cannot be saved.
    """
    marks = sorted((round(start, 3), round(end, 3)) for start, end in marks)
    check_marks(marks, duration_sec)
    with one_writer(path.parent, f".{path.stem}.lock", PATIENCE_SEC):
        now = read_marks(path)
        if now != sorted(seen) and now != marks:
            return "", now
        time = time_now()
        gone, new = [m for m in now if m not in marks], [m for m in marks if m not in now]
        steps = [Step(time, _text(mark), "1", "", "label") for mark in gone]
        steps += [Step(time, _text(mark), "", "1", "label") for mark in new]
        _write(path, marks, steps)
    return time, marks


def undo_marks(path: Path, time: str | None = None) -> Marks | None:
    """Takes back the step of that time, or the last one; returns the marks now, None if none is
    left to undo. Raises UserError when other marks are in its way."""
    with one_writer(path.parent, f".{path.stem}.lock", PATIENCE_SEC):
        steps = last_step(read_steps(log_path(path)), time, ("label",))
        if not steps:
            return None
        marks = read_marks(path)
        for step in steps:
            mark = _mark(step.sequence)
            if step.new and mark in marks:
                marks.remove(mark)
            elif step.old and mark not in marks:
                marks.append(mark)
        marks.sort()
        check_marks(marks)
        now = time_now()
        back = [Step(now, s.sequence, s.new, s.old, f"undo {s.time}") for s in steps]
        _write(path, marks, back)
    return marks


def _text(mark: tuple[float, float]) -> str:
    return f"{mark[0]:.3f}-{mark[1]:.3f}"


def _mark(text: str) -> tuple[float, float]:
    start, end = text.split("-")
    return float(start), float(end)


def _write(path: Path, marks: Marks, steps: list[Step]) -> None:
    if steps:
        append_steps(log_path(path), steps)
    rows = [(f"{start:.3f}", f"{end:.3f}") for start, end in marks]
    write_table(path, pd.DataFrame(rows, columns=list(COLUMNS), dtype=str))


def inside_sec(start_sec: float, end_sec: float, marks: Marks) -> float:
    """How much of the time from start_sec to end_sec lies in rallies."""
    return sum(max(0.0, min(end, end_sec) - max(start, start_sec)) for start, end in marks)


def label_of(start_sec: float, end_sec: float, marks: Marks) -> int:
    """1 where at least half of the sequence lies in rallies."""
    return int(inside_sec(start_sec, end_sec, marks) >= (end_sec - start_sec) / 2 - 1e-6)


def label_from_matches(
    data_dir: Path, video: str | None = None, until_sec: float = float("inf")
) -> list[dict]:
    """Labels the sequences of a marked match, or of all of them, but those of a person's.

    Only sequences that end by until_sec. Returns a dict for each match and split that has its
    sequences: split, video, marks, labelled, after (the last rally), kept (a person's), and the
    names of those that `differ` from a person's and of those `straddling` an edge. Raises
    UserError for marks that could be of two videos, and where there are none.
    """
    marked = sorted((data_dir / "matches").glob("*.csv"))
    marked = [path for path in marked if not path.name.endswith(".log.csv")]
    if video is not None:
        name = video_name(video, data_dir)
        marked = [path for path in marked if path.stem == match_name(name)]
    if not marked:
        raise UserError(f"no marks in {data_dir / 'matches'}: first labeling.py --match VIDEO")
    result = []
    for path in marked:
        marks, owners = read_marks(path), set()
        for split in SPLITS:
            sources = read_sources(data_dir / split)
            same = sources["video"].map(match_name) == path.stem
            if video is not None:
                same &= sources["video"].map(video_key) == video_key(name)
            owners |= set(sources.loc[same, "video"].map(video_key))
            if len(owners) > 1:
                raise UserError(
                    f"{path}: the marks of which of {', '.join(sorted(owners))}? Name it: "
                    "--from-match VIDEO"
                )
            if same.any():
                found = _label_rows(data_dir / split, sources[same], marks, until_sec)
                result.append({"split": split, "video": path.stem, "marks": len(marks)} | found)
    return result


def _label_rows(split_dir: Path, rows: pd.DataFrame, marks: Marks, until_sec: float) -> dict:
    """What label_from_matches tells of one video in one split."""
    labels = read_labels(split_dir)
    last = {s.sequence: s for s in standing(read_steps(log_path(labels_path(split_dir))))}
    last_end = marks[-1][1] if marks else 0.0
    answers, kept, differ, straddling, after = [], 0, [], [], 0
    for row in rows.itertuples():
        folder = split_dir / "sequences" / row.sequence
        if not folder.is_dir():
            continue
        start = float(row.start_sec)
        end = start + len(frame_paths(folder)) / float(row.fps)
        if end > until_sec:
            continue
        label, now = str(label_of(start, end, marks)), labels.get(row.sequence, "")
        if 0.001 < inside_sec(start, end, marks) < end - start - 0.001:
            straddling.append(row.sequence)
        step = last.get(row.sequence)
        if now and not (step and step.what == "marks" and step.new == now):
            kept += 1
            differ += [row.sequence] if now != label else []
            continue
        after += start >= last_end
        answers.append(Answer(row.sequence, label, now))
    _, meanwhile = save_labels(split_dir, [a for a in answers if a.label != a.seen], "marks")
    return {
        "labelled": len(answers) - len(meanwhile),
        "after": after,
        "kept": kept + len(meanwhile),
        "differ": differ,
        "straddling": straddling,
    }
