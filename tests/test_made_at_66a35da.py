"""Checkpoints and feature caches of commit 66a35da still work, and nothing is computed again."""

import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import detecting_rallies
from detection import match_features
from extraction import features
from extraction.features import extract_features, load_features
from model import load_model

MADE = Path(__file__).parent / "made_at_66a35da"
EXPECTED = json.loads((MADE / "expected.json").read_text())
NAMES = ["seq_00001", "seq_00002"]


@pytest.fixture
def made(tmp_path):
    """A copy of the old files, with the model unpacked."""
    folder = shutil.copytree(MADE, tmp_path / "made")
    packed = folder / "best_model.pth.xz"
    (folder / "best_model.pth").write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


@pytest.fixture(autouse=True)
def no_backbone(monkeypatch):
    """Makes every use of the backbone fail."""
    for module in (features, match_features):
        monkeypatch.setattr(module, "encode", None)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_old_model_on_old_features_gives_the_same_probabilities(made, precision):
    model, checkpoint = load_model(made / "best_model.pth")
    folder = extract_features(
        made / "train", NAMES, model.backbone, seq_frames=4, precision=precision
    )
    assert folder.name == EXPECTED["features"][precision]
    with torch.inference_mode():
        probs = [
            model.classify(load_features(folder / f"{name}.safetensors")[:1]).sigmoid().item()
            for name in NAMES
        ]
    assert probs == pytest.approx(EXPECTED["probabilities"][precision], abs=1e-5)
    assert model.config.class_names == ("calm", "play")
    assert checkpoint["about"] == {"synthetic": True, "epoch": 3}


def test_an_old_match_is_detected_again_from_its_saved_features(made, capsys):
    rallies = (made / "match_rallies" / "rallies.csv").read_bytes()
    arguments = ["--model", str(made / "best_model.pth"), "--precision", "fp32"]
    assert detecting_rallies.main([str(made / "match.mp4"), *arguments]) == 0
    assert "corrected" not in capsys.readouterr().out  # nobody changed the old table
    assert (made / "match_rallies" / "rallies.csv").read_bytes() == rallies
    found = pd.read_csv(made / "match_rallies" / "probabilities.csv")["probability"]
    assert np.allclose(found, EXPECTED["match_probabilities"], atol=1e-4)
    record = json.loads((made / "match_rallies" / "rallies.json").read_text())
    assert [(r["start_sec"], r["end_sec"]) for r in record["rallies"]] == [
        tuple(rally) for rally in EXPECTED["rallies"]
    ]
    assert record["speed"]["computed_sec"] == 0
