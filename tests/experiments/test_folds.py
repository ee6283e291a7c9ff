import pytest
import torch

from annotation.ground_truth import Truth
from detection.fitting import ReadyMatch
from detection.match_features import steps_in_memory
from experiments.folds import Fold, check_folds, learning_curve_folds, leave_one_out_folds
from files import UserError

NAMES = [f"match{k:02d}" for k in range(12)]


@pytest.mark.parametrize("count", [3, 4, 7, 12])
def test_every_match_is_held_out_once_and_is_in_no_other_part_of_its_fold(count):
    folds = leave_one_out_folds(NAMES[:count])
    assert sorted(k for fold in folds for k in fold.held_out) == list(range(count))
    for fold in folds:
        parts = [*fold.held_out, *fold.train, *fold.validation]
        assert sorted(parts) == list(range(count))
        assert fold.train and fold.validation
    assert [len(fold.validation) for fold in folds] == [max(1, round((count - 1) / 5))] * count


def test_every_match_validates_equally_often():
    folds = leave_one_out_folds(NAMES)
    times = [sum(k in fold.validation for fold in folds) for k in range(12)]
    assert set(times) == {2}


def test_folds_do_not_depend_on_the_order_of_the_matches():
    forwards, backwards = NAMES[:5], NAMES[4::-1]

    def by_name(names):
        return {
            names[fold.held_out[0]]: [
                {names[k] for k in fold.train},
                {names[k] for k in fold.validation},
            ]
            for fold in leave_one_out_folds(names)
        }

    assert by_name(forwards) == by_name(backwards)


def test_by_group_no_group_is_in_two_parts():
    units = ["bangkok", "paris", "bangkok", "birmingham", "paris", "bangkok", "odense"]
    folds = leave_one_out_folds(units)
    assert len(folds) == 4
    for fold in folds:
        parts = [{units[k] for k in part} for part in (fold.held_out, fold.train, fold.validation)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert len(parts[0]) == 1
    assert (0, 2, 5) in [fold.held_out for fold in folds]


def test_a_larger_training_set_contains_the_smaller_ones_and_all_are_measured_alike():
    folds = learning_curve_folds(NAMES, [1, 2, 4, 8, 16], seed=5)
    assert list(folds) == [1, 2, 4, 8]  # of 12, 2 are measured and 2 validate
    for size, fold in folds.items():
        assert len(fold.train) == size and fold.train == folds[8].train[:size]
        assert (fold.held_out, fold.validation) == (folds[1].held_out, folds[1].validation)
        assert len({*fold.train, *fold.held_out, *fold.validation}) == size + 4
    assert learning_curve_folds(NAMES, [1, 2], seed=5)[2] == folds[2]
    assert learning_curve_folds(NAMES, [1, 2], seed=6)[2] != folds[2]


def test_a_learning_curve_by_group_keeps_groups_apart():
    units = ["a", "a", "a", "b", "b", "c", "d", "d", "e"]
    for seed in range(10):
        for fold in learning_curve_folds(units, [1, 2, 3], seed).values():
            sets = [{units[k] for k in p} for p in (fold.held_out, fold.train, fold.validation)]
            assert sum(map(len, sets)) == len(set.union(*sets))


def test_too_few_matches_are_refused():
    for refused in (
        lambda: leave_one_out_folds(["a", "b"]),
        lambda: leave_one_out_folds(["a", "a", "b"]),
        lambda: learning_curve_folds(["a", "b"], [1], 0),
    ):
        with pytest.raises(UserError, match=r"needs 3 marked matches .*here: 2 \(a, b\)"):
            refused()
    with pytest.raises(UserError, match="from 8 training matches needs more .* of 4, 2 are left"):
        learning_curve_folds(NAMES[:4], [8], 0)


def test_a_fold_without_a_rally_to_learn_from_is_refused():
    features = steps_in_memory(torch.zeros(10, 8))
    matches = [
        ReadyMatch("a", features, Truth([(0.0, 1.0)]), 1.0),
        ReadyMatch("b", features, Truth([]), 1.0),
        ReadyMatch("c", features, Truth([(0.0, 1.0)]), 1.0),
    ]
    with pytest.raises(UserError, match=r"with a held out, there is no rally to train on \(in b\)"):
        check_folds([Fold((0,), (1,), (2,))], matches)
    with pytest.raises(UserError, match=r"no rally to validate on \(in b\)"):
        check_folds([Fold((0,), (2,), (1,))], matches)
    check_folds([Fold((1,), (0,), (2,))], matches)
