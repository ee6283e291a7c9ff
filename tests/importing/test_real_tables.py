"""The rules over the whole of ShuttleSet and ShuttleSet22, against a second computation.

The tables are not part of this repository. RALLY_ANNOTATIONS names the folder that holds
ShuttleSet/set and ShuttleSet22/set.
"""

import csv
import os
import re
import statistics
import time
from collections import defaultdict
from pathlib import Path

import pytest

from annotation.ground_truth import read_truth
from annotation.match_marks import list_tables
from importing.formats import list_matches, read_labels
from importing.points import OPEN_END_SEC
from labeling import main

FOLDER = os.environ.get("RALLY_ANNOTATIONS")
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="RALLY_ANNOTATIONS does not name a folder with ShuttleSet and ShuttleSet22"
)


@pytest.fixture(scope="module")
def labelled():
    """[(match, its labels, the rows of its tables)] of all matches."""
    matches = list_matches([Path(FOLDER) / "ShuttleSet", Path(FOLDER) / "ShuttleSet22"])
    return [(match, read_labels(match), read_rows(match.path)) for match in matches]


def read_rows(folder: Path) -> list[dict]:
    rows = []
    for game in range(1, 4):
        path = folder / f"set{game}.csv"
        if path.exists():
            with open(path, encoding="utf-8-sig", newline="") as file:
                rows += [row | {"game": game} for row in csv.DictReader(file)]
    return rows


def rate(rows: list[dict]) -> float:
    """The rate from the medians of the earliest and latest hundred rows' times and frames."""
    clocks = [[int(part) for part in re.findall(r"\d+", row["time"])] for row in rows]
    pairs = sorted(
        (3600 * h + 60 * m + s, float(row["frame_num"]))
        for (h, m, s), row in zip(clocks, rows, strict=True)
    )
    lengths = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(pairs[-100:], pairs[:100], strict=True)]
    slope = statistics.median(frames / seconds for seconds, frames in lengths)
    return min((25, 30_000 / 1001, 30, 50, 60_000 / 1001), key=lambda usual: abs(usual - slope))


def expected_rallies(rows: list[dict]) -> tuple[list[tuple[float, float]], int]:
    """(the rallies of a match, how many have a known stroke), computed another way."""
    fps = rate(rows)
    strokes = defaultdict(list)
    for row in rows:
        if row["type"] != "未知球種":
            key = (row["game"], float(row["rally"]))
            strokes[key].append((float(row["ball_round"]), float(row["frame_num"])))
    spans = []
    for game_and_rally in strokes.values():
        frames = [frame for _, frame in sorted(game_and_rally)]
        if all(a <= b for a, b in zip(frames, frames[1:], strict=False)):
            spans.append((frames[0], frames[-1]))
    spans.sort()
    starts = [start for start, _ in spans[1:]] + [float("inf")]
    rallies = [
        (start / fps, min(end / fps + 1, following / fps))
        for (start, end), following in zip(spans, starts, strict=True)
    ]
    return rallies, len(strokes)


def test_every_rally_is_within_a_millisecond_of_the_rule_and_none_is_invented(labelled):
    assert len(labelled) == 102
    for match, labels, rows in labelled:
        rallies, timed = expected_rallies(rows)
        assert labels.timed == timed, match.name
        assert len(labels.truth.rallies) == len(rallies), match.name
        for ours, theirs in zip(labels.truth.rallies, rallies, strict=True):
            assert ours == pytest.approx(theirs, abs=0.001), match.name


def test_at_least_9_of_10_rallies_with_a_known_stroke_stay(labelled):
    rallies = sum(len(labels.truth.rallies) for _, labels, _ in labelled)
    timed = sum(labels.timed for _, labels, _ in labelled)
    assert (rallies, timed) == (8344, 8362)
    assert all(len(each.truth.rallies) >= 0.88 * each.timed for _, each, _ in labelled)


def test_unknown_stretches_cover_no_rally_and_every_hidden_one(labelled):
    for match, labels, rows in labelled:
        spans = sorted([*labels.truth.rallies, *labels.truth.unknown])
        for (_, end), (following, _) in zip(spans, spans[1:], strict=False):
            assert end <= following, match.name
        assert spans[-1][1] <= OPEN_END_SEC
        fps = rate(rows)
        for row in rows:  # each known stroke is in a rally, or where nothing is known
            if row["type"] != "未知球種":
                sec = round(float(row["frame_num"]) / fps, 3)
                assert any(start <= sec <= end for start, end in spans), (match.name, row)


def test_the_bangkok_matches_are_one_group_and_no_venue_is_missing(labelled):
    groups = [match.group for match, _, _ in labelled if match.source == "ShuttleSet"]
    assert groups.count("impact-arena-2021-01") == 24
    assert [match.name for match, _, _ in labelled if match.new_group] == []


def test_both_sets_are_imported_in_seconds_and_split_70_15_15(tmp_path, capsys):
    folders = [f"{FOLDER}/ShuttleSet22", f"{FOLDER}/ShuttleSet"]
    began = time.process_time()
    assert main(["--import", *folders, "--data", str(tmp_path)]) == 0
    assert time.process_time() - began < 20
    told = capsys.readouterr().out
    assert max(map(len, told.partition("all imported")[0].splitlines())) <= 100
    assert "7126 of 7144 rallies with a known stroke are certain" in told
    assert "44 matches without film or address" in told
    assert len(list_tables(tmp_path)) == 88
    shares = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line}
    assert shares["train"][0::2] == ["59", "70%"]
    assert shares["validation"][0::2] == ["14", "15%"]
    assert shares["test"][0::2] == ["15", "15%"]
    assert len((tmp_path / "videos.csv").read_text().splitlines()) == 1 + 40 + 4
    for table in list_tables(tmp_path):
        assert read_truth(table).rallies
