import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss

import train_utils
from dataset import FeatureDataset
from extraction.features import save_features
from files import UserError
from model import RES_LSTM, ModelConfig, load_model
from train_utils import TrainConfig, epochs_since_best, evaluate, fit, seed_everything


class Features(torch.utils.data.Dataset):
    """Random features (N, 30, 512) in which class 1 is shifted by `shift`."""

    def __init__(self, count, seed, shift=0.5):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 2
        noise = torch.randn(count, 30, 512, generator=generator)
        self.features = noise + shift * labels.view(-1, 1, 1)
        self.table = pd.DataFrame({"label": labels.numpy()})
        self.labels = labels.float()

    def __len__(self):
        return len(self.table)

    def __getitem__(self, k):
        return self.features[k], self.labels[k]

    def plain_batches(self, size):
        return self.features.split(size)


def run(backbone, run_dir, seed=0, shift=0.5, **settings):
    seed_everything(seed)
    model = RES_LSTM(backbone)
    config = TrainConfig(seed=seed, **{"max_epochs": 3, **settings})
    sets = Features(22, 1, shift), Features(10, 2, shift)
    return model, fit(model, *sets, config, run_dir, "random (seed 0)")


def test_training_learns_and_prints_as_the_original_did(backbone, tmp_path, capsys):
    _, history = run(backbone, tmp_path, learning_rate=1e-3, max_epochs=5)
    printed = capsys.readouterr()
    assert history["val_loss"].iloc[-1] < history["val_loss"].iloc[0] < 0.7
    assert history["val_accuracy"].iloc[-1] == 1
    first = history.iloc[0]
    assert printed.out.startswith(
        f"Epoch 01 | Train Loss: {first.train_loss:.3f}, Acc: {first.train_accuracy:.2%} | "
        f"Val Loss: {first.val_loss:.3f}, Acc: {first.val_accuracy:.2%}\nimproved\n"
    )
    assert "Training" in printed.err and "Evaluating" in printed.err


def test_the_same_seed_gives_the_same_history_to_the_last_digit(backbone, tmp_path):
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        run(backbone, tmp_path / name, seed)
    a, b, c = ((tmp_path / name / "history.csv").read_bytes() for name in "abc")
    assert a == b != c


def test_a_run_writes_config_history_and_the_best_model(backbone, tmp_path):
    _, history = run(backbone, tmp_path)
    written = pd.read_csv(tmp_path / "history.csv")
    pd.testing.assert_frame_equal(written, history)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["train"]["learning_rate"] == 1e-4 and config["train"]["batch_size"] == 4
    assert config["backbone_weights"] == "random (seed 0)" and config["model"]["dropout"] == 0.3
    best, checkpoint = load_model(tmp_path / "best_model.pth")
    epoch = checkpoint["about"]["epoch"]
    loss, _ = evaluate(best, Features(10, 2))
    assert loss == pytest.approx(history["val_loss"].min(), abs=1e-6)
    assert history["val_loss"].idxmin() + 1 == epoch


def test_evaluate_counts_every_sequence_once_for_any_batch_size(model):
    part = Features(11, 3)
    loss, probs = evaluate(model, part, batch_size=4)
    labels = part.table["label"].to_numpy()
    assert loss == pytest.approx(log_loss(labels, probs.astype(float)), abs=1e-5)
    assert evaluate(model, part, batch_size=11)[0] == pytest.approx(loss, abs=1e-6)
    with torch.no_grad():
        expected = torch.sigmoid(model.eval().classify(part.features)).squeeze(1).numpy()
    np.testing.assert_allclose(probs, expected, atol=1e-6)


def test_evaluation_uses_view_0_and_training_draws_from_all_views(model, tmp_path):
    views = torch.randn(3, 4, 30, 512)
    for k, features in enumerate(views):
        save_features(tmp_path / f"{k}.safetensors", features, "")
    table = pd.DataFrame({"sequence": ["0", "1", "2"], "label": [0, 1, 0]})
    plain, augmented = (FeatureDataset(tmp_path, table, count) for count in (1, 4))
    assert np.array_equal(evaluate(model, augmented)[1], evaluate(model, plain)[1])
    drawn = {float(augmented[0][0][0, 0]) for _ in range(50)}
    assert drawn == {float(view[0, 0]) for view in views[0]}


def test_training_loss_and_accuracy_are_means_over_sequences(backbone, monkeypatch):
    seed_everything(0)
    # Without dropout, a learning rate of 0 makes the epoch an evaluation.
    model = RES_LSTM(backbone, ModelConfig(dropout=0.0))
    part = Features(11, 3)
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.0)
    loader = torch.utils.data.DataLoader(part, 4)
    criterion = torch.nn.BCEWithLogitsLoss()
    loss, accuracy = train_utils.train_one_epoch(model, loader, optimizer, criterion)
    expected, probs = evaluate(model, part)
    assert loss == pytest.approx(expected, abs=1e-6)
    assert accuracy == pytest.approx(accuracy_score(part.table["label"], probs > 0.5))


def test_training_stops_when_validation_no_longer_improves(backbone, tmp_path, monkeypatch, capsys):
    losses = iter([0.6, 0.5, 0.55, 0.52, 0.51, 0.4])
    monkeypatch.setattr(train_utils, "evaluate", lambda *a: (next(losses), np.full(10, 0.3)))
    _, history = run(backbone, tmp_path, max_epochs=20, patience=3)
    assert len(history) == 5
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if not line.startswith("Epoch")] == [
        *("improved", "improved", "not improved", "not improved", "not improved"),
        "Early stopping triggered!",
    ]
    assert load_model(tmp_path / "best_model.pth")[1]["about"]["epoch"] == 2


@pytest.mark.parametrize(
    ("val_losses", "count"), [([3.0], 0), ([3, 2, 1], 0), ([1, 2, 3], 2), ([3, 1, 1, 2], 2)]
)
def test_a_loss_equal_to_the_best_is_not_an_improvement(val_losses, count):
    assert epochs_since_best(val_losses) == count


def test_a_nan_loss_stops_training_with_a_message(backbone, tmp_path):
    with pytest.raises(
        UserError, match="training loss became nan after 0 sequences.*learning rate"
    ):
        run(backbone, tmp_path, shift=float("nan"))


def test_ctrl_c_keeps_the_best_model_and_prints_its_path(backbone, tmp_path, monkeypatch, capsys):
    train, calls = train_utils.train_one_epoch, iter(range(9))

    def interrupted(*args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return train(*args)

    monkeypatch.setattr(train_utils, "train_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(backbone, tmp_path, max_epochs=9)
    printed = capsys.readouterr().out
    assert "Interrupted: the best model so far (epoch 2, " in printed
    assert f"is {tmp_path / 'best_model.pth'}\n" in printed
    assert load_model(tmp_path / "best_model.pth")[1]["about"]["epoch"] == 2
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2


def test_a_full_disk_while_saving_keeps_the_last_checkpoint(backbone, tmp_path, monkeypatch):
    run(backbone, tmp_path, max_epochs=1)
    before = (tmp_path / "best_model.pth").read_bytes()
    fsync, calls = os.fsync, iter(range(99))

    def full(descriptor):
        if next(calls) == 2:  # config.json and its folder are first, then the model
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="best_model.pth: No space left"):
        run(backbone, tmp_path, seed=5, max_epochs=1)
    assert (tmp_path / "best_model.pth").read_bytes() == before


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0}, {"batch_size": 0}, {"max_epochs": 0}, {"patience": 0}]
)
def test_invalid_settings_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        TrainConfig(**wrong)
