import pytest
import torch
import torchinfo

from files import UserError
from model import RES_LSTM, ModelConfig, load_model, save_model


def test_torchinfo_shows_the_rows_and_counts_of_the_original_study(model):
    table = torchinfo.summary(model, (1, 30, 3, 224, 224), verbose=0)
    rows = {(row.class_name, tuple(row.output_size), row.num_params) for row in table.summary_list}
    for row in [
        ("Conv2d", (30, 64, 112, 112), 9408),
        ("BatchNorm2d", (30, 64, 112, 112), 128),
        ("MaxPool2d", (30, 64, 56, 56), 0),
        ("BasicBlock", (30, 64, 56, 56), 73984),
        ("BasicBlock", (30, 512, 7, 7), 4720640),
        ("AdaptiveAvgPool2d", (30, 512, 1, 1), 0),
        ("LSTM", (1, 30, 128), 460800),
        ("Linear", (1, 64), 8256),
        ("Linear", (1, 1), 65),
    ]:
        assert row in rows
    assert table.total_params == 11_645_633
    assert table.trainable_params == 469_121
    assert table.total_params - table.trainable_params == 11_176_512


def test_dropout_matches_the_study_between_lstm_layers_and_in_the_head(model):
    assert model.lstm.dropout == model.head[2].p == 0.3


def test_logits_have_one_column_for_any_number_of_frames(model):
    assert model.classify(torch.zeros(3, 7, 512)).shape == (3, 1)
    assert model(torch.zeros(2, 3, 3, 64, 64)).shape == (2, 1)


def test_forward_is_encode_frames_then_classify(model):
    frames = torch.rand(2, 3, 3, 64, 64)
    model.eval()
    assert torch.equal(model(frames), model.classify(model.encode_frames(frames)))


def test_the_logit_depends_on_frame_order(model):
    features = torch.rand(1, 30, 512)
    model.eval()
    assert not torch.allclose(model.classify(features), model.classify(features.flip(1)), atol=1e-6)


def test_standardise_scales_features_to_mean_0_and_std_1(model):
    features = 5 + 0.1 * torch.randn(20, 30, 512)
    same = RES_LSTM(model.backbone).eval()
    same.load_state_dict(model.state_dict())
    model.eval().standardise(features.split(3))
    scaled = (features - features.mean((0, 1))) / features.reshape(-1, 512).std(0, correction=0)
    assert torch.allclose(model.classify(features), same.classify(scaled), atol=1e-5)
    assert not torch.allclose(model.classify(features), same.classify(features), atol=1e-3)


def test_training_never_changes_the_backbone(model):
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=0.1)
    model.train()
    assert model.lstm.training and not any(part.training for part in model.backbone.modules())
    for _ in range(2):
        loss = model(torch.rand(2, 2, 3, 64, 64)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_features_carry_no_gradient(model):
    assert not model.encode_frames(torch.rand(1, 1, 3, 64, 64)).requires_grad


def test_a_saved_model_loads_unchanged(model, tmp_path):
    model.standardise([torch.rand(4, 30, 512)])
    save_model(tmp_path / "m.pth", model, "random (seed 0)", epoch=3)
    loaded, checkpoint = load_model(tmp_path / "m.pth")
    features = torch.rand(2, 30, 512)
    assert torch.equal(loaded.classify(features), model.eval().classify(features))
    assert loaded.config == model.config and not loaded.training
    assert checkpoint["about"]["epoch"] == 3
    assert checkpoint["weights_name"] == "random (seed 0)"


def test_class_names_are_saved_with_the_model(backbone, tmp_path):
    save_model(tmp_path / "m.pth", RES_LSTM(backbone, ModelConfig(class_names=("a", "b"))), "x")
    assert load_model(tmp_path / "m.pth")[0].config.class_names == ("a", "b")


def test_a_model_records_the_frames_and_the_rate_of_its_sequences(backbone, tmp_path):
    config = ModelConfig(seq_frames=15, fps=10.0, resize="area")
    save_model(tmp_path / "m.pth", RES_LSTM(backbone, config), "x")
    assert load_model(tmp_path / "m.pth")[0].config == config


def test_a_version_1_checkpoint_loads_as_it_was_trained(model, tmp_path):
    save_model(tmp_path / "m.pth", model, "x")
    changed(tmp_path / "m.pth", as_version_1)
    old, _ = load_model(tmp_path / "m.pth")
    assert old.lstm.dropout == 0 and old.head[2].p == 0.3  # as it was trained
    assert old.config.fps is None and old.config.seq_frames == 30  # the rate was not recorded
    save_model(tmp_path / "again.pth", old, "x")
    assert load_model(tmp_path / "again.pth")[0].config == old.config
    features = torch.rand(2, 30, 512)
    assert torch.equal(old.classify(features), model.eval().classify(features))


def as_version_1(checkpoint):
    checkpoint["version"] = 1
    for name in ("lstm_dropout", "fps", "resize"):
        del checkpoint["model_config"][name]


def changed(path, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.clear(), "not a model saved by this project"),
        (lambda c: c.update(version=99), "format version 99"),
        (lambda c: c["model_config"].update(hidden_size=64), "different architecture"),
        (lambda c: c["model_config"].update(architecture="vit"), "different architecture"),
        (lambda c: c["model_config"].update(new_setting=1), "different architecture"),
        (lambda c: c["preprocessing"].update(size=112), "preprocessed with .*'size': 112"),
        (lambda c: c.pop("state_dict"), "different architecture"),
        (lambda c: c.pop("version"), "format version None"),
    ],
)
def test_an_incompatible_checkpoint_is_refused(model, tmp_path, change, message):
    save_model(tmp_path / "m.pth", model, "x")
    changed(tmp_path / "m.pth", change)
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("keep", [0, 1000, -1000])
def test_a_truncated_checkpoint_is_refused_by_name(model, tmp_path, keep):
    save_model(tmp_path / "m.pth", model, "x")
    data = (tmp_path / "m.pth").read_bytes()
    (tmp_path / "m.pth").write_bytes(data[:keep])
    with pytest.raises(UserError, match="m.pth is corrupt"):
        load_model(tmp_path / "m.pth")


def test_a_missing_checkpoint_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="no such file: .*m.pth .expected a model"):
        load_model(tmp_path / "m.pth")


def test_code_in_a_pickle_is_not_run(tmp_path):
    torch.save({"format": "rally-detector", "run": print}, tmp_path / "m.pth")
    with pytest.raises(UserError, match="m.pth is corrupt"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize(
    "wrong", [{"dropout": 1.0}, {"hidden_size": 0}, {"fps": 0.0}, {"class_names": ("a",)}]
)
def test_an_invalid_config_is_refused(wrong):
    with pytest.raises(UserError):
        ModelConfig(**wrong)


def test_a_folder_instead_of_a_model_is_named_with_the_file_to_give(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} is a folder; .*best_model.pth"):
        load_model(tmp_path)
