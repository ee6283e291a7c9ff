import multiprocessing
import os
import threading
import time

import pandas as pd
import pytest

from files import UserError, new_run_dir, one_writer, read_table, write_whole


def full_disk(*args):
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_no_partial_file(tmp_path, monkeypatch):
    write_whole(tmp_path / "a.csv", b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match="a.csv: No space left"):
        write_whole(tmp_path / "a.csv", b"new")
    assert (tmp_path / "a.csv").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_file_in_the_place_of_a_folder_is_a_clear_error(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_whole(tmp_path / "runs" / "a.csv", b"")


@pytest.mark.parametrize(
    "text",
    [
        b"sequence,label\nseq_1,0\nseq_2,1\n",
        b"\xef\xbb\xbfsequence,label\r\nseq_1,0\r\nseq_2,1\r\n\r\n",
        b"sequence , label\n seq_1, 0\n\nseq_2,1\n,\n",
        b"n,sequence,label\n0,seq_1,0\n1,seq_2,1",
    ],
    ids=["plain", "byte-order mark and Windows line ends", "spaces and blank rows", "more columns"],
)
def test_tables_of_any_program_are_read(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text)
    expected = pd.DataFrame({"sequence": ["seq_1", "seq_2"], "label": ["0", "1"]})
    assert read_table(tmp_path / "t.csv", ("sequence", "label")).equals(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name,label\na,1\n", "no column sequence"),
        (b"", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"sequence,label\na,1,2,3\nb\n", "cannot be read"),
    ],
)
def test_a_bad_table_is_an_error_that_names_the_file(tmp_path, text, message):
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(UserError, match=f"t.csv.*{message}"):
        read_table(tmp_path / "t.csv", ("sequence", "label"))


def hold(folder, ready):
    with one_writer(folder):
        ready.set()
        time.sleep(60)


def test_a_second_writer_waits_until_the_first_one_is_killed(tmp_path, capfd):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    first = context.Process(target=hold, args=(tmp_path, ready))
    first.start()
    assert ready.wait(30)
    entered = threading.Event()

    def second():
        with one_writer(tmp_path):
            entered.set()

    waiting = threading.Thread(target=second)
    waiting.start()
    assert not entered.wait(0.5)
    first.kill()
    first.join()
    assert entered.wait(10)
    waiting.join()
    assert "waiting" in capfd.readouterr().err


def test_a_runs_folder_on_a_missing_disk_is_an_error(tmp_path):
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted" / "runs")
    with pytest.raises(UserError, match="cannot create the run folder"):
        new_run_dir(tmp_path / "runs")


def test_an_unwritable_runs_folder_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot create the run folder .*runs_dir"):
        new_run_dir(tmp_path / "runs" / "deeper")


def test_runs_of_one_name_never_share_a_folder(tmp_path):
    assert [new_run_dir(tmp_path, "x").name for _ in range(3)] == ["x", "x-2", "x-3"]
