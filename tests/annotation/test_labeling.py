import http.client
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import cycle

import imageio_ffmpeg
import pytest

from annotation import labels
from annotation.agreement import save_repeat
from annotation.app import OWN_HEADER
from annotation.labels import Answer, save_labels
from annotation.server import LOCAL, PORT, listen
from annotation.sessions import choose_split
from cli import run_command
from conftest import write_video
from files import UserError
from labeling import main

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/\n")


def name_of(number):
    return f"seq_{number:05d}"


def write_split(data, split, count, starts=(), video="match.mp4"):
    """Writes sequences of two frames at 2 fps, so of one second, from these times of a video."""
    for number in range(1, count + 1):
        folder = data / split / "sequences" / name_of(number)
        folder.mkdir(parents=True)
        for k in (1, 2):
            (folder / f"{k:05d}.jpg").write_bytes(b"picture %d" % k)
    if starts:
        table = "".join(f"{name_of(k)},{video},{sec},2\n" for k, sec in enumerate(starts, 1))
        (data / split / "sequences.csv").write_text(f"sequence,video,start_sec,fps\n{table}")


def label_all(data, split, label="1"):
    names = labels.list_sequences(data / split)[0]
    save_labels(data / split, [Answer(name, label, "") for name in names])


@pytest.fixture
def data(tmp_path):
    write_split(tmp_path / "Data", "train", 3)
    return tmp_path / "Data"


# the command, in this process, without serving


@pytest.fixture
def served(monkeypatch):
    """What each call of labeling.py would serve; it returns at once instead."""
    found = []

    def build_app(work, routes):
        found.append(work)

    def run(server, sockets):
        found[-1].address = sockets[0].getsockname()

    monkeypatch.setattr("annotation.server.build_app", build_app)
    monkeypatch.setattr("uvicorn.Server.run", run)
    return found


def ended(*arguments):
    """The exit code of python labeling.py."""
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: main([*map(str, arguments), "--no-browser"]))
    return caught.value.code


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("--agreement --match x.mp4", "only one of"),
        ("--agreement --from-match", "only one of"),
        ("--match x.mp4 --from-match", "only one of"),
        ("--match x.mp4 --review", "for labelling sequences"),
        ("--from-match --review", "for labelling sequences"),
        ("--agreement --review", "for labelling sequences"),
        ("--match x.mp4 --order uncertain", "for labelling sequences"),
        ("--review --order uncertain --model m.csv", "leave out --order"),
        ("--order uncertain", "needs --model FILE"),
        ("--match x.mp4 --model m.pth --proposals p.csv", "not both"),
        ("--model m.csv --split validation", "train only"),
        ("--model m.csv --split test --order uncertain", "train only"),
        ("--review --model m.csv --split test", "train only"),
        ("--proposals p.csv", "needs --match"),
        ("--proposals p.csv --from-match", "needs --match"),
        ("--classes same same", "two different names"),
        ("--classes one", "expected 2 arguments"),
        ("--split all", "invalid choice"),
        ("--order random", "invalid choice"),
        ("--port http", "invalid int"),
        ("--until-sec soon", "invalid positive float"),
        ("--from-match --until-sec -5", "invalid positive float"),
        ("--from-match --until-sec 0", "invalid positive float"),
        ("--from-match --until-sec nan", "invalid positive float"),
        ("--from-match --until-sec inf", "invalid positive float"),
        ("--match x.mp4 --split train", "a match has no split; add its video to videos.csv"),
        ("--unknown", "unrecognized"),
    ],
)
def test_wrong_use_ends_with_exit_code_2_and_says_why(data, served, capsys, wrong, why):
    before = sorted(data.rglob("*"))
    assert ended("--data", data, *wrong.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: ") and why in said
    assert not served and sorted(data.rglob("*")) == before


@pytest.mark.parametrize(
    "names", [("", "b"), ("a", ""), (" ", "b"), ("a", "a "), ("\t", "b"), ("a\n", "a")]
)
def test_invalid_class_names_are_wrong_use_and_are_not_saved(data, served, names):
    assert ended("--data", data, "--classes", *names) == 2
    assert ended("--data", data) == 0


@pytest.fixture
def film(tmp_path):
    return write_video(tmp_path / "match.mp4", "30", 30)


def test_the_help_names_the_usual_port(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        main(["--help"])
    assert str(PORT) in capsys.readouterr().out


def test_without_data_it_says_what_to_do(data, served, tmp_path, capsys):
    assert ended("--data", tmp_path / "nowhere") == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'nowhere'} does not exist; "
        "collect sequences with collecting_data.py, or give --data DIR\n"
    )
    assert ended("--data", data, "--split", "test") == 1
    assert "run collecting_data.py first" in capsys.readouterr().err
    (data / "test" / "sequences").mkdir(parents=True)
    assert ended("--data", data, "--split", "test") == 1
    assert (
        capsys.readouterr().err
        == f"error: no sequences in {data / 'test'}; run collecting_data.py first\n"
    )
    assert not served


@pytest.mark.parametrize("port", [-1, 65536, 10**30])
def test_an_impossible_port_is_a_one_line_error(data, served, capsys, port):
    assert ended("--data", data, "--port", port) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: cannot use port {port}: ") and "leave out --port" in said
    assert said.count("\n") == 1


def test_a_busy_port_given_by_the_user_is_an_error(data, served, capsys):
    with listen(0) as other:
        port = other.getsockname()[1]
        assert ended("--data", data, "--port", port) == 1
    assert f"error: cannot use port {port}: " in capsys.readouterr().err and not served
    assert ended("--data", data, "--port", port) == 0
    assert served[0].address == (LOCAL, port)


def test_if_the_usual_port_is_busy_another_is_used_and_printed(data, served, capsys):
    with listen(None):  # takes the usual port, unless it is busy already
        assert ended("--data", data) == 0
    told = ADDRESS.search(capsys.readouterr().out)
    assert served[0].address == (LOCAL, int(told[1])) and int(told[1]) != PORT


def test_broken_tables_and_missing_files_are_one_line_errors(data, served, film, tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("begin,end\n1,2\n")
    (tmp_path / "probs.csv").write_text(f"sequence,probability,split\n{name_of(1)},2,train\n")
    (tmp_path / "others.csv").write_text("sequence,probability,split\nx,0.5,train\n")
    for arguments, why in [
        (["--match", tmp_path / "none.mp4"], "no such file"),
        (["--match", tmp_path], "is a folder"),
        (["--match", tmp_path / "bad.csv"], "not a readable video"),
        (
            ["--match", "https://youtu.be/AAAAAAAAAAA"],
            "is not downloaded yet; download it with collecting_data.py",
        ),
        (["--match", "youtube.com/watch?v=AAAAAAAAAAA"], "is not downloaded yet"),
        (["--match", "https://vimeo.com/1"], "not the address of a YouTube video"),
        (["--match", film, "--proposals", tmp_path / "none.csv"], "no such file: "),
        (["--match", film, "--proposals", tmp_path / "bad.csv"], "has no column start_sec"),
        (["--model", tmp_path / "probs.csv"], "must be between 0 and 1"),
        (["--model", tmp_path / "others.csv"], "has no prediction for any sequence"),
        (["--model", tmp_path / "none.csv"], "no such file: "),
        (["--model", tmp_path / "model.txt"], "neither a run's best_model.pth nor"),
        (["--from-match"], "no marks in"),
        (["--from-match", film], "no marks of"),
    ]:
        assert ended("--data", data, *arguments) == 1, arguments
        said = capsys.readouterr().err
        assert said.startswith("error: ") and why in said and said.count("\n") == 1, said
    assert not served


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("begin,end\n1,2\n", "has no column start_sec"),
        ("start_sec,end_sec\n1,x\n", "1,x must be two numbers"),
        ("start_sec,end_sec\n3,2\n", "must end after its start"),
        ("start_sec,end_sec\n1,3\n2,4\n", "overlaps"),
        ("start_sec,end_sec\n1,inf\n", "inf"),
    ],
)
def test_a_broken_table_of_marks_is_an_error_before_the_page_is_served(
    data, served, film, capsys, table, why
):
    (data / "matches").mkdir()
    (data / "matches" / "match.csv").write_text(table)
    assert ended("--data", data, "--match", film) == 1
    said = capsys.readouterr().err
    assert str(data / "matches" / "match.csv") in said and why in said and not served
    assert (data / "matches" / "match.csv").read_text() == table


def test_a_broken_table_of_labels_or_classes_is_an_error_before_the_page_is_served(
    data, served, capsys
):
    (data / "classes.csv").write_text("label,name\n0,out\n")
    assert (
        ended("--data", data) == 1
        and "classes.csv must have the three lines" in capsys.readouterr().err
    )
    (data / "classes.csv").unlink()
    (data / "train" / "train.csv").write_text("sequence,label,note\nseq_00001,1,x\n")
    assert ended("--data", data) == 1 and "extra columns" in capsys.readouterr().err
    assert not served


def test_match_needs_a_video(data, served):
    assert ended("--data", data, "--match", "") != 0
    assert not served


def test_it_prints_the_split_the_progress_and_the_address(data, served, capsys):
    save_labels(data / "train", [Answer(name_of(1), "1", "")])
    assert ended("--data", data) == 0
    told = capsys.readouterr().out
    assert told.startswith("labelling train, 1 of 3 done: http://127.0.0.1:")
    assert ADDRESS.search(told) and "Ctrl-C" in told
    assert (served[0].split, served[0].order, served[0].match) == ("train", "name", "")


def test_a_match_is_marked_under_its_own_name(data, served, film, capsys):
    assert ended("--data", data, "--match", film) == 0
    assert capsys.readouterr().out.startswith(f"marking {film}: http://127.0.0.1:")
    assert served[0].match == "match.mp4"


def test_the_first_unfinished_split_is_labelled(data):
    write_split(data, "validation", 2)
    assert choose_split(data) == "train"
    label_all(data, "train")
    assert choose_split(data) == "validation"
    label_all(data, "validation", "0")
    assert choose_split(data) == "train"
    write_split(data, "test", 1)
    assert choose_split(data) == "test"
    (data / "train" / "train.csv").write_text(f"sequence,label\n{name_of(1)},1\n{name_of(2)},?\n")
    assert choose_split(data) == "train"


def test_if_train_is_empty_the_first_split_with_sequences_is_chosen(tmp_path):
    assert choose_split(tmp_path) == "train"
    write_split(tmp_path, "test", 1)
    label_all(tmp_path, "test")
    assert choose_split(tmp_path) == "test"


def test_the_given_split_is_labelled_and_with_a_model_train(data, served, tmp_path):
    label_all(data, "train")
    write_split(data, "validation", 2)
    predictions = tmp_path / "predictions.csv"
    predictions.write_text(
        f"sequence,probability,split\n{name_of(1)},0.75,train\n{name_of(2)},0.25,validation\n"
    )
    for arguments, split, order, probs in [
        ([], "validation", "name", {}),
        (["--split", "train"], "train", "name", {}),
        (["--review"], "train", "review", {}),
        (["--model", predictions], "train", "name", {name_of(1): 0.75}),
        (["--model", predictions, "--review"], "train", "review", {name_of(1): 0.75}),
        (
            ["--model", predictions, "--order", "uncertain"],
            "train",
            "uncertain",
            {name_of(1): 0.75},
        ),
    ]:
        assert ended("--data", data, *arguments) == 0
        work = served[-1]
        assert (work.split, work.order, work.probs) == (split, order, probs), arguments


def test_a_review_without_labels_is_an_error(data, served):
    write_split(data, "validation", 2)
    with pytest.raises(UserError, match="nothing to review: no labels in .*validation"):
        main(["--data", str(data), "--review", "--split", "validation", "--no-browser"])
    assert served == []


def test_class_names_are_remembered_until_others_are_given(data, served):
    assert ended("--data", data) == 0
    assert ended("--data", data, "--classes", "pause, or talk", 'the "play"') == 0
    assert ended("--data", data) == 0
    assert ended("--data", data, "--classes", "0", "1") == 0
    assert ended("--data", data) == 0
    given = [tuple(work.class_names) for work in served]
    words = ("pause, or talk", 'the "play"')
    assert given == [("non-rally", "rally"), words, words, ("0", "1"), ("0", "1")]


# agreement, labels from marks


def answer_twice(split_dir, pairs):
    for number, (first, second) in enumerate(pairs, 1):
        save_labels(split_dir, [Answer(name_of(number), first, "")])
        save_repeat(split_dir, name_of(number), second)


def test_agreement_prints_kappa_count_interval_and_different_answers(data, served, capsys):
    answer_twice(data / "train", [("1", "1"), ("1", "1"), ("0", "0"), ("0", "1")])
    answer_twice(data / "test", [("1", "1"), ("1", "1")])
    (data / "classes.csv").write_text("label,name\n0,pause\n1,play\n")
    assert ended("--data", data, "--agreement") == 0
    # 3 of 4 agree, 2 of 4 by chance: kappa is (3/4 - 1/2) / (1 - 1/2)
    # Wilson's interval of 3 of 4, with z = 1.96: (0.75 + z²/8 ± z √(0.1875/4 + z²/64)) / (1 + z²/4)
    assert capsys.readouterr().out.splitlines() == [
        "train: Cohen's kappa 0.500; 3 of 4 second answers agree (95 % interval 0.301 to 0.954)",
        f"  {name_of(4)}: first pause, then play",
        "validation: no second answers yet",
        "test: Cohen's kappa not defined (one class); 2 of 2 second answers agree "
        "(95 % interval 0.342 to 1.000)",
    ]
    assert ended("--data", data, "--agreement", "--split", "validation") == 0
    assert capsys.readouterr().out.splitlines() == ["validation: no second answers yet"]
    assert not served


@pytest.fixture
def marked(tmp_path):
    """Six sequences of a match with one rally, from 10 to 12.5 s; the second labelled by hand."""
    data = tmp_path / "Data"
    write_split(data, "train", 6, starts=(0, 10, 11, 12, 12.25, 20))
    save_labels(data / "train", [Answer(name_of(2), "0", "")])
    (data / "matches").mkdir()
    (data / "matches" / "match.csv").write_text("start_sec,end_sec\n10.000,12.500\n")
    return data


CUT = f"  a rally starts or ends in: {name_of(4)}, {name_of(5)}"
DIFFERS = f"  manual label differs from the marks: {name_of(2)}"


def test_labels_from_marks_are_printed_with_what_a_person_should_check(marked, served, capsys):
    assert ended("--data", marked, "--from-match") == 0
    assert capsys.readouterr().out.splitlines() == [
        "train, match: 5 sequences labelled from 1 rally; 1 manual label kept",
        "  1 of them came after the last rally and got non-rally; if the match is not marked "
        "to its end, give the last marked second: --until-sec SEC",
        CUT,
        DIFFERS,
    ]
    assert labels.read_labels(marked / "train") == {
        **{name_of(k): "0" for k in (1, 2, 5, 6)},
        **{name_of(k): "1" for k in (3, 4)},
    }
    assert not served


def test_nothing_is_labelled_after_until_sec(marked, capsys):
    assert ended("--data", marked, "--from-match", "--until-sec", "15") == 0
    assert capsys.readouterr().out.splitlines() == [
        "train, match: 4 sequences labelled from 1 rally; 1 manual label kept",
        CUT,
        DIFFERS,
    ]
    assert name_of(6) not in labels.read_labels(marked / "train")


def test_only_the_given_match_is_labelled_from_marks(marked, capsys):
    write_split(marked, "test", 1, starts=(0,), video="other.mp4")
    (marked / "matches" / "other.csv").write_text("start_sec,end_sec\n0.000,5.000\n")
    assert ended("--data", marked, "--from-match", marked / "other.mp4") == 0
    told = capsys.readouterr().out.splitlines()
    assert told == ["test, other: 1 sequence labelled from 1 rally; 0 manual labels kept"]
    assert labels.read_labels(marked / "train") == {name_of(2): "0"}


def test_marks_of_a_match_that_was_not_collected_end_with_exit_code_1(marked, capsys):
    (marked / "matches" / "match.csv").rename(marked / "matches" / "another.csv")
    assert ended("--data", marked, "--from-match") == 1
    said = capsys.readouterr()
    assert (
        said.err == "no sequence comes from a marked match; run collecting_data.py first\n"
        and said.out == ""
    )


# the server, in its own process


def restore_ctrl_c():
    """Restores Ctrl-C, which processes started in the background of a shell ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def server(*arguments):
    """(the process of python labeling.py, its port); killed at the end if it still runs."""
    command = [sys.executable, "labeling.py", "--no-browser", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_ctrl_c,
    )
    too_slow = threading.Timer(30, process.kill)
    too_slow.start()
    try:
        told = process.stdout.readline()
        too_slow.cancel()
        assert ADDRESS.search(told), told + process.stderr.read()
        yield process, int(ADDRESS.search(told)[1])
    finally:
        too_slow.cancel()
        process.kill()
        process.communicate(timeout=10)


@contextmanager
def connected(port):
    connection = http.client.HTTPConnection(LOCAL, port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection, path, method="GET", body=None, **headers):
    connection.request(method, path, body, headers)
    told = connection.getresponse()
    return told.status, told.read()


def label(connection, name, label, seen=""):
    """(status, JSON) of the response to an answer."""
    answers = [{"sequence": name, "label": label, "seen": seen}]
    body = json.dumps({"split": "train", "answers": answers})
    own = {OWN_HEADER: "1", "Content-Type": "application/json"}
    status, told = ask(connection, "/labels", "POST", body, **own)
    return status, json.loads(told)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """(data folder, port) of a server for the tests below that do not stop it."""
    data = tmp_path_factory.mktemp("shared") / "Data"
    write_split(data, "train", 60)
    with server("--data", data) as (_, port):
        yield data, port


def test_it_listens_only_at_the_printed_address(shared):
    with connected(shared[1]) as connection:
        assert ask(connection, "/")[0] == 200
    for address in ("127.0.0.2", "127.255.255.254"):  # a server on 0.0.0.0 would answer there
        with pytest.raises(OSError):
            socket.create_connection((address, shared[1]), timeout=2).close()
    with socket.socket(socket.AF_INET6) as six, pytest.raises(OSError):
        six.settimeout(2)
        six.connect(("::1", shared[1]))


@pytest.mark.parametrize(
    "path",
    [
        "/../labeling.py",
        "/../../../../../../etc/passwd",
        "/%2e%2e/labels.py",
        "/..%2flabels.py",
        "/frames/../labels.py",
        "//etc/passwd",
        "//evil.example/",
        "/Data/train/train.csv",
        "/%00",
        "*",
    ],
)
def test_no_path_leads_out_of_the_routes(shared, path):
    with connected(shared[1]) as connection:
        status, told = ask(connection, path)
    assert status == 404 and json.loads(told) == {"error": "Not Found"}


def test_another_host_name_is_refused_whatever_the_request_line(shared):
    for path in ("/state", f"http://127.0.0.1:{shared[1]}/state", "/state/"):
        for host in ("evil.example", "localhost.", ""):
            with connected(shared[1]) as connection:
                status, told = ask(connection, path, Host=host)
            assert status == 400 and b"seq_" not in told


def test_it_does_not_name_its_server_software(shared):
    with connected(shared[1]) as connection:
        connection.request("GET", "/state")
        told = connection.getresponse()
        assert told.status == 200 and told.getheader("server") is None


def test_an_endless_body_is_refused_and_the_next_request_is_answered(shared):
    def endless():
        for _ in range(400):  # 26 MB
            yield b" " * 65536

    with connected(shared[1]) as connection:
        own = {OWN_HEADER: "1", "Content-Type": "application/json"}
        try:
            status = ask(connection, "/labels", "POST", endless(), **own)[0]
        except OSError:  # the server hung up during sending
            status = 413
    assert status == 413
    with connected(shared[1]) as connection:
        assert ask(connection, "/state")[0] == 200


def test_two_servers_on_one_folder_lose_no_answer(shared):
    data, port = shared
    names = labels.list_sequences(data / "train")[0]
    told = {}

    def tab(port, mine):
        with connected(port) as connection:
            for name in mine:
                told[name] = label(connection, name, "1")

    with server("--data", data) as (_, other):
        assert other != port
        tabs = [
            threading.Thread(target=tab, args=(where, names[k::4]))
            for k, where in enumerate((port, other, port, other))
        ]
        for each in tabs:
            each.start()
        for each in tabs:
            each.join(30)
    assert sorted(told) == names
    assert {(status, len(said["conflicts"])) for status, said in told.values()} == {(200, 0)}
    assert labels.read_labels(data / "train") == dict.fromkeys(names, "1")
    table = (data / "train" / "train.csv").read_text().splitlines()
    assert sorted(table[1:]) == [f"{name},1" for name in names]


def test_ctrl_c_stops_it_with_exit_code_0_and_no_warning(data):
    with server("--data", data, "--port", "0") as (process, port), connected(port) as connection:
        assert label(connection, name_of(1), "1")[0] == 200
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=20)
        assert process.returncode == 0 and complaint == "" and said.endswith("stopped\n")
    assert labels.read_labels(data / "train") == {name_of(1): "1"}


def test_ctrl_c_also_stops_making_a_copy(data, tmp_path):
    film, path = write_video(tmp_path / "match.mkv", "30", 1000), tmp_path / "long.mkv"
    longer = ["-y", "-loglevel", "error", "-stream_loop", "30", "-i", film, "-c", "copy", path]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *longer], check=True)
    with server("--data", data, "--match", path, "--port", "0") as (process, port):
        with connected(port) as connection:
            own = {OWN_HEADER: "1", "Content-Type": "application/json"}
            told = json.loads(ask(connection, "/proxy", "POST", "{}", **own)[1])
            assert told["why_not"] and not told["ready"] and told["progress"] is not None
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
        assert process.returncode == 0 and complaint == ""
    assert {each.name for each in tmp_path.iterdir()} == {"Data", "match.mkv", "long.mkv"}


def test_ctrl_c_works_while_a_paused_player_holds_the_video_open(data, film):
    with open(film, "ab") as file:  # more than sockets buffer, in an MP4 box that players skip
        file.write((60_000_000).to_bytes(4, "big") + b"free" + b"\0" * (60_000_000 - 8))
    start = server("--data", data, "--match", film, "--port", "0")
    with start as (process, port), connected(port) as connection:
        connection.request("GET", "/video")
        assert connection.getresponse().read(1000) == film.read_bytes()[:1000]
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=20)
    assert process.returncode == 0 and said.endswith("stopped\n")
    assert "Traceback" not in complaint


def answer_until_killed(port, process, split_dir, pause_sec):
    """({sequence: label} of the answers confirmed before a kill, the sequence being answered).

    The kill comes pause_sec after the first answer.
    """
    known, confirmed = labels.read_labels(split_dir), {}
    killer, until = threading.Timer(pause_sec, process.kill), time.monotonic() + 20
    with connected(port) as connection:
        for name in cycle(labels.list_sequences(split_dir)[0]):
            assert time.monotonic() < until, "it was not killed"
            seen = known.get(name, "")
            new = "0" if seen == "1" else "1"
            try:
                status, told = label(connection, name, new, seen)
            except (OSError, http.client.HTTPException):
                return confirmed, name
            assert status == 200 and told["conflicts"] == {}
            if not confirmed:
                killer.start()
            known[name] = confirmed[name] = new


@pytest.mark.alone
def test_confirmed_answers_survive_a_kill_while_answering(tmp_path):
    rng, data, total = random.Random(0), tmp_path / "Data", 0
    write_split(data, "train", 10)
    split_dir = data / "train"
    for _ in range(10):
        with server("--data", data, "--split", "train", "--port", "0") as (process, port):
            pause_sec = rng.uniform(0, 0.2)
            confirmed, last = answer_until_killed(port, process, split_dir, pause_sec)
            assert process.wait(10) == -signal.SIGKILL
        there = labels.read_labels(split_dir)
        confirmed.pop(last, None)  # unknown: the kill came before its confirmation
        assert {name: there.get(name) for name in confirmed} == confirmed
        total += len(confirmed)
    assert total > 20, "the kills hit no server while it was saving"
