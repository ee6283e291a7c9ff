import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from conftest import write_data
from dataset import FeatureDataset, load_splits
from extraction import encoder
from extraction.backbones import build_backbone, normalise
from extraction.encoder import (
    build_encoder,
    count_streams,
    encode,
    encoding_pool,
    has_native_bf16,
    pick_precision,
)
from extraction.features import extract_features, features_dir
from files import UserError
from media.frames import read_sequence
from metrics import compute_metrics
from model import RES_LSTM, ModelConfig
from train_utils import evaluate, seed_everything, train_one_epoch


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    data = write_data(tmp_path_factory.mktemp("frames"), (1, 1, 1), frames=12)
    return torch.from_numpy(read_sequence(data / "train" / "sequences" / "seq_00001", 12))


@pytest.fixture(scope="module")
def uneven_backbone():
    """Random weights with batch norm statistics other than 0 and 1, as trained weights have."""
    backbone, _ = build_backbone("random")
    torch.manual_seed(0)
    for part in backbone.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.1, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return backbone


def plainly(backbone, frames):
    with torch.inference_mode():
        return backbone(normalise(frames)).flatten(1)


def test_fp32_features_match_the_backbone(uneven_backbone, frames):
    before = {name: value.clone() for name, value in uneven_backbone.state_dict().items()}
    fast = build_encoder(uneven_backbone)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fast.modules())
    features, expected = encode(fast, frames), plainly(uneven_backbone, frames)
    assert features.shape == (12, 512) and features.dtype == torch.float32
    assert torch.allclose(features, expected, rtol=1e-4, atol=1e-5)
    for name, value in uneven_backbone.state_dict().items():
        assert torch.equal(value, before[name])  # the original backbone is unchanged


def test_bf16_features_have_a_cosine_above_0_9999_to_fp32(uneven_backbone, frames):
    features = encode(build_encoder(uneven_backbone, precision="bf16"), frames)
    assert features.dtype == torch.float32
    cosine = torch.cosine_similarity(features, plainly(uneven_backbone, frames))
    assert cosine.min() > 0.9999
    assert cosine.max() < 1 - 1e-7  # bf16 really was used


def test_bf16_changes_a_trained_models_probabilities_by_at_most_0_005(tmp_path, backbone):
    data = write_data(tmp_path / "Data", (4, 2, 2), frames=4)
    tables = load_splits(data, seq_frames=4)
    sets = {}
    for precision, split in (("fp32", "train"), ("fp32", "test"), ("bf16", "test")):
        names = list(tables[split]["sequence"])
        folder = extract_features(data / split, names, backbone, 1, 4, "cpu", precision)
        sets[precision, split] = FeatureDataset(folder, tables[split])
    seed_everything(0)
    model = RES_LSTM(backbone, ModelConfig(seq_frames=4, dropout=0.0))
    model.standardise(sets["fp32", "train"].plain_batches())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    loader = torch.utils.data.DataLoader(sets["fp32", "train"], batch_size=4)
    for _ in range(20):
        train_one_epoch(model, loader, optimizer, torch.nn.BCEWithLogitsLoss())
    labels = tables["test"]["label"].to_numpy()
    probs = {p: evaluate(model, sets[p, "test"])[1] for p in ("fp32", "bf16")}
    assert probs["fp32"].max() - probs["fp32"].min() > 0.5  # the model learned something
    assert 0 < np.abs(probs["fp32"] - probs["bf16"]).max() <= 0.005
    for name in ("accuracy", "f1", "confusion"):
        metrics = [compute_metrics(labels, probs[p])[name] for p in ("fp32", "bf16")]
        assert metrics[0] == metrics[1]


@pytest.fixture
def own_pick(monkeypatch):
    """The real has_native_bf16, even if --pick replaces it in the other tests."""
    monkeypatch.setattr(encoder, "has_native_bf16", has_native_bf16)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_f": True}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16"),
        ({}, "fp32"),
    ],
)
def test_auto_is_bf16_only_where_the_processor_has_it(
    own_pick, monkeypatch, capabilities, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert pick_precision("auto", "cpu") == expected
    assert pick_precision("fp32", "cpu") == "fp32"
    assert pick_precision("bf16", "cpu") == "bf16"  # even if it is emulated and slow


def test_auto_is_bf16_on_gpus_that_do_not_emulate_it_and_fp32_on_macs(own_pick, monkeypatch):
    for native, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, native=native: native or including_emulation,
        )
        assert pick_precision("auto", "cuda") == expected
    assert pick_precision("auto", "mps") == "fp32"
    assert isinstance(has_native_bf16("cpu"), bool)


def test_an_unknown_precision_is_an_error_that_lists_the_choices():
    with pytest.raises(UserError, match="auto, fp32, bf16, not 'fp16'"):
        pick_precision("fp16", "cpu")


def test_each_precision_has_its_own_folder(tmp_path, backbone):
    one, other = (features_dir(tmp_path, backbone, p) for p in ("fp32", "bf16"))
    assert one != other and one.parent == other.parent


def test_pooled_features_are_bit_identical_for_any_number_of_cores(uneven_backbone, frames):
    fast = build_encoder(uneven_backbone)
    found = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        with encoding_pool("cpu") as pool:
            jobs = [pool.submit(encode, fast, frames) for _ in range(threads)]
            found += [job.result() for job in jobs]
    torch.set_num_threads(2)
    assert len(found) == 3 and all(torch.equal(features, found[0]) for features in found)


def test_no_frames_give_no_features(backbone):
    empty = torch.zeros(0, 3, 224, 224, dtype=torch.uint8)
    assert encode(build_encoder(backbone), empty).shape == (0, 512)


def test_a_pool_uses_one_thread_per_core_and_restores_the_thread_counts(monkeypatch):
    torch.set_num_threads(2)
    blas = [about["num_threads"] for about in threadpool_info() if about["user_api"] == "blas"]
    with encoding_pool("cpu") as pool:
        assert [pool.submit(torch.get_num_threads).result() for _ in range(4)] == [1] * 4
        inside = [about for about in threadpool_info() if about["user_api"] == "blas"]
        assert {about["num_threads"] for about in inside} == {1}
    assert torch.get_num_threads() == 2
    after = [about["num_threads"] for about in threadpool_info() if about["user_api"] == "blas"]
    assert after == blas
    assert count_streams("cpu") == 2 and count_streams("mps") == 1
    monkeypatch.setattr(encoder.os, "cpu_count", lambda: 16)
    assert count_streams("cuda") == 8  # MOST_STREAMS, not one per core


def test_a_pool_that_ends_in_an_error_restores_the_thread_count():
    torch.set_num_threads(2)
    with pytest.raises(KeyError), encoding_pool("cpu"):
        raise KeyError
    assert torch.get_num_threads() == 2
