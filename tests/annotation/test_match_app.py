"""The requests of the marking page: the video, its frames, marks and the copy."""

import errno
import json
import os
import shutil
import threading
import time

import av
import pytest
from labeling_client import (
    BASE,
    OWN,
    everything,
    post,
    small_data,
)
from starlette.testclient import TestClient

from annotation import match_app
from annotation.app import Labelling, build_app
from annotation.change_log import read_changes
from annotation.match_app import match_routes, open_match
from conftest import write_video
from files import UserError
from media.proxy import proxy_path

SLOW_THEN_FAST = "settb=1/90000,setpts='if(lt(N,50),N/25,2+(N-50)/50)/TB'"


pytest_plugins = ["labeling_client"]


data = small_data  # this fixture replaces conftest's


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("film") / "final.mp4", "30", 60)


@pytest.fixture
def match_file(film, tmp_path):
    """A video of 2 s at 30 fps that browsers can play."""
    return shutil.copy(film, tmp_path / "final.mp4")


def serve_match(data, path, proposals=None):
    match = open_match(path, data, proposals)
    app = build_app(Labelling(data, match=path.name), match_routes(match))
    return match, TestClient(app, base_url=BASE)


def table_of(data, folder="matches"):
    path = data / folder / "final.csv"
    return path.read_text() if path.exists() else None


def test_the_video_is_sent_whole_or_in_the_requested_range(data, match_file):
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
def test_a_range_beyond_the_end_of_the_video_is_refused(data, match_file, asked):
    size, (_, client) = match_file.stat().st_size, serve_match(data, match_file)
    told = client.get("/video", headers={"range": asked.format(size=size)})
    assert told.status_code == 416 and told.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    "asked", ["bytes=9-3", "bytes=x-y", "lines=0-1", "bytes=", "bytes=--1", "0-9", "bytes=-0"]
)
def test_an_invalid_range_does_not_fail_the_server(data, match_file, asked):
    told = serve_match(data, match_file)[1].get("/video", headers={"range": asked})
    assert told.status_code in (200, 400, 416)


def test_a_video_removed_meanwhile_is_an_error(data, match_file):
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
        "marks": {"rally": [], "proposal": [], "unknown": []},
        "why_not": "",
        "ready": True,
        "offset_sec": pytest.approx(0.0, abs=0.001),
        "progress": None,
        "error": "",
    }


def neighbour(client, sec, frames):
    return client.get("/neighbour", params={"sec": sec, "frames": frames})


def test_the_neighbour_is_the_next_frame_also_where_the_rate_changes(data, tmp_path):
    variable = ["-vf", SLOW_THEN_FAST, "-fps_mode", "passthrough", "-enc_time_base", "1/90000"]
    path = write_video(tmp_path / "phone.mp4", "30", 100, *variable, "-c:v", "libx264")
    expected = [k / 25 if k < 50 else 2 + (k - 50) / 50 for k in range(100)]
    _, client = serve_match(data, path)
    for sec, frames, frame in [
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
        told = neighbour(client, sec, frames).json()["sec"]
        assert told == pytest.approx(expected[frame], abs=0.001), (sec, frames)
    for sec, frames in [
        (2.98, 1),
        (1e300, 1),
        (2.98, 10**30),
    ]:  # the end of the match follows the last frame
        assert neighbour(client, sec, frames).json()["sec"] == pytest.approx(3.0, abs=0.021)


@pytest.mark.parametrize("name", ["ntsc.mp4", "ntsc.mkv"])
def test_stepping_visits_every_frame_once(data, tmp_path, name):
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
    ("sec", "frames"),
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
def test_a_neighbour_of_an_invalid_time_is_refused(data, match_file, sec, frames):
    _, client = serve_match(data, match_file)
    told = neighbour(client, sec, frames)
    assert told.status_code == 400 and list(told.json()) == ["error"]
    assert client.get("/neighbour").status_code == 400


def mark(client, marks, seen=(), kind="rally"):
    return post(client, "/marks", {"kind": kind, "marks": marks, "seen": list(seen)})


def undo(client, time_named=""):
    return post(client, "/marks/undo", {"time": time_named}).json()


def shown(client):
    return client.get("/match").json()["marks"]


def test_confirmed_marks_are_on_disk_and_undo_takes_them_back(data, match_file):
    _, client = serve_match(data, match_file)
    first = mark(client, [[1, 1.5], [0.1234, 0.5]]).json()
    assert first["marks"] == [[0.123, 0.5], [1.0, 1.5]] and first["time"]
    assert table_of(data) == "start_sec,end_sec\n0.123,0.500\n1.000,1.500\n"
    second = mark(client, [[0.123, 0.5]], first["marks"]).json()
    assert second["marks"] == [[0.123, 0.5]] == shown(client)["rally"]
    told = undo(client, second["time"])
    assert told == {"kind": "rally", "marks": [[0.123, 0.5], [1.0, 1.5]]}
    assert undo(client) == {"kind": "rally", "marks": []}
    assert table_of(data) == "start_sec,end_sec\n"
    for time_named in ("", first["time"], "2026"):
        assert undo(client, time_named) == {"kind": None, "marks": None}


def test_marks_edited_meanwhile_are_kept_and_returned(data, match_file):
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
        ([[1, 2.5]], "the match ends at 2.000 s"),
        ([[1, 1e300]], "the match ends at"),
    ],
)
def test_impossible_marks_are_refused_and_change_nothing(data, match_file, marks, why):
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


@pytest.mark.parametrize("kind", [None, "", "proposal", "matches", 1, ["rally"]])
def test_marks_of_an_unknown_kind_change_nothing(data, match_file, kind):
    _, client = serve_match(data, match_file)
    before = everything(data)
    told = mark(client, [[0, 1]], kind=kind)
    assert told.status_code == 400 and "kind" in told.json()["error"]
    assert everything(data) == before


def test_marks_with_an_integer_too_large_for_a_float_change_nothing(data, match_file):
    _, client = serve_match(data, match_file)
    check_marks_refused(data, client, f"[[0, 1{'0' * 400}]]")


def check_marks_refused(data, client, marks):
    before = everything(data)
    headers = OWN | {"content-type": "application/json"}
    for lists in (f'"marks": {marks}, "seen": []', f'"marks": [], "seen": {marks}'):
        body = f'{{"kind": "rally", {lists}}}'
        told = client.post("/marks", content=body, headers=headers)
        assert told.status_code == 400 and list(told.json()) == ["error"], body
    assert everything(data) == before


def test_the_requests_of_a_match_are_refused_from_other_sites_too(data, match_file):
    _, client = serve_match(data, match_file)
    before = everything(data.parent)
    for path in ("/match", "/video", "/neighbour?sec=0&frames=1"):
        assert client.get(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert client.get(path, headers={"host": "evil.example"}).status_code == 400
    saved = {"kind": "rally", "marks": [[0, 1]], "seen": []}
    bodies = {"/marks": saved, "/marks/undo": {"time": ""}, "/proxy": {}}
    for path, body in bodies.items():
        assert client.post(path, json=body).status_code == 403
        assert post(client, path, body, origin="null").status_code == 403
        told = client.post(path, content=json.dumps(body), headers=OWN)
        assert told.status_code == 415
    for wrong in (None, 1, True, []):
        assert post(client, "/marks/undo", {"time": wrong}).status_code == 400
    assert everything(data.parent) == before


def write_unknown(data, rows):
    path = data / "unknown" / "final.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("start_sec,end_sec\n" + rows)


def test_unknown_stretches_have_a_table_and_a_log_of_their_own(data, match_file):
    _, client = serve_match(data, match_file)
    mark(client, [[0, 0.5]])
    rallies = {path: path.read_bytes() for path in (data / "matches").glob("final*")}
    told = mark(client, [[1.25, 1.5], [0.25, 1]], kind="unknown").json()
    assert told["marks"] == [[0.25, 1.0], [1.25, 1.5]] and told["time"]
    assert table_of(data, "unknown") == "start_sec,end_sec\n0.250,1.000\n1.250,1.500\n"
    assert shown(client) == {"rally": [[0, 0.5]], "proposal": [], "unknown": told["marks"]}
    changes = read_changes(data / "unknown" / "final.log.csv")
    assert [change.sequence for change in changes] == ["0.250-1.000", "1.250-1.500"]
    assert {path: path.read_bytes() for path in (data / "matches").glob("final*")} == rallies


def test_undo_by_time_finds_the_kind_that_was_changed_then(data, match_file):
    _, client = serve_match(data, match_file)
    rally = mark(client, [[0, 0.5]]).json()["time"]
    stretch = mark(client, [[1, 1.5]], kind="unknown").json()["time"]
    mark(client, [[0, 0.5], [1.75, 2]], [[0, 0.5]])
    assert undo(client, stretch) == {"kind": "unknown", "marks": []}
    assert undo(client, rally) == {"kind": "rally", "marks": [[1.75, 2.0]]}
    assert undo(client, stretch) == {"kind": None, "marks": None}


def test_undo_without_a_time_takes_the_latest_change_of_either_kind(data, match_file):
    _, client = serve_match(data, match_file)
    mark(client, [[0, 0.5]], kind="unknown")
    mark(client, [[1, 1.5]])
    mark(client, [[0, 0.75]], [[0, 0.5]], kind="unknown")
    assert undo(client) == {"kind": "unknown", "marks": [[0, 0.5]]}
    assert undo(client) == {"kind": "rally", "marks": []}
    assert undo(client) == {"kind": "unknown", "marks": []}
    assert undo(client) == {"kind": None, "marks": None}


def test_undo_of_a_stretch_changed_elsewhere_is_refused(data, match_file):
    _, client = serve_match(data, match_file)
    mark(client, [[0, 0.5]], kind="unknown")
    write_unknown(data, "0.000,0.750\n")
    told = post(client, "/marks/undo", {"time": ""})
    assert told.status_code == 500
    assert "cannot undo: the stretch 0.000-0.500 s was changed" in told.json()["error"]
    assert table_of(data, "unknown") == "start_sec,end_sec\n0.000,0.750\n"


@pytest.mark.parametrize(
    ("stretches", "why"),
    [
        ([[0, 1], [0.5, 1.5]], "the stretch from 0.000 to 1.000 s overlaps"),
        ([[1.5, 1]], "the stretch from 1.500 to 1.000 s must end after its start"),
        ([[-0.5, 1]], "the stretch from -0.500"),
        ([[1.0001, 1.0004]], "the stretch from 1.000 to 1.000 s must end after its start"),
        ([[1, 2.5]], "a stretch ends at 2.500 s, but the match ends at 2.000 s"),
    ],
)
def test_impossible_stretches_are_refused_and_change_nothing(data, match_file, stretches, why):
    _, client = serve_match(data, match_file)
    mark(client, [[0, 0.5]], kind="unknown")
    before = everything(data)
    told = mark(client, stretches, [[0, 0.5]], kind="unknown")
    assert told.status_code == 500 and why in told.json()["error"]
    assert everything(data) == before


def test_stretches_edited_meanwhile_are_kept_and_returned(data, match_file):
    _, client = serve_match(data, match_file)
    write_unknown(data, "1.000,3600.000\n")
    told = mark(client, [[0, 0.75]], kind="unknown").json()
    assert told == {"time": "", "marks": [[1.0, 2.0]]}
    assert table_of(data, "unknown") == "start_sec,end_sec\n1.000,3600.000\n"


def test_an_invalid_table_of_stretches_is_an_error_that_names_it(data, match_file):
    write_unknown(data, "1,2\n1.5,3\n")
    with pytest.raises(UserError, match="unknown/final.csv: the stretch from 1.000 to 2.000 s"):
        serve_match(data, match_file)


def test_a_stretch_beyond_the_film_is_shown_to_its_end_and_survives_other_changes(data, match_file):
    write_unknown(data, "1.500,36000.000\n36001.000,36002.000\n")
    _, client = serve_match(data, match_file)
    assert shown(client)["unknown"] == [[1.5, 2.0]]
    told = mark(client, [[0, 0.5], [1.5, 2]], [[1.5, 2]], kind="unknown").json()
    assert told["marks"] == [[0, 0.5], [1.5, 2.0]] == shown(client)["unknown"]
    after = "1.500,36000.000\n36001.000,36002.000\n"
    assert table_of(data, "unknown") == "start_sec,end_sec\n0.000,0.500\n" + after
    moved = mark(client, [[0, 0.5], [1.75, 2]], told["marks"], kind="unknown").json()
    assert "1.750,36000.000\n" in table_of(data, "unknown")  # only its start was moved
    shorter = mark(client, [[1.75, 1.9]], moved["marks"], kind="unknown").json()
    assert shorter["marks"] == [[1.75, 1.9]]
    rows = "1.750,1.900\n36001.000,36002.000\n"
    assert table_of(data, "unknown") == "start_sec,end_sec\n" + rows
    assert undo(client) == {"kind": "unknown", "marks": [[0, 0.5], [1.75, 2.0]]}
    assert "1.750,36000.000\n" in table_of(data, "unknown")


def test_a_stretch_beyond_the_film_can_be_deleted(data, match_file):
    write_unknown(data, "1.500,36000.000\n")
    _, client = serve_match(data, match_file)
    assert mark(client, [], [[1.5, 2]], kind="unknown").json()["marks"] == []
    assert table_of(data, "unknown") == "start_sec,end_sec\n"
    assert mark(client, [[1.25, 2]], kind="unknown").json()["marks"] == [[1.25, 2.0]]
    assert table_of(data, "unknown") == "start_sec,end_sec\n1.250,2.000\n"


def test_a_full_disk_keeps_the_marks(data, match_file, monkeypatch):
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
    assert shown(client)["proposal"] == [[0, 0.25], [0.5, 0.75], [1, 1.5], [1.75, 2]]
    mark(client, [[0.25, 0.5], [0.625, 0.875], [1.125, 1.25]])
    told = shown(client)
    assert told["proposal"] == [[0, 0.25], [1.75, 2]] and len(told["rally"]) == 3
    assert table_of(data).count("\n") == 4


def test_infinite_proposals_are_an_error_that_names_the_table(data, match_file, tmp_path):
    table = tmp_path / "found.csv"
    table.write_text("start_sec,end_sec\n0,inf\n")
    with pytest.raises(UserError, match="found.csv"):
        serve_match(data, match_file, table)[1].get("/match")


def wait_until(client, true_of, sec=20):
    """The answers of /match, up to the first one for which true_of holds."""
    told, until = [client.get("/match").json()], time.monotonic() + sec
    while not true_of(told[-1]):
        assert time.monotonic() < until, told[-1]
        time.sleep(0.02)
        told.append(client.get("/match").json())
    return told


def test_a_match_that_browsers_cannot_play_gets_a_copy(data, tmp_path):
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


def test_a_copy_that_is_being_made_is_not_started_again(data, tmp_path, monkeypatch):
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


def test_a_failed_copy_is_reported_and_can_be_retried(data, tmp_path, monkeypatch):
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


def test_stopping_the_server_stops_the_copy_and_leaves_no_partial_file(data, tmp_path):
    path = write_video(tmp_path / "final.mkv", "30", 30)
    match, client = serve_match(data, path)
    match.stopped.set()
    post(client, "/proxy", {})
    told = wait_until(client, lambda now: now["error"] and now["progress"] is None)[-1]
    assert "the server was stopped" in told["error"] and not told["ready"]
    assert {p.name for p in tmp_path.iterdir()} == {"Data", "final.mkv"}
