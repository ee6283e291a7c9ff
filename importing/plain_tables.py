"""Plain tables, for labels of any other origin: video,start_sec,end_sec, a row for each rally.

video is a YouTube address or the path of a file; a relative path is relative to the table's folder.
A fourth column, group, says which videos must stay in one split; without it each video is a group.
Everything outside the rallies is known not to be play. Imports no torch.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from annotation.ground_truth import Truth
from annotation.match_marks import check_marks, match_name
from collection.sources import is_address, video_key
from files import UserError, read_table
from importing.points import Labels
from importing.public_match import PublicMatch

COLUMNS = ("video", "start_sec", "end_sec")


def find_tables(path: Path) -> list[Path]:
    """The tables of a folder, or the one file; none if any CSV file there has other columns."""
    tables = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    for table in tables:
        with open(table, encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(1000)  # the file may be a video, without any line
        if not set(COLUMNS) <= {name.strip() for name in first.split(",")}:
            return []
    return tables


def list_matches(table: Path) -> list[PublicMatch]:
    """The videos of a table, in its order. Raises UserError if it cannot be read."""
    rows = read_table(table, COLUMNS, others=True)
    if not (rows["video"] != "").all():
        raise UserError(f"{table}: a row has no video")
    matches = []
    for video, of_video in rows.groupby("video", sort=False):
        given = of_video["group"] if "group" in rows else pd.Series([""])
        if given.nunique() > 1:
            raise UserError(
                f"{table}: {video} has the groups {', '.join(given.unique())}; give one"
            )
        name = video if is_address(video) else str(table.parent / video)
        key = video_key(name)
        matches.append(
            PublicMatch(
                source=table.name,
                reference=match_name(name),
                name=video,
                path=table,
                group=given.iloc[0] or match_name(name),
                address=key if is_address(key) else "",
                video="" if is_address(video) else name,
            )
        )
    return matches


def read_labels(table: Path, video: str) -> Labels:
    """The rallies of one video of a table. Raises UserError for times that cannot be rallies."""
    rows = read_table(table, COLUMNS)
    rows = rows[rows["video"] == video]
    numbers = rows[["start_sec", "end_sec"]].apply(pd.to_numeric, errors="coerce").astype(float)
    bad = rows[~np.isfinite(numbers).all(axis=1)]
    if len(bad):
        raise UserError(f"{','.join(bad.iloc[0])}: the times must be two numbers, in seconds")
    rallies = sorted(numbers.round(3).itertuples(index=False, name=None))
    check_marks(rallies)
    return Labels(Truth(rallies), rallies[-1][1], len(rallies))
