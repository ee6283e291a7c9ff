"""Which requests the server refuses, without changing or showing any file."""

import json
import re
import shutil

import pytest
from labeling_client import (
    BASE,
    FOUR,
    ONE,
    OWN,
    TAKEN,
    THREE,
    TWO,
    answer,
    everything,
    post,
    rows,
    small_data,
    write_frames,
)
from starlette.testclient import TestClient

from annotation.app import HOSTS, MOST_ANSWERS, MOST_BYTES, Labelling, build_app

pytest_plugins = ["labeling_client"]


data = small_data  # this fixture replaces conftest's


# hosts, origins and headers


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
def test_a_request_with_another_host_name_gets_and_changes_nothing(client, data, host):
    before = everything(data)
    for path in ("/", "/state", f"/frames?split=train&sequence={ONE}"):
        told = client.get(path, headers={"host": host})
        assert told.status_code == 400 and "seq_" not in told.text
    body = {"split": "train", "answers": [answer(ONE, "1")]}
    assert post(client, "/labels", body, host=host).status_code == 400
    assert everything(data) == before


@pytest.mark.parametrize("host", [*HOSTS, *(f"{host}:8765" for host in HOSTS), "LOCALHOST:8765"])
def test_localhost_and_127_0_0_1_are_allowed_at_any_port(client, host):
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


def test_no_response_allows_cross_origin_requests(client):
    foreign = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    asked = client.options("/labels", headers=foreign | {"access-control-request-headers": "x"})
    assert asked.status_code == 403
    for told in (asked, client.get("/state", headers=foreign), client.get("/state")):
        assert not [name for name in told.headers if name.startswith("access-control")]


def test_the_unchanged_bodies_of_the_tests_below_are_accepted(client, data):
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


def test_a_body_that_a_form_could_send_changes_nothing(client, data):
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
def test_a_name_that_no_scan_found_is_refused(client, data, tmp_path, name):
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
def test_a_name_other_than_the_three_splits_is_refused(client, data, name):
    before = everything(data)
    for path in ("/state", "/frames", "/repeat", "/agreement"):
        told = client.get(path, params={"split": name, "sequence": ONE})
        assert told.status_code == 400 and "train, validation, test" in told.json()["error"]
    for path, body in TAKEN.items():
        assert post(client, path, body | {"split": name}).status_code == 400
    assert everything(data) == before


def test_a_new_folder_is_served_only_after_the_next_scan(client, data):
    client.get("/state")
    write_frames(data, "train", "seq_00005")
    query = {"split": "train", "sequence": "seq_00005"}
    assert client.get("/frames", params=query).status_code == 404
    assert client.get("/state").json()["names"] == [ONE, TWO, THREE, FOUR, "seq_00005"]
    assert client.get("/frames", params=query).status_code == 200


def test_hidden_folders_and_files_are_not_sequences(client, data):
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
def test_an_unknown_path_is_not_found(client, path):
    told = client.get(f"{BASE}{path}")
    assert told.request.url.raw_path.decode() == path, "the client changed the path"
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


def test_a_body_of_exactly_the_maximum_length_is_accepted(client, data):
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
def test_a_malformed_body_changes_nothing(client, data, content):
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
def test_an_answer_of_the_wrong_kind_refuses_the_whole_request(client, data, field, values):
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


def test_a_request_takes_at_most_a_thousand_answers(data):
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


def test_the_page_runs_only_its_own_scripts_with_a_fresh_nonce(client):
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


def test_every_response_is_uncached_and_unreadable_for_other_sites(client, data):
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
