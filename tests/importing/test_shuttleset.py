"""The rules that make rallies and unknown stretches out of ShuttleSet, on SYNTHETIC tables."""

from dataclasses import replace

import pytest
from published import (
    CLEAR,
    HIDDEN,
    SERVE,
    Rally,
    play,
    with_strokes,
    write_csv,
    write_match,
    write_set,
)

from files import UserError
from importing.points import OPEN_END_SEC
from importing.shuttleset import find_sets, list_matches, read_labels

TWO_GAMES = [(100.0 + 20 * k, 103.0 + 20 * k) for k in range(21)]
TWO_GAMES += [(700.0 + 20 * k, 703.0 + 20 * k) for k in range(21)]


@pytest.fixture
def games():
    return [play(), play(start_sec=700.0)]


@pytest.fixture
def truth_of(tmp_path):
    def read(games, **options):
        return read_labels(write_match(tmp_path / "a match", games, **options)).truth

    return read


def test_a_rally_runs_from_its_serve_to_a_second_after_its_last_stroke(games, truth_of):
    truth = truth_of(games)
    assert truth.rallies == TWO_GAMES
    assert truth.unknown == []


def test_without_a_serve_the_5_seconds_before_are_unknown(games, truth_of):
    games[0][1] = with_strokes(games[0][1], (121.0, CLEAR), (122.0, CLEAR))
    truth = truth_of(games)
    assert truth.rallies[1] == (121.0, 123.0)
    assert truth.unknown == [(116.0, 121.0)]


def test_strokes_of_unknown_type_give_no_time(games, truth_of):
    games[0][1] = with_strokes(games[0][1], (133.0, HIDDEN), (121.0, CLEAR), (122.0, CLEAR))
    games[0][2] = with_strokes(games[0][2], (140.0, SERVE), (155.0, HIDDEN), (142.0, CLEAR))
    truth = truth_of(games)
    assert truth.rallies[1:3] == [(121.0, 123.0), (140.0, 143.0)]
    assert truth.unknown == [(116.0, 121.0)]


def test_after_a_last_stroke_of_unknown_type_5_seconds_are_unknown(games, truth_of):
    games[0][1] = with_strokes(games[0][1], (120.0, SERVE), (121.0, CLEAR), (122.0, HIDDEN))
    truth = truth_of(games)
    assert truth.rallies[1] == (120.0, 122.0)
    assert truth.unknown == [(122.0, 127.0)]


def test_unknown_stretches_stop_at_the_neighbouring_rallies(games, truth_of):
    games[0][1] = with_strokes(games[0][1], (104.0, CLEAR), (138.0, CLEAR), (139.0, HIDDEN))
    truth = truth_of(games)
    assert truth.rallies[:3] == [(100.0, 103.0), (104.0, 139.0), (140.0, 143.0)]
    assert truth.unknown == [(103.0, 104.0), (139.0, 140.0)]


def test_a_rally_ends_when_the_next_one_starts(games, truth_of):
    games[0][1] = with_strokes(games[0][1], (120.0, SERVE), (139.5, CLEAR))
    assert truth_of(games).rallies[1:3] == [(120.0, 140.0), (140.0, 143.0)]


@pytest.mark.parametrize(
    "strokes",
    [
        ((120.0, HIDDEN), (121.0, HIDDEN)),
        ((120.0, SERVE), (122.0, CLEAR), (121.0, CLEAR)),
        ((120.0, SERVE), (121.0, CLEAR), (130.0, SERVE), (131.0, CLEAR)),
    ],
    ids=["all of unknown type", "out of order", "two serves"],
)
def test_of_a_rally_without_certain_times_the_whole_gap_is_unknown(games, truth_of, strokes):
    games[0][1] = with_strokes(games[0][1], *strokes)
    truth = truth_of(games)
    assert truth.rallies == [rally for rally in TWO_GAMES if rally[0] != 120]
    assert truth.unknown == [(103.0, 140.0)]


def test_a_rally_with_two_scores_is_none(games, tmp_path):
    folder = write_match(tmp_path / "match", games)
    text = (folder / "set1.csv").read_text()
    (folder / "set1.csv").write_text(text.replace("3660.0,2,0", "3660.0,3,0"))
    assert (103.0, 140.0) in read_labels(folder).truth.unknown


def test_a_rally_of_unknown_type_has_its_place_by_its_score(games, truth_of):
    games[0][1] = with_strokes(games[0][1], (333.0, HIDDEN))
    assert truth_of(games).unknown == [(103.0, 140.0)]


def test_rallies_that_overlap_are_none(games, truth_of):
    games[0][1] = with_strokes(games[0][1], (120.0, SERVE), (141.0, CLEAR))
    truth = truth_of(games)
    assert truth.rallies == [rally for rally in TWO_GAMES if rally[0] not in (120, 140)]
    assert truth.unknown == [(103.0, 160.0)]


def test_rallies_are_sorted_by_time_within_their_game(games, truth_of):
    games[0].append(games[0].pop(3))
    truth = truth_of(games)
    assert truth.rallies == TWO_GAMES
    assert truth.unknown == []


@pytest.mark.parametrize(
    ("game", "rally", "gap"),
    [
        (0, 5, (183.0, 220.0)),
        (0, 0, (0.0, 120.0)),
        (0, 20, (483.0, 700.0)),
        (1, 0, (503.0, 720.0)),
        (1, 20, (1083.0, OPEN_END_SEC)),
    ],
    ids=["within a game", "the first", "the last of a game", "the first of a game", "the last"],
)
def test_the_gap_in_which_a_point_is_missing_is_unknown(games, truth_of, game, rally, gap):
    lost = games[game].pop(rally)
    truth = truth_of(games)
    assert truth.rallies == [each for each in TWO_GAMES if each[0] != lost.strokes[0][0]]
    assert truth.unknown == [gap]


def test_the_gap_in_which_the_score_does_not_rise_is_unknown(games, truth_of):
    games[0][5] = replace(games[0][5], score=(5, 0))
    truth = truth_of(games)
    assert truth.rallies == TWO_GAMES
    assert truth.unknown == [(183.0, 200.0), (203.0, 220.0)]


@pytest.mark.parametrize(
    ("score", "finished"),
    [((21, 19), True), ((21, 20), False), ((22, 20), True), ((30, 29), True), ((20, 18), False)],
)
def test_a_game_ends_at_21_with_two_ahead_or_at_30(truth_of, score, finished):
    high, low = score
    scores = [(k // 2 + k % 2, k // 2) for k in range(1, 2 * low + 1)]
    scores += [(k, low) for k in range(low + 1, high + 1)]
    game = [
        Rally(((100.0 + 20 * k, SERVE), (102.0 + 20 * k, CLEAR)), each)
        for k, each in enumerate(scores)
    ]
    truth = truth_of([game])
    assert (truth.unknown == []) == finished
    assert len(truth.rallies) == high + low


def test_nothing_is_known_if_no_rally_is(tmp_path):
    game = [with_strokes(rally, (rally.strokes[0][0], HIDDEN)) for rally in play()]
    labels = read_labels(write_match(tmp_path / "match", [game]))
    assert labels.truth.rallies == []
    assert labels.truth.unknown == [(0.0, OPEN_END_SEC)]
    assert labels.timed == 0


@pytest.mark.parametrize("fps", [25.0, 30_000 / 1001, 30.0, 50.0, 60_000 / 1001])
def test_seconds_are_frames_at_the_usual_rate(games, truth_of, fps):
    rallies = truth_of(games, fps=fps * 1.00003).rallies
    frames = [round(start * fps * 1.00003) for start, _ in TWO_GAMES]
    assert [start for start, _ in rallies] == [round(frame / fps, 3) for frame in frames]


def test_an_unusual_rate_is_refused(games, truth_of):
    with pytest.raises(UserError, match="29.985 frames per second is no usual rate"):
        truth_of(games, fps=29.985)


def test_tables_may_have_a_byte_order_mark(games, truth_of):
    assert truth_of(games, bom=True).rallies == TWO_GAMES


@pytest.mark.parametrize("bad", ["", "nan", "x"])
def test_a_cell_without_a_number_is_named(games, tmp_path, bad):
    folder = write_match(tmp_path / "match", games)
    text = (folder / "set2.csv").read_text().replace(",21600.0,", f",{bad},", 1)
    (folder / "set2.csv").write_text(text)
    with pytest.raises(UserError, match="set2.csv, row 4"):
        read_labels(folder)


def test_a_table_without_rows_is_refused(games, tmp_path):
    folder = write_match(tmp_path / "match", games)
    text = (folder / "set2.csv").read_text()
    (folder / "set2.csv").write_text(text.splitlines()[0])
    with pytest.raises(UserError, match=r"set2.csv has no rows"):
        read_labels(folder)


def test_sets_are_found_in_any_folder_above(tmp_path):
    a = write_set(tmp_path / "repo" / "ShuttleSet" / "set", {"name": "A B"})
    b = write_set(tmp_path / "repo" / "other" / "set", {"name": "C"}, addresses=False)
    (tmp_path / "repo" / "data").mkdir()
    write_csv(tmp_path / "repo" / "data" / "match.csv", ["id"], [[1]])
    assert find_sets(tmp_path / "repo") == [a, b]
    assert find_sets(tmp_path / "repo" / "ShuttleSet") == [a] == find_sets(a)


def test_a_match_with_a_table_less_than_it_had_games_is_left_out(tmp_path):
    folder = write_set(tmp_path / "set", {"name": "A"})
    assert list_matches(folder)[0].left_out == ""
    (folder / "A" / "set2.csv").unlink()
    assert list_matches(folder)[0].left_out == "2 games, but tables of 1"


def test_a_match_of_a_shortened_film_is_left_out(tmp_path):
    folder = write_set(tmp_path / "set", {"name": "A_Trim"})
    assert "shortened film" in list_matches(folder)[0].left_out


def test_matches_known_to_be_wrong_are_left_out_by_name(tmp_path):
    name = "NG_Ka_Long_Angus_SHI_Yu_Qi_Thailand_Masters_2020_SemiFinals"
    folder = write_set(tmp_path / "set", {"name": name})
    assert list_matches(folder)[0].left_out == "its frame numbers are wrong"


def test_two_tournaments_of_one_hall_and_month_are_one_group(tmp_path):
    folder = write_set(
        tmp_path / "set",
        {"name": "A", "tournament": "Malaysia Open 2022", "when": ("2022.0", "7.0")},
        {"name": "B", "tournament": "MALAYSIA MASTERS 2022", "when": ("2022", "7")},
        {"name": "C", "tournament": "Cup of Nowhere", "when": ("2022", "7")},
    )
    a, b, c = list_matches(folder)
    assert a.group == b.group == "axiata-arena-2022-07"
    assert (a.new_group, c.group, c.new_group) == ("", "cup-of-nowhere-2022-07", "Cup of Nowhere")
