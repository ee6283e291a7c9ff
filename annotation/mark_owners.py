"""Whose marks a table is: the rule by which marking, labelling and detection tell.

    Data/marked.csv: name,video

A table of marks is named after its video's file, and two videos can have files of one name: so
marked.csv notes which one a table is of. Imports no torch.
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
    """What is known of whose marks each table is, read once: marked.csv and collected.csv."""

    data_dir: Path
    video_by_table: dict[str, str]  # marked.csv: {name of a table: video_name of its video}
    records: pd.DataFrame

    def owner_among(self, table: str, videos: Iterable[str]) -> str | None:
        """The one of these videos (their names) that a table's marks are of; None if none is.

        That is the video noted in marked.csv; or the only one of the table's name, unless another
        is noted whose file is still there. Raises UserError where two have the table's name.
        """
        namesakes = {video_key(video): video for video in videos if match_name(video) == table}
        noted = self.video_by_table.get(table)
        if noted is not None and video_key(noted) in namesakes:
            return namesakes[video_key(noted)]
        if len(namesakes) > 1:
            raise UserError(
                f"{marks_path(self.data_dir, table)}: these could be the marks of "
                f"{', '.join(sorted(namesakes.values()))}; open the right one with labeling.py "
                "--match VIDEO, which notes it, or name it with labeling.py --from-match VIDEO"
            )
        only = next(iter(namesakes.values()), None)
        if only is None or noted is None or not (self.data_dir / noted).exists():
            return only
        return only if self._may_have_moved(only, noted) else None

    def _may_have_moved(self, video: str, noted: str) -> bool:
        """Whether a video that is no longer in its place can be the file noted, which is there."""
        if (self.data_dir / video).exists():
            return False
        sizes = rows_of(self.records, video)["bytes"]
        return sizes.isin([str((self.data_dir / noted).stat().st_size), ""]).all()

    def with_owner(self, video: str) -> "MarkOwners":
        """The same with a video that a person has named: the table of its name is its own.

        Raises UserError where the marks are of another video, whose file is still there.
        """
        table = match_name(video)
        if self.owner_among(table, [video]) is None:
            noted = self.video_by_table[table]
            raise UserError(
                f"{marks_path(self.data_dir, table)} holds the marks of {noted}, not of {video}: "
                f"name {self.data_dir / noted}, or give the other file another name"
            )
        return replace(self, video_by_table=self.video_by_table | {table: video})


def read_owners(data_dir: Path) -> MarkOwners:
    """Raises UserError for tables that cannot be read."""
    return MarkOwners(data_dir, marked_videos(data_dir), read_records(data_dir))


def marked_videos(data_dir: Path) -> dict[str, str]:
    """{name of a table of marks: video_name of the video that marked.csv notes}."""
    path = data_dir / "marked.csv"
    if not path.exists():
        return {}
    return {
        table: video_name(video if is_address(video) else data_dir / video, data_dir)
        for table, video in read_table(path, COLUMNS).itertuples(index=False, name=None)
    }


def claim_table(data_dir: Path, video: Path) -> Path:
    """The table for a video's marks, noted in marked.csv as being this one's.

    Raises UserError where the marks of that name are of another file, which is still there.
    """
    name = video_name(video, data_dir)
    table = match_name(name)
    with one_writer(data_dir / "matches", ".marked.lock", PATIENCE_SEC):
        owners = read_owners(data_dir)
        if owners.with_owner(name).video_by_table != owners.video_by_table:
            _note_owner(data_dir / "marked.csv", table, name)
    return marks_path(data_dir, table)


def _note_owner(path: Path, table: str, video: str) -> None:
    """Puts a table's video into marked.csv, whose other rows and further columns stay."""
    empty = pd.DataFrame(columns=list(COLUMNS), dtype=str)
    notes = read_table(path, COLUMNS, others=True) if path.exists() else empty
    if (notes["name"] == table).any():
        notes.loc[notes["name"] == table, "video"] = video
    else:
        row = pd.DataFrame([[table, video]], columns=list(COLUMNS))
        notes = pd.concat([notes, row], ignore_index=True).fillna("")
    write_table(path, notes)


def tables_by_video(data_dir: Path, videos: list[str]) -> dict[str, Path]:
    """{video: the table of its marks} of those of these videos (their names) that are marked.

    Raises UserError where a table could be of two of them.
    """
    owners = read_owners(data_dir)
    owned = ((owners.owner_among(path.stem, videos), path) for path in list_tables(data_dir))
    return {video: path for video, path in owned if video is not None}
