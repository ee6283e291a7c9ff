import csv
import os
import re

import pandas as pd
import pytest

from annotation.change_log import (
    Change,
    append_changes,
    last_changes,
    log_path,
    read_changes,
    standing,
    time_now,
)
from files import UserError

A = Change("t1", "seq_1", "", "1", "label")
B = Change("t2", "羽毛球, 'a' \"b\"", "1", "0", "label")
C = Change("t2", "<img src=x onerror=alert(1)>", "0 and 1", "", "label")


def undo_of(change, time):
    return Change(time, change.sequence, change.new, change.old, f"undo {change.time}")


def test_changes_are_read_back_in_order_whatever_the_names(tmp_path):
    log = tmp_path / "Daten für mich" / "train.log.csv"
    append_changes(log, [A])
    append_changes(log, [B, C])
    assert read_changes(log) == [A, B, C]


def test_the_log_is_a_csv_table_that_pandas_can_read(tmp_path):
    append_changes(tmp_path / "log.csv", [A, B, C])
    table = pd.read_csv(tmp_path / "log.csv", dtype=str, keep_default_na=False)
    assert list(table.columns) == ["time", "sequence", "old", "new", "what"]
    assert list(table.itertuples(index=False, name=None)) == [tuple(change) for change in (A, B, C)]


def test_appending_only_adds_lines_and_returns_the_size_before(tmp_path):
    log = tmp_path / "log.csv"
    assert append_changes(log, [A]) == 0
    before = log.read_bytes()
    assert append_changes(log, [B]) == len(before)
    assert log.read_bytes().startswith(before)


def test_a_missing_or_empty_log_has_no_changes(tmp_path):
    assert read_changes(tmp_path / "log.csv") == []
    (tmp_path / "log.csv").touch()
    assert read_changes(tmp_path / "log.csv") == []


def test_a_log_lies_beside_its_table(tmp_path):
    assert log_path(tmp_path / "train.csv") == tmp_path / "train.log.csv"
    assert log_path(tmp_path / "Final v1.2.csv") == tmp_path / "Final v1.2.log.csv"


def test_a_last_line_truncated_at_any_byte_is_skipped_and_replaced_by_the_next(tmp_path):
    log = tmp_path / "log.csv"
    append_changes(log, [A])
    whole = log.read_bytes()
    append_changes(log, [B])
    both = log.read_bytes()
    for size in range(len(whole), len(both)):
        log.write_bytes(both[:size])
        assert read_changes(log) == [A], both[:size]
        append_changes(log, [B])
        assert log.read_bytes() == both


def test_a_log_truncated_in_its_first_line_starts_anew(tmp_path):
    (tmp_path / "log.csv").write_text("time,seq")
    assert read_changes(tmp_path / "log.csv") == []
    append_changes(tmp_path / "log.csv", [A])
    assert read_changes(tmp_path / "log.csv") == [A]


@pytest.mark.parametrize("damage", ["no such line\n", "a,b\n", "a,b,c,d,e,f\n"])
def test_a_damaged_line_in_the_middle_of_a_log_is_named(tmp_path, damage):
    log = tmp_path / "log.csv"
    append_changes(log, [A])
    with open(log, "a") as file:
        file.write(damage)
    with pytest.raises(UserError, match="log.csv: line 3 is not .* move it away"):
        read_changes(log)


def test_a_table_with_other_columns_is_not_a_log(tmp_path):
    (tmp_path / "log.csv").write_text("a,b,c,d,e\n1,2,3,4,5\n")
    with pytest.raises(UserError, match="the first line is not time,sequence,old,new,what"):
        read_changes(tmp_path / "log.csv")


def test_a_log_that_windows_programs_saved_is_read(tmp_path):
    log = tmp_path / "log.csv"
    append_changes(log, [A, B])
    log.write_bytes(b"\xef\xbb\xbf" + log.read_bytes().replace(b"\n", b"\r\n"))
    assert read_changes(log) == [A, B]


def test_bytes_that_are_not_text_are_refused(tmp_path):
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(UserError, match="cannot read .*log.csv"):
        read_changes(tmp_path / "log.csv")


@pytest.mark.parametrize("failing", ["fsync", "write"])
def test_a_full_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch, failing):
    log = tmp_path / "log.csv"
    append_changes(log, [A])
    before = log.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="cannot write .*log.csv: No space left"):
            append_changes(log, [B, C])
    else:
        monkeypatch.setattr("builtins.open", full)
        with pytest.raises(UserError, match="cannot write .*log.csv: No space left"):
            append_changes(log, [B, C])
    assert log.read_bytes() == before


def test_a_disk_that_is_full_after_any_byte_leaves_the_log_as_it_was(tmp_path):
    resource = pytest.importorskip("resource")
    log = tmp_path / "log.csv"
    append_changes(log, [A])
    before = log.read_bytes()
    page = [Change("t2", f"seq_{k}", "", "1", "label") for k in range(12)]
    needed = sum(len(",".join(change)) + 1 for change in page)
    left = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in range(0, needed, 3):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, left[1]))
            with pytest.raises(UserError, match="cannot write .*log.csv"):
                append_changes(log, page)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, left)
        assert log.read_bytes() == before, f"{room} bytes of room"


def test_times_are_in_utc_and_in_order():
    times = [time_now() for _ in range(3)]
    assert times == sorted(times)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time) for time in times)


def test_changes_count_until_they_are_undone():
    assert standing([A, B, C]) == [A, B, C]
    assert standing([A, B, C, undo_of(B, "t3"), undo_of(C, "t3")]) == [A]


def test_an_undo_of_one_change_leaves_those_after_it():
    assert standing([A, B, undo_of(A, "t3")]) == [B]


def test_the_last_changes_are_all_that_were_saved_together():
    assert last_changes([A, B, C], None, ("label",)) == [B, C]
    assert last_changes([A, B, C], "t1", ("label",)) == [A]


def test_an_undone_or_unknown_change_is_not_found():
    assert last_changes([A, undo_of(A, "t2")], None, ("label",)) == []
    assert last_changes([A, undo_of(A, "t2")], "t1", ("label",)) == []
    assert last_changes([A], "t9", ("label",)) == []
    assert last_changes([], None, ("label",)) == []


def test_changes_of_other_kinds_are_ignored():
    marks = Change("t2", "seq_1", "", "1", "marks")
    assert last_changes([A, marks], None, ("label", "repeat")) == [A]
    assert last_changes([A, marks], "t2", ("label", "repeat")) == []


def test_a_sequence_called_like_an_undo_is_a_sequence(tmp_path):
    odd = Change("t1", "undo t2", "", "1", "label")
    append_changes(tmp_path / "log.csv", [odd, B])
    assert standing(read_changes(tmp_path / "log.csv")) == [odd, B]


def test_the_csv_module_reads_the_same_lines(tmp_path):
    append_changes(tmp_path / "log.csv", [A, B, C])
    with open(tmp_path / "log.csv", newline="", encoding="utf-8") as file:
        assert [tuple(row) for row in csv.reader(file)][1:] == [tuple(s) for s in (A, B, C)]
