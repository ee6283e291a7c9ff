"""Kills of workers and of nodes of a real Ray cluster: a head without cores, two nodes of one."""

import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs pip install -r requirements-cluster.txt")
pytest.importorskip("upath", reason="needs pip install -r requirements-cluster.txt")

import ray
from ray.cluster_utils import Cluster

from conftest import feature_files, write_sequences
from extraction.features import extract_features, features_dir
from extraction.ray_cluster import connect
from extraction.ray_extraction import extract_on_ray
from files import UserError

pytestmark = pytest.mark.cluster
FRAMES = 8  # of a sequence here
PRECISION = "fp32"


@pytest.fixture(scope="module")
def nodes():
    """The cluster, with this process as driver. A test that kills a node adds another."""
    head = {"num_cpus": 0, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(num_cpus=1)
    connect(started.address)
    yield started
    ray.shutdown()
    started.shutdown()


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


def workers_of(node) -> list[int]:
    """The ids of the processes that encode on a node of the cluster."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = subprocess.run(
        ["pgrep", "-P", str(raylet), "-f", "ray::.*MapWorker"], capture_output=True, text=True
    )
    return [int(line) for line in found.stdout.split()]


def wait_until(ready, job: threading.Thread, what: str) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert job.is_alive() and time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def job(nodes, backbone, tmp_path_factory):
    """Two jobs at once on one folder with a bad sequence; a worker, then a whole node is killed.

    Gives the split, its names, what the jobs raised, and the times of the files at each kill and
    when the first job had ended.
    """
    split = tmp_path_factory.mktemp("cluster") / "train"
    names = write_sequences(split, 40, FRAMES)
    (split / "sequences" / names[2] / "00002.jpg").write_bytes(b"no picture")
    folder = features_dir(split, backbone, PRECISION)
    raised, told = {}, {}

    def extract(which: str) -> None:
        try:
            extract_on_ray(split, names, backbone, seq_frames=FRAMES, precision=PRECISION)
        except UserError as error:
            told[f"{which} job ended"] = times(folder)
            raised[which] = str(error)

    jobs = [threading.Thread(target=extract, args=(which,)) for which in ("first", "second")]
    jobs[0].start()
    first, second = nodes.worker_nodes
    wait_until(lambda: len(times(folder)) >= 6 and workers_of(first), jobs[0], "no work was done")
    jobs[1].start()
    subprocess.run(["kill", "-9", *map(str, workers_of(first))], check=True)
    told["worker killed"] = times(folder)
    count = len(told["worker killed"])
    wait_until(lambda: len(times(folder)) >= count + 4, jobs[0], "nothing went on")
    nodes.remove_node(second, allow_graceful=False)
    told["node killed"] = times(folder)
    nodes.add_node(num_cpus=1)
    for each in jobs:
        each.join(timeout=500)
        assert not each.is_alive()
    return split, names, raised, told


def test_a_killed_worker_and_a_killed_node_cost_only_what_was_not_saved(job, backbone):
    split, names, _, told = job
    folder = features_dir(split, backbone, PRECISION)
    assert len(told["worker killed"]) < len(told["node killed"]) < len(names) - 1
    assert sorted(times(folder)) == [f"{name}.safetensors" for name in names if name != names[2]]
    assert not list(folder.glob(".*.part"))
    for kill in ("worker killed", "node killed"):  # what was saved stayed as it was
        assert times(folder) == times(folder) | told[kill]


def test_an_unreadable_sequence_is_named_at_the_end_and_does_not_stop_the_others(job):
    split, names, raised, _ = job
    assert raised["first"].startswith(f"could not read 1 of 40 sequences in {split} ")
    assert f"{names[2]}: frame 2 is not a readable image" in raised["first"]


def test_two_jobs_on_one_folder_give_the_same_files(job, backbone):
    split, _, raised, told = job
    assert raised["second"] == raised["first"]
    assert times(features_dir(split, backbone, PRECISION)) == told["first job ended"]


def test_after_the_kills_features_are_those_without_ray_to_the_bit(job, backbone, tmp_path):
    split, names, _, _ = job
    shutil.copytree(split / "sequences", tmp_path / "train" / "sequences")  # with their times
    some = [name for name in names[:8] if name != names[2]]
    folder = extract_features(
        tmp_path / "train", some, backbone, seq_frames=FRAMES, precision=PRECISION
    )
    on_ray = feature_files(features_dir(split, backbone, PRECISION))
    assert feature_files(folder) == {name: on_ray[name] for name in feature_files(folder)}
