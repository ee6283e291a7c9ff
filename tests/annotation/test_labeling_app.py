"""What the server sends about sequences, and what it does with answers."""

import errno
import os
import shutil
import stat
import struct
import threading

import numpy as np
import pandas as pd
import pytest
from labeling_client import (
    BASE,
    FOUR,
    MARKUP,
    ODD_NAMES,
    ONE,
    TAKEN,
    THREE,
    TWO,
    answer,
    everything,
    label,
    post,
    rows,
    small_data,
    write_frames,
)
from starlette.testclient import TestClient

from annotation import labels
from annotation.app import Labelling, build_app

pytest_plugins = ["labeling_client"]


data = small_data  # this fixture replaces conftest's


# sequences


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_of_any_printable_name_is_listed_served_labelled_and_flagged(client, data, name):
    write_frames(data, "train", name)
    state = client.get("/state").json()
    assert name in state["names"] and state["problems"] == []
    told = client.get("/frames", params={"split": "train", "sequence": name})
    assert f"train {name} 2..".encode() in told.content
    assert label(client, answer(name, "1"))["conflicts"] == {}
    flag = {"split": "train", "sequence": name, "flagged": True}
    assert post(client, "/flag", flag).status_code == 200
    table = pd.read_csv(data / "train" / "train.csv", dtype=str, keep_default_na=False)
    assert dict(zip(table["sequence"], table["label"], strict=True)) == {FOUR: "1", name: "1"}
    state = client.get("/state").json()
    assert state["labels"][name] == "1" and state["flags"] == [name]
    changes = post(client, "/undo", {"split": "train", "time": ""}).json()["changes"]
    assert changes == [{"sequence": name, "label": "", "done": True}]


def test_markup_in_a_name_is_sent_as_data_and_never_as_a_page(client, data):
    write_frames(data, "train", MARKUP)
    for path in ("/state", "/nowhere", f"/frames?split=train&sequence={MARKUP}"):
        assert "html" not in client.get(path).headers["content-type"]
    assert MARKUP not in client.get("/").text


def test_a_folder_whose_name_cannot_be_in_a_table_is_reported_and_not_listed(client, data):
    write_frames(data, "train", "two\nlines", " padded")
    state = client.get("/state").json()
    assert state["names"] == [ONE, TWO, THREE, FOUR]
    assert len(state["problems"]) == 2 and all("rename it" in each for each in state["problems"])


@pytest.mark.parametrize("count", [1, 2, 30, 257])
def test_frames_are_a_count_their_sizes_and_the_bytes_of_the_files_in_order(client, data, count):
    write_frames(data, "train", "seq_00009", count=count)
    told = client.get("/frames", params={"split": "train", "sequence": "seq_00009"})
    assert told.headers["content-type"] == "application/octet-stream"
    (found,) = struct.unpack_from("<I", told.content)
    sizes = struct.unpack_from(f"<{found}I", told.content, 4)
    ends = np.cumsum([4 + 4 * found, *sizes])
    frames = [told.content[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    assert ends[-1] == len(told.content)
    paths = sorted((data / "train" / "sequences" / "seq_00009").iterdir())
    assert frames == [path.read_bytes() for path in paths]


def test_frames_come_from_the_requested_split(client):
    for split in ("train", "validation"):
        told = client.get("/frames", params={"split": split, "sequence": ONE})
        assert f"{split} {ONE} 1".encode() in told.content


@pytest.mark.parametrize("fault", ["empty", "missing", "unreadable", "no pictures"])
def test_a_sequence_without_frames_is_an_error_that_says_why(client, data, fault):
    client.get("/state")
    folder = data / "train" / "sequences" / ONE
    shutil.rmtree(folder)
    why = "no frames"
    if fault != "missing":
        folder.mkdir()
    if fault == "missing":
        why = os.strerror(errno.ENOENT)
    if fault == "unreadable":
        (folder / "00001.jpg").mkdir()
        why = os.strerror(errno.EISDIR)
    if fault == "no pictures":
        (folder / "00001.txt").write_text("x")
    told = client.get("/frames", params={"split": "train", "sequence": ONE})
    assert told.status_code == 500 and why in told.json()["error"]


# the state


def test_the_state_is_all_that_the_page_shows_of_a_split(client, data):
    sources = f"sequence,video,start_sec,fps\n{ONE},a.mp4,0,30\n{TWO},a.mp4,30,29.97\n"
    (data / "train" / "sequences.csv").write_text(f"{sources}{THREE},b.mp4,0,30.0\n")
    (data / "train" / "train.csv").write_text(f"sequence,label\n{FOUR},1.0\n{ONE},?\ngone,1\n")
    (data / "train" / "flagged.csv").write_text(f"sequence\n{TWO}\ngone\n")
    (problem,) = client.get("/state").json().pop("problems")
    assert problem == "train.csv: 1 row has no folder of frames (kept)"
    assert client.get("/state").json() == {
        "match": "",
        "repeat_every": 20,
        "split": "train",
        "splits": ["train", "validation", "test"],
        "classes": ["non-rally", "rally"],
        "order": "name",
        "names": [ONE, TWO, THREE, FOUR],
        "labels": {ONE: "?", FOUR: "1"},
        "flags": [TWO],
        "fps": {TWO: 29.97},
        "seq_frames": 2,
        "problems": [problem],
    }


def test_an_unreadable_folder_does_not_stop_labelling_the_others(client, data, monkeypatch):
    folder, listdir = data / "train" / "sequences" / TWO, os.listdir

    def refuses(path):
        if path == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuses)
    state = client.get("/state").json()
    assert state["names"] == [ONE, TWO, THREE, FOUR] and state["seq_frames"] == 2
    told = client.get("/frames", params={"split": "train", "sequence": TWO})
    assert told.status_code == 500 and os.strerror(errno.EACCES) in told.json()["error"]


def test_a_split_that_is_not_collected_yet_is_shown_as_such(client):
    state = client.get("/state", params={"split": "test"}).json()
    assert state["names"] == [] and "run collecting_data.py first" in state["problems"][0]


PROBS = {ONE: 0.912345, TWO: 0.412345, THREE: 0.198765, FOUR: 0.512345}


def test_the_uncertain_come_first_and_the_labelled_last(client, work):
    work.order, work.probs = "uncertain", PROBS
    assert client.get("/state").json()["names"] == [TWO, THREE, ONE, FOUR]


def test_a_review_shows_labelled_sequences_the_most_disputed_first(client, work, data):
    table = f"sequence,label\n{ONE},1\n{TWO},1\n{THREE},1\n"
    (data / "train" / "train.csv").write_text(table)
    work.order = "review"
    assert client.get("/state").json()["names"] == [ONE, TWO, THREE]
    work.probs = PROBS
    assert client.get("/state").json()["names"] == [THREE, TWO, ONE]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("order", ["uncertain", "review"])
def test_the_model_never_orders_validation_and_test_and_the_page_says_why(data, split, order):
    if split == "test":
        write_frames(data, "test", ONE, TWO)
    (data / split / f"{split}.csv").write_text(f"sequence,label\n{ONE},1\n{TWO},1\n")
    work = Labelling(data, "train", order=order, probs={ONE: 0.9, TWO: 0.5})
    with TestClient(build_app(work), base_url=BASE) as client:
        state = client.get("/state", params={"split": split}).json()
        assert state["names"] == [ONE, TWO]
        if order == "uncertain":
            assert any("train only" in problem for problem in state["problems"])
        told = label(client, answer(ONE, "0", "1"), split=split)
        assert told["probs"] == {} and told["conflicts"] == {}


def test_probabilities_are_sent_only_after_an_answer(client, work):
    numbers = [str(prob) for prob in PROBS.values()]
    work.probs = PROBS
    paths = ("/", "/state", "/state?split=train", f"/frames?split=train&sequence={ONE}")
    paths += ("/repeat?split=train", "/agreement?split=train")
    for work.order in ("name", "uncertain", "review"):
        for path in paths:
            text = client.get(path).content.decode("latin-1")
            assert "prob" not in text.replace("problems", "") or path == "/"
            assert not [number for number in numbers if number in text]
        told = label(client, answer(ONE, "1"), answer(THREE, "0"))
        assert told["probs"] == {ONE: PROBS[ONE], THREE: PROBS[THREE]}
        for path in ("/repeat", "/flag", "/undo"):
            assert "probs" not in post(client, path, TAKEN[path]).json()
        assert not [number for number in numbers if number in client.get("/state").text]


def test_a_table_that_cannot_be_read_is_an_error_that_names_it(client, data):
    (data / "train" / "train.csv").write_text("name,answer\nseq_00001,1\n")
    before = everything(data)
    for told in (client.get("/state"), post(client, "/labels", TAKEN["/labels"])):
        assert told.status_code == 500 and "train.csv has no column" in told.json()["error"]
    assert (data / "train" / "train.csv").read_bytes() == before[data / "train" / "train.csv"]


def test_an_infinite_frame_rate_is_an_error_that_names_the_table(client, data):
    sources = f"sequence,video,start_sec,fps\n{ONE},a.mp4,0,inf\n"
    (data / "train" / "sequences.csv").write_text(sources)
    told = client.get("/state")
    assert told.status_code == 500 and "sequences.csv" in told.json()["error"]


# answers


def test_a_confirmed_answer_is_on_disk(client, data):
    label(client, answer(TWO, "1"), answer(ONE, "0"))
    assert rows(data) == ["sequence,label", f"{FOUR},1", f"{TWO},1", f"{ONE},0"]
    label(client, answer(FOUR, "", "1"))
    assert rows(data) == ["sequence,label", f"{TWO},1", f"{ONE},0"]
    assert client.get("/state").json()["labels"] == {ONE: "0", TWO: "1"}


def test_a_label_edited_meanwhile_is_kept_and_reported_and_the_others_are_saved(client, data):
    (data / "train" / "train.csv").write_text(f"sequence,label\n{ONE},1\n{FOUR},0\n")
    told = label(client, answer(ONE, "0"), answer(TWO, "0"), answer(FOUR, "1", "1"))
    assert told["conflicts"] == {ONE: "1", FOUR: "0"}
    assert rows(data) == ["sequence,label", f"{ONE},1", f"{FOUR},0", f"{TWO},0"]
    assert label(client, answer(ONE, "0", "1"))["conflicts"] == {}
    assert rows(data)[1] == f"{ONE},0"


def test_the_same_answer_from_two_tabs_is_no_conflict(client, data):
    for _ in range(2):
        assert label(client, answer(ONE, "1"))["conflicts"] == {}
    assert rows(data) == ["sequence,label", f"{FOUR},1", f"{ONE},1"]


def test_undo_takes_back_the_given_or_the_last_changes_until_none_is_left(client, data):
    before = rows(data)
    first = label(client, answer(ONE, "1"), answer(TWO, "0"))["time"]
    label(client, answer(THREE, "1"))
    told = post(client, "/undo", {"split": "train", "time": first}).json()["changes"]
    assert told == [{"sequence": name, "label": "", "done": True} for name in (ONE, TWO)]
    assert rows(data) == [*before, f"{THREE},1"]
    told = post(client, "/undo", {"split": "train", "time": ""}).json()["changes"]
    assert [change["sequence"] for change in told] == [THREE] and rows(data) == before
    for time_named in ("", first, "2026", "../", "\0"):
        told = post(client, "/undo", {"split": "train", "time": time_named})
        assert told.json() == {"changes": []} and rows(data) == before


def test_undo_keeps_a_label_edited_since(client, data):
    label(client, answer(ONE, "1"))
    (data / "train" / "train.csv").write_text(f"sequence,label\n{ONE},0\n")
    told = post(client, "/undo", {"split": "train", "time": ""}).json()["changes"]
    assert told == [{"sequence": ONE, "label": "0", "done": False}]
    assert rows(data) == ["sequence,label", f"{ONE},0"]


def test_a_second_answer_changes_no_label_and_is_counted(data):
    names = [f"seq_{k:05d}" for k in range(1, 26)]
    write_frames(data, "test", *names, count=1)
    with TestClient(build_app(Labelling(data)), base_url=BASE) as client:
        due = {"split": "test"}
        assert client.get("/repeat", params=due).json() == {"sequence": None}
        label(client, *(answer(name, "1") for name in names), split="test")
        before, asked = rows(data, "test"), []
        for second in ("1", "0"):
            asked += [client.get("/repeat", params=due).json()["sequence"]]
            body = due | {"sequence": asked[-1], "label": second}
            assert post(client, "/repeat", body).json()["time"]
        assert len({*asked}) == 2 and {*asked} <= {
            *names[:5]
        }  # the last 20 answers do not come back
        assert client.get("/repeat", params=due).json() == {"sequence": None}
        assert rows(data, "test") == before
        told = client.get("/agreement", params=due).json()
        assert (told["n"], told["same"]) == (2, 1)
        assert told["different"] == [{"sequence": asked[1], "first": "1", "second": "0"}]
        post(client, "/undo", due | {"time": ""})
        assert client.get("/agreement", params=due).json()["n"] == 1


def test_a_flag_is_kept_until_it_is_removed(client, data):
    for name in (TWO, ONE, TWO):
        post(client, "/flag", {"split": "train", "sequence": name, "flagged": True})
    assert client.get("/state").json()["flags"] == [ONE, TWO]
    post(client, "/flag", {"split": "train", "sequence": ONE, "flagged": False})
    assert (data / "train" / "flagged.csv").read_text() == f"sequence\n{TWO}\n"
    assert client.get("/state", params={"split": "validation"}).json()["flags"] == []


@pytest.mark.parametrize("syncs", [0, 1])
def test_a_full_disk_is_an_error_and_keeps_the_table_and_the_log(client, data, monkeypatch, syncs):
    label(client, answer(ONE, "1"))
    table, log = rows(data), (data / "train" / "train.log.csv").read_bytes()
    left = iter(range(syncs))

    def full(descriptor):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    told = post(client, "/labels", {"split": "train", "answers": [answer(TWO, "1")]})
    assert told.status_code == 500 and os.strerror(errno.ENOSPC) in told.json()["error"]
    assert rows(data) == table and (data / "train" / "train.log.csv").read_bytes() == log
    monkeypatch.undo()
    assert not list((data / "train").glob(".*.part"))
    assert label(client, answer(TWO, "1"))["conflicts"] == {}
    assert rows(data) == [*table, f"{TWO},1"]


def test_if_folders_cannot_be_synced_table_log_and_response_still_agree(client, data, monkeypatch):
    fsync = os.fsync

    def of_files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):  # as on some network drives
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    told = post(client, "/labels", {"split": "train", "answers": [answer(TWO, "1")]})
    saved = f"{TWO},1" in rows(data)
    assert saved == (told.status_code == 200)
    changes = post(client, "/undo", {"split": "train", "time": ""}).json()["changes"]
    assert len(changes) == saved


def test_a_full_disk_keeps_flags_and_second_answers(client, data, monkeypatch):
    post(client, "/flag", TAKEN["/flag"])
    before = everything(data)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for path, more in (("/repeat", {}), ("/flag", {"flagged": False})):
        told = post(client, path, TAKEN[path] | more)
        assert told.status_code == 500 and os.strerror(errno.ENOSPC) in told.json()["error"]
    written = {
        p: b for p, b in everything(data).items() if b != b""
    }  # an empty log holds no change
    assert written == {p: b for p, b in before.items() if b != b""}


def test_a_table_locked_by_another_process_is_an_error_after_a_while(client, data, monkeypatch):
    monkeypatch.setattr(labels, "PATIENCE_SEC", 0.1)
    before = rows(data)
    with labels.one_writer(data / "train", ".labels.lock"):
        told = post(client, "/labels", TAKEN["/labels"])
    assert (
        told.status_code == 500 and "another process still holds the lock" in told.json()["error"]
    )
    assert rows(data) == before and label(client, answer(ONE, "1"))["conflicts"] == {}


def test_answers_from_many_tabs_at_once_are_all_saved(data):
    names = [f"seq_{k:05d}" for k in range(1, 25)]
    write_frames(data, "test", *names, count=1)
    with TestClient(build_app(Labelling(data)), base_url=BASE) as client:

        def tab(mine):
            for name in mine:
                label(client, answer(name, "1"), split="test")

        tabs = [threading.Thread(target=tab, args=(names[k::4],)) for k in range(4)]
        for each in tabs:
            each.start()
        for each in tabs:
            each.join(20)
    assert sorted(rows(data, "test")[1:]) == [f"{name},1" for name in names]
