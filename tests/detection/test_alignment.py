import numpy as np
import pytest

from annotation.ground_truth import Truth
from detection.alignment import best_shift, warn_of_shift

RALLIES = [(30.0, 38.0), (55.0, 61.5), (80.0, 99.0), (140.0, 147.0)]
TIMES = np.arange(0, 200, 4 / 30)


def probs_of(rallies, sure=0.9, seed=0):
    """Noisy probabilities of play, high inside the rallies."""
    probs = np.full(len(TIMES), 1 - sure)
    for start, end in rallies:
        probs[(start <= TIMES) & (end > TIMES)] = sure
    noise = np.random.default_rng(seed).normal(0, 0.1, len(TIMES))
    return np.clip(probs + noise, 0.01, 0.99).astype(np.float32)


def moved(spans, by):
    return [(start + by, end + by) for start, end in spans]


@pytest.mark.parametrize("by", [-19.9, -7.3, -0.6, 0.6, 2.0, 13.4, 20.0])
def test_marks_that_were_shifted_on_purpose_are_found_to_a_tenth_of_a_second(by, capsys):
    shift = best_shift(TIMES, probs_of(RALLIES), Truth(moved(RALLIES, -by)))
    assert shift.sec == pytest.approx(by, abs=0.11)
    assert shift.is_large
    warn_of_shift("final", shift)
    told = capsys.readouterr().out
    side = "early" if by > 0 else "late"
    assert f"s too {side} for this film" in told
    assert f"labeling.py --match=final --shift {shift.sec:+.1f}" in told


@pytest.mark.parametrize("by", [0.0, 0.3, -0.4])
def test_a_small_shift_is_not_said(by, capsys):
    shift = best_shift(TIMES, probs_of(RALLIES), Truth(moved(RALLIES, by)))
    assert abs(shift.sec + by) < 0.21 and not shift.is_large
    warn_of_shift("final", shift)
    assert capsys.readouterr().out == ""


def test_a_model_that_knows_nothing_says_nothing():
    rng = np.random.default_rng(1)
    for _ in range(20):
        probs = rng.uniform(0.2, 0.6, len(TIMES)).astype(np.float32)
        assert not best_shift(TIMES, probs, Truth(RALLIES)).is_large


def test_unknown_stretches_and_damage_do_not_count():
    probs = probs_of(moved(RALLIES, 3.0))
    probs[(TIMES > 100) & (TIMES < 135)] = 0.95  # play of which the marks know nothing
    truth = Truth(RALLIES, [(100.0, 135.0)])
    probs[:100] = np.nan
    assert best_shift(TIMES, probs, truth).sec == pytest.approx(3.0, abs=0.11)


def test_a_match_shorter_than_the_largest_shift_is_checked_too():
    times_sec = np.arange(0, 6, 4 / 30)
    probs = np.where((times_sec >= 2.4) & (times_sec < 4), 0.9, 0.1)
    assert best_shift(times_sec, probs, Truth([(1.0, 2.6)])).sec == pytest.approx(1.4, abs=0.11)


def test_without_a_rally_or_a_probability_there_is_no_shift():
    assert best_shift(TIMES, probs_of(RALLIES), Truth([])) is None
    assert best_shift(TIMES, np.full(len(TIMES), np.nan), Truth(RALLIES)) is None
    warn_of_shift("final", None)
