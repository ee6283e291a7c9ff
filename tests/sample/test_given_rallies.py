"""Tests of synthetic matches that are drawn to given rally times."""

import hashlib

import numpy as np
import pytest

from annotation.match_marks import read_marks
from sample.match import draw_match
from sample.players import move_body, plan_point
from sample.script import CUTAWAYS, SCENE_KINDS, write_script

RALLIES = [(20.04, 34.2), (36.2, 37.2), (60.0, 61.24), (241.0, 285.48), (300.123, 304.0)]


def play(script):
    return [(scene.start_sec, scene.end_sec) for scene in script if scene.kind == "rally"]


def random_rallies(rng, count):
    """Rallies of 0.4 to 45 s with gaps of 2 s to 3 minutes, in ms, and the length of the match."""
    gaps, lengths = rng.uniform(2, 20, count + 1), rng.uniform(0.4, 12, count)
    gaps[rng.integers(count + 1)], lengths[rng.integers(count)] = 180, 45
    ends = np.cumsum(gaps[:-1] + lengths)
    rallies = np.round(np.stack([ends - lengths, ends], 1), 3)
    return [tuple(rally) for rally in rallies.tolist()], float(np.ceil(ends[-1] + gaps[-1]))


@pytest.fixture(scope="module")
def drawn_scripts():
    """(script, given rallies, length of the match) for 60 seeds."""
    cases = [random_rallies(np.random.default_rng(seed), 30) for seed in range(60)]
    return [(write_script(seed, end, given), given, end) for seed, (given, end) in enumerate(cases)]


def test_scripts_without_given_rallies_stay_what_they_were():
    digest = hashlib.sha256()
    for seconds in (3, 5, 12.5, 120, 600):
        for seed in range(20):
            digest.update(repr(write_script(seed, seconds)).encode())
    assert digest.hexdigest() == "c2ce936347623e1af457a7af5cd05fc7cd46d603ec8a4fb3f5243ec41bab173e"


def test_the_rallies_are_exactly_the_given_ones(drawn_scripts):
    for script, given, _ in drawn_scripts:
        assert play(script) == given
    assert play(write_script(4, 320, RALLIES)) == RALLIES


def test_a_script_for_given_rallies_covers_the_match_without_gaps(drawn_scripts):
    for script, _, end in drawn_scripts:
        assert script[0].start_sec == 0 and script[-1].end_sec == end
        for before, after in zip(script[:-1], script[1:], strict=True):
            assert before.end_sec == after.start_sec
        assert all(scene.start_sec < scene.end_sec for scene in script)
        assert {scene.kind for scene in script} == set(SCENE_KINDS)


def test_the_camera_shows_the_court_before_a_serve_and_after_a_rally(drawn_scripts):
    for script, _, _ in drawn_scripts:
        for k, scene in enumerate(script):
            if scene.kind != "rally":
                continue
            shot = [other.kind for other in script if other.seed == scene.seed]
            assert shot == ["court", "rally", "court", "court"]
            before, after = scene.start_sec - script[k - 1].start_sec, script[k + 2]
            if k > 1 and script[k - 2].kind in CUTAWAYS:
                assert before + 1e-6 >= 0.9 and before <= 5
            if after is not script[-1] and script[k + 3].kind in CUTAWAYS:
                assert (
                    after.end_sec - scene.end_sec + 1e-6 >= 2 and after.end_sec <= scene.end_sec + 4
                )


def test_cutaways_fill_a_gap_of_more_than_10_s_and_none_is_in_a_gap_of_2_s(drawn_scripts):
    short = 0
    for script, given, _ in drawn_scripts:
        cuts = [(scene.start_sec, scene.end_sec) for scene in script if scene.kind in CUTAWAYS]
        for (_, start), (end, _) in zip(given[:-1], given[1:], strict=True):
            inside = sum(b - a for a, b in cuts if start <= a and b <= end)
            if end - start > 10:
                assert end - start - 9 <= inside <= end - start - 2.9
            if end - start < 4.4:  # 2 s after a rally, 0.9 s before a serve, the shortest cutaway
                assert inside == 0
                short += 1
    assert short > 20


def test_cutaways_in_given_gaps_are_as_long_as_in_random_scripts(drawn_scripts):
    def lengths(scripts, kind):
        return [s.end_sec - s.start_sec for script in scripts for s in script if s.kind == kind]

    drawn = [write_script(seed, 120) for seed in range(60)]
    for kind in CUTAWAYS:
        given = lengths((script for script, _, _ in drawn_scripts), kind)
        assert np.median(given) == pytest.approx(np.median(lengths(drawn, kind)), rel=0.15)


def test_there_is_no_replay_before_the_first_given_rally():
    for seed in range(30):
        script = write_script(seed, 100, [(60.0, 70.0)])
        before = [scene.kind for scene in script if scene.end_sec <= 60]
        assert len(before) > 10 and "replay" not in before


def test_players_have_time_for_every_stroke_of_a_given_rally(drawn_scripts):
    strokes = []
    for script, _, _ in drawn_scripts:
        for rally in (scene for scene in script if scene.kind == "rally"):
            assert rally.hits[0] == rally.start_sec and rally.hits[-1] < rally.end_sec
            strokes.append(len(rally.hits))
            if strokes[-1] > 1:
                assert np.diff([*rally.hits, rally.end_sec]).min() > 0.499  # hits are in ms
    assert min(strokes) == 1 and max(strokes) > 50


def test_players_move_through_a_rally_of_one_stroke_and_a_gap_of_2_s():
    for scene in (s for s in write_script(7, 320, RALLIES) if s.kind == "rally"):
        start, end = scene.start_sec - 1, scene.end_sec + 1
        rng, times = np.random.default_rng(scene.seed), np.arange(start, end, 0.04)
        plan = plan_point(rng, start, end, scene.hits, scene.end_sec, scene.board.server)
        for side in (0, 1):  # raises if the keys are out of order
            assert np.isfinite(move_body(plan.keys[side], times, far=bool(side))).all()


def test_the_board_counts_every_given_rally():
    script = write_script(5, 320, RALLIES)
    rallies = [scene for scene in script if scene.kind == "rally"]
    for before, after in zip(rallies[:-1], rallies[1:], strict=True):
        assert after.board != before.board and after.board.server == before.winner


@pytest.mark.parametrize(
    "given",
    [
        [(5.0, 9.0), (9.5, 12.0)],
        [(5.0, 9.0), (8.0, 12.0)],
        [(10.0, 12.0), (3.0, 5.0)],
        [(0.5, 4.0)],
        [(5.0, 29.5)],
        [(6.0, 6.0)],
    ],
    ids=["0.5 s apart", "overlap", "not in order", "at the start", "at the end", "empty"],
)
def test_rallies_that_leave_no_room_are_an_error(given):
    with pytest.raises(ValueError, match="at least 1 s from each other and from both ends"):
        write_script(1, 30, given)


def test_without_any_rally_the_main_camera_never_shows():
    assert write_script(2, 1.2, [])[-1].end_sec == 1.2
    script = write_script(2, 40, [])
    assert script[-1].end_sec == 40 and {scene.kind for scene in script} <= set(CUTAWAYS)


def test_the_table_beside_the_film_holds_exactly_the_given_times(tmp_path):
    given = [(2.04, 3.04), (5.04, 8.123)]
    script = draw_match(tmp_path / "a.mp4", 9, 11, 25, given)
    assert read_marks(tmp_path / "a.csv") == given == play(script)
