import itertools

import numpy as np
import pytest

from annotation.ground_truth import Truth
from detection.decoding import (
    COLUMNS,
    Decoding,
    best_path,
    decode,
    fit_decoding,
    score,
    to_marks,
    unknown_stretches,
)
from files import UserError

PLAIN = Decoding(threshold=0.5, rally_cost=0.5, min_rally_sec=1.0, min_gap_sec=1.0)


def probs_of(text: str, play: float = 0.95) -> np.ndarray:
    """Returns the probability of each step: # is play, . is dead time, ? is unknown."""
    values = {"#": play, ".": 1 - play, "?": np.nan}
    return np.array([values[c] for c in text])


def decode_text(text: str, decoding: Decoding = PLAIN, step_sec: float = 0.5) -> list:
    times_sec = np.arange(len(text)) * step_sec
    return to_marks(decode(times_sec, probs_of(text), decoding, len(text) * step_sec))


def paths(steps: int, min_rally: int, min_gap: int):
    """Yields all allowed runs of rallies, by trying every string of bits."""
    for bits in itertools.product((False, True), repeat=steps):
        runs = [(k, len(list(g))) for k, g in itertools.groupby(bits)]
        inner = runs[1:-1]
        if all(length >= (min_rally if play else min_gap) for play, length in inner):
            edges = np.flatnonzero(np.diff(np.pad(np.array(bits, int), 1)))
            yield [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def worth(evidence: np.ndarray, runs: list, cost: float) -> float:
    inside = np.zeros(len(evidence), bool)
    for first, last in runs:
        inside[first:last] = True
    return evidence[inside].sum() - evidence[~inside].sum() - cost * len(runs)


@pytest.mark.parametrize("seed", range(60))
def test_no_other_path_is_worth_more(seed):
    rng = np.random.default_rng(seed)
    evidence, cost = rng.normal(size=rng.integers(1, 10)), rng.uniform(0, 2)
    min_rally, min_gap = map(int, rng.integers(1, 5, 2))
    found = best_path(evidence, cost, min_rally, min_gap)
    allowed = list(paths(len(evidence), min_rally, min_gap))
    assert found in allowed
    assert worth(evidence, found, cost) == pytest.approx(
        max(worth(evidence, runs, cost) for runs in allowed)
    )


def test_a_long_rally_is_not_split_by_one_doubtful_second():
    probs = np.concatenate([probs_of("....######"), [0.3, 0.3], probs_of("######....")])
    assert len(decode(np.arange(22) * 0.5, probs, Decoding(), 11.0)) == 1


def test_two_rallies_with_a_short_break_between_are_not_merged():
    assert len(decode_text("....##########......##########....", Decoding())) == 2


def test_a_single_step_of_play_is_not_a_rally():
    assert decode_text("..........#..........", Decoding()) == []


def test_edges_lie_where_the_probability_crosses_the_threshold():
    assert decode_text("....######....") == [(1.75, 4.75)]


def test_an_edge_lies_nearer_to_the_less_certain_of_its_two_steps():
    times_sec, probs = np.arange(8) * 0.5, np.array([0.1, 0.1, 0.45, 0.9, 0.9, 0.9, 0.1, 0.1])
    (start, _), *rest = to_marks(decode(times_sec, probs, PLAIN, 4.0))
    assert not rest
    assert 1.0 < start < 1.1  # the third step, at 1.0 s, is nearly play


def test_rallies_cut_off_by_the_ends_of_the_match_are_kept_however_short():
    strict = Decoding(rally_cost=0.1, min_rally_sec=3.0, min_gap_sec=1.0)
    assert decode_text("##......................##", strict) == [(0.0, 0.75), (11.75, 13.0)]


def test_unknown_steps_neither_end_a_rally_nor_start_one():
    assert decode_text("....####????####....") == [(1.75, 7.75)]
    assert len(decode_text("....####................????????........")) == 1


def test_shifts_never_move_an_edge_over_a_neighbour_or_an_end_of_the_match():
    shifted = Decoding(
        rally_cost=0.1, min_rally_sec=1, min_gap_sec=0.5, start_shift_sec=-9, end_shift_sec=9
    )
    marks = decode_text("....####....####....", shifted)
    assert marks[0][0] == 0.0
    assert marks[-1][1] == 10.0
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(marks))


def test_confidence_is_the_mean_probability_of_the_known_steps():
    probs = np.array([0.1, 0.9, 0.8, np.nan, 0.7, 0.1])
    table = decode(np.arange(6.0), probs, PLAIN, 6.0)
    assert list(table.columns) == list(COLUMNS)
    assert table["confidence"].tolist() == pytest.approx([0.8])


@pytest.mark.parametrize("text", ["", ".", "#", "????"])
def test_tiny_and_unknown_matches_are_decoded(text):
    assert decode_text(text) == ([(0.0, 0.5)] if text == "#" else [])


def test_impossible_settings_are_refused():
    for wrong in ({"threshold": 0}, {"threshold": 1}, {"min_rally_sec": -1}, {"rally_cost": -0.1}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Decoding(**wrong)


def test_fitting_corrects_the_bias_of_a_model():
    text = ("." * 20 + "#" * 16) * 6 + "." * 20
    times_sec = np.arange(len(text)) * 0.25
    truth = [
        (start + 0.5, end - 0.3)
        for start, end in to_marks(decode(times_sec, probs_of(text), Decoding(), len(text) / 4))
    ]
    matches = [(times_sec, probs_of(text), Truth(truth), len(text) / 4)]
    fitted = fit_decoding(matches)
    assert score(matches, fitted) > score(matches, Decoding())
    found = to_marks(decode(times_sec, probs_of(text), fitted, len(text) / 4))
    assert np.abs(np.array(found) - truth).max() < 0.1


def test_fitting_learns_to_leave_out_stretches_too_short_to_be_a_rally():
    text = ("." * 20 + "#" * 5 + "." * 20 + "#" * 24) * 4 + "." * 20
    times_sec = np.arange(len(text)) * 0.25
    long = [m for m in to_marks(decode(times_sec, probs_of(text), PLAIN, 300)) if m[1] - m[0] > 3]
    matches = [(times_sec, probs_of(text), Truth(long), len(text) / 4)]
    assert len(decode(times_sec, probs_of(text), fit_decoding(matches, PLAIN), 300)) == 4


def test_a_stretch_shorter_than_the_minimum_is_left_out_and_not_lengthened():
    strict = Decoding(rally_cost=0.1, min_rally_sec=4.0, min_gap_sec=1.0)
    assert decode_text("........######..........##########........", strict) == [(11.75, 16.75)]


def test_an_unknown_stretch_ends_half_way_to_the_next_step_or_with_the_match():
    probs = np.array([np.nan, 0.1, np.nan, np.nan, 0.2, np.nan])
    stretches = unknown_stretches(np.arange(6) * 2.0, probs, 11.7)
    assert stretches == [(0, 1), (3, 7), (9, 11.7)]
    assert unknown_stretches(np.array([0.5, 1.0]), np.array([np.nan, np.nan]), 1.5) == [(0, 1.5)]
    assert unknown_stretches(np.array([]), np.array([]), 5.0) == []
