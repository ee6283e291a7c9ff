"""BadmintonDB: a folder json/ with a file for each match, and addresses in the README.md beside it.

A file is an object of points in the order of play. Of a point are read PointInfo.PointBegin,
PointInfo.PointEnd and PointInfo.Rally[].StrokeEnd (seconds or null) and VideoInfo.Visibility.
Imports no torch.

A rally runs from the first StrokeEnd, the hit of the serve, to PointEnd, the landing. PointBegin is
earlier, at the start of the serve's motion. Where a point is not visible throughout, its serve was
hidden: nothing is known from 5 s before PointBegin to PointEnd. Where these times are missing too,
nothing is known between the neighbouring rallies.
"""

import json
import math
import re
from datetime import date
from pathlib import Path

from collection.sources import watch_address, youtube_id
from files import UserError
from importing.points import Labels, Point, truth_of
from importing.public_match import PublicMatch
from importing.venues import group_of

MARGIN_SEC = 5.0
VIDEO_FORMAT = re.compile(
    r"-1080p(-50fps)?$"
)  # ends the names of the files, not those in README.md
LINK = re.compile(r"\[([^\]]+)\]\((\S+?)\)")  # of README.md


def find_json(folder: Path) -> Path | None:
    """The folder of this format's files: the folder itself, or json/ in it; None without one."""
    for candidate in (folder, folder / "json"):
        first = next(iter(sorted(candidate.glob("*.json"))), None)
        if first is not None and '"PointInfo"' in first.read_text("utf-8-sig", errors="replace"):
            return candidate
    return None


def list_matches(json_dir: Path) -> list[PublicMatch]:
    """The matches of a folder of JSON files, by name."""
    addresses = read_addresses(json_dir.parent / "README.md")
    matches = []
    for path in sorted(json_dir.glob("*.json")):
        name = VIDEO_FORMAT.sub("", path.stem)
        tournament, year, month = tournament_of(name)
        group, has_venue = group_of(tournament, year, month)
        matches.append(
            PublicMatch(
                source="BadmintonDB",
                reference=f"BadmintonDB/{name[:7]}",
                name=name,
                path=path,
                group=group,
                address=addresses.get(name, ""),
                new_group="" if has_venue else tournament,
            )
        )
    return matches


def read_addresses(readme: Path) -> dict[str, str]:
    """{name of a match: watch address of its video} from the links of README.md; {} without it."""
    text = readme.read_text("utf-8-sig") if readme.is_file() else ""
    ids = {name.strip(): youtube_id(url) for name, url in LINK.findall(text)}
    return {name: watch_address(video_id) for name, video_id in ids.items() if video_id}


def tournament_of(name: str) -> tuple[str, int, int]:
    """(tournament, year, month) of a name: year, week, round, event, players, tournament."""
    found = re.match(r"(\d{4})-(\d\d?)-.*-([^-]+)$", name)
    try:
        day = date.fromisocalendar(int(found[1]), int(found[2]), 7)
    except (TypeError, ValueError):
        return name, 0, 0
    return found[3], int(found[1]), day.month


def read_labels(path: Path) -> Labels:
    """The rallies and unknown stretches of a match. Raises UserError for another format."""
    try:
        match = json.loads(path.read_text("utf-8-sig"))
        points = [point_of(point) for point in match.values()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path.name} is not a match of BadmintonDB: {error!r}") from error
    ends = [point.last_sec for point in points]
    timed = sum(point.start_sec is not None for point in points)
    return Labels(truth_of(points), max(ends, default=0.0), timed)


def point_of(point: dict) -> Point:
    """What the JSON object of a point says."""
    info, visibility = point["PointInfo"], point["VideoInfo"]["Visibility"]
    begin, end = seconds(info["PointBegin"]), seconds(info["PointEnd"])
    hit = seconds(info["Rally"][0]["StrokeEnd"]) if info["Rally"] else None
    visible = isinstance(visibility, str) and visibility.lower() == "visible"
    if visible and hit is not None and end is not None and hit < end:
        return Point(start_sec=hit, last_sec=end, end_sec=end)
    if begin is not None and end is not None and begin < end:
        return Point(last_sec=end, hidden=(begin - MARGIN_SEC, end))
    return Point()


def seconds(value: object) -> float | None:
    """A time to the millisecond; None for null and for what is no time."""
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        return None
    return round(float(value), 3)
