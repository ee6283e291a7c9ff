"""Extraction and detection on a local Ray: the same files, the same bits, clear errors.

test_ray_cluster.py (make test-cluster) kills workers and whole nodes.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs pip install -r requirements-cluster.txt")
pytest.importorskip("upath", reason="needs pip install -r requirements-cluster.txt")

import ray

import detecting_rallies
import features
from conftest import feature_files, write_sequences, write_video
from extraction import ray_cluster, ray_extraction
from extraction.encoder import pick_precision
from extraction.features import extract_features, features_dir, list_sequences
from extraction.ray_cluster import as_path, choose_precision, connect, map_on_actors
from extraction.ray_extraction import extract_on_ray
from files import UserError
from marked_data import write_marked
from model import save_model
from web.page import read_page

FRAMES = 4  # of a sequence here


@pytest.fixture(scope="module")
def local():
    """A Ray on this machine's cores, with this process as driver. GPUs are hidden: precision "auto"
    depends on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        connect("local")
        yield
        ray.shutdown()


def test_features_equal_those_without_ray_and_a_bad_sequence_does_not_stop_the_others(
    local, tmp_path, backbone
):
    split, alone = tmp_path / "ray" / "train", tmp_path / "alone" / "train"
    names = write_sequences(split, 8, FRAMES)
    (split / "sequences" / names[2] / "00002.jpg").write_bytes(b"no picture")
    shutil.copytree(split / "sequences", alone / "sequences")  # with times, part of the files
    with pytest.raises(UserError) as caught:
        extract_on_ray(split, names, backbone, seq_frames=FRAMES)
    assert str(caught.value).startswith(f"could not read 1 of 8 sequences in {split} ")
    assert f"{names[2]}: frame 2 is not a readable image" in str(caught.value)
    good = [name for name in names if name != names[2]]
    folder = extract_features(alone, good, backbone, seq_frames=FRAMES)
    on_ray = feature_files(features_dir(split, backbone, pick_precision("auto", "cpu")))
    assert sorted(on_ray) == [f"{name}.safetensors" for name in good]
    assert feature_files(folder) == on_ray


def test_all_workers_have_the_precision_picked(local, pick):
    assert choose_precision("auto") == pick
    assert choose_precision("fp32") == "fp32"


def test_only_code_is_sent_to_the_workers(local):
    folder, names = ray.get(ray.remote(lambda: (os.getcwd(), os.listdir())).remote())
    assert Path(folder) != ray_cluster.ROOT
    modules = {path.name for path in ray_cluster.ROOT.glob("*.py")}
    packages = {path.parent.name for path in ray_cluster.ROOT.glob("*/__init__.py")}
    assert {"files.py", "model.py"} <= modules and {"extraction", "output"} <= packages
    assert set(names) == modules | packages
    found = ray.get(ray.remote(lambda: __import__("media.video").__file__).remote())
    assert Path(found).is_relative_to(folder)
    page = Path("output/pages/report.html")
    there = ray.get(ray.remote(lambda: __import__("web.page").page.read_page(page)).remote())
    assert there == read_page(ray_cluster.ROOT / page)


def run_here(actor, about, items, most):
    """map_on_actors without workers, in this process."""
    rows = actor(*about)({"item": items})
    yield from (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))


def test_a_folder_by_address_is_read_and_written_through_fsspec(
    local, tmp_path, backbone, monkeypatch
):
    # Workers could not see memory://, which belongs to this process.
    monkeypatch.setattr(ray_extraction, "map_on_actors", run_here)
    write_sequences(tmp_path / "train", 2, FRAMES)
    split = as_path("memory://bucket/train")
    split.fs.put(str(tmp_path / "train"), "/bucket/", recursive=True)
    names = list_sequences(split)
    assert names == ["seq_00001", "seq_00002"]
    folder = extract_on_ray(split, names, backbone, seq_frames=FRAMES)
    by_address = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert str(folder).startswith("memory:") and len(by_address) == 2
    alone = extract_features(tmp_path / "train", names, backbone, seq_frames=FRAMES)
    for name, data in feature_files(alone).items():
        numbers = FRAMES * 512 * 4  # bytes: no times of frames go with these
        assert data[-numbers:] == by_address[name][-numbers:]


def test_a_full_disk_stops_the_job_with_its_message(local, tmp_path, backbone, monkeypatch):
    def full(path, data):
        raise UserError(f"cannot write {path.name}: No space left on device")

    monkeypatch.setattr(ray_extraction, "map_on_actors", run_here)
    monkeypatch.setattr("extraction.features.write_whole", full)
    names = write_sequences(tmp_path / "train", 2, FRAMES)
    with pytest.raises(UserError, match="^cannot write seq_00001.safetensors: No space left"):
        extract_on_ray(tmp_path / "train", names, backbone, seq_frames=FRAMES)


def test_no_items_start_no_job():
    assert list(map_on_actors(None, (), [], 1)) == []


def test_matches_equal_those_without_ray_and_a_bad_one_does_not_stop_the_others(
    local, tmp_path, model, monkeypatch, capsys
):
    path = tmp_path / "best_model.pth"
    save_model(path, model, "random (seed 0)", synthetic=True)
    found = {}
    for where in ("here", "ray"):
        (tmp_path / where).mkdir()
        for k in range(2):
            write_video(tmp_path / where / f"m{k}.mp4", "30", 60 + k)
        (tmp_path / where / "bad.mp4").write_bytes(b"no video")
        spread = ["--ray"] if where == "ray" else []
        monkeypatch.setattr(ray_cluster, "connect", lambda address: None)  # already connected
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
    assert found["here"] == found["ray"]


def test_folds_equal_those_without_ray_and_a_failure_is_named(
    local, tmp_path, model, monkeypatch, capsys
):
    monkeypatch.setattr(ray_cluster, "connect", lambda address: None)  # already connected
    footage = write_video(tmp_path / "m.mp4", "30", 180)
    splits = {"a": "train", "b": "validation", "c": "test"}
    found = {}
    for where, spread in (("here", []), ("ray", ["--ray"])):
        data = write_marked(tmp_path / where / "Data", footage, splits)
        for name in splits:
            (data / "matches" / f"{name}.csv").write_text("start_sec,end_sec\n1,3\n")
        path = tmp_path / where / "best_model.pth"
        save_model(path, model, "random (seed 0)", synthetic=True)
        command = ["fit", "--model", str(path), "--data", str(data), "--leave-one-out", *spread]
        command.append("--windows")  # no head to train: quick, and as much spread over workers
        assert detecting_rallies.main(command) == 0
        result = json.loads(path.with_name("leave_one_out.json").read_text())
        found[where] = {name: result[name] for name in ("matches", "mean_95", "folds")}
    assert set(found["here"]["matches"]) == set(splits)
    assert found["here"] == found["ray"]
    (data / "b.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"b\.mp4"):
        detecting_rallies.main(command)


@pytest.mark.parametrize("address", ["nokind://bucket/train", "gs://bucket/train"])
def test_an_address_of_a_kind_that_is_not_installed_is_named(address):
    with pytest.raises(UserError, match=address):
        as_path(address)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "head:port"])
def test_a_ray_address_of_another_form_is_named(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match="RAY_ADDRESS is .*HOST:PORT"):
        connect("")


def test_a_cluster_that_does_not_answer_is_named():
    with pytest.raises(UserError, match="no Ray cluster answers at 127.0.0.1:9 .*ray start"):
        connect("127.0.0.1:9")


@pytest.mark.parametrize("missing", ["ray", "upath"])
def test_without_ray_the_command_says_what_to_install(monkeypatch, tmp_path, missing):
    write_sequences(tmp_path / "train", 1, FRAMES)
    monkeypatch.setitem(sys.modules, missing, None)
    for module in ("extraction.ray_cluster", "extraction.ray_extraction"):
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UserError, match=r"pip install -r requirements-cluster\.txt"):
        features.main([str(tmp_path / "train"), "--weights", "random", "--ray"])
