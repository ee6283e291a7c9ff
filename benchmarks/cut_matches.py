"""Cuts the first minutes of play out of ShuttleSet's tables, and says what was played in them.

    cuts = choose(set_dir, out_dir, count=3, duration_sec=900)

The cut tables have the format of the original ones, so the importer reads them. Frame numbers and
times count from the start of the cut, 20 s before the first stroke. Part of public_labels.py.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from annotation.ground_truth import Truth, inside_sec
from annotation.match_marks import Marks, match_name
from files import UserError, read_table, write_table
from importing.points import clip, merge
from importing.public_match import PublicMatch
from importing.shuttleset import (
    LANDING_SEC,
    MATCH_COLUMNS,
    MATCHES,
    STROKE_COLUMNS,
    Rally,
    frames_per_second,
    list_matches,
    read_game,
    read_labels,
)

BEFORE_SEC = 20  # from the start of the film to the first stroke
ROOM_SEC = 2.0  # free of play at both ends of the film
NEAR_SEC = 2.0  # play that is closer than this to other play is one with it
LEAST_UNKNOWN = 0.1  # of the time of a match


@dataclass(frozen=True)
class CutMatch:
    """The first minutes of a match."""

    match: PublicMatch  # its path is the folder of the cut tables
    fps: float
    games: int
    truth: Truth  # as it is imported
    plays: Marks  # what the film shows
    duration_sec: float

    @property
    def name(self) -> str:
        """The name of its table of marks, and of its film."""
        return match_name(self.match.address) if self.match.address else self.match.plain_name

    @property
    def unknown_sec(self) -> float:
        return inside_sec(0.0, self.duration_sec, self.truth.unknown)


def cut_match(match: PublicMatch, folder: Path, duration_sec: float) -> CutMatch:
    """Writes the tables of the first duration_sec of a match into a folder.

    Rallies that end later are left out. Raises UserError for tables that cannot be read.
    """
    paths = sorted(match.path.glob("set*.csv"))
    games = [read_game(path) for path in paths]
    strokes = [stroke for game in games for rally in game for stroke in rally]
    fps = frames_per_second(strokes)
    first_frame = min(stroke.frame for stroke in strokes if stroke.is_known)
    start_sec = int(first_frame / fps) - BEFORE_SEC
    last_frame = (start_sec + duration_sec - ROOM_SEC - LANDING_SEC) * fps
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for path, game in zip(paths, games, strict=True):
        ends = {rally[0].rally: _last_frame(rally) for rally in game}
        table = read_table(path, STROKE_COLUMNS, others=True)
        table = table[table["rally"].astype(float).map(ends) <= last_frame]
        if table.empty:
            continue
        frames = (table["frame_num"].astype(float) - start_sec * fps).clip(lower=0)
        seconds = pd.to_timedelta(table["time"]).dt.total_seconds() - start_sec
        write_table(
            folder / path.name,
            table.assign(frame_num=frames.round().astype(int), time=seconds.map(_clock)),
        )
        kept += read_game(folder / path.name)
    truth = read_labels(folder).truth
    return CutMatch(
        replace(match, path=folder),
        fps,
        len(list(folder.glob("set*.csv"))),
        truth,
        plays_of(kept, fps, truth, duration_sec),
        duration_sec,
    )


def _last_frame(rally: Rally) -> float:
    """The frame of the last known stroke; of the last stroke, if all are of unknown type."""
    known = [stroke.frame for stroke in rally if stroke.is_known]
    return max(known or [stroke.frame for stroke in rally])


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def plays_of(rallies: list[Rally], fps: float, truth: Truth, duration_sec: float) -> Marks:
    """What was played: the true rallies, and in unknown stretches what the rows say.

    There a play runs from the first to the last stroke, those of unknown type included, and the
    second until the landing. A play that is too close to another one is joined with it if nothing
    is known of the time between them, and is left out otherwise.
    """
    spans = [
        (min(s.frame for s in rally) / fps, max(s.frame for s in rally) / fps + LANDING_SEC)
        for rally in rallies
    ]
    limits = (ROOM_SEC, duration_sec - ROOM_SEC)
    hidden = [clip(clip(span, stretch), limits) for span in spans for stretch in truth.unknown]
    plays: Marks = []
    for start, end in merge([*truth.rallies, *hidden]):
        if not plays or start - plays[-1][1] >= NEAR_SEC:
            plays.append((start, end))
        elif inside_sec(plays[-1][1], start, truth.unknown) > start - plays[-1][1] - 0.001:
            plays[-1] = (plays[-1][0], end)
        elif inside_sec(start, end, truth.rallies):
            if not inside_sec(*plays[-1], truth.rallies):
                plays.pop()
            plays.append((start, end))
    return plays


def choose(set_dir: Path, out_dir: Path, count: int, duration_sec: float) -> list[CutMatch]:
    """Cuts all matches of set_dir into out_dir, and chooses `count` of different groups.

    Of each group it takes the match with the most rallies, of those in which at least a tenth of
    the time is unknown; of the groups, those whose match has the most rallies. out_dir gets a
    match.csv of these. Prints which matches the importer refuses once they are cut: a wrong row
    weighs more in a short table. Raises UserError if there are fewer than count.
    """
    best: dict[str, CutMatch] = {}  # by group
    for match in list_matches(set_dir):
        if match.left_out:
            continue
        try:
            cut = cut_match(match, out_dir / match.name, duration_sec)
        except UserError as error:
            print(f"not chosen: {match.reference}, whose first minutes cannot be imported: {error}")
            continue
        before = best.get(match.group)
        if cut.unknown_sec >= LEAST_UNKNOWN * duration_sec and (
            before is None or len(cut.truth.rallies) > len(before.truth.rallies)
        ):
            best[match.group] = cut
    cuts = sorted(best.values(), key=lambda cut: -len(cut.truth.rallies))[:count]
    if len(cuts) < count:
        raise UserError(f"only {len(cuts)} groups have a match with a tenth unknown, not {count}")
    table = read_table(set_dir / MATCHES, MATCH_COLUMNS, others=True)
    games = table["video"].map({cut.match.name: str(cut.games) for cut in cuts})
    write_table(out_dir / MATCHES, table.assign(set=games)[games.notna()])
    return cuts
