import pytest

from annotation import match_marks
from annotation.change_log import log_path, read_changes
from annotation.ground_truth import unknown_path
from annotation.match_marks import marks_path, read_marks, save_marks, undo_marks
from files import UserError
from importing.points import OPEN_END_SEC
from labeling import main

RALLIES = [(10.0, 12.5), (20.0, 24.0)]
STRETCHES = [(0.0, 10.0), (13.0, 15.0), (30.0, OPEN_END_SEC)]


@pytest.fixture
def table(tmp_path):
    path = marks_path(tmp_path / "Data", "final")
    save_marks(path, RALLIES, [], 99_999.0)
    save_marks(unknown_path(path), STRETCHES, [], 99_999.0)
    return path


def shift(table, sec):
    return main(["--match", "final.mp4", "--shift", sec, "--data", str(table.parent.parent)])


@pytest.mark.parametrize("sec", [2.25, -2.25])
def test_all_rallies_and_unknown_stretches_move_as_one_change_each(table, sec, capsys):
    assert shift(table, str(sec)) == 0
    assert read_marks(table) == [(start + sec, end + sec) for start, end in RALLIES]
    assert read_marks(unknown_path(table)) == [
        (0.0, 10 + sec),
        (13 + sec, 15 + sec),
        (30 + sec, OPEN_END_SEC),
    ]
    assert f"2 rallies and 3 unknown stretches moved by {sec:+g} s" in capsys.readouterr().out
    for each, before in ((table, RALLIES), (unknown_path(table), STRETCHES)):
        times = {change.time for change in read_changes(log_path(each)) if change.what == "shift"}
        assert len(times) == 1
        assert undo_marks(each) == before


def test_a_stretch_that_ends_before_the_film_is_gone(table):
    save_marks(unknown_path(table), [(0.0, 2.0), (3.0, 8.0)], STRETCHES, 99_999.0)
    shift(table, "-5")
    assert read_marks(unknown_path(table)) == [(0.0, 3.0)]


def test_a_shift_to_before_the_start_is_refused_and_moves_nothing(table):
    with pytest.raises(UserError, match="starts before 0 s"):
        shift(table, "-10.5")
    assert read_marks(table) == RALLIES
    assert read_marks(unknown_path(table)) == STRETCHES


def test_if_the_rallies_cannot_be_moved_the_stretches_stay(table, monkeypatch):
    def no_space(path, marks, changes):
        if path == table:
            raise UserError("the disk is full")
        write(path, marks, changes)

    write = match_marks._write
    monkeypatch.setattr(match_marks, "_write", no_space)
    with pytest.raises(UserError, match="the disk is full"):
        shift(table, "5")
    assert read_marks(table) == RALLIES
    assert read_marks(unknown_path(table)) == STRETCHES


def test_a_match_without_marks_cannot_be_moved(table):
    with pytest.raises(UserError, match="other.csv has no rallies"):
        main(["--match", "other.mp4", "--shift", "1", "--data", str(table.parent.parent)])
