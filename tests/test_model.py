import pytest
import torch
import torchinfo
import torchvision

import model as model_module
from files import UserError
from model import (
    RES_LSTM,
    ModelConfig,
    backbone_hash,
    build_backbone,
    load_model,
    normalise,
    save_model,
)


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


def test_logits_have_one_column_whatever_the_number_of_frames(model):
    assert model.classify(torch.zeros(3, 7, 512)).shape == (3, 1)
    assert model(torch.zeros(2, 3, 3, 64, 64)).shape == (2, 1)


def test_forward_is_encode_frames_then_classify(model):
    frames = torch.rand(2, 3, 3, 64, 64)
    model.eval()
    assert torch.equal(model(frames), model.classify(model.encode_frames(frames)))


def test_the_order_of_frames_matters_to_the_logit(model):
    features = torch.rand(1, 30, 512)
    model.eval()
    assert not torch.allclose(model.classify(features), model.classify(features.flip(1)), atol=1e-6)


def test_standardise_makes_the_features_comparable_before_the_lstm(model):
    features = 5 + 0.1 * torch.randn(20, 30, 512)
    same = RES_LSTM(model.backbone).eval()
    same.load_state_dict(model.state_dict())
    model.eval().standardise(features.split(3))
    scaled = (features - features.mean((0, 1))) / features.reshape(-1, 512).std(0)
    assert torch.allclose(model.classify(features), same.classify(scaled), atol=1e-5)
    assert not torch.allclose(model.classify(features), same.classify(features), atol=1e-3)


def test_the_backbone_never_moves_in_training(model):
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


def test_the_backbone_computes_what_torchvisions_resnet18_computes(backbone):
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(backbone.state_dict(), strict=False)
    resnet.fc = torch.nn.Identity()
    frames = torch.rand(2, 3, 64, 64)
    assert torch.allclose(backbone(frames).flatten(1), resnet.eval()(frames))


def test_normalise_is_torchvisions_preset():
    frames = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)
    preset = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms(resize_size=224)
    assert torch.allclose(normalise(frames), preset(frames), atol=1e-6)


def test_random_weights_are_the_same_every_time_and_leave_the_seed_alone(backbone):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again, name = build_backbone("random")
    assert torch.equal(torch.rand(1), expected)
    assert backbone_hash(again) == backbone_hash(backbone)
    assert name == "random (seed 0)"


def test_the_hash_changes_with_one_weight(backbone):
    other, _ = build_backbone("random")
    other.conv1.weight[0, 0, 0, 0] += 1e-3
    assert backbone_hash(other) != backbone_hash(backbone)


def test_weights_come_from_a_resnet18_file(tmp_path):
    resnet = torchvision.models.resnet18(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "mine.pth")
    backbone, name = build_backbone(tmp_path / "mine.pth")
    assert torch.equal(backbone.conv1.weight, resnet.conv1.weight)
    assert name == "file mine.pth"


@pytest.mark.parametrize("state", [{"conv1.weight": torch.zeros(1)}, [1, 2], "resnet34"])
def test_a_file_without_a_resnet18_is_refused(tmp_path, state):
    if state == "resnet34":
        state = torchvision.models.resnet34(weights=None).state_dict()
        state["layer1.0.conv1.weight"] = torch.zeros(1, 1, 3, 3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match="other.pth is not a"):
        build_backbone(tmp_path / "other.pth")


def no_download(*args, **kwargs):
    raise model_module.urllib.error.URLError("no route to host")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_download)


def test_imagenet_weights_that_cannot_be_had_name_the_place_and_the_way_out(offline, tmp_path):
    with pytest.raises(UserError) as caught:
        build_backbone("imagenet")
    for hint in ("resnet18-f37072fd.pth", str(tmp_path / "torch"), 'weights = "random"'):
        assert hint in str(caught.value)


def test_a_web_page_in_place_of_the_weights_is_said_so(offline, tmp_path):
    place = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    place.parent.mkdir(parents=True)
    place.write_text("<!DOCTYPE html><html>not found</html>")
    with pytest.raises(UserError, match="put it at"):
        build_backbone("imagenet")


def test_a_resnet18_file_of_an_old_torch_is_read(tmp_path, backbone):
    state = torchvision.models.resnet18(weights=None).state_dict()
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    loaded, _ = build_backbone(tmp_path / "old.pth")
    assert torch.equal(loaded.conv1.weight, state["conv1.weight"])


def test_a_place_in_the_home_folder_is_written_from_there(offline, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=" ~/torch/hub/checkpoints/resnet18-f37072fd.pth"):
        build_backbone("imagenet")


def test_auto_falls_back_to_random_aloud_and_on_synthetic_data_only(offline, capsys):
    assert build_backbone("auto", synthetic=True)[1] == "random (seed 0)"
    assert "RANDOM" in capsys.readouterr().out
    with pytest.raises(UserError, match="synthetic"):
        build_backbone("auto")


def test_a_saved_model_comes_back_whole(model, tmp_path):
    model.standardise([torch.rand(4, 30, 512)])
    save_model(tmp_path / "m.pth", model, "random (seed 0)", threshold=0.4, epoch=3)
    loaded, checkpoint = load_model(tmp_path / "m.pth")
    features = torch.rand(2, 30, 512)
    assert torch.equal(loaded.classify(features), model.eval().classify(features))
    assert loaded.config == model.config and not loaded.training
    assert checkpoint["threshold"] == 0.4 and checkpoint["about"]["epoch"] == 3
    assert checkpoint["weights_name"] == "random (seed 0)"


def test_class_names_travel_with_the_model(backbone, tmp_path):
    save_model(tmp_path / "m.pth", RES_LSTM(backbone, ModelConfig(class_names=("a", "b"))), "x")
    assert load_model(tmp_path / "m.pth")[0].config.class_names == ("a", "b")


def changed(path, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.clear(), "not a model saved by this project"),
        (lambda c: c.update(version=99), "format version 99"),
        (lambda c: c["model_config"].update(hidden_size=64), "another architecture"),
        (lambda c: c["model_config"].update(architecture="vit"), "another architecture"),
        (lambda c: c["model_config"].update(new_setting=1), "another architecture"),
        (lambda c: c["preprocessing"].update(size=112), "expects frames prepared"),
        (lambda c: c.pop("state_dict"), "another architecture"),
        (lambda c: c.pop("version"), "format version None"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(model, tmp_path, change, message):
    save_model(tmp_path / "m.pth", model, "x")
    changed(tmp_path / "m.pth", change)
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("keep", [0, 1000, -1000])
def test_a_truncated_checkpoint_is_refused_by_name(model, tmp_path, keep):
    save_model(tmp_path / "m.pth", model, "x")
    data = (tmp_path / "m.pth").read_bytes()
    (tmp_path / "m.pth").write_bytes(data[:keep])
    with pytest.raises(UserError, match="m.pth is damaged"):
        load_model(tmp_path / "m.pth")


def test_a_missing_checkpoint_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="there is no file .*m.pth"):
        load_model(tmp_path / "m.pth")


def test_a_pickle_with_code_in_it_is_not_run(tmp_path):
    torch.save({"format": "rally-detector", "run": print}, tmp_path / "m.pth")
    with pytest.raises(UserError, match="m.pth is damaged"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"hidden_size": 0}, {"class_names": ("a",)}])
def test_a_config_that_makes_no_model_is_refused(wrong):
    with pytest.raises(UserError):
        ModelConfig(**wrong)
