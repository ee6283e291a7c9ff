"""ShuttleSet and ShuttleSet22: a table of matches, match.csv, and a folder of tables for each.

set1.csv, set2.csv, set3.csv hold a row for each stroke: rally, ball_round (its number in the
rally), time (whole seconds), frame_num, roundscore_A and roundscore_B (the score after the rally)
and type. Imports no torch.

The rules, and why:

- Seconds are frame_num / fps. fps is the rate of the video that was labelled: the usual rate
  nearest to the slope of frame_num over time. At the raw slope, an hour is up to 0.2 s off.
- A stroke of unknown type gives no time: where a replay hid it, its time was guessed, and is often
  wrong by more than 3 s. A rally of such strokes alone has its place by its score.
- A rally runs from its first known stroke to the last one, plus the second that a shuttle takes to
  land. If the first row is no serve, the serve came earlier: the 5 s before are unknown. If the
  last row is of unknown type, so are the 5 s after.
- A rally's rows contradict each other if the frames of known strokes go down, if a serve stands
  further back, or if they have several scores. Then it is no rally, and its gap is unknown.
- The sum of the score must rise by one from rally to rally. If it rises by more, a point is
  missing. If it does not rise, a time or a score is wrong. Either way the gap before is unknown. A
  game must start at one point and end at 21 with two ahead or at 30, else a point is missing there.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from collection.sources import watch_address, youtube_id
from files import UserError, read_table
from importing.points import Labels, Point, truth_of
from importing.public_match import PublicMatch
from importing.venues import group_of

KNOWN = Path(__file__).with_name("known_matches.csv")  # source,match,address,left_out
MATCHES = "match.csv"
MATCH_COLUMNS = ("id", "video", "tournament", "year", "month", "set")
STROKE_COLUMNS = (
    "rally",
    "ball_round",
    "time",
    "frame_num",
    "roundscore_A",
    "roundscore_B",
    "type",
)
SERVES = ("發短球", "發長球")
UNKNOWN_TYPES = ("未知球種", "")
RATES = (25.0, 30_000 / 1001, 30.0, 50.0, 60_000 / 1001)  # frames per second
MAX_RATE_ERROR = 0.01
LANDING_SEC = 1.0  # from the last stroke to the landing: the median of 811 rallies of BadmintonDB
MARGIN_SEC = 5.0  # unknown where a serve or a last stroke was hidden
TRIMMED = "_Trim"  # ends the names of shortened films


def find_sets(folder: Path) -> list[Path]:
    """The folders in and below a folder that hold match.csv and the tables of its matches."""
    return sorted(
        path.parent for path in folder.rglob(MATCHES) if any(path.parent.glob("*/set1.csv"))
    )


def list_matches(set_dir: Path) -> list[PublicMatch]:
    """The matches of match.csv, in its order. Raises UserError if it cannot be read."""
    table = read_table(set_dir / MATCHES, MATCH_COLUMNS, others=True)
    source = "ShuttleSet" if "url" in table else "ShuttleSet22"
    known = read_table(KNOWN, ("source", "match", "address", "left_out"))
    known = known[known["source"] == source].set_index("match")
    matches = []
    for row in table.to_dict("records"):
        name = row["video"]
        address, left_out = (
            known.loc[name, ["address", "left_out"]] if name in known.index else ("", "")
        )
        video_id = youtube_id(row.get("url") or address)
        folder = set_dir / name
        games = len(list(folder.glob("set*.csv")))
        if name.endswith(TRIMMED):
            left_out = "its times are of a shortened film"
        elif not left_out and games != _whole(row["set"], set_dir / MATCHES):
            left_out = f"{row['set']} games, but tables of {games}"
        year, month = (_whole(row[column], set_dir / MATCHES) for column in ("year", "month"))
        group, has_venue = group_of(row["tournament"], year, month)
        matches.append(
            PublicMatch(
                source=source,
                reference=f"{source}/{row['id']}",
                name=name,
                path=folder,
                group=group,
                address=watch_address(video_id) if video_id else "",
                left_out=left_out,
                new_group="" if has_venue else row["tournament"],
            )
        )
    return matches


def _whole(text: str, path: Path) -> int:
    """A whole number in match.csv, which also writes 2022.0."""
    try:
        return int(float(text))
    except ValueError as error:
        raise UserError(f"{path}: {text!r} must be a whole number") from error


class Stroke(NamedTuple):
    """A row of a game's table."""

    rally: float
    ball_round: float  # its number in the rally, from 1
    time_sec: float  # whole seconds
    frame: float
    score_a: float  # after the rally
    score_b: float
    type: str

    @property
    def score(self) -> float:
        return self.score_a + self.score_b

    @property
    def is_known(self) -> bool:
        return self.type not in UNKNOWN_TYPES


Rally = list[Stroke]  # in the order of ball_round


def read_labels(folder: Path) -> Labels:
    """The rallies and unknown stretches of a match, from its folder of tables.

    Raises UserError for tables that cannot be read and for an unusual frame rate.
    """
    paths = sorted(folder.glob("set*.csv"))
    games = [in_order(read_game(path)) for path in paths]
    strokes = [stroke for game in games for rally in game for stroke in rally]
    fps = frames_per_second(strokes)
    points: list[Point] = []
    point_missing = False
    for game in games:
        previous = 0.0
        for rally in game:
            score = rally[-1].score
            points.append(point_of(rally, fps, point_missing or score != previous + 1))
            point_missing, previous = False, score
        point_missing = not is_finished(game[-1][-1])
    last_sec = max((stroke.frame / fps for stroke in strokes if stroke.is_known), default=0.0)
    timed = sum(any(stroke.is_known for stroke in rally) for game in games for rally in game)
    return Labels(truth_of(points, end_missing=point_missing), round(last_sec, 3), timed)


def read_game(path: Path) -> list[Rally]:
    """The rallies of a game's table. Raises UserError for a missing column or number."""
    table = read_table(path, STROKE_COLUMNS)
    if table.empty:
        raise UserError(f"{path.name} has no rows")
    rallies: dict[float, Rally] = {}
    for number, (rally, ball_round, time, *numbers, kind) in enumerate(table.to_numpy(), 1):
        try:
            hours, minutes, seconds = map(int, time.split(":"))
            values = [float(text) for text in (rally, ball_round, *numbers)]
        except ValueError as error:
            raise UserError(f"{path.name}, row {number}: {error}") from error
        if not all(map(math.isfinite, values)):
            raise UserError(f"{path.name}, row {number}: a number is missing")
        time_sec = hours * 3600.0 + minutes * 60 + seconds
        stroke = Stroke(values[0], values[1], time_sec, *values[2:], kind)
        rallies.setdefault(stroke.rally, []).append(stroke)
    return [sorted(rally, key=lambda stroke: stroke.ball_round) for rally in rallies.values()]


def frames_per_second(strokes: list[Stroke]) -> float:
    """The usual rate nearest to the slope of frame over time; UserError if none is near."""
    times = np.array([stroke.time_sec for stroke in strokes])
    if len(np.unique(times)) < 2:
        raise UserError("too few strokes to tell the frame rate")
    frames = [stroke.frame for stroke in strokes]
    slope = float(np.polyfit(times - times.mean(), frames, 1)[0])
    rate = min(RATES, key=lambda usual: abs(usual - slope))
    if abs(rate - slope) > MAX_RATE_ERROR:
        raise UserError(f"{slope:.3f} frames per second is no usual rate")
    return rate


def in_order(game: list[Rally]) -> list[Rally]:
    """The rallies of a game by time; those without a known stroke by their score."""
    timed = [rally for rally in game if any(stroke.is_known for stroke in rally)]
    ordered = sorted(timed, key=lambda rally: min(s.frame for s in rally if s.is_known))
    hidden = [rally for rally in game if not any(stroke.is_known for stroke in rally)]
    for rally in sorted(hidden, key=lambda rally: rally[-1].score):
        earlier = sum(other[-1].score < rally[-1].score for other in ordered)
        ordered.insert(earlier, rally)
    return ordered


def point_of(rally: Rally, fps: float, point_missing: bool) -> Point:
    """What the strokes of one rally say."""
    frames = [stroke.frame for stroke in rally if stroke.is_known]
    contradictory = (
        frames != sorted(frames)
        or any(stroke.type in SERVES for stroke in rally[1:])
        or len({(stroke.score_a, stroke.score_b) for stroke in rally}) > 1
    )
    if not frames or contradictory:
        return Point(point_missing=point_missing)
    return Point(
        start_sec=round(frames[0] / fps, 3),
        last_sec=round(frames[-1] / fps, 3),
        end_sec=round(frames[-1] / fps + LANDING_SEC, 3),
        unknown_before_sec=0.0 if rally[0].type in SERVES else MARGIN_SEC,
        unknown_after_sec=0.0 if rally[-1].is_known else MARGIN_SEC,
        point_missing=point_missing,
    )


def is_finished(stroke: Stroke) -> bool:
    """Whether a game ends with the score after this stroke: 21 with two ahead, or 30."""
    low, high = sorted((stroke.score_a, stroke.score_b))
    return high >= 21 and high - low >= 2 or high == 30
