import os
import threading

import pytest

from annotation.change_log import log_path, read_changes
from annotation.match_marks import (
    check_marks,
    marks_path,
    match_name,
    read_marks,
    save_marks,
    undo_marks,
)
from files import UserError

LONG = 600.0  # length of the match in seconds


@pytest.fixture
def table(tmp_path):
    return marks_path(tmp_path / "Data", "final")


def save(table, *marks):
    """Replaces the marks; returns the time of the change."""
    time, now = save_marks(table, list(marks), read_marks(table), LONG)
    assert time and now == sorted(marks)
    return time


def files(table):
    """{name: bytes} of the files beside the table, without the lock and empty logs."""
    found = {p.name: p.read_bytes() for p in table.parent.iterdir() if p.suffix != ".lock"}
    return {name: data for name, data in found.items() if data or not name.endswith(".log.csv")}


# valid and invalid rallies


@pytest.mark.parametrize("marks", [[], [(0, 1)], [(5.5, 9), (0, 2)], [(1, 2), (2, 3)], [(0, 600)]])
def test_rallies_in_any_order_that_do_not_overlap_are_accepted(marks):
    check_marks(marks, LONG)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([(1, 5), (4, 6)], "from 1.000 to 5.000 s overlaps the one from 4.000"),
        ([(4, 6), (1, 5)], "from 1.000 to 5.000 s overlaps the one from 4.000"),
        ([(1, 9), (2, 3)], "from 1.000 to 9.000 s overlaps the one from 2.000"),
        ([(1, 2), (1, 2)], "from 1.000 to 2.000 s overlaps the one from 1.000"),
        ([(1, 2), (1.999, 3)], "from 1.000 to 2.000 s overlaps the one from 1.999"),
        ([(0, 1), (5, 3)], "from 5.000 to 3.000 s"),
        ([(3, 3)], "from 3.000 to 3.000 s"),
        ([(-0.001, 3)], "from -0.001 to 3.000 s"),
        ([(float("nan"), 3)], "from nan to 3.000 s"),
        ([(3, float("nan"))], "from 3.000 to nan s"),
        ([(1, 2), (599, 600.01)], "ends at 600.010 s, but the match ends at 600.000"),
        ([(599, float("inf"))], "ends at inf s"),
    ],
)
def test_impossible_rallies_are_refused_with_their_times(marks, message):
    with pytest.raises(UserError, match=message):
        check_marks(marks, LONG)


def test_impossible_rallies_are_not_saved(table):
    save(table, (1.0, 5.0))
    before = files(table)
    for wrong in ([(1, 5), (4, 6)], [(5, 4)], [(599, 601)], [(1.0001, 1.0004)]):
        with pytest.raises(UserError):
            save_marks(table, wrong, [(1.0, 5.0)], LONG)
    assert files(table) == before


# the table


def test_marks_are_rows_of_start_and_end_in_order(table):
    save(table, (70.25, 81.5), (1.0, 5.0))
    assert table.read_text() == "start_sec,end_sec\n1.000,5.000\n70.250,81.500\n"
    assert read_marks(table) == [(1.0, 5.0), (70.25, 81.5)]


def test_times_are_kept_to_the_millisecond(table):
    _, now = save_marks(table, [(1 / 3, 2 / 3), (0.66666, 1.0004)], [], LONG)
    assert now == [(0.333, 0.667), (0.667, 1.0)] == read_marks(table)
    third = [(k / 30 + 0.0004, (k + 1) / 30 - 0.0004) for k in range(0, 3000, 2)]
    _, now = save_marks(table, third, now, LONG)
    assert now == read_marks(table) == [(round(s, 3), round(e, 3)) for s, e in third]
    assert all(type(sec) is float for mark in read_marks(table) for sec in mark)


def test_a_missing_table_has_no_marks(table):
    assert read_marks(table) == []


def test_all_marks_can_be_removed(table):
    save(table, (1.0, 5.0))
    save(table)
    assert table.read_text() == "start_sec,end_sec\n" and read_marks(table) == []


def test_a_table_written_by_hand_is_read_in_order(table):
    table.parent.mkdir(parents=True)
    table.write_bytes(b"\xef\xbb\xbfend_sec,start_sec,note\r\n9, 7.25,good\r\n\r\n2.00049,1,\r\n")
    assert read_marks(table) == [(1.0, 2.0), (7.25, 9.0)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2\nthree,4\n", "three,4 must be two numbers"),
        ("1,2\n3,\n", "3, must be two numbers"),
        ("1,nan\n", "1,nan must be two numbers"),
        ("0:01,0:02\n", "0:01,0:02 must be two numbers"),
        ("1,2\n5,4\n", "from 5.000 to 4.000 s"),
        ("1,5\n4,6\n", "from 1.000 to 5.000 s overlaps the one from 4.000"),
        ("-1,5\n", "from -1.000 to 5.000 s"),
    ],
)
def test_an_invalid_table_is_refused_with_its_values(table, rows, message):
    table.parent.mkdir(parents=True)
    table.write_text("start_sec,end_sec\n" + rows)
    before = files(table)
    with pytest.raises(UserError, match=f"final.csv: .*{message}"):
        read_marks(table)
    with pytest.raises(UserError, match="final.csv"):
        save_marks(table, [(1, 2)], [], LONG)
    assert files(table) == before


def test_an_infinite_mark_is_refused(table):
    table.parent.mkdir(parents=True)
    table.write_text("start_sec,end_sec\n1,inf\n")
    with pytest.raises(UserError, match="final.csv: .*inf"):
        read_marks(table)


def test_a_table_with_other_columns_is_refused(table):
    table.parent.mkdir(parents=True)
    table.write_text("from,to\n1,2\n")
    with pytest.raises(UserError, match="no column start_sec"):
        read_marks(table)


def test_marks_changed_elsewhere_meanwhile_are_kept_and_returned(table):
    save(table, (1.0, 5.0))
    other = "start_sec,end_sec\n1.000,6.000\n"
    table.write_text(other)
    before = files(table)
    assert save_marks(table, [(1, 5), (7, 8)], [(1.0, 5.0)], LONG) == ("", [(1.0, 6.0)])
    assert files(table) == before


def test_the_same_marks_saved_elsewhere_meanwhile_are_no_conflict(table):
    save(table, (1.0, 5.0))
    time, now = save_marks(table, [(1, 5)], [], LONG)
    assert time and now == [(1.0, 5.0)]


def test_the_order_of_the_seen_marks_does_not_matter(table):
    save(table, (1.0, 5.0), (7.0, 8.0))
    assert save_marks(table, [(1, 5)], [(7.0, 8.0), (1.0, 5.0)], LONG)[1] == [(1.0, 5.0)]


# undo


def test_undo_brings_back_what_was_there_step_by_step(table):
    save(table, (1.0, 5.0))
    save(table, (1.0, 5.0), (7.0, 8.0))
    save(table, (1.0, 4.0), (7.0, 8.0))
    assert undo_marks(table) == [(1.0, 5.0), (7.0, 8.0)]
    assert undo_marks(table) == [(1.0, 5.0)]
    assert undo_marks(table) == [] == read_marks(table)
    assert undo_marks(table) is None


def test_undo_takes_back_the_given_change_only_once(table):
    time = save(table, (1.0, 5.0))
    save(table, (1.0, 5.0), (7.0, 8.0))
    assert undo_marks(table, time) == [(7.0, 8.0)] == read_marks(table)
    assert undo_marks(table, time) is None and undo_marks(table, "no such time") is None
    assert read_marks(table) == [(7.0, 8.0)]


def test_undo_takes_back_changes_of_an_earlier_session(table):
    save(table, (1.0, 5.0), (7.25, 8.125))
    save(table)
    lines = [tuple(change)[1:] for change in read_changes(log_path(table))]
    assert lines == [
        ("1.000-5.000", "", "1", "label"),
        ("7.250-8.125", "", "1", "label"),
        ("1.000-5.000", "1", "", "label"),
        ("7.250-8.125", "1", "", "label"),
    ]
    assert undo_marks(table) == [(1.0, 5.0), (7.25, 8.125)] == read_marks(table)


def test_undo_keeps_marks_made_elsewhere_since(table):
    save(table, (1.0, 5.0))
    table.write_text("start_sec,end_sec\n1,5\n7,8\n")
    assert undo_marks(table) == [(7.0, 8.0)] == read_marks(table)


def test_undo_is_refused_if_it_would_overlap_other_marks(table):
    time = save(table, (1.0, 5.0))
    save(table)
    save(table, (4.0, 6.0))
    before = files(table)
    again = read_changes(log_path(table))[1].time
    with pytest.raises(UserError, match="from 1.000 to 5.000 s overlaps the one from 4.000"):
        undo_marks(table, again)
    assert files(table) == before and time < again
    assert undo_marks(table) == []
    assert undo_marks(table) == [(1.0, 5.0)]


# full disks, and other processes


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_full_disk_is_an_error_and_leaves_marks_and_log(table, monkeypatch, failing):
    save(table, (1.0, 5.0))
    before = files(table)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(UserError, match="cannot write .*final.*No space left"):
            save_marks(table, [(7, 8)], [(1.0, 5.0)], LONG)
        with pytest.raises(UserError, match="cannot write .*final.*No space left"):
            undo_marks(table)
    assert files(table) == before
    assert undo_marks(table) == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "Data").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write to"):
        save_marks(marks_path(tmp_path / "Data", "final"), [(1, 2)], [], LONG)


def test_four_threads_at_once_lose_no_mark(table):
    refused = []

    def mark(number):
        for k in range(8):
            start = 4 * k + number
            while True:
                seen = read_marks(table)
                if save_marks(table, [*seen, (start, start + 1)], seen, LONG)[0]:
                    break
                refused.append(start)

    threads = [threading.Thread(target=mark, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_marks(table) == [(k, k + 1) for k in range(32)]


# names of tables


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("videos/Final 2024.mp4", "Final 2024"),
        ("/elsewhere/羽毛球 [1].v2.mkv", "羽毛球 [1].v2"),
        ("https://www.youtube.com/watch?v=RseCk0mwFE8", "RseCk0mwFE8"),
        ("youtu.be/RseCk0mwFE8?t=3", "RseCk0mwFE8"),
        ("videos/RseCk0mwFE8.mp4", "RseCk0mwFE8"),
        ("Final 2016 [RseCk0mwFE8].webm", "RseCk0mwFE8"),
    ],
)
def test_marks_are_named_after_the_file_or_its_youtube_id(name, expected):
    assert match_name(name) == expected
