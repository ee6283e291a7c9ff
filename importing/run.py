"""Imports published labels: writes marks, their records and lines of videos.csv; prints a table.

The order of writing is such that a killed import comes right when it is run again: marks, then
their records, then videos.csv. Imports no torch.
"""

import shlex
import textwrap
from pathlib import Path

import pandas as pd

from annotation.ground_truth import inside_sec
from annotation.match_marks import marks_path
from cli import count_of, print_table
from files import SPLITS, one_writer
from importing.imported import (
    Record,
    add_videos,
    read_imported,
    rename_tables,
    write_imported,
    write_marks,
)
from importing.plan import Plan, Planned, film_path, make_plan

WHY = "split, or why not"  # the last column
NAME_WIDTH = 22  # of the name of a table, shortened in the middle
WHY_WIDTH = 38  # of the reason why a match is left out


def import_labels(
    folders: list[Path], data_dir: Path, addresses: list[tuple[str, str]], dry_run: bool
) -> int:
    """Imports the matches of some folders, or prints what it would do; returns the exit code.

    addresses are (match, YouTube address) pairs. Raises UserError as make_plan does, and if a table
    cannot be written.
    """
    if dry_run:
        plan = make_plan(folders, data_dir, addresses)
    else:
        with one_writer(data_dir, ".import.lock"):  # a second import waits, and finds it all done
            plan = make_plan(folders, data_dir, addresses)
            carry_out(plan, data_dir)
    print_plan(plan, data_dir)
    return 0 if any(not one.left_out for one in plan.matches) else 1


def carry_out(plan: Plan, data_dir: Path) -> None:
    """Writes what is planned. What is on disk already is not written again."""
    for one in plan.matches:
        if one.old_name:
            rename_tables(data_dir, one.old_name, one.name)
        if one.labels and not one.kept:
            write_marks(marks_path(data_dir, one.name), one.labels.truth)
    if plan.records != list(read_imported(data_dir).values()):
        write_imported(data_dir, plan.records)
    lines = [
        (one.record.split, one.video)
        for one in plan.matches
        if one.record and one.video and not one.is_listed
    ]
    if lines:
        add_videos(data_dir, lines)


def print_plan(plan: Plan, data_dir: Path) -> None:
    """Prints a row for each match, totals by split, and what is left to do."""
    print_table(pd.DataFrame([_row(one) for one in plan.matches]), ("match", "name", WHY))
    for one in plan.matches:
        if len(one.left_out) > WHY_WIDTH:
            print(f"{one.match.reference}: {one.left_out}")
    if plan.records:
        print("\nall imported matches:")
        print_table(_totals(plan.records), ("split",))
    imported = [one for one in plan.matches if one.labels]
    if imported:
        rallies = sum(len(one.labels.truth.rallies) for one in imported)
        timed = sum(one.labels.timed for one in imported)
        print(f"{rallies} of {count_of(timed, 'rally', 'rallies')} with a known stroke are certain")
    for tournament in sorted({one.match.new_group for one in imported} - {""}):
        print(f"the venue of {tournament} is not known; its matches are a group of their own")
    for group in plan.disagreeing:
        print(f"videos.csv has matches of {group} in several splits; further ones go into train")
    no_film = [one for one in imported if not one.video]
    if no_film:
        print(
            f"\n{count_of(len(no_film), 'match', 'matches')} without film or address: put the film "
            f"into {data_dir / 'videos'},\nunder the name below, and import again, or give its "
            "address with --address MATCH URL"
        )
        width = max(len(one.match.reference) for one in no_film)
        for one in no_film:
            print(f"  {one.match.reference:<{width}}  {film_path(one.match, data_dir).name}")
    if len(imported) > len(no_film):
        where = "" if data_dir == Path("Data") else f" --data {shlex.quote(str(data_dir))}"
        print(f"\nnext: python collecting_data.py{where}")


def _row(one: Planned) -> dict:
    """A match's row of the table."""
    row = {"match": one.match.reference, "name": shorten(one.name, NAME_WIDTH)}
    if not one.labels:
        why = textwrap.shorten(one.left_out, WHY_WIDTH, placeholder=" ...")
        return row | {"rallies": "", "unknown s": "", "known": "", WHY: why}
    last_sec = one.labels.last_sec
    unknown_sec = inside_sec(0.0, last_sec, one.labels.truth.unknown)
    split = one.record.split if one.record else ""
    return row | {
        "rallies": len(one.labels.truth.rallies),
        "unknown s": f"{unknown_sec:.0f}",
        "known": f"{1 - unknown_sec / last_sec:.1%}",
        WHY: ", ".join(filter(None, [split, one.kept and f"kept: {one.kept}"])),
    }


def shorten(name: str, width: int) -> str:
    """The name, with ... in its middle if it has more letters than width."""
    half = (width - 3) // 2
    return name if len(name) <= width else f"{name[:half]}...{name[-half:]}"


def _totals(records: list[Record]) -> pd.DataFrame:
    """Matches, rallies and share of the rallies of each split."""
    everything = sum(int(record.rallies) for record in records)
    rows = []
    for split in SPLITS:
        rallies = [int(record.rallies) for record in records if record.split == split]
        share = f"{sum(rallies) / everything:.0%}"
        rows.append(
            {"split": split, "matches": len(rallies), "rallies": sum(rallies), "share": share}
        )
    return pd.DataFrame(rows)
