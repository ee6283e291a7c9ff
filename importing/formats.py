"""Which format of labels a folder holds, and the matches in it. Imports no torch."""

from pathlib import Path

from files import UserError
from importing import badminton_db, plain_tables, shuttleset
from importing.points import Labels
from importing.public_match import PublicMatch

ORDER = ("ShuttleSet", "ShuttleSet22", "BadmintonDB")  # of a video in two, the first is imported


def list_matches(folders: list[Path]) -> list[PublicMatch]:
    """The matches of all folders, those of ShuttleSet first. Raises UserError for other formats."""
    matches = [match for folder in folders for match in _matches_in(folder)]
    if not matches:
        raise UserError(f"no match is listed in {', '.join(map(str, folders))}: no table has rows")
    return sorted(matches, key=lambda m: ORDER.index(m.source) if m.source in ORDER else len(ORDER))


def _matches_in(folder: Path) -> list[PublicMatch]:
    if not folder.exists():
        raise UserError(f"no such folder: {folder}")
    if folder.is_dir():
        sets = shuttleset.find_sets(folder)
        if sets:
            return [match for path in sets for match in shuttleset.list_matches(path)]
        json_dir = badminton_db.find_json(folder)
        if json_dir:
            return badminton_db.list_matches(json_dir)
    tables = plain_tables.find_tables(folder)
    if not tables:
        raise UserError(
            f"{folder} holds no labels in a known format: ShuttleSet and ShuttleSet22 (match.csv "
            "and a folder for each match), BadmintonDB (json/), or tables video,start_sec,end_sec"
        )
    return [match for table in tables for match in plain_tables.list_matches(table)]


def read_labels(match: PublicMatch) -> Labels:
    """What is known of a match. Raises UserError, which says why, for one that cannot be used."""
    if match.source in ("ShuttleSet", "ShuttleSet22"):
        return shuttleset.read_labels(match.path)
    if match.source == "BadmintonDB":
        return badminton_db.read_labels(match.path)
    return plain_tables.read_labels(match.path, match.name)
