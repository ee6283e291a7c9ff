"""The rallies of a whole match as a person marks them: Data/matches/<video name>.csv.

    start_sec,end_sec

Seconds from the file's first frame, to the millisecond; in order, none inside another. Every save
is whole on disk and in the log beside the table. Imports no torch.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from annotation.change_log import (
    Change,
    last_changes,
    log_path,
    read_changes,
    time_now,
    write_with_log,
)
from annotation.labels import PATIENCE_SEC
from collection.sources import (
    is_address,
    read_records,
    read_sources,
    rows_of,
    video_key,
    video_name,
    youtube_id,
)
from files import SPLITS, UserError, one_writer, read_table, write_table

COLUMNS = ("start_sec", "end_sec")
OWNER_COLUMNS = ("name", "video")  # of Data/marked.csv
Marks = list[tuple[float, float]]  # (start_sec, end_sec) of each rally, in order


def match_name(name: str) -> str:
    """What the marks of a video of this video_name are called: YouTube's id, else the file's name
    without its suffix."""
    key = video_key(name)
    return youtube_id(key) or Path(key).stem


def marks_path(data_dir: Path, name: str) -> Path:
    return data_dir / "matches" / f"{name}.csv"


def marked_videos(data_dir: Path) -> dict[str, str]:
    """{name of a table of marks: video_name of the video that they are of}."""
    path = data_dir / "marked.csv"
    if not path.exists():
        return {}
    return dict(read_table(path, OWNER_COLUMNS).itertuples(index=False, name=None))


def claim_name(data_dir: Path, video: Path) -> str:
    """The name of a video's marks, noted in marked.csv as being this one's.

    Raises UserError where the marks of that name are another file's, which is still there.
    """
    full_name = video_name(video, data_dir)
    name = match_name(full_name)
    with one_writer(data_dir / "matches", ".marked.lock", PATIENCE_SEC):
        owners = marked_videos(data_dir)
        owner = owners.get(name, full_name)
        if video_key(owner) != video_key(full_name) and (data_dir / owner).exists():
            raise UserError(
                f"{marks_path(data_dir, name)} holds the marks of {owner}: give {video} another "
                "name before marking it"
            )
        if owners.get(name) != full_name:
            rows = list((owners | {name: full_name}).items())
            write_table(data_dir / "marked.csv", pd.DataFrame(rows, columns=list(OWNER_COLUMNS)))
    return name


def marked_names(data_dir: Path, names: list[str]) -> list[tuple[str, Path]]:
    """(name, table of its rallies) of those of the videos that are marked."""
    owners = {
        stem: video_key(video_name(owner if is_address(owner) else data_dir / owner, data_dir))
        for stem, owner in marked_videos(data_dir).items()
    }
    tables = [(name, marks_path(data_dir, match_name(name))) for name in names]
    return [
        (name, table)
        for name, table in tables
        if table.is_file() and owners.get(table.stem, video_key(name)) == video_key(name)
    ]


def video_of_marks(path: Path, owner: str | None, data_dir: Path) -> str | None:
    """The video_key of the collected video that a table's marks are of; None if there is none.

    That is the owner noted for them; or the one of that name, unless both are there, two files.
    """
    videos = pd.concat([read_sources(data_dir / split)["video"] for split in SPLITS]).unique()
    names = {video_key(each): each for each in videos if match_name(each) == path.stem}
    if owner is not None and video_key(owner) in names:
        return video_key(owner)
    if len(names) > 1:
        raise UserError(
            f"{path}: the marks of which of {', '.join(sorted(names))}? Say --from-match VIDEO"
        )
    if owner is None or not (data_dir / owner).exists():
        return next(iter(names), None)
    return next((k for k, each in names.items() if _may_have_moved(each, owner, data_dir)), None)


def _may_have_moved(video: str, there: str, data_dir: Path) -> bool:
    """Whether a video that was collected can be the file that is `there` now."""
    if (data_dir / video).exists():
        return False
    sizes = rows_of(read_records(data_dir), video)["bytes"]
    return sizes.isin([str((data_dir / there).stat().st_size), ""]).all()


def check_marks(marks: Marks, duration_sec: float = float("inf")) -> None:
    """Raises UserError, naming the first two ends at fault, unless marks can be a match's rallies.

    One may begin when the one before ends.
    """
    for start, end in marks:
        if start < 0:
            raise UserError(f"a rally from {start:.3f} to {end:.3f} s: the match starts at 0")
        if not start < end:
            raise UserError(
                f"a rally from {start:.3f} to {end:.3f} s: its end must be after its start"
            )
    ordered = sorted(marks)
    for (start, end), (following, _) in zip(ordered, ordered[1:], strict=False):
        if following < end:
            raise UserError(
                f"the rally from {start:.3f} to {end:.3f} s overlaps the one from {following:.3f} s"
            )
    for _, end in ordered:
        if end > duration_sec + 0.001:
            raise UserError(
                f"a rally ends at {end:.3f} s, and the match at {duration_sec:.3f} s: are these "
                "the marks of another file?"
            )


def read_marks(path: Path, duration_sec: float = float("inf")) -> Marks:
    """A table's rallies in order of time; none where there is no file.

    Raises UserError, naming the file, for what is no number and for what check_marks refuses.
    """
    if not path.exists():
        return []
    table = read_table(path, COLUMNS)
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(float)
    bad = table[~np.isfinite(numbers).all(axis=1)]
    if len(bad):
        raise UserError(f"{path}: {','.join(bad.iloc[0])} are not two numbers of seconds")
    marks = sorted(numbers.round(3).itertuples(index=False, name=None))
    try:
        check_marks(marks, duration_sec)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return marks


def save_marks(path: Path, marks: Marks, seen: Marks, duration_sec: float) -> tuple[str, Marks]:
    """Writes marks in the place of those seen; returns (the time of the change, what is there now).

    Where another program has changed the table since it was seen, that stays: the time is "".
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
        changes = [Change(time, _text(mark), "1", "", "label") for mark in gone]
        changes += [Change(time, _text(mark), "", "1", "label") for mark in new]
        _write(path, marks, changes)
    return time, marks


def undo_marks(path: Path, time: str | None = None) -> Marks | None:
    """Takes back the changes of that time, or the last ones; returns the marks now, None if none is
    left to undo. Raises UserError when other marks are in its way."""
    with one_writer(path.parent, f".{path.stem}.lock", PATIENCE_SEC):
        changes = last_changes(read_changes(log_path(path)), time, ("label",))
        if not changes:
            return None
        marks = read_marks(path)
        for change in changes:
            mark = _mark(change.sequence)
            if change.new and mark not in marks:
                raise UserError(f"the rally {change.sequence} s has been changed elsewhere since")
            if change.new:
                marks.remove(mark)
            elif change.old and mark not in marks:
                marks.append(mark)
        marks.sort()
        check_marks(marks)
        now = time_now()
        back = [Change(now, c.sequence, c.new, c.old, f"undo {c.time}") for c in changes]
        _write(path, marks, back)
    return marks


def _text(mark: tuple[float, float]) -> str:
    return f"{mark[0]:.3f}-{mark[1]:.3f}"


def _mark(text: str) -> tuple[float, float]:
    start, end = text.split("-")
    return float(start), float(end)


def _write(path: Path, marks: Marks, changes: list[Change]) -> None:
    rows = [(f"{start:.3f}", f"{end:.3f}") for start, end in marks]
    write_with_log(path, pd.DataFrame(rows, columns=list(COLUMNS), dtype=str), changes)
