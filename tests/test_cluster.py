"""A real Ray cluster on this machine: a head without cores and two nodes of one core each."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cluster
import detecting_rallies
from cluster import as_path, connect, extract_on_ray, split_address
from conftest import write_sequence, write_video
from features import extract_features, features_dir
from files import UserError
from model import save_model

ray = pytest.importorskip("ray", reason="needs pip install -r requirements-cluster.txt")
REPO = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def nodes():
    """The cluster, this process its driver; who kills a node adds another in its place."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        started.add_node(num_cpus=1)
    connect(started.address)
    yield started
    ray.shutdown()
    started.shutdown()


def write_split(split: Path, count: int) -> list[str]:
    names = [f"seq_{k:05d}" for k in range(1, count + 1)]
    for k, name in enumerate(names):
        write_sequence(split / "sequences" / name, k % 2, seed=k)
    return names


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def workers_of(node) -> list[int]:
    """The ids of the processes that encode on a node of the cluster."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = subprocess.run(
        ["pgrep", "-P", str(raylet), "-f", "ray::.*MapWorker"], capture_output=True, text=True
    )
    return [int(line) for line in found.stdout.split()]


def wait_until(ready, what: str) -> None:
    deadline = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_features_are_those_without_ray_and_a_bad_sequence_costs_only_itself(
    nodes, tmp_path, backbone
):
    split = tmp_path / "train"
    names = write_split(split, 5)
    (split / "sequences" / names[2] / "00007.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"1 of 5 sequences of .*\n.*seq_00003: frame 7 is no"):
        extract_on_ray(split, names, backbone)
    folder = features_dir(split, backbone)
    on_ray = contents(folder)
    assert sorted(on_ray) == [f"{name}.safetensors" for name in names if name != names[2]]
    shutil.rmtree(folder)
    with pytest.raises(UserError):
        extract_features(split, names, backbone)
    assert contents(folder) == on_ray


def test_a_folder_by_address_is_read_and_written_through_fsspec(nodes, tmp_path, backbone):
    split = tmp_path / "train"
    names = write_split(split, 2)
    folder = extract_on_ray(as_path(f"file://{split}"), names, backbone)
    assert str(folder).startswith("file:")
    on_ray = contents(features_dir(split, backbone))
    assert len(on_ray) == 2 and not list(features_dir(split, backbone).glob(".*"))
    shutil.rmtree(features_dir(split, backbone))
    extract_features(split, names, backbone)
    for name, data in contents(features_dir(split, backbone)).items():
        assert data[-61440:] == on_ray[name][-61440:]  # 30 x 512 float32: no times go with these


def test_a_killed_worker_and_a_killed_node_cost_only_what_was_not_saved(nodes, tmp_path, backbone):
    split = tmp_path / "train"
    names = write_split(split, 40)
    folder = features_dir(split, backbone)
    job = threading.Thread(target=extract_on_ray, args=(split, names, backbone))
    job.start()
    first, second = nodes.worker_nodes
    wait_until(lambda: len(contents(folder)) >= 6 and workers_of(first), "no work was done")
    subprocess.run(["kill", "-9", *map(str, workers_of(first))], check=True)
    at_kill = times(folder)
    wait_until(lambda: len(contents(folder)) >= len(at_kill) + 6, "nothing went on")
    nodes.remove_node(second, allow_graceful=False)
    at_node_kill = times(folder)
    assert len(at_node_kill) < len(names)
    job.join(timeout=120)
    nodes.add_node(num_cpus=1)
    assert not job.is_alive()
    assert sorted(times(folder)) == [f"{name}.safetensors" for name in names]
    assert not list(folder.glob(".*.part"))
    assert (
        times(folder) == times(folder) | at_kill | at_node_kill
    )  # what was saved stayed as it was
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # whole and right: without Ray nothing is to be done
        patch.setattr("features.encode", None)
        extract_features(split, names, backbone)


def test_two_jobs_on_one_folder_do_no_harm(nodes, tmp_path, backbone):
    split = tmp_path / "train"
    names = write_split(split, 8)
    folder = features_dir(split, backbone)
    command = [sys.executable, REPO / "features.py", split, "--weights", "random"]
    other = subprocess.Popen([*command, "--ray", nodes.address], stderr=subprocess.PIPE, text=True)
    extract_on_ray(split, names, backbone)
    before = times(folder)
    _, told = other.communicate(timeout=120)
    assert other.returncode == 0, told
    assert times(folder) == before and len(before) == 8


def test_matches_are_those_without_ray_and_a_bad_one_costs_only_itself(
    nodes, tmp_path, model, monkeypatch, capsys
):
    path = tmp_path / "best_model.pth"
    save_model(path, model, "random (seed 0)", synthetic=True)
    found = {}
    for where in ("here", "cluster"):
        (tmp_path / where).mkdir()
        for k in range(2):
            write_video(tmp_path / where / f"m{k}.mp4", "30", 60 + k)
        (tmp_path / where / "bad.mp4").write_bytes(b"no video")
        spread = ["--ray", nodes.address] if where == "cluster" else []
        monkeypatch.setattr(cluster, "connect", lambda address: None)
        monkeypatch.setattr(detecting_rallies, "connect", lambda address: None)  # it is, here
        arguments = [str(tmp_path / where), "--model", str(path), "--hop-sec", "0.1", *spread]
        assert detecting_rallies.main(arguments) == 1
        told = capsys.readouterr()
        assert "m0.mp4: " in told.out and "m1.mp4: " in told.out and "bad.mp4" in told.err
        found[where] = {
            file.relative_to(tmp_path / where): file.read_bytes()
            for pattern in ("*/rallies.csv", "*/probabilities.csv", "*/features/*/*.safetensors")
            for file in (tmp_path / where).glob(pattern)
        }
    assert len(found["here"]) == 6
    assert found["here"] == found["cluster"]


@pytest.mark.parametrize(
    ("ray_option", "names", "expected"),
    [
        (None, ["Data/train"], (None, ["Data/train"])),
        ("", ["Data/train"], ("", ["Data/train"])),
        ("Data/train", [], ("", ["Data/train"])),
        ("10.0.0.5:6379", ["m"], ("10.0.0.5:6379", ["m"])),
        ("ray://head:10001", ["m"], ("ray://head:10001", ["m"])),
        ("s3://bucket/train", [], ("", ["s3://bucket/train"])),
        ("auto", ["m"], ("auto", ["m"])),
    ],
)
def test_the_address_may_be_left_out_before_a_folder(ray_option, names, expected):
    assert split_address(ray_option, names) == expected


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-cluster\.txt"):
        connect("")


def test_a_cluster_that_does_not_answer_is_named():
    told = subprocess.run(
        [sys.executable, "features.py", "Data", "--weights", "random", "--ray", "127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=REPO,
    )
    assert told.returncode == 1 and "no Ray cluster answers at 127.0.0.1:9" in told.stderr
    assert "Traceback" not in told.stderr


def test_asking_for_no_cluster_imports_neither_ray_nor_torch():
    script = "import sys, detecting_rallies; print({'ray', 'torch'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO)
    assert told.stdout == "set()\n"
