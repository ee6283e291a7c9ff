import errno
import json
import os
import re
import shutil
import stat
import struct
import threading
import time
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

import labels
import match_app
from conftest import write_video
from files import UserError
from labeling_app import HOSTS, MOST_ANSWERS, MOST_BYTES, OWN_HEADER, Labelling, build_app
from match_app import match_routes, open_match
from proxy import proxy_path

BASE = "http://127.0.0.1:8765"
OWN = {OWN_HEADER: "1"}
ONE, TWO, THREE, FOUR = (f"seq_{k:05d}" for k in range(1, 5))
MARKUP = "<img src=x onerror=alert(1)>"
ODD_NAMES = (
    MARKUP,
    'it\'s "said", she said',
    '"',
    "a,b",
    "羽毛球 – Ødegård",
    "NA",
    "1.0",
    "%2e%2e",
)
SLOW_THEN_FAST = "settb=1/90000,setpts='if(lt(N,50),N/25,2+(N-50)/50)/TB'"


def write_frames(data, split, *names, count=2):
    """Sequences whose frames are a few bytes that no other frame has, each of another length."""
    for name in names:
        folder = data / split / "sequences" / name
        folder.mkdir(parents=True)
        for k in range(1, count + 1):
            (folder / f"{k:05d}.jpg").write_bytes(f"{split} {name} {k}".encode() + b"." * k)


def everything(folder):
    """{path: bytes} of all that is in a folder, hidden files too; None for a folder."""
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def rows(data, split="train"):
    return (data / split / f"{split}.csv").read_text().splitlines()


@pytest.fixture
def data(tmp_path):
    """Four sequences of train of which the last is labelled, two of validation named like them."""
    data = tmp_path / "Data"
    write_frames(data, "train", ONE, TWO, THREE, FOUR)
    write_frames(data, "validation", ONE, TWO)
    (data / "train" / "train.csv").write_text(f"sequence,label\n{FOUR},1\n")
    return data


@pytest.fixture
def work(data):
    return Labelling(data)


@pytest.fixture
def client(work):
    with TestClient(build_app(work), base_url=BASE) as client:
        yield client


def post(client, path, body, **headers):
    return client.post(path, json=body, headers=OWN | headers)


def answer(sequence, label, seen=""):
    return {"sequence": sequence, "label": label, "seen": seen}


def label(client, *answers, split="train"):
    told = post(client, "/labels", {"split": split, "answers": list(answers)})
    assert told.status_code == 200
    return told.json()


# who is let in


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example:8765",
        "localhost.evil.example",
        "localhost.",
        "localhost.:8765",
        "127.0.0.1.",
        "127.0.0.2:8765",
        "127.1:8765",
        "2130706433",
        "0.0.0.0:8765",
        "[::1]",
        "[::1]:8765",
        "[::ffff:127.0.0.1]:8765",
        "::1",
        "www.localhost",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "127.0.0.1:8765, evil.example",
        "",
    ],
)
def test_who_comes_by_another_host_name_gets_and_changes_nothing(client, data, host):
    before = everything(data)
    for path in ("/", "/state", f"/frames?split=train&sequence={ONE}"):
        told = client.get(path, headers={"host": host})
        assert told.status_code == 400 and "seq_" not in told.text
    body = {"split": "train", "answers": [answer(ONE, "1")]}
    assert post(client, "/labels", body, host=host).status_code == 400
    assert everything(data) == before


@pytest.mark.parametrize("host", [*HOSTS, *(f"{host}:8765" for host in HOSTS), "LOCALHOST:8765"])
def test_the_machines_own_two_names_are_let_in_at_any_port(client, host):
    assert client.get("/state", headers={"host": host}).json()["split"] == "train"
    own = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert post(client, "/undo", {"split": "train", "time": ""}, **own).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:8766"},
        {"origin": "https://127.0.0.1:8765"},
        {"origin": "http://localhost:8765"},
        {"origin": "http://127.0.0.1:8765.evil.example"},
        {"origin": "http://127.0.0.1:8765/"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "something new"},
        {"origin": BASE, "sec-fetch-site": "cross-site"},
    ],
)
def test_a_page_of_another_site_gets_and_changes_nothing(client, data, headers):
    before = everything(data)
    for path in ("/", "/state", f"/frames?split=train&sequence={ONE}", "/repeat?split=train"):
        told = client.get(path, headers=headers)
        assert told.status_code == 403 and list(told.json()) == ["error"]
    for path, body in TAKEN.items():
        assert post(client, path, body, **headers).status_code == 403
    assert everything(data) == before


def test_no_answer_lets_other_sites_read_it_or_ask_beforehand(client):
    foreign = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    asked = client.options("/labels", headers=foreign | {"access-control-request-headers": "x"})
    assert asked.status_code == 403
    for told in (asked, client.get("/state", headers=foreign), client.get("/state")):
        assert not [name for name in told.headers if name.startswith("access-control")]


TAKEN = {
    "/labels": {"split": "train", "answers": [answer(ONE, "1")]},
    "/repeat": {"split": "train", "sequence": FOUR, "label": "0"},
    "/undo": {"split": "train", "time": ""},
    "/flag": {"split": "train", "sequence": ONE, "flagged": True},
}


def test_the_bodies_that_the_tests_below_spoil_are_taken_as_they_are(client, data):
    before = everything(data)
    for path, body in TAKEN.items():
        assert post(client, path, body).status_code == 200, path
        assert everything(data) != before, path
        before = everything(data)


def test_a_write_without_the_pages_own_header_changes_nothing(client, data):
    before = everything(data)
    for path, body in TAKEN.items():
        for headers in ({}, {"origin": BASE}, {"sec-fetch-site": "same-origin"}):
            assert client.post(path, json=body, headers=headers).status_code == 403
    assert everything(data) == before


def test_what_a_form_could_send_changes_nothing(client, data):
    before = everything(data)
    for path, body in TAKEN.items():
        text = json.dumps(body)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
            headers = OWN | {"content-type": kind}
            assert client.post(path, content=text, headers=headers).status_code == 415
        assert client.post(path, data={"split": "train"}, headers=OWN).status_code == 415
        assert client.post(path, files={"file": b"{}"}, headers=OWN).status_code == 415
        assert client.post(path, content=text, headers=OWN).status_code == 415
    assert everything(data) == before


def test_only_get_reads_and_only_post_writes(client, data):
    before = everything(data)
    for path in ("/labels", "/undo", "/flag"):
        assert client.get(path, headers=OWN).status_code == 405
    for path in ("/", "/state", "/frames", "/agreement"):
        assert post(client, path, {}).status_code == 405
    for method in ("PUT", "DELETE", "PATCH"):
        assert client.request(method, "/labels", headers=OWN).status_code == 405
    assert everything(data) == before


# names are never paths

BAD_NAMES = (
    "../",
    "..",
    ".",
    "../../../labeling.py",
    "../seq_00001",
    "../../validation/sequences/seq_00001",
    "seq_00001/../seq_00001",
    "seq_00001/",
    "./seq_00001",
    "/etc/passwd",
    "..\\..\\labels.py",
    "%2e%2e%2flabels.py",
    "..%2f..%2flabels.py",
    "seq_00001%00",
    "\0",
    "seq_00001\0",
    "seq_00001 -> /etc",
    "../link",
    "seq_00001/00001.jpg",
    "SEQ_00001",
    "seq_1",
    " seq_00001",
    "train.csv",
    "~",
    "*",
    "x" * 5000,
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_scan_found_is_no_sequence(client, data, tmp_path, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "00001.jpg").write_bytes(b"a secret")
    (data / "train" / "link").symlink_to(tmp_path / "outside")
    client.get("/state")
    before = everything(tmp_path)
    told = client.get("/frames", params={"split": "train", "sequence": name})
    assert told.status_code == 404 and list(told.json()) == ["error"]
    for path in ("/repeat", "/flag"):
        assert post(client, path, TAKEN[path] | {"sequence": name}).status_code == 404
    answers = [answer(ONE, "1"), answer(name, "1")]
    assert post(client, "/labels", {"split": "train", "answers": answers}).status_code == 404
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", [*BAD_NAMES, "Train", "train ", "train/", "sequences", "matches"])
def test_a_name_that_is_none_of_the_three_is_no_split(client, data, name):
    before = everything(data)
    for path in ("/state", "/frames", "/repeat", "/agreement"):
        told = client.get(path, params={"split": name, "sequence": ONE})
        assert told.status_code == 400 and "train, validation, test" in told.json()["error"]
    for path, body in TAKEN.items():
        assert post(client, path, body | {"split": name}).status_code == 400
    assert everything(data) == before


def test_a_folder_that_appears_is_served_after_the_next_scan_and_not_before(client, data):
    client.get("/state")
    write_frames(data, "train", "seq_00005")
    query = {"split": "train", "sequence": "seq_00005"}
    assert client.get("/frames", params=query).status_code == 404
    assert client.get("/state").json()["names"] == [ONE, TWO, THREE, FOUR, "seq_00005"]
    assert client.get("/frames", params=query).status_code == 200


def test_hidden_folders_and_files_among_the_sequences_are_none(client, data):
    folder = data / "train" / "sequences"
    write_frames(data, "train", ".part")
    (folder / "notes.txt").write_text("x")
    assert client.get("/state").json()["names"] == [ONE, TWO, THREE, FOUR]
    for name in (".part", "notes.txt"):
        query = {"split": "train", "sequence": name}
        assert client.get("/frames", params=query).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/%2e%2e/labels.py",
        "/..%2flabels.py",
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "//etc/passwd",
        "///etc/passwd",
        "/labeling.html",
        "/labeling.py",
        "/Data/train/train.csv",
        "/train/train.csv",
        "/frames/%2e%2e/labels.py",
        "/state%00",
        "/%00",
        "/docs",
        "/video",
        "/match",
    ],
)
def test_a_path_that_is_no_route_is_not_found(client, path):
    told = client.get(f"{BASE}{path}")
    assert told.request.url.raw_path.decode() == path, "not the path that was to be tried"
    assert told.status_code == 404 and told.json() == {"error": "Not Found"}


# bodies


@pytest.mark.parametrize("path", TAKEN)
def test_a_body_that_is_too_long_changes_nothing(client, data, path):
    before = everything(data)
    text = json.dumps(TAKEN[path] | {"more": "x" * MOST_BYTES}).encode()
    headers = OWN | {"content-type": "application/json"}
    for content in (text, (text[k : k + 65536] for k in range(0, len(text), 65536))):
        told = client.post(path, content=content, headers=headers)
        assert ("content-length" in told.request.headers) == (content is text)
        assert told.status_code == 413 and str(MOST_BYTES) in told.json()["error"]
    assert everything(data) == before


def test_a_body_of_just_the_longest_length_is_taken(client, data):
    body = json.dumps(TAKEN["/labels"]).encode()
    headers = OWN | {"content-type": "application/json; charset=utf-8"}
    told = client.post("/labels", content=body.ljust(MOST_BYTES), headers=headers)
    assert told.status_code == 200 and f"{ONE},1" in rows(data)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"x",
        b"\xff\xfe\xfd",
        b'{"split": "tr\xffain"}',
        b"[" * 900_000,
        b'{"a":' * 180_000,
        b'{"split": "train", "answers": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"split": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b"true",
        b"1",
        b"NaN",
        b'"train"',
        b"{}",
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
def test_a_body_that_is_no_request_changes_nothing(client, data, content):
    before = everything(data)
    for path in TAKEN:
        headers = OWN | {"content-type": "application/json"}
        told = client.post(path, content=content, headers=headers)
        assert told.status_code == 400 and list(told.json()) == ["error"]
    assert everything(data) == before


LEFT_OUT = object()
NO_TEXT = (LEFT_OUT, None, True, False, 0, 1, 2.5, [], {}, ["1"], {"1": "1"})
NO_LABEL = (*NO_TEXT, "2", "00", "0.0", " 1", "rally", "01", "\ud800", "1\n")
NO_SPLIT = (*NO_TEXT, "", "all", ["train"], "\ud800")
NO_NAME = (*NO_TEXT, "", "seq_00009", "\ud800")


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        *((path, "split", NO_SPLIT) for path in TAKEN),
        ("/repeat", "sequence", NO_NAME),
        ("/repeat", "label", (*NO_LABEL, "")),
        ("/undo", "time", NO_TEXT),
        ("/flag", "sequence", NO_NAME),
        ("/flag", "flagged", (LEFT_OUT, None, 0, 1, "", "true", "1", [], {}, [True])),
        (
            "/labels",
            "answers",
            (LEFT_OUT, None, True, 1, "", ONE, {}, [], [None], [[]], [ONE], [1]),
        ),
    ],
)
def test_a_value_of_the_wrong_kind_changes_nothing(client, data, path, field, values):
    before = everything(data)
    for value in values:
        body = TAKEN[path] | {field: value}
        check_refused(client, path, {k: v for k, v in body.items() if v is not LEFT_OUT})
    assert everything(data) == before


@pytest.mark.parametrize(
    ("field", "values"), [("sequence", NO_NAME), ("label", NO_LABEL), ("seen", NO_TEXT)]
)
def test_an_answer_of_the_wrong_kind_changes_nothing_nor_do_those_beside_it(
    client, data, field, values
):
    before = everything(data)
    for value in values:
        spoiled = {k: v for k, v in (answer(TWO, "1") | {field: value}).items()}
        spoiled = {k: v for k, v in spoiled.items() if v is not LEFT_OUT}
        body = {"split": "train", "answers": [answer(ONE, "1"), spoiled, answer(THREE, "0")]}
        check_refused(client, "/labels", body)
    assert everything(data) == before


def check_refused(client, path, body):
    told = client.post(
        path, content=json.dumps(body), headers=OWN | {"content-type": "application/json"}
    )
    assert told.status_code in (400, 404), body
    assert list(told.json()) == ["error"]


def test_a_sequence_twice_in_one_request_changes_nothing(client, data):
    before = everything(data)
    for other in ("1", "0"):
        body = {"split": "train", "answers": [answer(ONE, "1"), answer(ONE, other)]}
        assert "twice" in post(client, "/labels", body).json()["error"]
    assert everything(data) == before


def test_a_thousand_answers_are_taken_at_once_and_not_one_more(data):
    names = [f"seq_{k:05d}" for k in range(1, MOST_ANSWERS + 2)]
    for name in names:
        (data / "test" / "sequences" / name).mkdir(parents=True)
    before = everything(data)
    with TestClient(build_app(Labelling(data)), base_url=BASE) as client:
        body = {"split": "test", "answers": [answer(name, "1") for name in names]}
        assert post(client, "/labels", body).status_code == 400
        assert everything(data) == before
        body["answers"].pop()
        assert post(client, "/labels", body).json()["conflicts"] == {}
    assert rows(data, "test")[1:] == [f"{name},1" for name in names[:-1]]


# headers


def test_the_page_runs_its_own_scripts_alone_by_a_nonce_that_no_other_answer_has(client):
    seen = set()
    for _ in range(3):
        told = client.get("/")
        policy = dict(part.strip().split(" ", 1) for part in told.headers[POLICY].split(";"))
        (nonce,) = set(re.findall(r"'nonce-([^']{16,})'", told.headers[POLICY]))
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert policy["frame-ancestors"] == "'none'" and "unsafe" not in told.headers[POLICY]
        assert policy["script-src"] == policy["style-src"] == f"'nonce-{nonce}'"
        tags = re.findall(r"<(?:script|style)\b[^>]*>", told.text)
        assert len(tags) >= 2 and set(tags) <= {
            f'<script nonce="{nonce}">',
            f'<style nonce="{nonce}">',
        }
        assert "NONCE" not in told.text and not re.search(r"<[^>]* on\w+=", told.text)
        seen.add(nonce)
    assert len(seen) == 3


POLICY = "content-security-policy"


def test_every_answer_is_kept_by_nobody_and_read_by_no_other_site(client, data):
    shutil.rmtree(data / "train" / "sequences" / TWO)
    told = [client.get(path) for path in ("/", "/state", "/agreement?split=train", "/nowhere")]
    told += [client.get(f"/frames?split=train&sequence={name}") for name in (ONE, TWO, "x")]
    told += [post(client, path, body) for path, body in TAKEN.items()]
    told += [post(client, "/labels", {})]
    assert {each.status_code for each in told} >= {200, 400, 404}
    for each in told:
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["cross-origin-resource-policy"] == "same-origin"
        assert each.headers["cache-control"] == "no-store"


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


def test_a_folder_that_cannot_stand_in_a_table_is_told_of_and_not_listed(client, data):
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


def test_frames_are_of_the_split_that_is_asked_for(client):
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
    assert problem == "1 rows of train.csv have no folder; they are kept"
    assert client.get("/state").json() == {
        "match": "",
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


def test_one_folder_that_may_not_be_read_stops_nobody_from_labelling_the_others(
    client, data, monkeypatch
):
    folder, iterdir = data / "train" / "sequences" / TWO, Path.iterdir

    def refuses(path):
        if path == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuses)
    state = client.get("/state").json()
    assert state["names"] == [ONE, TWO, THREE, FOUR] and state["seq_frames"] == 2
    told = client.get("/frames", params={"split": "train", "sequence": TWO})
    assert told.status_code == 500 and os.strerror(errno.EACCES) in told.json()["error"]


def test_a_split_that_is_not_collected_yet_is_shown_as_such(client):
    state = client.get("/state", params={"split": "test"}).json()
    assert state["names"] == [] and "collect some first" in state["problems"][0]


PROBS = {ONE: 0.912345, TWO: 0.412345, THREE: 0.198765, FOUR: 0.512345}


def test_the_uncertain_come_first_and_the_labelled_last(client, work):
    work.order, work.probs = "uncertain", PROBS
    assert client.get("/state").json()["names"] == [TWO, THREE, ONE, FOUR]


def test_a_review_is_of_the_labelled_those_first_that_the_model_disputes(client, work, data):
    table = f"sequence,label\n{ONE},1\n{TWO},1\n{THREE},1\n"
    (data / "train" / "train.csv").write_text(table)
    work.order = "review"
    assert client.get("/state").json()["names"] == [ONE, TWO, THREE]
    work.probs = PROBS
    assert client.get("/state").json()["names"] == [THREE, TWO, ONE]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("order", ["uncertain", "review"])
def test_validation_and_test_never_go_by_the_model_and_uncertain_says_why(data, split, order):
    if split == "test":
        write_frames(data, "test", ONE, TWO)
    (data / split / f"{split}.csv").write_text(f"sequence,label\n{ONE},1\n{TWO},1\n")
    work = Labelling(data, "train", order=order, probs={ONE: 0.9, TWO: 0.5})
    with TestClient(build_app(work), base_url=BASE) as client:
        state = client.get("/state", params={"split": split}).json()
        assert state["names"] == [ONE, TWO]
        if order == "uncertain":
            assert any("train alone" in problem for problem in state["problems"])
        told = label(client, answer(ONE, "0", "1"), split=split)
        assert told["probs"] == {} and told["conflicts"] == {}


def test_what_the_model_says_is_told_of_what_was_answered_and_never_before(client, work):
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


def test_a_rate_that_json_has_no_word_for_is_an_error_that_names_the_table(client, data):
    sources = f"sequence,video,start_sec,fps\n{ONE},a.mp4,0,inf\n"
    (data / "train" / "sequences.csv").write_text(sources)
    told = client.get("/state")
    assert told.status_code == 500 and "sequences.csv" in told.json()["error"]


# answers


def test_an_answer_is_on_disk_once_it_is_told_so(client, data):
    label(client, answer(TWO, "1"), answer(ONE, "0"))
    assert rows(data) == ["sequence,label", f"{FOUR},1", f"{TWO},1", f"{ONE},0"]
    label(client, answer(FOUR, "", "1"))
    assert rows(data) == ["sequence,label", f"{TWO},1", f"{ONE},0"]
    assert client.get("/state").json()["labels"] == {ONE: "0", TWO: "1"}


def test_what_was_edited_meanwhile_stays_and_is_told_and_the_others_are_saved(client, data):
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


def test_undo_takes_back_the_step_named_or_the_last_until_none_is_left(client, data):
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


def test_undo_leaves_what_was_edited_since(client, data):
    label(client, answer(ONE, "1"))
    (data / "train" / "train.csv").write_text(f"sequence,label\n{ONE},0\n")
    told = post(client, "/undo", {"split": "train", "time": ""}).json()["changes"]
    assert told == [{"sequence": ONE, "label": "0", "done": False}]
    assert rows(data) == ["sequence,label", f"{ONE},0"]


def test_an_answer_comes_back_for_a_second_one_that_changes_no_label_and_is_counted(data):
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
        assert len({*asked}) == 2 and {*asked} <= {*names[:5]}  # 20 others have come since
        assert client.get("/repeat", params=due).json() == {"sequence": None}
        assert rows(data, "test") == before
        told = client.get("/agreement", params=due).json()
        assert (told["n"], told["same"]) == (2, 1)
        assert told["different"] == [{"sequence": asked[1], "first": "1", "second": "0"}]
        post(client, "/undo", due | {"time": ""})
        assert client.get("/agreement", params=due).json()["n"] == 1


def test_a_flag_is_kept_until_it_is_taken_off(client, data):
    for name in (TWO, ONE, TWO):
        post(client, "/flag", {"split": "train", "sequence": name, "flagged": True})
    assert client.get("/state").json()["flags"] == [ONE, TWO]
    post(client, "/flag", {"split": "train", "sequence": ONE, "flagged": False})
    assert (data / "train" / "flagged.csv").read_text() == f"sequence\n{TWO}\n"
    assert client.get("/state", params={"split": "validation"}).json()["flags"] == []


@pytest.mark.parametrize("syncs", [0, 1])
def test_a_full_disk_is_told_and_leaves_the_table_and_what_can_be_undone(
    client, data, monkeypatch, syncs
):
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


def test_where_folders_cannot_be_synced_table_log_and_what_is_told_still_agree(
    client, data, monkeypatch
):
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


def test_a_full_disk_leaves_flags_and_second_answers_as_they_were(client, data, monkeypatch):
    post(client, "/flag", TAKEN["/flag"])
    before = everything(data)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for path, more in (("/repeat", {}), ("/flag", {"flagged": False})):
        told = post(client, path, TAKEN[path] | more)
        assert told.status_code == 500 and os.strerror(errno.ENOSPC) in told.json()["error"]
    written = {p: b for p, b in everything(data).items() if b != b""}  # an empty log holds no step
    assert written == {p: b for p, b in before.items() if b != b""}


def test_a_table_that_another_process_holds_is_an_error_in_the_end(client, data, monkeypatch):
    monkeypatch.setattr(labels, "PATIENCE_SEC", 0.1)
    before = rows(data)
    with labels.one_writer(data / "train", ".labels.lock"):
        told = post(client, "/labels", TAKEN["/labels"])
    assert told.status_code == 500 and "another process still holds" in told.json()["error"]
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


# whole matches


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("film") / "final.mp4", "30", 60)


@pytest.fixture
def match_file(film, tmp_path):
    """2 s at 30 fps that browsers play."""
    return shutil.copy(film, tmp_path / "final.mp4")


def serve_match(data, path, proposals=None):
    match = open_match(path, data, proposals)
    app = build_app(Labelling(data, match=path.name), match_routes(match))
    return match, TestClient(app, base_url=BASE)


def table_of(data):
    path = data / "matches" / "final.csv"
    return path.read_text() if path.exists() else None


def test_the_video_comes_whole_or_in_the_part_that_is_asked_for(data, match_file):
    whole, (_, client) = match_file.read_bytes(), serve_match(data, match_file)
    told = client.get("/video")
    assert told.status_code == 200 and told.content == whole
    assert told.headers["content-type"] == "video/mp4"
    assert told.headers["accept-ranges"] == "bytes"
    assert told.headers["cross-origin-resource-policy"] == "same-origin"
    size = len(whole)
    for asked, (first, last) in {
        "bytes=0-99": (0, 99),
        "bytes=100-": (100, size - 1),
        "bytes=-50": (size - 50, size - 1),
        f"bytes={size - 1}-{size + 1000}": (size - 1, size - 1),
    }.items():
        told = client.get("/video", headers={"range": asked})
        assert told.status_code == 206 and told.content == whole[first : last + 1], asked
        assert told.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert told.headers["content-length"] == str(last + 1 - first)


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes=99999999-"])
def test_a_part_beyond_the_end_of_the_video_cannot_be_had(data, match_file, asked):
    size, (_, client) = match_file.stat().st_size, serve_match(data, match_file)
    told = client.get("/video", headers={"range": asked.format(size=size)})
    assert told.status_code == 416 and told.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    "asked", ["bytes=9-3", "bytes=x-y", "lines=0-1", "bytes=", "bytes=--1", "0-9", "bytes=-0"]
)
def test_a_part_that_makes_no_sense_is_no_failure_of_the_server(data, match_file, asked):
    told = serve_match(data, match_file)[1].get("/video", headers={"range": asked})
    assert told.status_code in (200, 400, 416)


def test_a_video_that_is_removed_meanwhile_is_an_error_that_says_so(data, match_file):
    _, client = serve_match(data, match_file)
    match_file.unlink()
    for path in ("/match", "/video"):
        told = client.get(path)
        assert told.status_code in (404, 500) and "error" in told.json(), path


def test_the_match_is_all_that_the_page_shows_of_it(data, match_file):
    _, client = serve_match(data, match_file)
    assert client.get("/state").json()["match"] == "final.mp4"
    assert client.get("/match").json() == {
        "name": "final.mp4",
        "table": str(data / "matches" / "final.csv"),
        "end_sec": pytest.approx(2.0, abs=0.001),
        "marks": [],
        "proposals": [],
        "why_not": "",
        "ready": True,
        "offset_sec": pytest.approx(0.0, abs=0.001),
        "progress": None,
        "error": "",
    }


def neighbour(client, sec, step):
    return client.get("/neighbour", params={"sec": sec, "step": step})


def test_the_neighbour_is_the_next_frame_also_where_the_rate_changes(data, tmp_path):
    variable = ["-vf", SLOW_THEN_FAST, "-fps_mode", "passthrough", "-enc_time_base", "1/90000"]
    path = write_video(tmp_path / "phone.mp4", "30", 100, *variable, "-c:v", "libx264")
    expected = [k / 25 if k < 50 else 2 + (k - 50) / 50 for k in range(100)]
    _, client = serve_match(data, path)
    for sec, step, frame in [
        (0, 1, 1),
        (1.92, 1, 49),
        (1.96, 1, 50),
        (2.0, 1, 51),
        (2.02, -1, 50),
        (2.0, -1, 49),
        (1.99, 0, 49),
        (1.99, 1, 50),
        (0.5, 60, 72),
        (0, -1, 0),
        (-5, 0, 0),
        (1.0, -1000, 0),
    ]:
        told = neighbour(client, sec, step).json()["sec"]
        assert told == pytest.approx(expected[frame], abs=0.001), (sec, step)
    for sec, step in [(2.98, 1), (1e300, 1), (2.98, 10**30)]:  # the end is one beyond the last
        assert neighbour(client, sec, step).json()["sec"] == pytest.approx(3.0, abs=0.021)


@pytest.mark.parametrize("name", ["ntsc.mp4", "ntsc.mkv"])
def test_step_by_step_every_frame_comes_by_and_none_twice(data, tmp_path, name):
    path = write_video(tmp_path / name, "60000/1001", 50)
    with av.open(path) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None]
        times = sorted(float((p.pts) * p.time_base) for p in packets)
    expected = [sec - times[0] for sec in times]
    _, client = serve_match(data, path)
    with client:
        seen = [0.0]
        for _ in range(49):
            seen += [neighbour(client, seen[-1], 1).json()["sec"]]
        assert seen == pytest.approx(expected, abs=0.00051)
        for _ in range(49):
            seen += [neighbour(client, seen[-1], -1).json()["sec"]]
    assert seen[49:] == seen[49::-1]


@pytest.mark.parametrize(
    ("sec", "step"),
    [
        ("x", "1"),
        ("1", "x"),
        ("", "1"),
        ("1", ""),
        ("1", "1.5"),
        ("nan", "1"),
        ("inf", "1"),
        ("-inf", "1"),
        ("1e999", "1"),
        ("1", "9" * 5000),
        ("1", "nan"),
    ],
)
def test_a_neighbour_of_what_is_no_time_is_refused(data, match_file, sec, step):
    _, client = serve_match(data, match_file)
    told = neighbour(client, sec, step)
    assert told.status_code == 400 and list(told.json()) == ["error"]
    assert client.get("/neighbour").status_code == 400


def mark(client, marks, seen=()):
    return post(client, "/marks", {"marks": marks, "seen": list(seen)})


def test_marks_are_on_disk_once_they_are_told_so_and_undo_takes_them_back(data, match_file):
    _, client = serve_match(data, match_file)
    first = mark(client, [[1, 1.5], [0.1234, 0.5]]).json()
    assert first["marks"] == [[0.123, 0.5], [1.0, 1.5]] and first["time"]
    assert table_of(data) == "start_sec,end_sec\n0.123,0.500\n1.000,1.500\n"
    second = mark(client, [[0.123, 0.5]], first["marks"]).json()
    assert second["marks"] == [[0.123, 0.5]] == client.get("/match").json()["marks"]
    told = post(client, "/marks/undo", {"time": second["time"]}).json()
    assert told == {"marks": [[0.123, 0.5], [1.0, 1.5]]}
    assert post(client, "/marks/undo", {"time": ""}).json() == {"marks": []}
    assert table_of(data) == "start_sec,end_sec\n"
    for time_named in ("", first["time"], "2026"):
        assert post(client, "/marks/undo", {"time": time_named}).json() == {"marks": None}


def test_marks_that_were_edited_meanwhile_stay_and_are_told(data, match_file):
    _, client = serve_match(data, match_file)
    mark(client, [[0, 0.5]])
    edited = "start_sec,end_sec\n1.000,1.250\n"
    (data / "matches" / "final.csv").write_text(edited)
    assert mark(client, [[0, 0.75]], [[0, 0.5]]).json() == {"time": "", "marks": [[1.0, 1.25]]}
    assert table_of(data) == edited
    assert mark(client, [[0, 0.75]], [[1.0, 1.25]]).json()["marks"] == [[0, 0.75]]


@pytest.mark.parametrize(
    ("marks", "why"),
    [
        ([[0, 1], [0.5, 1.5]], "overlaps"),
        ([[0, 1], [0, 1]], "overlaps"),
        ([[1, 1]], "after its start"),
        ([[1.5, 1]], "after its start"),
        ([[-0.5, 1]], "0.500"),
        ([[1, 2.5]], "the match at 2.000 s"),
        ([[1, 1e300]], "the match at"),
    ],
)
def test_marks_that_can_be_no_rallies_are_refused_and_change_nothing(data, match_file, marks, why):
    _, client = serve_match(data, match_file)
    mark(client, [[0, 0.5]])
    before = everything(data)
    told = mark(client, marks, [[0, 0.5]])
    assert told.status_code == 500 and why in told.json()["error"]
    assert everything(data) == before


@pytest.mark.parametrize(
    "marks",
    [
        "null",
        "{}",
        '"x"',
        "1",
        "[1, 2]",
        "[null]",
        "[[]]",
        "[[1]]",
        "[[1, 2, 3]]",
        '[["0", "1"]]',
        "[[true, 1]]",
        "[[null, 1]]",
        "[[[0], 1]]",
        "[{}]",
        '["ab"]',
        "[[NaN, 1]]",
        "[[0, NaN]]",
        "[[0, Infinity]]",
        "[[-Infinity, 1]]",
        "[[0, 1e999]]",
    ],
)
def test_marks_of_the_wrong_kind_change_nothing(data, match_file, marks):
    _, client = serve_match(data, match_file)
    check_marks_refused(data, client, marks)


def test_marks_with_a_whole_number_beyond_every_float_change_nothing(data, match_file):
    _, client = serve_match(data, match_file)
    check_marks_refused(data, client, f"[[0, 1{'0' * 400}]]")


def check_marks_refused(data, client, marks):
    before = everything(data)
    headers = OWN | {"content-type": "application/json"}
    for body in (f'{{"marks": {marks}, "seen": []}}', f'{{"marks": [], "seen": {marks}}}'):
        told = client.post("/marks", content=body, headers=headers)
        assert told.status_code == 400 and list(told.json()) == ["error"], body
    assert everything(data) == before


def test_the_routes_of_a_match_are_closed_to_other_sites_too(data, match_file):
    _, client = serve_match(data, match_file)
    before = everything(data.parent)
    for path in ("/match", "/video", "/neighbour?sec=0&step=1"):
        assert client.get(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert client.get(path, headers={"host": "evil.example"}).status_code == 400
    bodies = {"/marks": {"marks": [[0, 1]], "seen": []}, "/marks/undo": {"time": ""}, "/proxy": {}}
    for path, body in bodies.items():
        assert client.post(path, json=body).status_code == 403
        assert post(client, path, body, origin="null").status_code == 403
        told = client.post(path, content=json.dumps(body), headers=OWN)
        assert told.status_code == 415
    for wrong in (None, 1, True, []):
        assert post(client, "/marks/undo", {"time": wrong}).status_code == 400
    assert everything(data.parent) == before


def test_a_full_disk_leaves_the_marks(data, match_file, monkeypatch):
    _, client = serve_match(data, match_file)
    mark(client, [[0, 0.5]])
    before = everything(data)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    told = mark(client, [[0, 1]], [[0, 0.5]])
    assert told.status_code == 500 and os.strerror(errno.ENOSPC) in told.json()["error"]
    assert everything(data) == before


def test_proposals_that_a_mark_overlaps_are_not_shown(data, match_file, tmp_path):
    table = tmp_path / "found.csv"
    table.write_text("start_sec,end_sec\n0,0.25\n0.5,0.75\n1,1.5\n1.75,2\n")
    _, client = serve_match(data, match_file, table)
    proposals = client.get("/match").json()["proposals"]
    assert proposals == [[0, 0.25], [0.5, 0.75], [1, 1.5], [1.75, 2]]
    mark(client, [[0.25, 0.5], [0.625, 0.875], [1.125, 1.25]])
    told = client.get("/match").json()
    assert told["proposals"] == [[0, 0.25], [1.75, 2]] and len(told["marks"]) == 3
    assert table_of(data).count("\n") == 4


def test_proposals_without_an_end_are_an_error_that_names_the_table(data, match_file, tmp_path):
    table = tmp_path / "found.csv"
    table.write_text("start_sec,end_sec\n0,inf\n")
    with pytest.raises(UserError, match="found.csv"):
        serve_match(data, match_file, table)[1].get("/match")


def wait_until(client, true_of, sec=20):
    """What /match told until true_of one of it."""
    told, until = [client.get("/match").json()], time.monotonic() + sec
    while not true_of(told[-1]):
        assert time.monotonic() < until, told[-1]
        time.sleep(0.02)
        told.append(client.get("/match").json())
    return told


def test_a_match_that_browsers_do_not_play_gets_a_copy_that_is_played_then(data, tmp_path):
    path = write_video(tmp_path / "final.mkv", "30", 300)
    _, client = serve_match(data, path)
    with client:
        told = client.get("/match").json()
        assert told["why_not"] == "the Matroska container" and not told["ready"]
        assert client.get("/video").status_code == 404
        begun = post(client, "/proxy", {}).json()
        assert begun["progress"] == 0.0 and not begun["ready"]
        told = wait_until(client, lambda now: now["ready"] and now["progress"] is None)
        shares = [now["progress"] for now in told if now["progress"] is not None]
        assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
        assert told[-1]["error"] == "" and told[-1]["offset_sec"] == 0.0
        played = client.get("/video")
        assert played.content == proxy_path(path).read_bytes() != path.read_bytes()
        assert played.headers["content-type"] == "video/mp4"
        made = proxy_path(path).stat().st_mtime_ns
        assert post(client, "/proxy", {}).json()["progress"] is None
        assert proxy_path(path).stat().st_mtime_ns == made
    assert {p.name for p in tmp_path.iterdir()} == {"Data", "final.mkv", "final.mkv.proxy.mp4"}


def test_a_copy_that_is_being_made_is_not_begun_again(data, tmp_path, monkeypatch):
    path, go_on, made = write_video(tmp_path / "final.mkv", "30", 30), threading.Event(), []

    def slow(video, on_progress):
        made.append(video)
        on_progress(0.25)
        assert go_on.wait(20)

    monkeypatch.setattr(match_app, "make_proxy", slow)
    _, client = serve_match(data, path)
    post(client, "/proxy", {})
    wait_until(client, lambda now: now["progress"] == 0.25)
    assert post(client, "/proxy", {}).json()["progress"] == 0.25
    go_on.set()
    wait_until(client, lambda now: now["progress"] is None)
    assert made == [path]


def test_a_copy_that_cannot_be_made_is_told_and_can_be_tried_again(data, tmp_path, monkeypatch):
    path = write_video(tmp_path / "final.mkv", "30", 30)

    def fails(video, on_progress):
        raise UserError("no space left")

    monkeypatch.setattr(match_app, "make_proxy", fails)
    _, client = serve_match(data, path)
    post(client, "/proxy", {})
    told = wait_until(client, lambda now: now["error"] and now["progress"] is None)[-1]
    assert told["error"] == "no space left" and not told["ready"]
    monkeypatch.undo()
    post(client, "/proxy", {})
    assert wait_until(client, lambda now: now["ready"])[-1]["error"] == ""


def test_the_end_of_the_server_ends_the_making_and_leaves_nothing_half_made(data, tmp_path):
    path = write_video(tmp_path / "final.mkv", "30", 30)
    match, client = serve_match(data, path)
    match.stopped.set()
    post(client, "/proxy", {})
    told = wait_until(client, lambda now: now["error"] and now["progress"] is None)[-1]
    assert "the server was ended" in told["error"] and not told["ready"]
    assert {p.name for p in tmp_path.iterdir()} == {"Data", "final.mkv"}
