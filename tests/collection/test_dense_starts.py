"""Starts by the marks of a match, against counting every millisecond of SYNTHETIC marks."""

import numpy as np
import pytest

from collection.dense_starts import dense_starts

MINUTES = 10  # of a drawn match
END_SEC = MINUTES * 60.0


def ms(seconds):
    return round(seconds * 1000)


def drawn_marks(seed):
    """(rallies, unknown) of ten minutes: rallies of 1 to 15 s, after pauses of 1 to 20 s.

    One pause in six is unknown.
    """
    rng, now, rallies, unknown = np.random.default_rng(seed), 5.0, [], []
    while now < END_SEC - 40:
        end = round(now + rng.uniform(1, 15), 3)
        following = round(end + rng.uniform(1, 20), 3)
        rallies.append((round(now, 3), end))
        unknown += [(end, following)] if rng.random() < 1 / 6 else []
        now = following
    return rallies, unknown


def known_ms(unknown, start_sec, end_sec):
    """Whether each millisecond of the match is known and between start_sec and end_sec."""
    known = np.zeros(ms(END_SEC), bool)
    known[ms(start_sec) : ms(end_sec)] = True
    for start, end in unknown:
        known[ms(start) : ms(end)] = False
    return known


def fits(start, length_sec, known):
    end = ms(start) + ms(length_sec)
    return end <= len(known) and bool(known[ms(start) : end].all())


def gap_sec(start, length_sec, rallies):
    """Seconds between a sequence and the nearest edge of a rally; 0 if it contains one."""
    edges = np.array(rallies).ravel()
    return float(np.maximum(np.maximum(edges - start - length_sec, start - edges), 0).min())


def near_and_even(starts, every_sec, start_sec=0.0):
    """(the starts near edges, those on the even grid)."""
    even = [s for s in starts if (ms(s) - ms(start_sec)) % ms(2 * every_sec) == 0]
    return [start for start in starts if start not in even], even


@pytest.mark.parametrize("length_sec", [0.5, 1.0, 30 / 29.97, 2.0])
@pytest.mark.parametrize("every_sec", [0.3, 1.0, 3.0, 10.0])
def test_every_sequence_lies_in_known_time_inside_the_limits(length_sec, every_sec):
    for seed in range(10):
        rallies, unknown = drawn_marks(seed)
        known = known_ms(unknown, 20.5, 500.25)
        starts = dense_starts(rallies, unknown, length_sec, every_sec, 20.5, 500.25)
        assert starts and all(fits(start, length_sec, known) for start in starts)


@pytest.mark.parametrize("every_sec", [3.0, 4.5, 10.0])
def test_half_of_the_starts_are_even_and_half_near_edges_about_one_per_interval(every_sec):
    for seed in range(20):
        rallies, unknown = drawn_marks(seed)
        known = known_ms(unknown, 0, END_SEC)
        starts = dense_starts(rallies, unknown, 1.0, every_sec, 0, END_SEC)
        near, even = near_and_even(starts, every_sec)
        grid = np.arange(0, END_SEC, 2 * every_sec)
        assert even == [start for start in grid if fits(start, 1.0, known)]
        assert len(near) == len(even)
        assert all(gap_sec(start, 1.0, rallies) < 1 for start in near)
        assert len(starts) == pytest.approx(known.sum() / 1000 / every_sec, rel=0.15)


@pytest.mark.parametrize("every_sec", [0.5, 1.0, 2.0, 10.0])
def test_starts_are_in_order_and_one_near_an_edge_is_half_a_second_from_every_other(every_sec):
    for seed in range(20):
        rallies, unknown = drawn_marks(seed)
        starts = dense_starts(rallies, unknown, 1.0, every_sec, 0, END_SEC)
        near, _ = near_and_even(starts, every_sec)
        assert starts == sorted(set(starts))
        for start in near:
            assert min(abs(ms(start) - ms(other)) for other in starts if other != start) >= 500


def test_the_same_marks_give_the_same_starts_in_any_order():
    rallies, unknown = drawn_marks(1)
    starts = dense_starts(rallies, unknown, 1.0, 2.0, 0, END_SEC)
    assert dense_starts(rallies[::-1], unknown[::-1], 1.0, 2.0, 0, END_SEC) == starts


def test_a_duration_and_its_three_decimals_give_the_same_starts():
    """A table keeps three decimals; a finished video must not look unfinished by them."""
    rng = np.random.default_rng(0)
    durations = [*rng.uniform(30, 60, 300), *(rng.integers(30_000, 60_000, 300) + 0.5) / 1000]
    for duration in map(float, durations):
        rallies = [(5.0, round(duration, 3) - 0.25)]  # a place near its end fits exactly
        starts = dense_starts(rallies, [], 1.0, 1.0, 0, duration)
        assert starts == dense_starts(rallies, [], 1.0, 1.0, 0, float(f"{duration:.3f}"))


@pytest.mark.parametrize("every_sec", [10.0, 20.0])
def test_few_starts_near_edges_spread_over_the_match_over_starts_and_ends_and_over_places(
    every_sec,
):
    befores, acrosses, afters = 0, 0, 0
    for seed in range(20):
        rallies, _ = drawn_marks(seed)
        near, _ = near_and_even(dense_starts(rallies, [], 1.0, every_sec, 0, END_SEC), every_sec)
        edges = np.array(rallies).ravel()
        nearest = [int(np.abs(edges - start - 0.5).argmin()) for start in near]
        assert len(near) < len(edges)
        thirds = np.bincount(np.array(near, int) // 200, minlength=3)
        assert thirds.min() >= len(near) / 6
        assert len(near) / 4 <= sum(edge % 2 for edge in nearest) <= 3 * len(near) / 4
        offsets = np.array([start - edges[edge] for start, edge in zip(near, nearest, strict=True)])
        befores += (offsets <= -1).sum()
        acrosses += ((offsets > -1) & (offsets < 0)).sum()
        afters += (offsets >= 0).sum()
    share = np.array([befores, acrosses, afters]) / (befores + acrosses + afters)
    assert (share > 0.25).all()


def test_where_places_near_edges_run_out_there_are_fewer_starts_and_no_others():
    rallies, unknown = [(100.0, 110.0), (300.0, 312.5)], [(90.0, 99.5)]
    near, even = near_and_even(dense_starts(rallies, unknown, 1.0, 3.0, 0, END_SEC), 3.0)
    assert 8 <= len(near) < len(even)
    assert all(gap_sec(start, 1.0, rallies) < 1 for start in near)
    known, taken = known_ms(unknown, 0, END_SEC), np.array(near + even)
    for edge in np.array(rallies).ravel():
        for start in edge + np.arange(-1.75, 1, 0.5):
            assert not fits(start, 1.0, known) or np.abs(taken - start).min() < 0.5


def test_a_sequence_may_touch_the_border_of_an_unknown_stretch_and_the_end_of_the_video():
    assert dense_starts([], [(3.0, 6.0), (7.0, 9.0)], 1.0, 0.5, 0, 10.0) == [0, 1, 2, 6, 9]


def test_without_a_rally_the_even_starts_are_all():
    assert dense_starts([], [], 1.0, 5.0, 2.5, 40) == [2.5, 12.5, 22.5, 32.5]


def test_marks_after_the_end_of_the_video_are_ignored():
    first, late = (5.0, 9.0), (500.0, 510.0)
    starts = dense_starts([first], [], 1.0, 2.0, 0, 30.0)
    assert len(starts) == 16 and dense_starts([first, late], [], 1.0, 2.0, 0, 30.0) == starts


def test_nothing_known_gives_no_start():
    assert dense_starts([], [(0, 60.0)], 1.0, 2.0, 0, 60.0) == []
    assert dense_starts([(1.0, 2.0)], [], 1.0, 2.0, 0, 0.9) == []
