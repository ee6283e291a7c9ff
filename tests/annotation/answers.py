"""Shared by the tests of labels: an empty split, and a way to save answers."""

import pytest

from annotation.labels import Answer, read_labels, save_labels


@pytest.fixture
def split(tmp_path):
    folder = tmp_path / "Data" / "train"
    folder.mkdir(parents=True)
    return folder


def save(split_dir, **answers):
    """Saves answers that have seen the labels now there; returns the time of the changes."""
    before = read_labels(split_dir)
    given = [Answer(name, label, before.get(name, "")) for name, label in answers.items()]
    time, conflicts = save_labels(split_dir, given)
    assert conflicts == {}
    return time
