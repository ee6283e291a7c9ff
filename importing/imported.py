"""What was imported, Data/imported.csv, and the tables of marks that are made from it.

    name,match,source,address,group,split,rallies,rallies_sha256,unknown_sha256

The hashes are of the tables Data/matches/<name>.csv and Data/unknown/<name>.csv as imported. By
them a later import sees what a person has changed since, and keeps it. Imports no torch.
"""

import csv
import hashlib
import io
import os
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pandas as pd

from annotation.change_log import log_path
from annotation.ground_truth import Truth, unknown_path
from annotation.labels import PATIENCE_SEC
from annotation.match_marks import Marks, marks_path, read_marks, save_marks
from files import UserError, one_writer, read_table, write_table, write_whole


@dataclass(frozen=True)
class Record:
    """A line of imported.csv."""

    name: str  # of the table of marks
    match: str  # what its source calls the match
    source: str
    address: str  # "" if none is known
    group: str
    split: str
    rallies: str  # how many
    rallies_sha256: str
    unknown_sha256: str


COLUMNS = tuple(field.name for field in fields(Record))


def read_imported(data_dir: Path) -> dict[tuple[str, str], Record]:
    """{(source, match): its record} from imported.csv; {} without it."""
    path = data_dir / "imported.csv"
    if not path.exists():
        return {}
    records = [Record(*row) for row in read_table(path, COLUMNS).itertuples(index=False, name=None)]
    return {(record.source, record.match): record for record in records}


def read_groups(data_dir: Path) -> dict[str, str]:
    """{name of a table of marks: its group} from imported.csv; {} without it."""
    return {record.name: record.group for record in read_imported(data_dir).values()}


def write_imported(data_dir: Path, records: list[Record]) -> None:
    """Replaces imported.csv."""
    write_table(
        data_dir / "imported.csv", pd.DataFrame(map(astuple, records), columns=list(COLUMNS))
    )


def sha256_of(marks: Marks) -> str:
    """A hash of spans."""
    text = "".join(f"{start:.3f},{end:.3f}\n" for start, end in marks)
    return hashlib.sha256(text.encode()).hexdigest()


def is_changed_by_hand(tables: tuple[Path, Path], truth: Truth, record: Record | None) -> bool:
    """Whether the tables of rallies and of unknown stretches hold what no import wrote.

    Each table is compared on its own, because an import may have been killed between the two.
    """
    recorded = (record.rallies_sha256, record.unknown_sha256) if record else ("", "")
    new = (truth.rallies, truth.unknown)
    return any(
        table.exists() and sha256_of(read_marks(table)) not in (its_hash, sha256_of(marks))
        for table, marks, its_hash in zip(tables, new, recorded, strict=True)
    )


def write_marks(rallies: Path, truth: Truth) -> None:
    """Brings the tables of a match to `truth`, as one logged change each.

    The unknown stretches come first: without them, unlabelled play would count as no rally. Raises
    UserError if another program changes a table meanwhile.
    """
    stretches = (unknown_path(rallies), truth.unknown, "stretch")
    for table, marks, what in (stretches, (rallies, truth.rallies, "rally")):
        seen = read_marks(table, what=what)
        if seen == marks:
            continue
        time, _ = save_marks(table, marks, seen, float("inf"), kind="import", what=what)
        if not time:
            raise UserError(
                f"{table} was changed during the import; import again to see what stays"
            )


def tables_of(data_dir: Path, name: str) -> list[Path]:
    """All files of a match's marks: both tables and their logs, there or not."""
    rallies = marks_path(data_dir, name)
    unknown = unknown_path(rallies)
    return [log_path(unknown), unknown, log_path(rallies), rallies]


def rename_tables(data_dir: Path, old: str, new: str) -> None:
    """Moves a match's tables and logs to a new name. What was moved before stays moved."""
    for source, target in zip(tables_of(data_dir, old), tables_of(data_dir, new), strict=True):
        if source.exists():
            with one_writer(source.parent, f".{old}.lock", PATIENCE_SEC):
                os.replace(source, target)


def add_videos(data_dir: Path, lines: list[tuple[str, str]]) -> None:
    """Appends (split, video) lines to videos.csv; what is there stays, byte for byte."""
    path = data_dir / "videos.csv"
    before = path.read_bytes() if path.exists() else b"split,video\n"
    newline = "\r\n" if b"\r\n" in before else "\n"
    header = next(csv.reader([before.decode("utf-8-sig").splitlines()[0]]))
    columns = [name.strip() for name in header]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator=newline)
    writer.writerows({"split": split, "video": video} for split, video in lines)
    gap = b"" if before.endswith(b"\n") else newline.encode()
    write_whole(path, before + gap + text.getvalue().encode())
