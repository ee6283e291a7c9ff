"""An unknown stretch of the ground truth counts neither for nor against a prediction."""

import numpy as np
import pytest

from annotation.ground_truth import Truth, predictions_that_count
from detection.decoding import Decoding, score
from detection.evaluation import evaluate_folders
from detection.evaluation_tables import print_evaluation
from detection.segment_metrics import measure_match, summarise

TRUTH = Truth([(10.0, 20.0), (40.0, 50.0)], [(5.0, 10.0), (50.0, 60.0), (70.0, 80.0)])


def test_a_prediction_inside_an_unknown_stretch_does_not_count():
    with_it = measure_match([(10, 20), (40, 50), (71, 79)], TRUTH, 100.0)
    without_it = measure_match([(10, 20), (40, 50)], TRUTH, 100.0)
    assert with_it == without_it
    assert without_it["iou"]["0.5"]["f1"] == 1.0


def test_what_a_prediction_covers_of_an_unknown_stretch_has_no_length():
    measured = measure_match([(5.0, 20), (40, 60)], TRUTH, 100.0)
    assert measured["iou"]["0.7"]["f1"] == 1.0
    assert measured["predicted"] == 2


@pytest.mark.parametrize(
    ("predicted", "left"),
    [
        ([(62, 73)], [(62, 73)]),  # mostly in known time: a false positive
        ([(66, 79)], []),  # mostly unknown
        ([(71, 79)], []),  # altogether unknown
        ([(2, 55)], [(2, 55)]),  # shares time with a rally
        ([(45, 59)], [(45, 59)]),
    ],
)
def test_which_predictions_count(predicted, left):
    assert predictions_that_count(predicted, TRUTH) == left


def test_known_play_that_is_no_rally_counts_against_a_prediction_that_touches_one():
    """However much of an unknown stretch lies between."""
    truth = Truth([(0.0, 4.0)], [(4.0, 7.0)])
    measured = measure_match([(0.0, 90.0)], truth, 100.0)
    assert measured["iou"]["0.3"]["f1"] == 0.0
    assert measured["time"]["accuracy"] == pytest.approx(14 / 97, abs=0.002)
    dropped = measure_match([(0.0, 49.0)], Truth([(60.0, 64.0)], [(24.0, 60.0)]), 100.0)
    assert dropped["time"]["predicted"] == 240 and dropped["time"]["tp"] == 0


def test_a_prediction_over_several_rallies_is_a_merge_whatever_is_unknown_between_them():
    rallies = [(10.0, 20.0), (30.0, 40.0), (50.0, 60.0)]
    truth = Truth(rallies, [(20.0, 25.0), (40.0, 50.0)])
    measured = measure_match([(10.0, 60.0)], truth, 100.0)
    assert measured["merges"] == 2 and measured["predicted"] == 1
    assert measured["iou"]["0.5"]["tp"] == 0


def test_an_edge_at_an_unknown_stretch_has_no_error_and_the_others_have():
    measured = measure_match([(7.0, 19.5), (40.5, 53)], TRUTH, 100.0)
    assert measured["errors"] == {"start": [0.5], "end": [-0.5]}


def test_the_accuracy_over_time_leaves_unknown_samples_out():
    time = measure_match([(10, 20), (70, 80)], TRUTH, 100.0)["time"]
    assert time["samples"] == 1000 - 250
    assert (time["tp"], time["predicted"], time["true"]) == (100, 100, 200)
    everything = measure_match([], Truth([], [(0.0, 36000.0)]), 100.0)["time"]
    assert everything["samples"] == 0 and everything["accuracy"] is None


def test_random_predictions_measure_the_same_whatever_they_say_where_nothing_is_known():
    rng = np.random.default_rng(0)
    for _ in range(100):
        edges = np.sort(rng.choice(500, 8, replace=False)) / 10 + 100
        inside = [(float(s), float(e)) for s, e in edges.reshape(4, 2)]
        truth = Truth(TRUTH.rallies, [(100.0, 150.0)])
        outside = [(9.0, 21.0), (60.0, 66.0)]
        assert measure_match(outside + inside, truth, 200.0) == measure_match(outside, truth, 200.0)


def test_decoding_is_chosen_without_what_is_unknown():
    times_sec = np.arange(0, 100, 0.25)
    probs = np.full(len(times_sec), 0.01)
    for start, end in [(10, 20), (40, 50)]:
        probs[(times_sec >= start) & (times_sec < end)] = 0.99
    spoilt = probs.copy()
    spoilt[(times_sec >= 71) & (times_sec < 79)] = 0.99
    one, other = (score([(times_sec, p, TRUTH, 100.0)], Decoding()) for p in (probs, spoilt))
    assert one == other > 0.98


def test_the_summary_says_how_much_is_unknown():
    summary = summarise({name: measure_match([], TRUTH, 75.0) for name in "ab"})
    assert summary["pooled"]["unknown_sec"] == pytest.approx(2 * 20)


def test_evaluate_reads_the_unknown_stretches_beside_the_marks(tmp_path, capsys):
    tables = {
        "Data/matches": [(10, 20), (40, 50)],
        "Data/unknown": [(70, 36000)],
        "found": [(10, 20), (40, 50), (72, 79)],
    }
    for folder, rows in tables.items():
        (tmp_path / folder).mkdir(parents=True)
        lines = [f"{start},{end}" for start, end in rows]
        (tmp_path / folder / "final.csv").write_text("\n".join(["start_sec,end_sec", *lines, ""]))
    result = evaluate_folders(tmp_path / "found", tmp_path / "Data/matches")
    assert result["mean"]["iou"]["0.5"]["f1"] == 1.0
    print_evaluation(result)
    assert "not counted: 9 of 79 s, unknown in the ground truth" in capsys.readouterr().out
