"""Which video a table of marks belongs to: one rule for marking, labelling and detection.

    Data/marked.csv: name,video

A table of marks is named after its video's file, and two videos can have the same file name. So
marked.csv notes which video each table belongs to. Imports no torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from annotation.labels import PATIENCE_SEC
from annotation.match_marks import list_tables, marks_path, match_name
from collection.sources import is_address, read_records, rows_of, video_key, video_name
from files import UserError, one_writer, read_table, write_table

COLUMNS = ("name", "video")  # of marked.csv


@dataclass(frozen=True)
class MarkOwners:
    """Which video each table of marks belongs to, read once from marked.csv and collected.csv."""

    data_dir: Path
    video_by_table: dict[str, str]  # marked.csv: {name of a table: video_name of its video}
    records: pd.DataFrame  # collected.csv

    def owner_among(self, table: str, videos: Iterable[str]) -> str | None:
        """The one of these videos (by video_name) that a table belongs to, or None.

        It is the video noted in marked.csv. Without it among these videos, it is the only one with
        the table's name, unless the file of the noted video still exists and cannot be this
        video after a move. Raises UserError if two have the table's name.
        """
        namesakes = {video_key(video): video for video in videos if match_name(video) == table}
        noted = self.video_by_table.get(table)
        if noted is not None and video_key(noted) in namesakes:
            return namesakes[video_key(noted)]
        if len(namesakes) > 1:
            raise UserError(
                f"{marks_path(self.data_dir, table)} could belong to any of "
                f"{', '.join(sorted(namesakes.values()))}; open the right one with labeling.py "
                "--match VIDEO, which notes it, or give it to labeling.py --from-match VIDEO"
            )
        only = next(iter(namesakes.values()), None)
        if only is None or noted is None or not (self.data_dir / noted).exists():
            return only
        return only if self._may_have_moved(only, noted) else None

    def _may_have_moved(self, video: str, noted: str) -> bool:
        """Whether the noted file can be this video, moved: no file of this name, equal sizes."""
        if (self.data_dir / video).exists():
            return False
        sizes = rows_of(self.records, video)["bytes"]
        return sizes.isin([str((self.data_dir / noted).stat().st_size), ""]).all()

    def with_owner(self, video: str) -> "MarkOwners":
        """A copy in which the table of this video's name belongs to this video.

        Raises UserError if the table belongs to another video whose file still exists.
        """
        table = match_name(video)
        if self.owner_among(table, [video]) is None:
            noted = self.video_by_table[table]
            raise UserError(
                f"{marks_path(self.data_dir, table)} holds the marks of {noted}, not of {video}; "
                f"use {self.data_dir / noted}, or rename {video}"
            )
        return replace(self, video_by_table=self.video_by_table | {table: video})


def read_owners(data_dir: Path) -> MarkOwners:
    """Reads marked.csv and collected.csv; raises UserError if one cannot be read."""
    return MarkOwners(data_dir, marked_videos(data_dir), read_records(data_dir))


def marked_videos(data_dir: Path) -> dict[str, str]:
    """{name of a table of marks: video_name of its video} from marked.csv; empty without it."""
    path = data_dir / "marked.csv"
    if not path.exists():
        return {}
    return {
        table: video_name(video if is_address(video) else data_dir / video, data_dir)
        for table, video in read_table(path, COLUMNS).itertuples(index=False, name=None)
    }


def claim_table(data_dir: Path, video: Path) -> Path:
    """The path of the table for a video's marks; notes the video in marked.csv.

    Raises UserError if the table belongs to another video whose file still exists.
    """
    name = video_name(video, data_dir)
    table = match_name(name)
    with one_writer(data_dir / "matches", ".marked.lock", PATIENCE_SEC):
        owners = read_owners(data_dir)
        if owners.with_owner(name).video_by_table != owners.video_by_table:
            _note_owner(data_dir / "marked.csv", table, name)
    return marks_path(data_dir, table)


def _note_owner(path: Path, table: str, video: str) -> None:
    """Notes a table's video in marked.csv; other rows and extra columns are kept."""
    empty = pd.DataFrame(columns=list(COLUMNS), dtype=str)
    notes = read_table(path, COLUMNS, others=True) if path.exists() else empty
    if (notes["name"] == table).any():
        notes.loc[notes["name"] == table, "video"] = video
    else:
        row = pd.DataFrame([[table, video]], columns=list(COLUMNS))
        notes = pd.concat([notes, row], ignore_index=True).fillna("")
    write_table(path, notes)


def tables_by_video(data_dir: Path, videos: list[str]) -> dict[str, Path]:
    """{video: path of the table of its marks} for the marked videos among `videos` (video_name).

    Raises UserError if a table could belong to two of them.
    """
    owners = read_owners(data_dir)
    owned = ((owners.owner_among(path.stem, videos), path) for path in list_tables(data_dir))
    return {video: path for video, path in owned if video is not None}
