"""Finds the marked matches of a data folder: their videos, ground truth, splits and groups.

Marks of test matches are read only where a function says so.
"""

from dataclasses import dataclass
from pathlib import Path

from annotation.ground_truth import Truth, read_truth
from annotation.mark_owners import tables_by_video
from annotation.match_marks import list_tables
from collection.downloading import find_file
from collection.sources import is_address, youtube_id
from collection.video_index import read_splits
from files import SPLITS, UserError

FIT_SPLITS = ("train", "validation")


class NotMarked(UserError):
    """A split has no match with marked rallies."""


@dataclass(frozen=True)
class MarkedMatch:
    """A match whose video is there and whose rallies are marked."""

    name: str  # of the table of its marks
    path: Path  # of its video
    truth: Truth


def has_marked_matches(data_dir: Path) -> bool:
    """Whether train and validation each have a marked match, and test has a match."""
    try:
        marked_for_fit(data_dir)
    except NotMarked:
        return False
    return bool(present_matches(data_dir, "test"))


def marked_for_fit(data_dir: Path) -> tuple[dict[str, list[MarkedMatch]], list[str]]:
    """Returns the marked matches of train and validation, and why others are left out.

    Matches of test are skipped. Raises NotMarked if train or validation has no marked rally, and
    UserError as marked_matches does.
    """
    matches, notes = marked_matches(data_dir, FIT_SPLITS)
    for split in FIT_SPLITS:
        if not any(match.truth.rallies for match in matches[split]):
            why = "".join(f"\n  - {note}" for note in notes)
            raise NotMarked(
                f"no marked match in {split}; mark one with python labeling.py --match VIDEO, and "
                f"add the line {split},VIDEO to {data_dir / 'videos.csv'}{why}"
            )
    return matches, notes


def marked_matches(
    data_dir: Path, splits: tuple[str, ...] = SPLITS
) -> tuple[dict[str, list[MarkedMatch]], list[str]]:
    """Returns {split: its marked matches}, and why others are left out.

    The split is that of videos.csv or of the sequences collected from the video. Matches without a
    split are skipped. Raises UserError if a video is in two splits or a table of marks could belong
    to two videos.
    """
    matches, notes = {split: [] for split in splits}, []
    index = read_splits(data_dir)
    tables = tables_by_video(data_dir, list(index.name_by_key.values()))
    for split in splits:
        for name in index.names_in(split):
            if name not in tables:
                continue
            table, path = tables[name], _file_of(name, data_dir)
            if path is None:
                notes.append(f"{table.stem}: its video {name} is missing")
            else:
                matches[split].append(MarkedMatch(table.stem, path, read_truth(table)))
    for table in list_tables(data_dir):
        if table not in tables.values():
            where = data_dir / "videos.csv"
            notes.append(f"{table.stem}: its video has no split; add it to {where}")
    return matches, notes


def present_matches(data_dir: Path, split: str) -> list[tuple[Path, Truth]]:
    """Returns (video file, its ground truth) of the matches of a split whose file exists.

    The ground truth has no rallies if the match is not marked.
    """
    index = read_splits(data_dir)
    tables = tables_by_video(data_dir, list(index.name_by_key.values()))
    files = [(name, _file_of(name, data_dir)) for name in index.names_in(split)]
    return [
        (path, read_truth(tables[name]) if name in tables else Truth([]))
        for name, path in files
        if path is not None
    ]


def _file_of(name: str, data_dir: Path) -> Path | None:
    """Returns the file of a video, or None if it is missing or an address outside YouTube."""
    if is_address(name) and youtube_id(name) is None:
        return None
    path = find_file(name if is_address(name) else data_dir / name, data_dir)
    return path if path is not None and path.is_file() else None
