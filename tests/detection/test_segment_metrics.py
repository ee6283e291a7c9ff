import itertools
import json
import math

import numpy as np
import pytest

from annotation.ground_truth import Truth
from detection.segment_metrics import (
    chien_fang_hits,
    iou_matrix,
    make_scores,
    measure_edges,
    measure_match,
    pairs_at,
    shuttlecut_pairs,
    summarise,
)

RALLIES = [(2.0, 5.0), (10.0, 16.0), (20.0, 35.0)]  # a short, a medium and a long one


def rates(scores):
    return scores["precision"], scores["recall"], scores["f1"]


def counts(scores):
    return scores["tp"], scores["predicted"], scores["true"]


def measure(predicted, truth, duration_sec):
    """measure_match of a match of which everything is known."""
    return measure_match(predicted, Truth(truth), duration_sec)


def random_marks(rng, count):
    """Rallies in order that do not overlap."""
    edges = np.sort(rng.choice(60, 2 * count, replace=False)) / 2
    return [tuple(pair) for pair in edges.reshape(-1, 2).tolist()]


# IoU and pairs


def test_iou_is_shared_over_joint_time():
    # 2 of 6 s; apart; inside: 2 of 10 s; the same
    predicted, truth = [(0, 4), (20, 30), (50, 52)], [(2, 6), (24, 26), (50, 52)]
    expected = [[2 / 6, 0, 0], [0, 2 / 10, 0], [0, 0, 1]]
    assert iou_matrix(predicted, truth) == pytest.approx(np.array(expected))


def test_touching_rallies_share_nothing():
    assert iou_matrix([(0, 5)], [(5, 9)]).tolist() == [[0.0]]
    assert pairs_at([(0, 5)], [(5, 9)], 0.0) == []


@pytest.mark.parametrize(("p", "t"), [(0, 0), (0, 2), (2, 0)])
def test_iou_of_no_rallies_has_no_entries(p, t):
    iou = iou_matrix(RALLIES[:p], RALLIES[:t])
    assert iou.shape == (p, t) and iou.dtype == np.float64
    assert pairs_at(RALLIES[:p], RALLIES[:t], 0.3) == []


def test_an_iou_exactly_at_the_threshold_is_a_pair():
    assert pairs_at([(0, 10)], [(0, 5)], 0.5) == [(0, 0)]
    assert pairs_at([(0, 10)], [(0, 4.999)], 0.5) == []
    # 0.7 / 1 and 0.3 / 1 in floats: a little under and a little over the decimal number
    for start in np.arange(0, 50, 0.7):
        for share in (0.3, 0.7):
            assert pairs_at([(start, start + 1.0)], [(start, start + share)], share) == [(0, 0)]


def test_more_pairs_are_preferred_to_the_best_single_pair():
    # the best first pair, p0 with t0, leaves p1 and t1, which share 1 of 17 s
    predicted, truth = [(0, 10), (-4, 6)], [(0, 8), (5, 13)]
    assert iou_matrix(predicted, truth) == pytest.approx(np.array([[0.8, 5 / 13], [0.5, 1 / 17]]))
    assert pairs_at(predicted, truth, 0.3) == [(0, 1), (1, 0)]


def test_among_equal_numbers_of_pairs_the_greatest_total_iou_wins():
    predicted, truth = [(0, 10), (1, 11)], [(0, 10), (1, 11)]
    assert pairs_at(predicted, truth, 0.5) == [(0, 0), (1, 1)]


def test_pairs_are_one_to_one():
    assert len(pairs_at([(0, 10)], [(0, 5), (5, 10)], 0.5)) == 1
    assert len(pairs_at([(0, 5), (5, 10)], [(0, 10)], 0.5)) == 1


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_pairs_are_those_of_trying_every_assignment(threshold):
    rng = np.random.default_rng(7)
    numbers = []
    for _ in range(60):
        starts = rng.integers(0, 8, 9)  # they overlap, so that there is something to choose
        marks = np.stack([starts, starts + rng.integers(2, 9, 9)], axis=1).tolist()
        few, many = sorted(map(tuple, marks[:4])), sorted(map(tuple, marks[4:]))
        iou = iou_matrix(few, many)
        tried = []
        for order in itertools.permutations(range(len(many)), len(few)):
            kept = [value for value in iou[range(len(few)), order] if value >= threshold - 1e-9]
            tried.append((len(kept), round(sum(kept), 9)))
        pairs, mirrored = pairs_at(few, many, threshold), pairs_at(many, few, threshold)
        assert (len(pairs), round(sum(iou[pair] for pair in pairs), 9)) == max(tried)
        assert (len(mirrored), round(sum(iou[t, p] for p, t in mirrored), 9)) == max(tried)
        numbers.append(len(pairs))
    assert len(set(numbers)) > 2


# a match


def test_perfect_predictions_are_right_in_everything():
    measured = measure(RALLIES, RALLIES, 40.0)
    for scores in (*measured["iou"].values(), *measured["by_length"].values()):
        assert rates(scores) == (1.0, 1.0, 1.0)
    assert measured["time"]["accuracy"] == measured["time"]["f1"] == 1.0
    assert rates(measured["rules"]["shuttlecut"]) == rates(measured["rules"]["chien_fang"])
    assert measured["edges"]["start"] == measured["edges"]["end"]
    assert measured["edges"]["start"]["mean_abs_sec"] == 0.0
    assert (measured["count_error"], measured["count_error_relative"]) == (0, 0.0)
    assert (measured["splits"], measured["merges"]) == (0, 0)


def test_precision_recall_and_f1_at_each_threshold():
    # IoU 1, 0.6 (6 of 10), 0.4 (4 of 10), one false positive, one true rally missed
    predicted = [(0, 5), (10, 16), (30, 34), (50, 51)]
    truth = [(0, 5), (10, 20), (30, 40), (60, 65), (70, 75)]
    scores = measure(predicted, truth, 80.0)["iou"]
    assert [counts(scores[name]) for name in ("0.3", "0.5", "0.7")] == [
        (3, 4, 5),
        (2, 4, 5),
        (1, 4, 5),
    ]
    assert rates(scores["0.3"]) == pytest.approx((3 / 4, 3 / 5, 2 * 3 / 9))
    assert rates(scores["0.7"]) == pytest.approx((1 / 4, 1 / 5, 2 * 1 / 9))


def test_without_predictions_precision_is_undefined_and_f1_is_0():
    measured = measure([], RALLIES, 40.0)
    assert rates(measured["iou"]["0.5"]) == (None, 0.0, 0.0)
    assert rates(measured["rules"]["chien_fang"]) == (None, 0.0, 0.0)
    assert measured["edges"]["start"] == {
        "pairs": 0,
        "median_abs_sec": None,
        "mean_abs_sec": None,
        "bias_sec": None,
        "share_large": None,
    }
    assert (measured["count_error"], measured["count_error_relative"]) == (-3, 1.0)
    assert measured["time"]["accuracy"] == pytest.approx(1 - 24 / 40)


def test_without_true_rallies_recall_is_undefined_and_f1_is_0():
    measured = measure(RALLIES, [], 40.0)
    assert rates(measured["iou"]["0.5"]) == (0.0, None, 0.0)
    assert rates(measured["rules"]["shuttlecut"]) == (0.0, None, 0.0)
    assert (measured["count_error"], measured["count_error_relative"]) == (3, None)
    assert measured["time"]["recall"] is None


def test_without_either_f1_is_undefined_and_every_sample_right():
    measured = measure([], [], 40.0)
    for scores in (*measured["iou"].values(), *measured["by_length"].values()):
        assert rates(scores) == (None, None, None)
    assert measured["time"]["accuracy"] == 1.0 and measured["time"]["f1"] is None
    assert measure([], [], 0.0)["time"]["accuracy"] is None


@pytest.mark.parametrize(("predicted", "truth"), [*itertools.product([[], RALLIES], repeat=2)])
def test_a_match_and_its_summary_are_json_without_nan(predicted, truth):
    measured = measure(predicted, truth, 40.0)
    summary = summarise({"a": measured, "b": measure([], [], 0.0)})
    assert json.loads(json.dumps([measured, summary], allow_nan=False)) == [measured, summary]


# by length


def test_a_pair_counts_by_its_true_rally_and_a_lone_prediction_by_its_own_length():
    predicted = [
        (0, 3.5),  # pairs with the true 4.5 s: medium, although it is short itself
        (20, 24),  # alone, 4 s: medium
        (30, 33.999),  # alone: short
        (50, 61),  # pairs with the true 10 s: medium
    ]
    truth = [(0, 4.5), (50, 60), (70, 80.001), (90, 93)]  # and a long and a short one missed
    scores = measure(predicted, truth, 100.0)["by_length"]
    assert counts(scores["under 4 s"]) == (0, 1, 1)
    assert counts(scores["4 to 10 s"]) == (2, 3, 2)
    assert counts(scores["over 10 s"]) == (0, 0, 1)
    assert rates(scores["4 to 10 s"]) == pytest.approx((2 / 3, 1.0, 0.8))
    assert rates(scores["over 10 s"]) == (None, 0.0, 0.0)


def test_4_s_and_10_s_are_in_the_middle_group_despite_rounding():
    truth = []
    for tenth in range(1, 400):
        truth += [(tenth / 10, (tenth + 40) / 10), (tenth / 10, (tenth + 100) / 10)]
    lengths = [end - start for start, end in truth]
    assert min(lengths) < 4.0 and max(lengths) > 10.0
    scores = measure([], sorted(truth), 60.0)["by_length"]
    assert scores["4 to 10 s"]["true"] == len(truth)


def test_the_counts_by_length_add_up():
    rng = np.random.default_rng(3)
    for _ in range(20):
        measured = measure(random_marks(rng, 6), random_marks(rng, 5), 30.0)
        bins = [counts(scores) for scores in measured["by_length"].values()]
        assert tuple(map(sum, zip(*bins, strict=True))) == counts(measured["iou"]["0.5"])


# edges


def test_a_prediction_that_starts_late_and_ends_early_has_that_bias():
    predicted = [(0.4, 9.0), (20.0, 29.5), (40.8, 50.3)]
    truth = [(0.0, 10.0), (20.0, 30.0), (40.0, 50.0)]
    measured = measure(predicted, truth, 60.0)
    start, end = measured["edges"]["start"], measured["edges"]["end"]
    assert measured["errors"] == {"start": [0.4, 0.0, 0.8], "end": [-1.0, -0.5, 0.3]}
    assert start["pairs"] == end["pairs"] == 3
    assert start["median_abs_sec"] == pytest.approx(0.4)
    assert (start["mean_abs_sec"], start["bias_sec"]) == pytest.approx((0.4, 0.4))
    assert end["median_abs_sec"] == pytest.approx(0.5)
    assert (end["mean_abs_sec"], end["bias_sec"]) == pytest.approx((0.6, -0.4))
    assert (start["share_large"], end["share_large"]) == pytest.approx((1 / 3, 1 / 3))


def test_an_error_of_exactly_half_a_second_is_not_large():
    measured = measure([(10.3, 20.0)], [(9.8, 20.501)], 30.0)
    assert measured["edges"]["start"]["share_large"] == 0.0
    assert measured["edges"]["end"]["share_large"] == 1.0


def test_edges_count_only_pairs_at_iou_0_5():
    # the second has IoU 0.4
    measured = measure([(0.1, 10), (20, 24)], [(0, 10), (20, 30)], 40.0)
    assert measured["errors"]["start"] == [0.1]


def test_the_median_of_an_even_number_is_in_the_middle():
    assert measure_edges([0.1, -0.2, 0.4, 1.0])["median_abs_sec"] == pytest.approx(0.3)


# over time


def test_accuracy_over_time_counts_samples_of_a_tenth_of_a_second():
    # 100 samples: 20 true, 30 predicted, 10 of them right
    time = measure([(3.0, 6.0)], [(2.0, 4.0)], 10.0)["time"]
    assert (time["samples"], *counts(time)) == (100, 10, 30, 20)
    assert time["accuracy"] == pytest.approx(0.7)
    assert rates(time) == pytest.approx((1 / 3, 1 / 2, 0.4))


def test_samples_over_time_are_those_of_counting_one_by_one():
    rng = np.random.default_rng(11)
    for _ in range(20):
        edges = np.sort(rng.choice(20_000, 12, replace=False)).reshape(2, 3, 2)  # milliseconds
        duration = int(rng.integers(15_000, 25_000))
        centres = [ms for ms in range(50, 30_000, 100) if ms < duration]
        said, true = ([any(a <= ms < b for a, b in part) for ms in centres] for part in edges)
        marks = [[(a / 1000, b / 1000) for a, b in part.tolist()] for part in edges]
        time = measure(*marks, duration / 1000)["time"]
        assert time["samples"] == len(centres)
        assert counts(time) == (sum(map(min, said, true)), sum(said), sum(true))
        right = sum(a == b for a, b in zip(said, true, strict=True))
        assert time["accuracy"] == pytest.approx(right / len(centres))


# splits and merges


@pytest.mark.parametrize(
    ("predicted", "splits"),
    [
        ([(0, 10)], 0),
        ([(0, 4), (5, 10)], 1),
        ([(0, 3), (4, 6), (7, 10)], 2),
        ([(0, 5), (9, 11)], 1),  # half of the second lies within
        ([(0, 5), (9, 11.1)], 0),  # less than half
        ([(0, 5), (5, 10)], 1),  # touching
    ],
)
def test_a_rally_predicted_in_pieces_is_split(predicted, splits):
    measured = measure(predicted, [(0, 10), (30, 40)], 50.0)
    assert (measured["splits"], measured["merges"]) == (splits, 0)


@pytest.mark.parametrize(
    ("truth", "merges"),
    [
        ([(0, 10)], 0),
        ([(0, 4), (5, 10)], 1),
        ([(0, 3), (4, 6), (7, 10)], 2),
        ([(0, 5), (9, 11)], 1),  # half of the second is covered
        ([(0, 5), (9, 11.1)], 0),
    ],
)
def test_a_prediction_over_several_rallies_merges_them(truth, merges):
    measured = measure([(0, 10), (30, 40)], truth, 50.0)
    assert (measured["splits"], measured["merges"]) == (0, merges)


# the rules of others


@pytest.mark.parametrize(
    ("predicted", "right"),
    [
        ((12.5, 27.5), True),  # both edges 2.5 s off
        ((12.501, 27.5), False),
        ((10.0, 32.501), False),
        ((7.5, 32.5), True),
    ],
)
def test_shuttlecut_allows_both_edges_two_and_a_half_seconds(predicted, right):
    assert bool(shuttlecut_pairs([predicted], [(10.0, 30.0)])) == right


def test_shuttlecut_requires_half_of_the_longer_rally_shared():
    assert shuttlecut_pairs([(1.5, 3.0)], [(0.0, 3.0)]) == [(0, 0)]
    assert shuttlecut_pairs([(1.501, 3.0)], [(0.0, 3.0)]) == []
    assert shuttlecut_pairs([(2.0, 5.0)], [(0.0, 3.0)]) == []  # the edges are near enough


def test_shuttlecut_pairs_are_one_to_one():
    scores = measure([(0, 2), (2, 4)], [(0, 4)], 10.0)["rules"]["shuttlecut"]
    assert rates(scores) == pytest.approx((0.5, 1.0, 2 / 3))


@pytest.mark.parametrize(
    ("predicted", "hit"),
    [
        ((10.0, 20.0), True),
        ((0.0, 90.0), True),  # the true one is inside
        ((10.1, 19.9), True),  # inside, with the tolerance
        ((10.101, 19.9), False),  # outside the tolerance by a millisecond
        ((12.0, 15.0), False),
        ((10.0, 15.0), False),  # inside the true one
        ((15.0, 20.0), False),
        ((0.0, 10.001), True),  # crosswise, a millisecond shared
        ((19.999, 30.0), True),
        ((0.0, 10.0), False),  # touching
        ((20.0, 30.0), False),
    ],
)
def test_chien_and_fang_count_covering_and_partly_overlapping_predictions(predicted, hit):
    assert chien_fang_hits([predicted], [(10.0, 20.0)]).tolist() == [[hit]]


def test_chien_and_fang_count_each_side_for_itself():
    # one prediction over two rallies, one inside a rally; a third rally is missed
    predicted, truth = [(0, 20), (31, 32)], [(1, 5), (6, 9), (30, 40)]
    scores = measure(predicted, truth, 50.0)["rules"]["chien_fang"]
    assert rates(scores) == pytest.approx((1 / 2, 2 / 3, 4 / 7))
    assert (scores["tp"], scores["found"]) == (1, 2)


def test_f1_is_0_where_nothing_is_right():
    assert rates(make_scores(0, 3, 4)) == (0.0, 0.0, 0.0)


# several matches


@pytest.fixture
def two():
    """Two matches: 8 of 8 rallies found; 1 of 2 found, with 3 false positives."""
    many = [(10.0 * k, 10.0 * k + 5) for k in range(8)]
    late = [(start + 0.2, end) for start, end in many]
    few = [(1.0, 6.0), (10.0, 11.0), (20.0, 21.0), (30.0, 31.0)]
    return {
        "good": measure(late, many, 80.0),
        "bad": measure(few, [(0.0, 6.0), (50.0, 56.0)], 60.0),
    }


def test_pooled_counts_are_the_sums_and_the_mean_is_over_matches(two):
    summary = summarise(two)
    assert counts(summary["pooled"]["iou"]["0.5"]) == (9, 12, 10)
    assert rates(summary["pooled"]["iou"]["0.5"]) == pytest.approx((9 / 12, 9 / 10, 18 / 22))
    assert rates(summary["mean"]["iou"]["0.5"]) == pytest.approx((5 / 8, 3 / 4, (1 + 1 / 3) / 2))
    assert summary["mean"]["matches"] == 2
    samples = [two[name]["time"]["samples"] for name in ("good", "bad")]
    assert summary["pooled"]["time"]["samples"] == sum(samples) == 1400
    right = 80.0 - 8 * 0.2 + 60.0 - 1 - 3 - 6
    assert summary["pooled"]["time"]["accuracy"] == pytest.approx(right / 140)


def test_a_match_with_f1_0_counts_in_the_mean(two):
    wrong = measure([(0.0, 5.0)], [(20.0, 25.0)], 30.0)
    mean = summarise(two | {"wrong": wrong})["mean"]["iou"]["0.5"]
    assert rates(mean) == pytest.approx((5 / 12, 2 / 4, (1 + 1 / 3) / 3))


def test_the_worst_match_is_named(two):
    worst = summarise(two)["worst"]
    assert worst["match"] == "bad" and worst["f1"] == pytest.approx(1 / 3)


def test_edges_are_pooled_over_all_pairs(two):
    start = summarise(two)["pooled"]["edges"]["start"]
    assert start["pairs"] == 9
    assert start["median_abs_sec"] == pytest.approx(0.2)  # not the mean of 0.2 and 1
    assert start["bias_sec"] == pytest.approx((8 * 0.2 + 1) / 9)
    assert start["share_large"] == pytest.approx(1 / 9)


def test_count_errors_cancel_in_the_pooled_value_but_not_in_the_mean():
    matches = {
        "more": measure(RALLIES + [(36, 37)], RALLIES, 40.0),
        "fewer": measure(RALLIES[:2], RALLIES, 40.0),
    }
    summary = summarise(matches)
    assert summary["pooled"]["count_error"] == 0
    assert summary["pooled"]["count_error_relative"] == 0.0
    assert summary["mean"]["count_error_relative"] == pytest.approx(1 / 3)


def test_splits_and_merges_are_added():
    split = measure([(0, 4), (5, 10)], [(0, 10)], 20.0)
    merged = measure([(0, 10)], [(0, 3), (4, 6), (7, 10)], 20.0)
    pooled = summarise({"a": split, "b": merged})["pooled"]
    assert (pooled["splits"], pooled["merges"]) == (1, 2)


def test_a_match_without_any_rally_is_named_and_not_in_the_mean_f1(two):
    with_empty = summarise(two | {"empty": measure([], [], 10.0)})
    assert with_empty["mean"]["iou"] == summarise(two)["mean"]["iou"]
    assert with_empty["mean"]["matches"] == 2
    assert with_empty["empty"] == ["empty"]


def test_there_is_no_worst_match_if_none_has_a_rally():
    summary = summarise({"empty": measure([], [], 10.0)})
    assert summary["worst"] is None
    assert summary["mean"]["iou"]["0.5"]["f1"] is None
    assert summary["pooled"]["count_error_relative"] is None
    assert math.isclose(summary["pooled"]["time"]["accuracy"], 1.0)


def test_lenient_counts_of_both_sides_are_pooled():
    over = measure([(0, 20)], [(1, 5), (6, 9)], 50.0)
    nothing = measure([(0, 20)], [(30, 40)], 50.0)
    scores = summarise({"a": over, "b": nothing})["pooled"]["rules"]["chien_fang"]
    assert rates(scores) == pytest.approx((1 / 2, 2 / 3, 4 / 7))
