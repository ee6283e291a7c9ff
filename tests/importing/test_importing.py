"""labeling.py --import over SYNTHETIC tables: what it writes, keeps, refuses and prints."""

import csv
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from published import address, play, write_badminton_db, write_set

from annotation.change_log import log_path, read_changes
from annotation.ground_truth import read_truth, unknown_path
from annotation.match_marks import list_tables, marks_path, read_marks, save_marks, undo_marks
from conftest import write_video
from files import UserError
from importing import imported, run
from importing.imported import read_groups
from labeling import main

REPO = Path(__file__).resolve().parents[2]
ID_A, ID_B, ID_C = "aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc"
A = {"name": "A_Finals", "url": address(ID_A)}
B = {"name": "B_Finals", "url": address(ID_B), "tournament": "KOREA OPEN 2019", "when": (2019, 9)}
LONG = {"name": "Long_match_ _name", "tournament": "French Open 2022", "when": (2022, 10)}


@pytest.fixture
def data(tmp_path):
    (tmp_path / "Data").mkdir()
    return tmp_path / "Data"


@pytest.fixture
def labels(tmp_path):
    return write_set(tmp_path / "ShuttleSet" / "set", A, B)


@pytest.fixture
def labels22(tmp_path):
    return write_set(tmp_path / "ShuttleSet22" / "set", LONG, addresses=False)


def run_import(data, *folders, options=()):
    return main(["--import", *map(str, folders), "--data", str(data), *options])


def contents(data):
    """{file: (bytes, time of writing)} without the locks."""
    files = [path for path in data.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def lines(data):
    return (data / "videos.csv").read_text().splitlines()


def records(data):
    with open(data / "imported.csv") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_marks_are_named_by_their_youtube_id_and_their_videos_listed(data, labels):
    assert run_import(data, labels) == 0
    truth = read_truth(marks_path(data, ID_A))
    assert len(truth.rallies) == 42 and truth.rallies[0] == (100.0, 103.0)
    assert sorted(path.stem for path in list_tables(data)) == [ID_A, ID_B]
    assert lines(data)[0] == "split,video"
    assert sorted(line.split(",")[1] for line in lines(data)[1:]) == [address(ID_A), address(ID_B)]
    assert read_groups(data) == {
        ID_A: "odense-sports-park-2018-10",
        ID_B: "incheon-skydome-2019-09",
    }


def test_without_imports_there_are_no_groups(data):
    assert read_groups(data) == {}


def test_unknown_stretches_are_written_beside_the_marks(data, tmp_path):
    games = [play(), play(start_sec=700.0)]
    games[0].pop(4)
    run_import(data, write_set(tmp_path / "set", A, games=games))
    assert read_marks(unknown_path(marks_path(data, ID_A))) == [(163.0, 200.0)]


def test_a_dry_run_prints_the_same_and_writes_nothing(data, labels, labels22, capsys):
    assert run_import(data, labels, labels22, options=["--dry-run"]) == 0
    told = capsys.readouterr().out
    assert list(data.iterdir()) == []
    run_import(data, labels, labels22)
    assert capsys.readouterr().out == told


def test_importing_again_changes_nothing_on_disk(data, labels, labels22):
    run_import(data, labels, labels22)
    before = contents(data)
    assert run_import(data, labels22, labels) == 0
    assert contents(data) == before


def test_changed_labels_replace_those_of_an_earlier_import_and_can_be_undone(data, labels):
    run_import(data, labels)
    (labels / "A_Finals" / "set1.csv").write_text(
        (labels / "A_Finals" / "set1.csv").read_text().replace("3660.0", "3690.0")
    )
    run_import(data, labels)
    table = marks_path(data, ID_A)
    assert read_marks(table)[1] == (120.0, 124.0)
    assert {change.what for change in read_changes(log_path(table))} == {"import"}
    assert undo_marks(table)[1] == (120.0, 123.0)


def test_a_persons_changes_are_kept(data, labels, capsys):
    run_import(data, labels)
    table = marks_path(data, ID_A)
    marks = read_marks(table)
    save_marks(table, marks[1:], marks, 9_999.0)
    before = contents(data)
    capsys.readouterr()
    assert run_import(data, labels) == 0
    assert contents(data) == before
    assert "kept: changed since its import" in capsys.readouterr().out


def test_a_persons_unknown_stretches_are_kept(data, labels):
    run_import(data, labels)
    table = unknown_path(marks_path(data, ID_A))
    save_marks(table, [(103.0, 110.0)], [], 9_999.0)
    run_import(data, labels)
    assert read_marks(table) == [(103.0, 110.0)]


@pytest.mark.parametrize("marks", [[], [(1.0, 2.0)]])
def test_a_persons_own_marks_are_kept(data, labels, capsys, marks):
    table = marks_path(data, ID_A)
    save_marks(table, marks, [], 9_999.0)
    before = table.read_bytes()
    run_import(data, labels)
    assert table.read_bytes() == before
    assert "kept: marked by hand" in capsys.readouterr().out
    assert records(data)[ID_A]["rallies_sha256"] == ""
    assert read_groups(data)[ID_A] == "odense-sports-park-2018-10"  # also for what is kept
    run_import(data, labels)
    assert table.read_bytes() == before
    assert "kept: marked by hand" in capsys.readouterr().out
    assert len(lines(data)) == 3


class Killed(Exception):
    pass


def kill_at(monkeypatch, number):
    """Lets the process end before its write of this number, from 0; returns the list of writes."""
    writes = []

    def counted(write):
        def once(*arguments, **options):
            if len(writes) == number:
                raise Killed
            writes.append(write.__name__)
            return write(*arguments, **options)

        return once

    monkeypatch.setattr(imported, "save_marks", counted(imported.save_marks))
    monkeypatch.setattr(imported.os, "replace", counted(imported.os.replace))
    for name in ("write_imported", "add_videos"):
        monkeypatch.setattr(run, name, counted(getattr(run, name)))
    return writes


def everything(data):
    """What an import leaves, without times, logs and locks."""
    files = [path for path in data.rglob("*.csv") if not path.name.endswith(".log.csv")]
    return {path.relative_to(data): path.read_bytes() for path in files}


def test_two_imports_at_once_list_each_video_once(data, labels, monkeypatch):
    """The second one waits for the first, even if that has planned already."""
    planned, finish = threading.Event(), threading.Event()

    def plan_and_wait(*arguments):
        plan = make_plan(*arguments)
        planned.set()
        assert finish.wait(20)
        return plan

    make_plan = run.make_plan
    monkeypatch.setattr(run, "make_plan", plan_and_wait)
    first = threading.Thread(target=run_import, args=(data, labels))
    first.start()
    assert planned.wait(20)
    command = [sys.executable, "labeling.py", "--import", str(labels), "--data", str(data)]
    second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPO)
    try:
        assert "another process is writing" in second.stderr.readline()
    finally:
        finish.set()
        first.join()
    assert second.wait(60) == 0
    assert len(lines(data)) == len(set(lines(data))) == 3


@pytest.mark.parametrize("before", ["nothing", "an older import"])
def test_after_a_kill_before_any_write_importing_again_comes_right(tmp_path, monkeypatch, before):
    games = [play(), play(start_sec=700.0)]
    old = write_set(tmp_path / "old", A, B, games=[play(), [*games[1][:7], *games[1][8:]]])
    new = write_set(tmp_path / "new", A, B, games=[[*games[0][:4], *games[0][5:]], games[1]])
    run_import(tmp_path / "whole", new)
    for number in range(99):
        data = tmp_path / str(number)
        if before != "nothing":
            run_import(data, old)
        with monkeypatch.context() as patch:
            writes = kill_at(patch, number)
            try:
                run_import(data, new)
            except Killed:
                assert len(writes) == number
            else:
                break
        run_import(data, new)
        assert everything(data) == everything(tmp_path / "whole")
    assert number >= 5


def test_after_a_kill_while_renaming_importing_again_comes_right(tmp_path, labels22, monkeypatch):
    options = ["--address", "ShuttleSet22/1", address(ID_C)]
    run_import(tmp_path / "whole", labels22)
    run_import(tmp_path / "whole", labels22, options=options)
    for number in range(99):
        data = tmp_path / str(number)
        run_import(data, labels22)
        with monkeypatch.context() as patch:
            kill_at(patch, number)
            try:
                run_import(data, labels22, options=options)
            except Killed:
                pass
            else:
                break
        run_import(data, labels22, options=options)
        assert everything(data) == everything(tmp_path / "whole")
        assert len(read_changes(log_path(marks_path(data, ID_C)))) == 42
    assert number >= 4


@pytest.mark.parametrize("number", range(4))
def test_a_kill_while_renaming_loses_no_stretch_that_a_person_added(
    data, labels22, monkeypatch, number
):
    run_import(data, labels22)
    table = unknown_path(list_tables(data)[0])
    mine = sorted([*read_marks(table), (5000.0, 5010.0)])
    save_marks(table, mine, read_marks(table), 9_999.0, what="stretch")
    options = ["--address", "ShuttleSet22/1", address(ID_C)]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, number)
        run_import(data, labels22, options=options)
    run_import(data, labels22, options=options)
    assert read_marks(unknown_path(marks_path(data, ID_C))) == mine


def test_without_address_a_match_has_a_plain_name_no_line_and_a_hint(data, labels22, capsys):
    assert run_import(data, labels22) == 0
    assert [path.stem for path in list_tables(data)] == ["Long_match___name"]
    assert not (data / "videos.csv").exists()
    told = capsys.readouterr().out
    assert "1 match without film or address" in told and "--address MATCH URL" in told
    assert "ShuttleSet22/1  Long_match___name.mp4" in told
    assert "next:" not in told


def test_the_line_is_added_when_the_film_is_there(data, labels22):
    run_import(data, labels22)
    (data / "videos").mkdir()
    (data / "videos" / "Long_match___name.mp4").write_bytes(b"film")
    run_import(data, labels22)
    split = records(data)["Long_match___name"]["split"]
    assert lines(data) == ["split,video", f"{split},videos/Long_match___name.mp4"]


@pytest.mark.parametrize("name", ["ShuttleSet22/1", "Long_match_ _name", "Long_match___name"])
def test_with_an_address_tables_logs_and_a_persons_changes_move(data, labels22, name):
    run_import(data, labels22)
    table = marks_path(data, "Long_match___name")
    marks = read_marks(table)
    save_marks(table, marks[1:], marks, 9_999.0)
    log = log_path(table).read_bytes()
    assert run_import(data, labels22, options=["--address", name, "youtu.be/" + ID_C]) == 0
    assert [path.stem for path in list_tables(data)] == [ID_C]
    moved = marks_path(data, ID_C)
    assert read_marks(moved) == marks[1:]
    assert log_path(moved).read_bytes() == log
    assert lines(data)[1].endswith(address(ID_C))
    before = contents(data)
    assert run_import(data, labels22) == 0  # the address is remembered
    assert contents(data) == before


def test_marks_of_both_names_stay_where_they_are(data, labels22, capsys):
    run_import(data, labels22)
    save_marks(marks_path(data, ID_C), [(1.0, 2.0)], [], 9_999.0)
    before = contents(data)
    run_import(data, labels22, options=["--address", "ShuttleSet22/1", address(ID_C)])
    assert contents(data) == before
    assert f"kept: there are marks of {ID_C} too" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["nobody", address(ID_C)], "no such match"),
        (["ShuttleSet22/1", "https://example.com/x"], "is not the address of a YouTube video"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(data, labels22, given, why):
    with pytest.raises(UserError, match=why):
        run_import(data, labels22, options=["--address", *given])
    assert contents(data) == {}


def test_an_address_is_refused_where_the_film_is_there(data, labels22):
    (data / "videos").mkdir()
    (data / "videos" / "Long_match___name.mp4").write_bytes(b"film")
    with pytest.raises(UserError, match="its film is there already"):
        run_import(data, labels22, options=["--address", "ShuttleSet22/1", address(ID_C)])


def test_a_video_in_two_sets_is_imported_once(data, labels, tmp_path, capsys):
    name = "2018-42-5F-MS-ONE-TWO-Some Open"
    point = {"VideoInfo": {"Visibility": "visible"}}
    point["PointInfo"] = {"PointBegin": 1, "PointEnd": 9, "Rally": [{"StrokeEnd": 2}]}
    other = write_badminton_db(tmp_path / "db", name, [point], video_id=ID_A)
    for folders in ([other, labels], [other]):
        run_import(data, *folders)
        assert records(data)[ID_A]["source"] == "ShuttleSet"
        assert "the same video as ShuttleSet A_Finals" in capsys.readouterr().out


def test_a_set_that_is_given_twice_is_imported_once(data, labels, capsys):
    run_import(data, labels, labels.parent)
    assert capsys.readouterr().out.count("the same match as above") == 2
    assert len(lines(data)) == 3


def test_a_recorded_address_counts_for_more_than_a_film_that_appears(data, labels22):
    run_import(data, labels22, options=["--address", "ShuttleSet22/1", address(ID_C)])
    (data / "videos").mkdir()
    (data / "videos" / "Long_match___name.mp4").write_bytes(b"film")
    before = contents(data)
    run_import(data, labels22)
    assert contents(data) == before


def test_lines_of_videos_csv_stay_byte_for_byte(data, labels):
    before = b"\xef\xbb\xbfnote,video,split\r\n,  https://youtu.be/" + ID_A.encode() + b" ,test"
    (data / "videos.csv").write_bytes(before)
    run_import(data, labels)
    after = (data / "videos.csv").read_bytes()
    assert after.startswith(before + b"\r\n")
    assert after[len(before) :] == b"\r\n,%s,train\r\n" % address(ID_B).encode()
    assert records(data)[ID_A]["split"] == "test"


def test_a_group_goes_where_its_lines_are(data, tmp_path, capsys):
    same_hall = {"tournament": "KOREA OPEN 2019", "when": (2019, 9)}
    c = {"name": "C", "url": address(ID_C)}
    folder = write_set(tmp_path / "set", A | same_hall, B | same_hall, c | same_hall)
    (data / "videos.csv").write_text(f"split,video\ntest,{address(ID_A)}\n")
    run_import(data, folder)
    assert {row["split"] for row in records(data).values()} == {"test"}
    (data / "imported.csv").unlink()
    (data / "videos.csv").write_text(
        f"split,video\ntest,{address(ID_A)}\nvalidation,{address(ID_B)}\n"
    )
    capsys.readouterr()
    run_import(data, folder)
    assert records(data)[ID_C]["split"] == "train"
    assert records(data)[ID_A]["split"] == "test"
    assert "in several splits; further ones go into train" in capsys.readouterr().out


def test_a_video_that_was_collected_stays_in_its_split(data, labels):
    (data / "test").mkdir()
    (data / "test" / "sequences.csv").write_text(
        f"sequence,video,start_sec,fps\nseq_00001,{address(ID_A)},0,30\n"
    )
    run_import(data, labels)
    assert records(data)[ID_A]["split"] == "test"
    assert [line for line in lines(data) if ID_A in line] == []


def test_a_match_with_bad_tables_is_left_out_with_the_reason(data, labels, capsys):
    (labels / "A_Finals" / "set1.csv").write_text("rally\n1\n")
    assert run_import(data, labels) == 0
    assert "has no column ball_round" in capsys.readouterr().out
    assert list(records(data)) == [ID_B]


def test_the_exit_code_is_1_if_nothing_could_be_imported(data, tmp_path):
    assert run_import(data, write_set(tmp_path / "set", {"name": "A_Trim"})) == 1
    assert contents(data) == {}


def test_the_table_says_what_is_known(data, tmp_path, capsys):
    games = [play(), play(start_sec=700.0)]
    games[1].pop(4)
    run_import(data, write_set(tmp_path / "set", A, games=games))
    told = capsys.readouterr().out
    row = next(line for line in told.splitlines() if line.startswith("ShuttleSet/1"))
    assert row.split() == ["ShuttleSet/1", ID_A, "41", "37", "96.6%", "train"]  # 37 of 1102 s
    assert "41 of 41 rallies with a known stroke are certain" in told
    assert f"next: python collecting_data.py --data {data}" in told


def test_a_plain_table_finds_its_film(data, tmp_path):
    (tmp_path / "mine").mkdir()
    write_video(tmp_path / "mine" / "My final.mp4", "30", 30)
    (tmp_path / "mine" / "t.csv").write_text("video,start_sec,end_sec\nMy final.mp4,0,0.5\n")
    assert run_import(data, tmp_path / "mine") == 0
    assert read_marks(marks_path(data, "My final")) == [(0.0, 0.5)]
    assert lines(data)[1].split(",")[1] == str(tmp_path / "mine" / "My final.mp4")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--dry-run"],
        ["--address", "A", "B"],
        ["--import", "x", "--match", "v.mp4"],
        ["--import", "x", "--from-match"],
        ["--import", "x", "--agreement"],
        ["--import", "x", "--split", "train"],
        ["--import", "x", "--classes", "a", "b"],
        ["--import", "x", "--model", "m.pth"],
        ["--import", "x", "--review"],
        ["--import"],
        ["--shift", "2"],
        ["--match", "v.mp4", "--shift", "nan"],
        ["--match", "v.mp4", "--shift", "2", "--model", "m.pth"],
        ["--match", "v.mp4", "--shift", "2", "--proposals", "p.csv"],
    ],
)
def test_options_that_contradict_each_other_end_with_code_2(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
