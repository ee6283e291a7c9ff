"""Tests of benchmarks/cut_matches.py, on small SYNTHETIC tables in the format of ShuttleSet.

With RALLY_ANNOTATIONS set to the folder above ShuttleSet/set, its tables are cut, too.
"""

import os
import sys
from pathlib import Path

import pytest
from published import CLEAR, HIDDEN, SERVE, Rally, address, play, with_strokes, write_set

from annotation.ground_truth import inside_sec, read_truth, without
from annotation.match_marks import list_tables, marks_path
from files import UserError
from importing.shuttleset import list_matches, read_labels
from labeling import main as labeling
from sample.script import write_script

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from cut_matches import choose, cut_match

FOLDER = os.environ.get("RALLY_ANNOTATIONS")
MATCH_SEC = 300.0


def game():
    """Rallies of 2 s of strokes every 20 s from 100.0 s, of which three hide something."""
    rallies = play()
    # The serve of the third rally is hidden 2 s before its first known stroke at 142 s.
    rallies[2] = with_strokes(rallies[2], (140, HIDDEN), (142, CLEAR), (143, CLEAR))
    # All of the fifth rally is hidden, at 180 to 184 s.
    rallies[4] = with_strokes(rallies[4], (180, HIDDEN), (184, HIDDEN))
    # The last stroke of the seventh rally is hidden.
    rallies[6] = with_strokes(rallies[6], (220, SERVE), (221, CLEAR), (223, HIDDEN))
    return rallies


def cut_of(folder, games, fps=30.0, sec=MATCH_SEC):
    match = {"name": "A_B_Open", "games": games, "fps": fps, "url": address("AAAAAAAAAAA")}
    return cut_match(list_matches(write_set(folder / "set", match))[0], folder / "cut", sec)


def known_plays(cut):
    """The plays as far as anything is known there."""
    return without(cut.plays, cut.truth.unknown)


@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_the_film_starts_20_s_before_the_first_stroke(tmp_path, fps):
    cut = cut_of(tmp_path, [game()], fps)
    whole = read_labels(tmp_path / "set" / "A_B_Open").truth
    assert cut.fps == fps and cut.truth.rallies[0] == (20.0, 23.0)
    shifted = [(start - 80, end - 80) for start, end in whole.rallies]
    assert cut.truth.rallies == shifted[: len(cut.truth.rallies)]


def test_a_rally_that_ends_after_the_film_is_left_out(tmp_path):
    # The fifth rally ends at 103 s, and 2 s without play must follow it.
    assert len(cut_of(tmp_path, [play()], sec=104.9).truth.rallies) == 4
    assert len(cut_of(tmp_path / "longer", [play()], sec=105.1).truth.rallies) == 5


def test_a_wrong_time_of_a_stroke_of_unknown_type_does_not_put_a_rally_after_the_end(tmp_path):
    rallies = play()
    rallies[4] = with_strokes(rallies[4], (180, SERVE), (182, CLEAR), (190, HIDDEN))
    assert len(cut_of(tmp_path, [rallies], sec=105.1).truth.rallies) == 5


def test_games_after_the_end_of_the_film_are_left_out(tmp_path):
    games = [play(), play(start_sec=700.0)]
    assert cut_of(tmp_path, games).games == 1
    assert cut_of(tmp_path / "longer", games, sec=900.0).games == 2


def test_in_known_time_the_film_shows_the_imported_rallies(tmp_path):
    cut = cut_of(tmp_path, [game()])
    assert known_plays(cut) == [pytest.approx(rally) for rally in cut.truth.rallies]


def test_the_film_shows_strokes_of_unknown_type_where_nothing_is_known(tmp_path):
    cut = cut_of(tmp_path, [game()])
    assert (60.0, 64.0) in cut.plays and (62.0, 64.0) in cut.truth.rallies
    assert (100.0, 105.0) in cut.plays and not inside_sec(100, 105, cut.truth.rallies)
    assert (140.0, 144.0) in cut.plays and (140.0, 142.0) in cut.truth.rallies
    assert inside_sec(100, 105, cut.truth.unknown) == 5


def test_play_too_close_to_other_play_is_joined_where_nothing_is_known(tmp_path):
    rallies = play()
    rallies[4] = with_strokes(rallies[4], (164, HIDDEN), (166, HIDDEN))  # 1 s after the fourth
    assert (80.0, 87.0) in cut_of(tmp_path, [rallies]).plays


def test_hidden_play_too_close_to_known_time_without_play_is_left_out(tmp_path):
    rallies = play()
    # The first rally has hidden strokes after it, the second one 7 s before its first known stroke.
    rallies[0] = with_strokes(rallies[0], (100, SERVE), (102, CLEAR), (103, HIDDEN))
    rallies[1] = with_strokes(rallies[1], (107, HIDDEN), (114, CLEAR), (115, CLEAR))
    cut = cut_of(tmp_path, [rallies])
    assert cut.truth.unknown[:2] == [(23.0, 28.0), (29.0, 34.0)]  # 1 s between them is known
    assert cut.plays[:2] == [(20.0, 24.0), (29.0, 36.0)]  # no play at 27 to 28 s


def test_a_film_can_be_drawn_to_the_plays(tmp_path):
    cut = cut_of(tmp_path, [game()])
    script = write_script(1, MATCH_SEC, cut.plays)
    shown = [(scene.start_sec, scene.end_sec) for scene in script if scene.kind == "rally"]
    assert shown == cut.plays


def test_the_chosen_matches_are_of_different_groups_and_have_the_most_rallies(tmp_path, capsys):
    hiding = [game()]
    short = [[*game()[:9], *game()[12:]]]  # points are missing: more is unknown, less is a rally
    matches = [
        {"name": "few", "games": short, "tournament": "Fuzhou Open 2019", "when": (2019, 11)},
        {"name": "most", "games": hiding, "tournament": "Fuzhou Open 2019", "when": (2019, 11)},
        {"name": "other", "games": short, "tournament": "KOREA OPEN 2019", "when": (2019, 9)},
        {"name": "all known", "games": [play()], "when": (2018, 10)},
    ]
    ids = [f"{k}" * 11 for k in range(4)]
    matches = [m | {"url": address(i)} for m, i in zip(matches, ids, strict=True)]
    set_dir = write_set(tmp_path / "set", *matches)
    cuts = choose(set_dir, tmp_path / "cut", 2, MATCH_SEC)
    assert [cut.match.name for cut in cuts] == ["most", "other"]
    with pytest.raises(UserError, match="only 2 groups have a match"):
        choose(set_dir, tmp_path / "cut", 3, MATCH_SEC)


def test_the_importer_takes_exactly_the_chosen_matches(tmp_path, capsys):
    names = {"a": ("Fuzhou Open 2019", (2019, 11)), "b": ("KOREA OPEN 2019", (2019, 9))}
    matches = [
        {"name": name, "games": [game()], "tournament": where, "when": when, "url": address(n * 11)}
        for n, (name, (where, when)) in zip("AB", names.items(), strict=True)
    ]
    set_dir = write_set(tmp_path / "set", *matches)
    (cut,) = choose(set_dir, tmp_path / "cut", 1, MATCH_SEC)
    assert labeling(["--import", str(tmp_path / "cut"), "--data", str(tmp_path / "Data")]) == 0
    assert list_tables(tmp_path / "Data") == [marks_path(tmp_path / "Data", cut.name)]
    assert read_truth(marks_path(tmp_path / "Data", cut.name)) == cut.truth


def test_a_match_whose_first_minutes_cannot_be_imported_is_not_chosen(tmp_path, capsys):
    matches = [{"name": "a", "games": [[Rally(((100, SERVE),), (1, 0))]], "url": address("A" * 11)}]
    set_dir = write_set(tmp_path / "set", *matches)
    with pytest.raises(UserError, match="only 0 groups"):
        choose(set_dir, tmp_path / "cut", 1, MATCH_SEC)
    assert "not chosen: ShuttleSet/1, whose first minutes" in capsys.readouterr().out


@pytest.mark.skipif(not FOLDER, reason="RALLY_ANNOTATIONS does not name a folder with ShuttleSet")
def test_films_of_shuttleset_show_the_imported_rallies_in_known_time(tmp_path):
    shown = 0
    for match in list_matches(Path(FOLDER) / "ShuttleSet" / "set"):
        if match.left_out:
            continue
        try:
            cut = cut_match(match, tmp_path / match.name, 900.0)
        except UserError:
            continue
        assert known_plays(cut) == [pytest.approx(rally) for rally in cut.truth.rallies]
        write_script(1, 900.0, cut.plays)
        shown += 1
    assert shown >= 38
