"""The sample data set is drawn once, collected like real video, and labelled from ground truth."""

import json
import shutil

import pandas as pd
import pytest

from conftest import write_data
from dataset import load_splits
from files import UserError
from sample import data_set
from sample.data_set import build_sample, data_or_sample, label_from_truth

SMALL = {"train": [(1, 8)], "validation": [(6, 8)], "test": [(8, 8)]}  # 4 sequences per split


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The small sample that build_sample made: one match of 8 s per split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_set, "MATCHES", SMALL)
        return build_sample(tmp_path_factory.mktemp("drawn") / "sample")


@pytest.fixture
def small(monkeypatch):
    """Lets build_sample make the small sample."""
    monkeypatch.setattr(data_set, "MATCHES", SMALL)


@pytest.fixture
def without_drawing(drawn, monkeypatch):
    """Copies the videos of `drawn` instead of drawing them again."""

    def copy(jobs):
        for path, *_ in jobs:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                for suffix in (".mp4", ".csv"):
                    name = path.with_suffix(suffix).name
                    shutil.copy2(drawn / "videos" / name, path.with_suffix(suffix))

    monkeypatch.setattr(data_set, "draw_matches", copy)


def test_the_sample_has_10_matches_and_up_to_600_sequences():
    matches = data_set.MATCHES
    assert [len(matches[split]) for split in ("train", "validation", "test")] == [5, 2, 3]
    seeds = [seed for split in matches.values() for seed, _ in split]
    assert len(set(seeds)) == 10
    sequences = {
        split: sum(
            int((sec - data_set.SEQUENCE_SEC) / data_set.INTERVAL_SEC) for _, sec in of_split
        )
        for split, of_split in matches.items()
    }
    assert sequences["test"] >= 200 and 500 <= sum(sequences.values()) <= 600


def test_without_data_a_sample_is_made_that_load_splits_accepts(
    small, without_drawing, tmp_path, capsys
):
    folder, synthetic = data_or_sample(tmp_path)
    assert (folder, synthetic) == (tmp_path / "sample", True)
    assert "SYNTHETIC" in capsys.readouterr().out
    tables = load_splits(folder)
    assert [len(table) for table in tables.values()] == [4, 4, 4]
    assert "real matches" in json.loads((folder / "sample.json").read_text())["about"]


def test_building_the_sample_again_changes_nothing(small, drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "sample")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    build_sample(folder)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.name != ".lock"} == {
        p: t for p, t in before.items() if p.name != ".lock"
    }


def test_a_killed_build_resumes(small, without_drawing, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(data_set, "label_from_truth", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_sample(tmp_path)
    video = tmp_path / "videos" / "train_1.mp4"
    drawn = video.stat().st_mtime_ns
    build_sample(tmp_path)
    assert video.stat().st_mtime_ns == drawn
    assert len(pd.read_csv(tmp_path / "train" / "train.csv")) == 4


def test_a_sample_of_another_version_is_refused(small, tmp_path):
    (tmp_path / "sample.json").write_text('{"version": 0, "complete": true}')
    with pytest.raises(UserError, match="version 0, .* delete the folder and run again"):
        build_sample(tmp_path)


def test_existing_data_is_used_instead_of_the_sample(small, tmp_path):
    write_data(tmp_path, counts=(1, 1, 1))
    assert data_or_sample(tmp_path) == (tmp_path, False)
    assert not (tmp_path / "sample").exists()


def test_a_sample_never_overwrites_other_data(small, tmp_path):
    write_data(tmp_path, counts=(1, 1, 1))
    before = (tmp_path / "train" / "train.csv").read_bytes()
    with pytest.raises(UserError, match="holds data that is not the sample"):
        build_sample(tmp_path)
    assert (tmp_path / "train" / "train.csv").read_bytes() == before


def test_a_mistyped_folder_is_an_error_and_makes_no_sample(tmp_path):
    with pytest.raises(UserError, match="no such folder: .*Dta .check the spelling"):
        data_or_sample(tmp_path / "Dta")


def test_a_sequence_is_labelled_rally_if_at_least_half_of_it_is(tmp_path):
    starts = [4.4, 4.5, 5.0, 9.5, 9.6, 19.7]
    (tmp_path / "test").mkdir()
    (tmp_path / "videos").mkdir()
    rows = [[f"seq_{k:05d}", "videos/m.mp4", start, 30] for k, start in enumerate(starts, 1)]
    sources = pd.DataFrame(rows, columns=["sequence", "video", "start_sec", "fps"])
    sources.to_csv(tmp_path / "test" / "sequences.csv", index=False)
    truth = pd.DataFrame([[5, 10], [20, 20.2], [20.3, 24]], columns=["start_sec", "end_sec"])
    truth.to_csv(tmp_path / "videos" / "m.csv", index=False)
    label_from_truth(tmp_path, "test")
    labels = pd.read_csv(tmp_path / "test" / "test.csv")["label"].tolist()
    assert labels == [0, 1, 1, 1, 0, 1]  # the last has 0.2 s of one rally and 0.4 s of the next
