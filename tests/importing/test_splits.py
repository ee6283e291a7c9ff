from collections import Counter

import pytest

from importing.splits import choose_splits

GROUPS = {"bangkok": 590, "odense": 180, "kuala": 90, "paris": 70, "tokyo": 40, "delhi": 30}


def totals(chosen):
    rallies = Counter()
    for group, split in chosen.items():
        rallies[split] += GROUPS[group]
    return dict(rallies)


def test_groups_are_shared_out_about_70_15_15_by_rallies_the_largest_into_train():
    chosen = choose_splits(GROUPS, {}, {})
    assert chosen["bangkok"] == "train"
    assert totals(chosen) == {"train": 690, "validation": 180, "test": 130}


def test_the_order_of_the_groups_does_not_matter():
    assert choose_splits(dict(reversed(GROUPS.items())), {}, {}) == choose_splits(GROUPS, {}, {})


def test_a_group_with_a_split_keeps_it():
    chosen = choose_splits(GROUPS, {"bangkok": "test", "tokyo": "validation"}, {})
    assert chosen["bangkok"] == "test" and chosen["tokyo"] == "validation"
    assert {chosen[group] for group in ("odense", "kuala", "paris")} == {"train"}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_rallies_that_a_split_has_already_count(split):
    chosen = choose_splits(
        {"new": 10}, {}, {"train": 70, "validation": 15, "test": 15} | {split: 0}
    )
    assert chosen == {"new": split}
