import numpy as np
import pytest

from annotation.ground_truth import Truth, read_truth, unknown_path, without
from annotation.match_marks import marks_path
from files import UserError


@pytest.fixture
def table(tmp_path):
    path = marks_path(tmp_path / "Data", "final")
    for each in (path, unknown_path(path)):
        each.parent.mkdir(parents=True)
    path.write_text("start_sec,end_sec\n10,20\n30,40\n")
    return path


def write_unknown(table, *rows):
    unknown_path(table).write_text("\n".join(["start_sec,end_sec", *rows]) + "\n")


def test_without_a_table_of_unknown_stretches_everything_is_known(table):
    assert read_truth(table) == Truth([(10, 20), (30, 40)], [])


def test_the_table_of_unknown_stretches_lies_in_the_folder_beside_that_of_the_marks(tmp_path):
    there = tmp_path / "Data" / "unknown" / "final.csv"
    assert unknown_path(tmp_path / "Data" / "matches" / "final.csv") == there


def test_what_a_rally_covers_is_known(table):
    write_unknown(table, "5,15", "18,45")
    assert read_truth(table).unknown == [(5, 10), (20, 30), (40, 45)]


def test_an_unknown_stretch_ends_with_the_match(table):
    write_unknown(table, "50,36000", "36000,36001")
    assert read_truth(table, 60.0).unknown == [(50, 60)]
    assert read_truth(table).unknown[0] == (50, 36000)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["5,8", "7,9"], "the stretch from 5.000 to 8.000 s overlaps the one from 7.000 s"),
        (["8,5"], "the stretch from 8.000 to 5.000 s must end after its start"),
        (["8,x"], "the row 8,x must be two numbers"),
    ],
)
def test_a_wrong_stretch_is_an_error_that_names_the_file(table, rows, message):
    write_unknown(table, *rows)
    with pytest.raises(UserError) as told:
        read_truth(table)
    assert message in str(told.value) and str(unknown_path(table)) in str(told.value)


def test_a_rally_beyond_the_end_of_the_match_is_an_error(table):
    with pytest.raises(UserError, match=r"ends at 40\.000 s, but the match ends at 35\.000 s"):
        read_truth(table, 35.0)


def test_without_agrees_with_counting_milliseconds():
    rng = np.random.default_rng(0)

    def draw(count):
        return np.sort(rng.choice(300, 2 * count, replace=False)).reshape(-1, 2)

    def mask(spans):
        inside = np.zeros(300, bool)
        for start, end in spans:
            inside[round(start * 1000) : round(end * 1000)] = True
        return inside

    for _ in range(200):
        spans, holes = draw(4), np.concatenate([draw(3), draw(2)])
        left = without(*([(s / 1000, e / 1000) for s, e in each] for each in (spans, holes)))
        expected = mask(spans / 1000) & ~mask(holes / 1000)
        np.testing.assert_array_equal(mask(left), expected)
        assert left == sorted(left) and all(start < end for start, end in left)
