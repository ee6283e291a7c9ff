"""A match that others have labelled, as its source lists it. Imports no torch."""

import re
from dataclasses import dataclass
from pathlib import Path

from annotation.match_marks import match_name


@dataclass(frozen=True)
class PublicMatch:
    """A match in a folder of published labels."""

    source: str  # ShuttleSet, ShuttleSet22, BadmintonDB, or the name of a plain table
    reference: str  # a short unique name, for the command line: ShuttleSet/8
    name: str  # what its source calls it
    path: Path  # its folder of tables, its JSON file, or the plain table
    group: str  # its venue and month: matches of a group belong into one split
    address: str = ""  # the watch address of its video; "" if the source has none
    video: str = ""  # the path of its video, which only plain tables have
    left_out: str = ""  # why it must not be imported; "" if it may
    new_group: str = ""  # the tournament, if the table of venues does not have it

    @property
    def plain_name(self) -> str:
        """The name of its table of marks as long as no address is known."""
        if self.video:
            return match_name(self.video)
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.name)
