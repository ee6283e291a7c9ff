from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import features as command
from cli import run_command
from conftest import assert_features_agree, write_data, write_sequence
from dataset import FeatureDataset, SequenceDataset, load_splits
from extraction import features as features_module
from extraction.backbones import build_backbone, normalise
from extraction.features import augment, extract_features, features_dir
from files import UserError
from media.frames import read_sequence
from model import RES_LSTM

FRAMES = 4  # frames per sequence in these tests, because each goes through the backbone
extract = partial(extract_features, seq_frames=FRAMES, precision="fp32")


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "Data", frames=FRAMES)


@pytest.fixture
def names():
    return ["seq_00001", "seq_00002", "seq_00003", "seq_00004"]


@pytest.fixture
def encoded(monkeypatch):
    """A list of how many frames went through the backbone, one number per call."""
    calls, real = [], features_module.encode

    def counting(encoder, frames):
        calls.append(len(frames))
        return real(encoder, frames)

    monkeypatch.setattr(features_module, "encode", counting)
    return calls


def test_logits_from_frames_and_from_cached_features_agree(data, names, model):
    table = load_splits(data, seq_frames=FRAMES)["train"]
    folder = extract(data / "train", names, model.backbone)
    cached = FeatureDataset(folder, table)
    frames = SequenceDataset(data / "train", table, seq_frames=FRAMES)
    model.eval()
    with torch.no_grad():
        for k in range(2):
            from_frames = model(frames[k][0].unsqueeze(0))
            from_features = model.classify(cached[k][0].unsqueeze(0))
            assert torch.allclose(from_frames, from_features, atol=1e-4)
            assert cached[k][1] == frames[k][1]


def test_each_sequence_has_one_file_of_shape_views_frames_512(data, names, backbone):
    folder = extract(data / "train", names, backbone)
    assert sorted(p.name for p in folder.glob("*.safetensors")) == [
        f"{name}.safetensors" for name in names
    ]
    features = load_file(folder / "seq_00001.safetensors")["features"]
    assert features.shape == (1, FRAMES, 512) and features.dtype == torch.float32


def test_a_second_extraction_computes_nothing(data, names, backbone, encoded):
    extract(data / "train", names, backbone)
    assert encoded == [FRAMES] * 4
    extract(data / "train", names, backbone)
    assert encoded == [FRAMES] * 4


def test_the_encoder_is_built_only_if_features_are_missing(data, names, backbone, monkeypatch):
    extract(data / "train", names, backbone)
    monkeypatch.setattr(features_module, "build_encoder", None)
    extract(data / "train", names, backbone)
    with pytest.raises(TypeError):
        extract(data / "test", names[:1], backbone)


def test_a_changed_frame_is_computed_again_and_its_neighbours_are_not(
    data, names, backbone, encoded
):
    folder = extract(data / "train", names, backbone)
    before = load_file(folder / "seq_00002.safetensors")["features"]
    frame = data / "train" / "sequences" / "seq_00002" / "00003.jpg"
    cv2.imwrite(str(frame), 255 - cv2.imread(str(frame)))
    extract(data / "train", names, backbone)
    assert encoded == [FRAMES] * 5
    changed = (load_file(folder / "seq_00002.safetensors")["features"] != before).any(dim=2)[0]
    assert changed.nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize("harm", ["cut off", "emptied", "one byte changed", "other text"])
def test_a_corrupt_feature_file_is_computed_again(data, names, backbone, encoded, harm):
    folder = extract(data / "train", names[:1], backbone)
    path = folder / "seq_00001.safetensors"
    whole, features = path.read_bytes(), load_file(path)["features"].clone()  # load_file maps it
    harmed = {
        "cut off": whole[:-100],
        "emptied": b"",
        "one byte changed": whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:],
        "other text": b"not features",
    }[harm]
    path.write_bytes(harmed)
    extract(data / "train", names[:1], backbone)
    assert encoded == [FRAMES, FRAMES]
    assert torch.equal(load_file(path)["features"], features)


def test_auto_caches_features_of_the_chosen_precision(data, names, backbone, encoded, pick):
    for _ in range(2):
        folder = extract(data / "train", names[:1], backbone, precision="auto")
    assert folder == features_dir(data / "train", backbone, pick)
    assert encoded == [FRAMES]
    found = load_file(folder / "seq_00001.safetensors")["features"][0]
    frames = read_sequence(data / "train" / "sequences" / "seq_00001", FRAMES)
    with torch.inference_mode():
        expected = backbone(normalise(torch.from_numpy(frames))).flatten(1)
    assert_features_agree(found, expected, pick)


def test_other_weights_have_their_own_folder(data, backbone):
    other, _ = build_backbone("random")
    other.conv1.weight.data += 1
    assert features_dir(data / "train", backbone) != features_dir(data / "train", other)


def test_a_killed_run_resumes(data, names, backbone, encoded, monkeypatch):
    class Killed(BaseException):
        pass

    with monkeypatch.context() as patch:
        save, calls = features_module.save_features, iter(range(9))

        def killed_at_the_third(path, *rest):
            if next(calls) == 2:
                path.with_name(".seq_00003.safetensors.1.part").write_bytes(b"half")
                raise Killed
            save(path, *rest)

        patch.setattr(features_module, "save_features", killed_at_the_third)
        with pytest.raises(Killed):
            extract(data / "train", names, backbone)
    folder = extract(data / "train", names, backbone)
    assert encoded == [FRAMES] * 5  # three before the kill, two after it
    assert sorted(p.name for p in folder.glob("*.safetensors")) == [
        f"{name}.safetensors" for name in names
    ]
    assert not list(folder.glob(".*.part"))


def test_unreadable_sequences_are_named_at_the_end_and_the_others_saved(data, names, backbone):
    (data / "train" / "sequences" / "seq_00001" / "00002.jpg").write_bytes(b"")
    (data / "train" / "sequences" / "seq_00003" / "00002.jpg").unlink()
    with pytest.raises(UserError) as caught:
        extract(data / "train", [*names, "seq_00005"], backbone)
    told = str(caught.value)
    assert "3 of 5 sequences" in told
    assert "seq_00001: frame 2 is not a readable image" in told
    assert "seq_00003: 3 frames instead of 4" in told
    assert "seq_00005: cannot be read" in told
    kept = sorted(p.stem for p in features_dir(data / "train", backbone).glob("*.safetensors"))
    assert kept == ["seq_00002", "seq_00004"]


def test_a_full_disk_is_a_clear_error_and_finished_files_stay(
    data, names, backbone, encoded, monkeypatch
):
    extract(data / "train", names[:2], backbone)

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("files.os.fsync", full)
        with pytest.raises(UserError, match="seq_00003.safetensors: No space left"):
            extract(data / "train", names, backbone)
    kept = sorted(p.stem for p in features_dir(data / "train", backbone).glob("*.safetensors"))
    assert kept == names[:2]


def test_augmented_views_follow_the_original(data, names, backbone):
    plain = load_file(extract(data / "train", names[:1], backbone) / "seq_00001.safetensors")[
        "features"
    ]
    folder = extract(data / "train", names[:1], backbone, views=3)
    views = load_file(folder / "seq_00001.safetensors")["features"]
    assert views.shape == (3, FRAMES, 512)
    assert torch.equal(views[0], plain[0])
    assert not torch.allclose(views[1], views[0]) and not torch.allclose(views[1], views[2])


def test_a_file_with_more_views_than_needed_is_used(data, names, backbone, encoded):
    folder = extract(data / "train", names[:2], backbone, views=2)
    encoded.clear()
    extract(data / "train", names[:2], backbone, views=1)
    assert encoded == []
    table = load_splits(data, seq_frames=FRAMES)["train"].head(2)
    assert FeatureDataset(folder, table, views=1).features.shape == (2, 1, FRAMES, 512)


def test_a_view_has_one_random_change_for_all_frames_and_is_reproducible():
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 224, 224), np.uint8))
    frames = picture.repeat(5, 1, 1, 1)
    torch.manual_seed(3)
    view = augment(frames, "seq_00001", 1)
    torch.manual_seed(4)
    assert torch.equal(view, augment(frames, "seq_00001", 1))
    assert all(torch.equal(frame, view[0]) for frame in view)
    assert not torch.equal(view, frames)
    assert torch.equal(augment(frames, "seq_00001", 0), frames)


def test_views_are_the_same_for_any_number_of_threads():
    frames = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    names = [f"seq_{k:05d}" for k in range(30)]
    torch.manual_seed(7)
    expected = [augment(frames, name, 1) for name in names]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda name: augment(frames, name, 1), names))
    assert all(torch.equal(*pair) for pair in zip(drawn, expected, strict=True))
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(1))  # the global generator is unchanged


def test_training_draws_from_all_views(data, names, backbone):
    folder = extract(data / "train", names, backbone, views=2)
    part = FeatureDataset(folder, load_splits(data, seq_frames=FRAMES)["train"], views=2)
    torch.manual_seed(0)
    drawn = {float(part[0][0].sum()) for _ in range(20)}
    assert len(drawn) == 2


def test_missing_features_are_an_error_with_a_remedy(data, tmp_path):
    with pytest.raises(UserError, match="run extract_features again"):
        FeatureDataset(tmp_path, load_splits(data, seq_frames=FRAMES)["train"])


def test_the_command_computes_labelled_and_unlabelled_sequences(data, capsys):
    write_sequence(data / "test" / "sequences" / "seq_00003", 0, seed=3, frames=FRAMES)
    options = ["--weights", "random", "--seq-frames", str(FRAMES)]
    with pytest.raises(SystemExit, match="^1$"):
        run_command(lambda: command.main([*options, str(data / "test"), str(data / "nothing")]))
    assert f"no such folder: {data / 'nothing'}" in capsys.readouterr().err
    assert len(list((data / "test" / "features").glob("*/*.safetensors"))) == 3


def test_gradients_from_frames_and_from_cached_features_agree(data, names, backbone):
    table = load_splits(data, seq_frames=FRAMES)["train"].head(1)
    folder = extract(data / "train", names[:1], backbone)
    gradients = []
    for features in (
        FeatureDataset(folder, table)[0][0].unsqueeze(0),
        SequenceDataset(data / "train", table, seq_frames=FRAMES)[0][0].unsqueeze(0),
    ):
        torch.manual_seed(0)
        model = RES_LSTM(backbone).eval()
        logits = model.classify(features) if features.dim() == 3 else model(features)
        logits.sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.lstm.parameters()]))
    assert torch.allclose(*gradients, atol=1e-4)
