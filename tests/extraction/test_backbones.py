import urllib.error

import pytest
import torch
import torchvision

from extraction.backbones import backbone_hash, build_backbone, normalise
from files import UserError


def test_the_backbone_matches_torchvisions_resnet18(backbone):
    resnet = torchvision.models.resnet18(weights=None)
    resnet.load_state_dict(backbone.state_dict(), strict=False)
    resnet.fc = torch.nn.Identity()
    frames = torch.rand(2, 3, 64, 64)
    assert torch.allclose(backbone(frames).flatten(1), resnet.eval()(frames))


def test_normalise_matches_torchvisions_preset():
    frames = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)
    preset = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms(resize_size=224)
    assert torch.allclose(normalise(frames), preset(frames), atol=1e-6)


def test_random_weights_are_reproducible_and_leave_the_global_seed_alone(backbone):
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


def test_weights_are_read_from_a_resnet18_file(tmp_path):
    resnet = torchvision.models.resnet18(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "mine.pth")
    backbone, name = build_backbone(tmp_path / "mine.pth")
    assert torch.equal(backbone.conv1.weight, resnet.conv1.weight)
    assert name == "file mine.pth"


@pytest.mark.parametrize("state", [{"conv1.weight": torch.zeros(1)}, [1, 2], "resnet34"])
def test_a_file_that_is_not_a_resnet18_is_refused(tmp_path, state):
    if state == "resnet34":
        state = torchvision.models.resnet34(weights=None).state_dict()
        state["layer1.0.conv1.weight"] = torch.zeros(1, 1, 3, 3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match="other.pth is not a"):
        build_backbone(tmp_path / "other.pth")


def no_download(*args, **kwargs):
    raise urllib.error.URLError("no route to host")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_download)


def test_a_failed_imagenet_download_names_the_file_to_save_and_the_alternative(offline, tmp_path):
    with pytest.raises(UserError) as caught:
        build_backbone("imagenet")
    for hint in ("resnet18-f37072fd.pth", str(tmp_path / "torch"), 'weights = "random"'):
        assert hint in str(caught.value)


def test_a_web_page_saved_as_the_weights_is_an_error(offline, tmp_path):
    place = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    place.parent.mkdir(parents=True)
    place.write_text("<!DOCTYPE html><html>not found</html>")
    with pytest.raises(UserError, match="save it as"):
        build_backbone("imagenet")


def test_a_resnet18_file_from_an_old_torch_is_read(tmp_path, backbone):
    state = torchvision.models.resnet18(weights=None).state_dict()
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    loaded, _ = build_backbone(tmp_path / "old.pth")
    assert torch.equal(loaded.conv1.weight, state["conv1.weight"])


def test_a_path_in_the_home_folder_is_shown_with_a_tilde(offline, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=" ~/torch/hub/checkpoints/resnet18-f37072fd.pth"):
        build_backbone("imagenet")


def test_auto_falls_back_to_random_weights_with_a_warning_on_synthetic_data_only(offline, capsys):
    assert build_backbone("auto", synthetic=True)[1] == "random (seed 0)"
    assert "RANDOM" in capsys.readouterr().out
    with pytest.raises(UserError, match="synthetic"):
        build_backbone("auto")
