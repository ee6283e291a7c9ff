"""Blind second answers: which sequences come back, and how agreement is measured."""

import random

import numpy as np
import pandas as pd
import pytest
from answers import save
from sklearn.metrics import cohen_kappa_score

from annotation import change_log
from annotation.agreement import (
    REPEAT_AFTER,
    Agreement,
    Difference,
    measure_agreement,
    pick_repeat,
    save_repeat,
)
from annotation.change_log import log_path, read_changes
from annotation.labels import Answer, read_labels, save_labels, undo
from files import labels_path, read_table

pytest_plugins = ["answers"]


def test_a_second_answer_leaves_the_table_unchanged_and_can_be_undone(split):
    save(split, a="1")
    before = labels_path(split).read_bytes()
    time = save_repeat(split, "a", "0")
    assert labels_path(split).read_bytes() == before and measure_agreement(split).n == 1
    assert read_changes(log_path(labels_path(split)))[-1] == (time, "a", "1", "0", "repeat")
    assert undo(split) == [("a", "1", True)]
    assert labels_path(split).read_bytes() == before and measure_agreement(split).n == 0
    assert undo(split) == [("a", "", True)]


def test_undo_of_a_second_answer_keeps_a_later_label(split):
    save(split, a="1")
    time = save_repeat(split, "a", "1")
    save(split, a="0")
    assert undo(split, time) == [("a", "0", True)]
    assert read_labels(split) == {"a": "0"} and measure_agreement(split).n == 0


def answered(split_dir, count):
    """Writes a log and a table of `count` answers, each its own change, with one sync."""
    names = [f"seq_{k}" for k in range(count)]
    log = [change_log.Change(f"t{k}", name, "", "1", "label") for k, name in enumerate(names)]
    change_log.append_changes(log_path(labels_path(split_dir)), log)
    pd.DataFrame({"sequence": names, "label": "1"}).to_csv(labels_path(split_dir), index=False)
    return names


def picks(split_dir, tries=30):
    return {pick_repeat(split_dir, random.Random(seed)) for seed in range(tries)}


def test_none_of_the_last_20_answers_comes_back(split):
    assert REPEAT_AFTER == 20
    names = answered(split, 20)
    assert picks(split) == {None}
    save(split, seq_20="1", seq_21="0", seq_22="1")
    assert picks(split) == set(names[:3])


def test_an_answer_that_was_just_changed_does_not_come_back(split):
    names = answered(split, 23)
    save(split, seq_0="0")
    assert names[0] not in picks(split) and picks(split) <= {*names[1:4]}


def test_no_sequence_comes_back_twice_and_about_one_in_20_does(split):
    rng, repeated = random.Random(0), []
    answered(split, 20)
    for k in range(20, 120):
        save(split, **{f"seq_{k}": "1"})
        name = pick_repeat(split, rng)
        if name is not None:
            assert int(name.removeprefix("seq_")) <= k - 20
            save_repeat(split, name, "1")
            repeated.append(name)
    assert len(set(repeated)) == len(repeated)
    assert len(repeated) == 6  # 5 % of 120


def test_only_manually_labelled_sequences_that_still_have_a_label_come_back(split):
    names = answered(split, 22)
    table = read_table(labels_path(split), ("sequence", "label"))
    table[table["sequence"] != names[1]].to_csv(labels_path(split), index=False)
    save_labels(split, [Answer(f"marked {k}", "1", "") for k in range(30)], "marks")
    assert picks(split) == {names[0]}


def test_agreement_is_cohens_kappa_of_first_and_second_answers(split):
    first = [1, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    second = [1, 1, 0, 1, 0, 0, 1, 1, 0, 1]
    save(split, **{f"seq_{k}": str(label) for k, label in enumerate(first)})
    for k, label in enumerate(second):
        save_repeat(split, f"seq_{k}", str(label))
    found = measure_agreement(split)
    assert (found.n, found.same) == (10, 8)
    # both raters: 6 of class 1 and 4 of class 0, so 0.52 by chance
    assert found.kappa == pytest.approx((0.8 - 0.52) / (1 - 0.52))
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert found.different == [Difference("seq_2", "1", "0"), Difference("seq_6", "0", "1")]
    z, share = 1.959964, 0.8  # Wilson 1927
    middle, half = share + z * z / 20, z * np.sqrt(share * 0.2 / 10 + z * z / 400)
    expected = [(middle - half) / (1 + z * z / 10), (middle + half) / (1 + z * z / 10)]
    np.testing.assert_allclose(found.same_95, expected, atol=1e-5)


def test_agreement_compares_with_the_label_at_the_time_of_the_second_answer(split):
    save(split, a="1", b="0")
    save_repeat(split, "a", "0")
    save(split, a="0")
    assert measure_agreement(split).different == [Difference("a", "1", "0")]


def test_kappa_of_one_class_or_of_no_answers_is_not_defined(split):
    assert measure_agreement(split) == Agreement(0, 0, None, None, [])
    save(split, a="1", b="1")
    save_repeat(split, "a", "1")
    assert measure_agreement(split).kappa is None and measure_agreement(split).same == 1
    save_repeat(split, "b", "0")
    assert measure_agreement(split).kappa == 0  # always 1, then at random: no better than chance
