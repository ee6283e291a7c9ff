import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

import labeling
from annotation import suggestions
from annotation.suggestions import in_doubt_first, most_disputed_first
from conftest import write_data
from dataset import FeatureDataset
from extraction.features import extract_features
from files import UserError
from metrics import save_predictions
from model import RES_LSTM, ModelConfig, save_model
from train_utils import evaluate

load_probs = partial(suggestions.load_probs, predict=labeling.predict)
NAMES = ["seq_00001", "seq_00002", "seq_00003", "seq_00004"]


@pytest.fixture
def predictions(tmp_path):
    """A run's predictions.csv: train and test have the same names, but other probabilities."""
    tables = {
        split: pd.DataFrame({"sequence": NAMES, "label": [1, 0, 1, 0]})
        for split in ("train", "test")
    }
    probs = {"train": np.array([0.9, 0.1, 0.5, 0.25]), "test": np.array([0.8, 0.7, 0.6, 0.3])}
    save_predictions(tmp_path / "predictions.csv", tables, probs)
    return tmp_path / "predictions.csv"


@pytest.mark.parametrize("split", ["validation", "test", "Train", "training"])
def test_other_splits_than_train_are_refused_with_the_reason(predictions, tmp_path, split):
    with pytest.raises(UserError, match="for train only: .*would be too good"):
        load_probs(predictions, tmp_path / "Data" / split, NAMES)


def test_predictions_are_those_of_the_requested_sequences_of_train(predictions, tmp_path):
    asked = [NAMES[2], NAMES[0], "seq_99999"]
    found = load_probs(predictions, tmp_path / "Data" / "train", asked)
    assert found == {NAMES[2]: 0.5, NAMES[0]: 0.9}


def test_predictions_of_other_sequences_only_are_refused(predictions, tmp_path):
    with pytest.raises(UserError, match="predictions.csv has no prediction for any sequence of"):
        load_probs(predictions, tmp_path / "Data" / "train", ["seq_99999"])


@pytest.mark.parametrize("value", ["1.2", "-0.1", "nan", "often", "inf", ""])
def test_an_invalid_probability_is_refused_with_its_sequence(tmp_path, value):
    path = tmp_path / "p.csv"
    path.write_text(f"sequence,probability,split\na,0.5,train\nb,{value},train\n")
    with pytest.raises(
        UserError, match=f"of b is {value or 'missing'}; it must be between 0 and 1"
    ):
        load_probs(path, tmp_path / "train", ["a", "b"])


def test_rows_of_other_splits_are_ignored(tmp_path):
    (tmp_path / "p.csv").write_text("sequence,probability,split\na,0.5,train\na,much,test\n")
    assert load_probs(tmp_path / "p.csv", tmp_path / "train", ["a"]) == {"a": 0.5}


def test_probabilities_of_exactly_0_and_1_are_probabilities(tmp_path):
    (tmp_path / "p.csv").write_text("sequence,probability,split\na,0,train\nb,1,train\n")
    assert load_probs(tmp_path / "p.csv", tmp_path / "train", ["a", "b"]) == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize("name", ["best_model.pt", "metrics.json", "run"])
def test_files_of_another_kind_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"{name} is neither a run's best_model.pth nor its pred"):
        load_probs(tmp_path / name, tmp_path / "train", NAMES)


@pytest.mark.parametrize("name", ["best_model.pth", "predictions.csv"])
def test_files_that_are_missing_or_damaged_are_named(tmp_path, name):
    with pytest.raises(UserError, match=name):
        load_probs(tmp_path / name, tmp_path / "train", NAMES)
    (tmp_path / name).write_bytes(b"\x00\xff")
    with pytest.raises(UserError, match=name):
        load_probs(tmp_path / name, tmp_path / "train", NAMES)


def test_a_saved_model_gives_the_probabilities_of_evaluate(data, model, tmp_path, pick):
    save_model(tmp_path / "best_model.pth", model, "random (seed 0)")
    names = NAMES[:2]
    found = load_probs(tmp_path / "best_model.pth", data / "train", names)
    table = pd.DataFrame({"sequence": names, "label": [1, 0]})
    folder = extract_features(data / "train", names, model.backbone)
    _, expected = evaluate(model, FeatureDataset(folder, table))
    assert list(found) == names
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-6)
    assert abs(expected[0] - expected[1]) > 1e-5  # else a wrong order would pass


@pytest.fixture
def short(tmp_path, backbone):
    """(a split of sequences of 3 frames, a model for them)."""
    root = write_data(tmp_path / "Short", counts=(3, 1, 1), frames=3)
    model = RES_LSTM(backbone, ModelConfig(seq_frames=3))
    save_model(tmp_path / "best_model.pth", model, "random (seed 0)")
    return root / "train", tmp_path / "best_model.pth"


def test_broken_sequences_are_skipped_and_named(short, capsys):
    split_dir, path = short
    (split_dir / "sequences" / NAMES[1] / "00002.jpg").unlink()
    assert list(load_probs(path, split_dir, NAMES[:3])) == [NAMES[0], NAMES[2]]
    assert "seq_00002: 2 frames instead of 3" in capsys.readouterr().err


def test_a_model_of_another_frame_rate_is_refused(short, backbone, tmp_path):
    of_10 = RES_LSTM(backbone, ModelConfig(seq_frames=3, fps=10.0))
    save_model(tmp_path / "of_10.pth", of_10, "random (seed 0)")
    with pytest.raises(
        UserError, match="seq_00001 has 30 frames per second, .* trained on 10: use"
    ):
        load_probs(tmp_path / "of_10.pth", short[0], NAMES[:1])


def test_a_full_disk_is_an_error(short, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("files.os.fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        load_probs(short[1], short[0], NAMES[:2])


def test_a_sequence_that_broke_after_its_features_were_saved_is_skipped_too(short):
    split_dir, path = short
    assert list(load_probs(path, split_dir, NAMES[:2])) == NAMES[:2]
    (split_dir / "sequences" / NAMES[1] / "00002.jpg").write_bytes(b"")
    assert list(load_probs(path, split_dir, NAMES[:2])) == NAMES[:1]


def test_a_replaced_sequence_gets_a_new_prediction(short):
    split_dir, path = short
    before = load_probs(path, split_dir, NAMES[:2])
    shutil.rmtree(split_dir / "sequences" / NAMES[0])
    shutil.copytree(split_dir / "sequences" / NAMES[1], split_dir / "sequences" / NAMES[0])
    after = load_probs(path, split_dir, NAMES[:2])
    assert after[NAMES[0]] == pytest.approx(before[NAMES[1]], abs=1e-6)
    assert after[NAMES[0]] != pytest.approx(before[NAMES[0]], abs=1e-6)


def test_a_model_of_another_sequence_length_is_refused(short, model, tmp_path):
    save_model(tmp_path / "of_30.pth", model, "random (seed 0)")
    with pytest.raises(UserError, match="of_30.pth has no prediction for any sequence of"):
        load_probs(tmp_path / "of_30.pth", short[0], NAMES[:1])


def test_uncertain_sequences_come_first_then_unknown_then_labelled_ones():
    probs = {"sure": 0.99, "even": 0.5, "near": 0.42, "far": 0.1, "done": 0.5, "odd": 0.6}
    names = ["done", "sure", "unknown", "far", "odd", "near", "even"]
    labels = {"done": "1", "odd": "maybe"}  # "maybe" is not a label
    expected = ["even", "near", "odd", "far", "sure", "unknown", "done"]
    assert in_doubt_first(names, labels, probs) == expected
    assert sorted(names) == sorted(expected)


def test_equally_uncertain_sequences_keep_their_order():
    names = ["seq_1", "seq_2", "seq_10"]
    assert in_doubt_first(names, {}, {"seq_1": 0.25, "seq_2": 0.75, "seq_10": 0.25}) == names
    assert in_doubt_first(names, {}, {}) == names


def test_the_most_disputed_labels_come_first_without_the_unlabelled():
    probs = {"right": 0.9, "wrong": 0.95, "half": 0.5, "none": 0.5, "bad": 0.0}
    labels = {"right": "1", "wrong": "0", "half": "1", "unknown": "0", "bad": "0 and 1"}
    names = ["unknown", "right", "half", "none", "bad", "wrong"]
    assert most_disputed_first(names, labels, probs) == ["wrong", "half", "right", "unknown"]


def test_without_a_model_labelled_sequences_keep_their_order():
    assert most_disputed_first(["b", "a", "c"], {"a": "0", "b": "1"}, {}) == ["b", "a"]


def test_suggestions_from_a_table_import_no_torch(predictions, tmp_path):
    code = (
        "import sys; from pathlib import Path; from annotation.suggestions import load_probs\n"
        "found = load_probs(Path(sys.argv[1]), Path('train'), ['seq_00001'], None)\n"
        "print(found, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, predictions]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.stdout == "{'seq_00001': 0.9} False\n", told.stderr
