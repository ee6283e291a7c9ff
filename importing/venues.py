"""Where a tournament was played: matches of one venue and month look alike and form a group.

A model that has seen a hall, its light, its cameras and its advertising finds the rallies of
another match there more easily. So matches of a group go into one split. Imports no torch.
"""

import re
from functools import cache
from pathlib import Path

from files import read_table

VENUES = Path(__file__).with_name("venues.csv")  # tournament,year,month,group


@cache
def read_venues() -> dict[tuple[str, int, int], str]:
    """{(tournament in lower case, year, month): group}"""
    table = read_table(VENUES, ("tournament", "year", "month", "group"))
    return {
        (tournament.lower(), int(year), int(month)): group
        for tournament, year, month, group in table.itertuples(index=False, name=None)
    }


def group_of(tournament: str, year: int, month: int) -> tuple[str, bool]:
    """(group of a tournament's matches, whether its venue is known).

    A tournament that venues.csv does not have is a group of its own.
    """
    group = read_venues().get((tournament.strip().lower(), year, month))
    own = re.sub(r"[^a-z0-9]+", "-", tournament.lower()).strip("-")
    return (group, True) if group else (f"{own}-{year}-{month:02d}", False)
