import os
import random
import subprocess
import sys
import threading

import pandas as pd
import pytest
from answers import save

from annotation import change_log, labels
from annotation.agreement import pick_repeat, save_repeat
from annotation.change_log import log_path, read_changes
from annotation.labels import (
    Answer,
    last_answer,
    list_sequences,
    read_class_names,
    read_flags,
    read_labels,
    save_class_names,
    save_flag,
    save_labels,
    undo,
)
from dataset import load_splits
from files import UserError, labels_path, one_writer, read_table

ODD_NAMES = [
    "one, two",
    'say "it"',
    "羽毛球 für",
    "<img src=x onerror=alert(1)>",
    "nan",
    "1.0",
    "=",
]


pytest_plugins = ["answers"]


def written(split_dir):
    return labels_path(split_dir).read_text(encoding="utf-8")


def files(split_dir):
    """{name: bytes} of the files of a split, without the lock and empty logs."""
    found = {p.name: p.read_bytes() for p in split_dir.iterdir() if p.name != ".labels.lock"}
    return {name: data for name, data in found.items() if data or not name.endswith(".log.csv")}


def full_disk(*_):
    raise OSError(28, "No space left on device")


# answers


def test_an_answer_is_a_row_of_sequence_and_label(split):
    save(split, seq_1="1", seq_2="0")
    assert written(split) == "sequence,label\nseq_1,1\nseq_2,0\n"


def test_rows_keep_their_order_and_those_without_a_folder_stay(split):
    labels_path(split).write_text("sequence,label\nseq_9,0\nno folder,1\nseq_1,0\n")
    save(split, seq_1="1", seq_2="0")
    assert written(split) == "sequence,label\nseq_9,0\nno folder,1\nseq_1,1\nseq_2,0\n"


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfsequence,label\r\na,1\r\nb,0\r\n",
        b"sequence,label\na,1.0\nb,0.0\n",
        b'"sequence","label"\n"a","1"\n\n"b"," 0"',
        b"label,sequence\n1,a\n0,b\n",
    ],
    ids=["byte-order mark and Windows line ends", "decimals", "quotes", "columns turned round"],
)
def test_a_table_saved_by_another_program_can_be_continued(split, text):
    labels_path(split).write_bytes(text)
    assert read_labels(split) == {"a": "1", "b": "0"}
    save(split, c="1")
    assert read_labels(split) == {"a": "1", "b": "0", "c": "1"}
    assert written(split).startswith("sequence,label\na,1")


def test_a_decimal_label_equals_the_integer_one(split):
    labels_path(split).write_text("sequence,label\na,1.0\n")
    assert save_labels(split, [Answer("a", "0", "1")])[1] == {}
    assert written(split) == "sequence,label\na,0\n"


def test_a_missing_table_has_no_labels(split):
    assert read_labels(split) == {}
    assert not labels_path(split).exists()


def test_rows_that_contradict_each_other_become_one_on_answering(split):
    labels_path(split).write_text("sequence,label\na,0\nb,1\na,1\na,0\n")
    assert read_labels(split) == {"a": "0 and 1", "b": "1"}
    save(split, a="1")
    assert written(split) == "sequence,label\na,1\nb,1\n"


def test_an_invalid_label_is_returned_and_can_be_replaced(split):
    labels_path(split).write_text("sequence,label\na,maybe\n")
    assert read_labels(split) == {"a": "maybe"}
    save(split, a="0")
    assert written(split) == "sequence,label\na,0\n"


def test_a_table_with_extra_columns_is_refused_and_unchanged(split):
    text = "sequence,label,who\na,1,Anna\n"
    labels_path(split).write_text(text)
    for change in (
        lambda: read_labels(split),
        lambda: save_labels(split, [Answer("a", "0", "1")]),
        lambda: save_repeat(split, "a", "1"),
        lambda: undo(split),
    ):
        with pytest.raises(UserError, match=r"train.csv has extra columns \(who\)"):
            change()
    assert files(split) == {"train.csv": text.encode()}


def test_a_file_that_is_not_a_table_is_refused_and_unchanged(split):
    labels_path(split).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="train.csv cannot be read"):
        save_labels(split, [Answer("a", "0", "")])
    assert files(split) == {"train.csv": b"\xff\xfe\x00"}


def test_an_empty_label_removes_the_row(split):
    save(split, a="1", b="0")
    save(split, a="")
    assert written(split) == "sequence,label\nb,0\n"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_any_letters_are_kept_in_table_and_log(split, name):
    save(split, **{name: "1", "other": "0"})
    assert read_table(labels_path(split), ("sequence", "label")).to_numpy().tolist() == [
        [name, "1"],
        ["other", "0"],
    ]
    assert read_changes(log_path(labels_path(split)))[0].sequence == name
    undo(split)
    assert read_labels(split) == {}


def test_training_reads_the_saved_labels(data):
    expected = {split: table.copy() for split, table in load_splits(data).items()}
    for split, table in expected.items():
        labels_path(data / split).unlink()
        rows = table.itertuples(index=False)
        save_labels(data / split, [Answer(row.sequence, str(row.label), "") for row in rows])
    for split, table in load_splits(data).items():
        pd.testing.assert_frame_equal(table, expected[split])


def test_each_answer_is_logged_with_the_returned_time(split):
    first = save(split, a="1")
    second = save(split, a="0", b="0")
    assert [tuple(change) for change in read_changes(log_path(labels_path(split)))] == [
        (first, "a", "", "1", "label"),
        (second, "a", "1", "0", "label"),
        (second, "b", "", "0", "label"),
    ]


def test_a_label_changed_elsewhere_meanwhile_is_kept_and_returned(split):
    save(split, a="1", b="1", c="0")
    labels_path(split).write_text("sequence,label\na,0\nb,1\nd,1\n")  # c is gone, d is new
    answers = [Answer("a", "", "1"), Answer("b", "0", "1"), Answer("c", "1", "0")]
    time, conflicts = save_labels(split, [*answers, Answer("d", "0", ""), Answer("e", "1", "")])
    assert conflicts == {"a": "0", "c": "", "d": "1"}
    assert written(split) == "sequence,label\na,0\nb,0\nd,1\ne,1\n"
    logged = [s for s in read_changes(log_path(labels_path(split))) if s.time == time]
    assert [change.sequence for change in logged] == ["b", "e"]


def test_the_same_label_given_elsewhere_meanwhile_is_no_conflict(split):
    save(split, a="1")
    assert save_labels(split, [Answer("a", "1", "")])[1] == {}
    assert written(split) == "sequence,label\na,1\n"


def test_answers_that_are_all_conflicts_write_nothing(split):
    save(split, a="1")
    before = files(split)
    assert save_labels(split, [Answer("a", "0", "")])[1] == {"a": "1"}
    assert files(split) == before


# undo


def test_undo_of_the_first_answer_removes_its_row(split):
    save(split, a="1")
    assert undo(split) == [("a", "", True)]
    assert written(split) == "sequence,label\n" and read_labels(split) == {}


def test_undo_goes_back_one_by_one_until_nothing_is_left(split):
    save(split, a="1")
    save(split, b="0")
    save(split, a="0")
    assert undo(split) == [("a", "1", True)]
    assert undo(split) == [("b", "", True)]
    assert undo(split) == [("a", "", True)]
    assert undo(split) == [] and read_labels(split) == {}


def test_undo_takes_back_the_given_change_only_once(split):
    time = save(split, a="1")
    save(split, b="0")
    assert undo(split, time) == [("a", "", True)]
    assert undo(split, time) == [] and undo(split, "no such time") == []
    assert read_labels(split) == {"b": "0"}
    assert undo(split) == [("b", "", True)]


def test_twelve_answers_saved_together_are_undone_together(split):
    save(split, seq_3="1")
    save(split, **{f"seq_{k}": "0" for k in range(1, 13)})
    expected = [(f"seq_{k}", "1" if k == 3 else "", True) for k in range(1, 13)]
    assert undo(split) == expected
    assert read_labels(split) == {"seq_3": "1"}


def test_undo_keeps_a_label_changed_elsewhere_since(split):
    save(split, a="1", b="1", c="1")
    labels_path(split).write_text("sequence,label\na,0\nb,1\n")
    assert undo(split) == [("a", "0", False), ("b", "", True), ("c", "", False)]
    assert read_labels(split) == {"a": "0"}
    assert undo(split) == []


def test_undo_keeps_a_later_answer_to_the_same_sequence(split):
    time = save(split, a="1")
    save(split, a="0")
    assert undo(split, time) == [("a", "0", False)]
    assert read_labels(split) == {"a": "0"}


def test_an_undone_answer_can_be_given_again_and_undone_again(split):
    for _ in range(2):
        save(split, a="1")
        assert undo(split) == [("a", "", True)]
    assert undo(split) == []


def test_undo_works_in_another_process_days_later(split):
    save(split, a="1")
    save(split, a="0")
    code = (
        "import sys; from pathlib import Path; from annotation.labels import undo\n"
        "print(undo(Path(sys.argv[1])))"
    )
    told = subprocess.run([sys.executable, "-c", code, split], capture_output=True, text=True)
    assert told.stdout == "[('a', '1', True)]\n", told.stderr
    assert read_labels(split) == {"a": "1"}


def test_undo_without_answers_is_empty(split):
    labels_path(split).write_text("sequence,label\na,0\n")
    assert undo(split) == [] and read_labels(split) == {"a": "0"}


def test_labels_from_marks_are_undone_together(split):
    save(split, a="1")
    time, _ = save_labels(split, [Answer("b", "0", ""), Answer("c", "1", "")], "marks")
    assert last_answer(split) == {"time": time, "sequences": ["b", "c"]}
    assert undo(split) == [("b", "", True), ("c", "", True)]
    assert read_labels(split) == {"a": "1"}
    undo(split)
    assert last_answer(split) == {"time": "", "sequences": []}


# flags and names


def test_flags_are_kept_in_order_without_repeats_and_can_be_removed(split):
    assert read_flags(split) == []
    for name in ("b", 'a, "1"', "b"):
        save_flag(split, name, True)
    assert read_flags(split) == ['a, "1"', "b"]
    save_flag(split, "b", False)
    save_flag(split, "never flagged", False)
    assert read_flags(split) == ['a, "1"']
    save_flag(split, 'a, "1"', False)
    assert read_flags(split) == [] and read_labels(split) == {}


def test_class_names_are_non_rally_and_rally_until_others_are_saved(tmp_path):
    assert read_class_names(tmp_path) == ("non-rally", "rally")
    save_class_names(tmp_path, ("kein Sprung", "Sprung, 跳"))
    assert read_class_names(tmp_path) == ("kein Sprung", "Sprung, 跳")
    table = read_table(tmp_path / "classes.csv", ("label", "name"))
    assert table["label"].tolist() == ["0", "1"]


@pytest.mark.parametrize("rows", ["0,a\n", "0,a\n1,\n", "0,a\n1,b\n2,c\n", "no,a\nyes,b\n"])
def test_invalid_class_names_are_refused(tmp_path, rows):
    (tmp_path / "classes.csv").write_text("label,name\n" + rows)
    with pytest.raises(UserError, match="classes.csv must have the three lines label,name"):
        read_class_names(tmp_path)


# sequences


def test_sequences_come_in_the_order_of_their_numbers(split):
    names = ["seq_10", "seq_2", "seq_1", "10", "9", "b", "a2 10", "a2 9", "a10"]
    for name in [*names, ".seq_3.part"]:
        (split / "sequences" / name).mkdir(parents=True)
    (split / "sequences" / "Thumbs.db").touch()
    found, problems = list_sequences(split)
    assert sorted(found) == sorted(names) and problems == []
    assert [n for n in found if n.startswith("seq")] == ["seq_1", "seq_2", "seq_10"]
    assert [n for n in found if n.startswith("a")] == ["a2 9", "a2 10", "a10"]
    assert found.index("9") < found.index("10")


def test_names_of_any_letters_are_sequences(split):
    for name in ODD_NAMES:
        (split / "sequences" / name).mkdir(parents=True)
    found, problems = list_sequences(split)
    assert set(found) == set(ODD_NAMES) and problems == []


@pytest.mark.parametrize("name", ["two\nlines", "ends ", " begins", "tab\t", "r\r", "\u200b"])
def test_names_that_cannot_be_in_a_table_are_reported(split, name):
    for each in (name, "seq_1"):
        (split / "sequences" / each).mkdir(parents=True)
    found, problems = list_sequences(split)
    assert found == ["seq_1"]
    assert len(problems) == 1 and ascii(name) in problems[0] and "rename it" in problems[0]


def test_a_name_that_is_not_unicode_is_reported(split):
    (split / "sequences").mkdir()
    try:
        os.mkdir(os.fsencode(split / "sequences") + b"/caf\xe9")
    except OSError:
        pytest.skip("this disk takes no such name")
    found, problems = list_sequences(split)
    assert found == [] and len(problems) == 1
    problems[0].encode()  # it can be encoded, so printed


def test_a_missing_folder_of_sequences_is_reported(split):
    found, problems = list_sequences(split)
    assert found == [] and "no such folder: " in problems[0]
    (split / "sequences").touch()
    with pytest.raises(UserError, match="sequences"):
        list_sequences(split)


# full disks, and other processes


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "Data").write_text("a file where the folder should be")
    for change in (
        lambda: save_labels(tmp_path / "Data" / "train", [Answer("a", "1", "")]),
        lambda: save_repeat(tmp_path / "Data" / "train", "a", "1"),
        lambda: save_flag(tmp_path / "Data" / "train", "a", True),
        lambda: save_class_names(tmp_path / "Data", ("a", "b")),
    ):
        with pytest.raises(UserError, match="cannot write"):
            change()


def test_a_table_that_cannot_be_read_is_one_clear_error(split):
    labels_path(split).mkdir()
    with pytest.raises(UserError, match="train.csv cannot be read"):
        save_labels(split, [Answer("a", "1", "")])
    assert read_changes(log_path(labels_path(split))) == []


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("failing", ["replace", "first fsync", "second fsync"])
def test_a_full_disk_is_an_error_and_leaves_table_and_log(split, monkeypatch, failing, begun):
    if begun:
        save(split, a="1")
    before, fsync, calls = files(split), os.fsync, iter(range(99))

    def full(descriptor):
        if next(calls) == ("first fsync", "second fsync").index(failing):
            full_disk()
        fsync(descriptor)

    with monkeypatch.context() as patch:
        if failing == "replace":
            patch.setattr(os, "replace", full_disk)
        else:
            patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="cannot write .*train.*No space left"):
            save_labels(split, [Answer(f"seq_{k}", "0", "") for k in range(12)])
        assert files(split) == before
    save(split, b="0")
    assert read_labels(split) == ({"a": "1"} if begun else {}) | {"b": "0"}


def test_an_undo_on_a_full_disk_can_be_done_later(split, monkeypatch):
    save(split, a="1")
    before = files(split)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_disk)
        with pytest.raises(UserError, match="No space left"):
            undo(split)
    assert files(split) == before
    assert undo(split) == [("a", "", True)]


def test_a_truncated_last_line_of_the_log_is_skipped_and_replaced(split):
    save(split, 羽毛球="1")
    log = log_path(labels_path(split))
    whole = log.read_bytes()
    for torn in ("2026-11-24T20:15:30.123456Z,羽".encode()[:-1], b"2026-11", b'2026,"a'):
        log.write_bytes(whole + torn)
        assert pick_repeat(split, random.Random(0)) is None
        assert undo(split) == [("羽毛球", "", True)]
        save(split, 羽毛球="1")
        assert len(read_changes(log)) == 3
        log.write_bytes(whole)


def test_a_lock_that_another_process_keeps_is_named(split, monkeypatch):
    monkeypatch.setattr(labels, "PATIENCE_SEC", 0.1)
    held, done = threading.Event(), threading.Event()

    def hold():
        with one_writer(split, ".labels.lock"):
            held.set()
            done.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(10)
    with pytest.raises(UserError, match="another process still holds the lock .*labels.lock"):
        save_labels(split, [Answer("a", "1", "")])
    done.set()
    other.join()
    save(split, a="1")


def test_collecting_at_the_same_time_does_not_delay_answers(split, monkeypatch):
    monkeypatch.setattr(labels, "PATIENCE_SEC", 0.1)
    with one_writer(split):
        save(split, a="1")
    assert read_labels(split) == {"a": "1"}


def test_four_threads_at_once_lose_no_answer(split):
    errors = []

    def answer(number):
        try:
            for k in range(15):
                save_labels(split, [Answer(f"{number}-{k}", str(k % 2), "")])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert read_labels(split) == {f"{n}-{k}": str(k % 2) for n in range(4) for k in range(15)}
    assert len(read_changes(log_path(labels_path(split)))) == 60


def kill_labeling(*arguments):
    command = [sys.executable, "tests/annotation/kill_labeling.py", *map(str, arguments)]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return int(told.stdout)


def test_four_processes_at_once_lose_no_answer(split):
    assert kill_labeling("together", split, 4, 25) == 100
    assert read_labels(split) == {f"{n}-{k}": str(k % 2) for n in range(4) for k in range(25)}
    assert len(read_changes(log_path(labels_path(split)))) == 100


@pytest.mark.alone
def test_30_kills_at_random_moments_lose_no_confirmed_answer(split):
    assert kill_labeling("kill", split, 30) > 25


@pytest.mark.parametrize("moment", ["before the log", "before the table", "before its name"])
def test_after_a_kill_between_log_and_table_the_answer_can_be_given_again(
    split, monkeypatch, moment
):
    def killed(*_):
        raise KeyboardInterrupt

    save(split, a="1")
    with monkeypatch.context() as patch:
        if moment == "before its name":
            patch.setattr(os, "replace", killed)
        else:
            name = {"before the log": "append_changes", "before the table": "write_table"}[moment]
            patch.setattr(change_log, name, killed)
        with pytest.raises(KeyboardInterrupt):
            save_labels(split, [Answer("b", "0", "")])
    assert read_labels(split) == {"a": "1"}
    save(split, b="0")
    assert undo(split) == [("b", "", True)] and read_labels(split) == {"a": "1"}
