"""A real Ray cluster on this machine: a head without cores and two nodes of one core each."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import detecting_rallies
from conftest import write_sequence, write_video
from extraction import ray_cluster
from extraction.features import extract_features, features_dir, list_sequences
from extraction.ray_cluster import as_path, choose_precision, connect, extract_on_ray, split_address
from files import UserError
from model import save_model

ray = pytest.importorskip("ray", reason="needs pip install -r requirements-ray_cluster.txt")
REPO = Path(__file__).parent.parent
FRAMES = 8  # of a sequence here


@pytest.fixture(scope="module")
def nodes():
    """The cluster, this process its driver; who kills a node adds another in its place."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(num_cpus=1)
    connect(started.address, ship=False)  # these nodes share the folder that it would be sent to
    yield started
    ray.shutdown()
    started.shutdown()


def write_split(split: Path, count: int) -> list[str]:
    names = [f"seq_{k:05d}" for k in range(1, count + 1)]
    for k, name in enumerate(names):
        write_sequence(split / "sequences" / name, k % 2, seed=k, frames=FRAMES)
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
    deadline = time.monotonic() + 300
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def job(nodes, backbone, tmp_path_factory):
    """Two jobs at once on one folder with a bad sequence; a worker, then a whole node is killed.

    Gives the split, its names, what the jobs raised, and the times of the files at each kill and
    when the first job had ended.
    """
    split = tmp_path_factory.mktemp("cluster") / "train"
    names = write_split(split, 40)
    (split / "sequences" / names[2] / "00002.jpg").write_bytes(b"no picture")
    folder = features_dir(split, backbone)
    raised, told = {}, {}

    def extract(which: str) -> None:
        try:
            extract_on_ray(split, names, backbone, seq_frames=FRAMES, precision="fp32")
        except UserError as error:
            told[f"{which} job ended"] = times(folder)
            raised[which] = str(error)

    jobs = [threading.Thread(target=extract, args=(which,)) for which in ("first", "second")]
    jobs[0].start()
    first, second = nodes.worker_nodes
    wait_until(lambda: len(times(folder)) >= 6 and workers_of(first), "no work was done")
    jobs[1].start()
    subprocess.run(["kill", "-9", *map(str, workers_of(first))], check=True)
    told["worker killed"] = times(folder)
    count = len(told["worker killed"])
    wait_until(lambda: len(times(folder)) >= count + 4, "nothing went on")
    nodes.remove_node(second, allow_graceful=False)
    told["node killed"] = times(folder)
    nodes.add_node(num_cpus=1)
    for each in jobs:
        each.join(timeout=500)
        assert not each.is_alive()
    return split, names, raised, told


def test_a_killed_worker_and_a_killed_node_cost_only_what_was_not_saved(job, backbone):
    split, names, _, told = job
    folder = features_dir(split, backbone)
    assert len(told["worker killed"]) < len(told["node killed"]) < len(names) - 1
    assert sorted(times(folder)) == [f"{name}.safetensors" for name in names if name != names[2]]
    assert not list(folder.glob(".*.part"))
    for kill in ("worker killed", "node killed"):  # what was saved stayed as it was
        assert times(folder) == times(folder) | told[kill]


def test_a_sequence_that_cannot_be_read_is_named_at_the_end_and_costs_only_itself(job):
    split, names, raised, _ = job
    assert raised["first"].startswith(f"1 of 40 sequences of {split} have no features")
    assert f"{names[2]}: frame 2 is no readable image" in raised["first"]


def test_two_jobs_on_one_folder_do_no_harm(job, backbone):
    split, _, raised, told = job
    assert raised["second"] == raised["first"]
    assert times(features_dir(split, backbone)) == told["first job ended"]


def test_features_are_those_without_ray_to_the_bit(job, backbone, tmp_path):
    split, names, _, _ = job
    alone = tmp_path / "train"
    shutil.copytree(split / "sequences", alone / "sequences")
    for path in (split / "sequences").rglob("*.jpg"):  # times are part of the files
        shutil.copystat(path, alone / path.relative_to(split))
    some = [name for name in names[:8] if name != names[2]]
    folder = extract_features(alone, some, backbone, seq_frames=FRAMES, precision="fp32")
    on_ray = contents(features_dir(split, backbone))
    assert contents(folder) == {name: on_ray[name] for name in contents(folder)}


def test_the_code_goes_to_the_workers_by_itself(nodes, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(REPO)!r})\n"
        "import ray; from extraction.ray_cluster import connect\n"
        f"connect({nodes.address!r})\n"
        "print(ray.get(ray.remote(lambda: __import__('files').__file__).remote()))\n"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    found = Path(told.stdout.strip())
    assert found.name == "files.py" and found.parent != REPO, told.stderr


def run_here(actor, about, items, most):
    """map_on_actors without workers, in this process."""
    rows = actor(*about)({"item": items})
    yield from (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))


def test_a_folder_by_address_is_read_and_written_through_fsspec(
    nodes, tmp_path, backbone, monkeypatch
):
    monkeypatch.setattr(ray_cluster, "map_on_actors", run_here)  # no memory:// in common
    write_split(tmp_path / "train", 2)
    split = as_path("memory://bucket/train")
    split.fs.put(str(tmp_path / "train"), "/bucket/", recursive=True)
    names = list_sequences(split)
    assert names == ["seq_00001", "seq_00002"]
    folder = extract_on_ray(split, names, backbone, seq_frames=FRAMES)
    by_address = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert str(folder).startswith("memory:") and len(by_address) == 2
    alone = extract_features(tmp_path / "train", names, backbone, seq_frames=FRAMES)
    for name, data in contents(alone).items():
        numbers = FRAMES * 512 * 4  # bytes: no times of frames go with these
        assert data[-numbers:] == by_address[name][-numbers:]


@pytest.mark.parametrize("address", ["nokind://bucket/train", "gs://bucket/train"])
def test_an_address_of_a_kind_that_is_not_installed_is_named(address):
    with pytest.raises(UserError, match=address):
        as_path(address)


def test_a_full_disk_ends_the_job_in_its_own_words(nodes, tmp_path, backbone, monkeypatch):
    def full(path, data):
        raise UserError(f"cannot write {path.name}: No space left on device")

    monkeypatch.setattr(ray_cluster, "map_on_actors", run_here)
    monkeypatch.setattr("extraction.features.write_whole", full)
    names = write_split(tmp_path / "train", 2)
    with pytest.raises(UserError, match="^cannot write seq_00001.safetensors: No space left"):
        extract_on_ray(tmp_path / "train", names, backbone, seq_frames=FRAMES)


def test_all_workers_have_the_precision_picked(nodes, pick):
    assert choose_precision("auto") == pick


def test_no_items_are_no_job():
    assert list(ray_cluster.map_on_actors(None, (), [], 1)) == []


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


@pytest.mark.parametrize("name", ["10.0.0.5", "cluster-head", "[::1]:6379"])
def test_what_is_neither_a_folder_nor_an_address_is_named_at_once(name):
    with pytest.raises(UserError, match="neither there nor an address, HOST:PORT"):
        split_address(name, ["Data/train"])


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "head:port"])
def test_a_ray_address_of_another_form_is_named(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match="RAY_ADDRESS is .*HOST:PORT"):
        connect("")


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-cluster\.txt"):
        connect("")


def test_a_cluster_that_does_not_answer_is_named():
    with pytest.raises(UserError, match="no Ray cluster answers at 127.0.0.1:9 .*ray start"):
        connect("127.0.0.1:9")


def test_asking_for_no_cluster_imports_neither_ray_nor_torch():
    script = "import sys, detecting_rallies; print({'ray', 'torch'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO)
    assert told.stdout == "set()\n"
