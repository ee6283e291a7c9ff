import copy
import subprocess
import sys

import numpy as np
import pytest
import torch

from conftest import assert_features_agree, number_in, write_damaged_video, write_video
from detection import match_features
from detection.match_features import count_steps, extract_match, load_steps, pieces_dir, read_steps
from extraction.backbones import normalise
from files import UserError
from media.video import open_video, read_sequence_at


@pytest.fixture
def encoded(monkeypatch):
    """A fake backbone whose 512 features are the frame's number. Lists the frames of each call."""
    calls = []

    def number(_encoder, frames):
        calls.append(len(frames))
        numbers = [number_in(frame.numpy().transpose(1, 2, 0)) for frame in frames]
        return torch.tensor(numbers, dtype=torch.float32)[:, None].repeat(1, 512)

    monkeypatch.setattr(match_features, "encode", number)
    return calls


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(match_features, "PIECE_STEPS", 40)


def numbers_of(video, backbone, out, every):
    folder = extract_match(video, backbone, out, every)
    return load_steps(folder, 0, count_steps(video, every))[:, 0].tolist()


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("rate", [25, 30, 50])
def test_each_step_is_the_frame_on_screen_at_its_time(tmp_path, backbone, encoded, rate, every):
    video = open_video(write_video(tmp_path / "m.mp4", str(rate), rate * 7))
    expected = [int((k * every / 30 + 0.001) * rate) for k in range(-(-7 * 30 // every))]
    assert numbers_of(video, backbone, tmp_path / "out", every) == expected


def test_steps_are_those_of_training_sequences(tmp_path, video):
    opened = open_video(video)
    frames, known = read_steps(opened, 45, 30, 1)
    expected = read_sequence_at(open_video(video), 1.5)
    assert known.all()
    assert np.array_equal(frames, np.stack([f[..., ::-1].transpose(2, 0, 1) for f in expected]))


def test_features_are_those_of_the_backbone_in_the_precision_picked(
    tmp_path, video, backbone, pick
):
    opened = open_video(video)
    folder = extract_match(opened, backbone, tmp_path / "out", every=60)
    assert folder == pieces_dir(tmp_path / "out", backbone, 60, pick)
    frames, _ = read_steps(open_video(video), 0, 5, 60)
    with torch.no_grad():
        expected = backbone(normalise(torch.from_numpy(frames))).flatten(1)
    assert_features_agree(load_steps(folder, 0, 5), expected, pick)


def test_a_second_run_computes_nothing(tmp_path, video, backbone, encoded):
    opened, told = open_video(video), []
    extract_match(opened, backbone, tmp_path / "out", 4)
    before = sum(encoded)
    extract_match(opened, backbone, tmp_path / "out", 4, on_progress=lambda *t: told.append(t))
    assert sum(encoded) == before == 75
    assert told == [(pytest.approx(10.0), 0.0)]


def test_an_interrupted_run_resumes(tmp_path, video, backbone, encoded):
    opened = open_video(video)
    whole = numbers_of(opened, backbone, tmp_path / "whole", 1)
    encoded.clear()

    def end(done_sec, _):
        if done_sec > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_match(opened, backbone, tmp_path / "out", 1, on_progress=end)
    done = len(list((tmp_path / "out").rglob("*.safetensors")))
    assert done == 4
    encoded.clear()
    assert numbers_of(open_video(video), backbone, tmp_path / "out", 1) == whole
    assert sum(encoded) == 300 - done * 40


def test_a_killed_run_leaves_whole_pieces_only(tmp_path, video, backbone, monkeypatch):
    script = (
        "import os, sys; sys.path[:0] = sys.argv[3:]\n"
        "from detection import match_features\nfrom media.video import open_video\n"
        "from extraction.backbones import build_backbone\n"
        "match_features.PIECE_STEPS = 5\n"
        "def end(done, computed):\n    if computed > 3: os.kill(os.getpid(), 9)\n"
        "match_features.extract_match(\n"
        "    open_video(sys.argv[1]), build_backbone('random')[0], sys.argv[2], 10, 'cpu', end)\n"
    )
    command = [sys.executable, "-c", script, video, tmp_path / "out", *sys.path]
    assert subprocess.run(command, check=False).returncode == -9
    pieces = list((tmp_path / "out").rglob("*.safetensors"))
    assert len(pieces) == 2
    monkeypatch.setattr(match_features, "PIECE_STEPS", 5)
    folder = extract_match(open_video(video), backbone, tmp_path / "out", 10)
    assert load_steps(folder, 0, 30).isfinite().all()
    assert not list(folder.glob(".*.part"))


def test_a_truncated_piece_is_computed_again(tmp_path, video, backbone, encoded):
    whole = numbers_of(open_video(video), backbone, tmp_path / "out", 4)
    piece = next((tmp_path / "out").rglob("00001.safetensors"))
    piece.write_bytes(piece.read_bytes()[:-100])
    assert numbers_of(open_video(video), backbone, tmp_path / "out", 4) == whole


def test_another_file_of_the_same_name_is_computed_anew(tmp_path, backbone, encoded):
    path = write_video(tmp_path / "m.mp4", "30", 90)
    numbers_of(open_video(path), backbone, tmp_path / "out", 4)
    encoded.clear()
    write_video(path, "30", 90, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "30")
    numbers_of(open_video(path), backbone, tmp_path / "out", 4)
    assert sum(encoded) == 23


def test_other_weights_and_other_grids_have_separate_folders(tmp_path, video, backbone):
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        other.conv1.weight[0] += 1
    folders = {
        match_features.pieces_dir(tmp_path, b, every) for b in (backbone, other) for every in (1, 4)
    }
    assert len(folders) == 4


def test_damaged_steps_are_unknown_and_all_others_are_exact(tmp_path, backbone, encoded):
    video = open_video(write_damaged_video(tmp_path / "m.ts", 300, at=1 / 2))
    numbers = np.array(numbers_of(video, backbone, tmp_path / "out", 1))
    unknown = np.isnan(numbers)
    assert 0 < unknown.sum() < 150
    assert (numbers == np.arange(len(numbers)))[~unknown].all()


def test_a_missing_piece_is_named(tmp_path, video, backbone, encoded):
    folder = extract_match(open_video(video), backbone, tmp_path / "out", 4)
    (folder / "00001.safetensors").unlink()
    with pytest.raises(UserError, match=r"00001\.safetensors.*run it again"):
        load_steps(folder, 0, 60)


def test_steps_across_pieces_come_in_order(tmp_path, video, backbone, encoded):
    folder = extract_match(open_video(video), backbone, tmp_path / "out", 1)
    assert load_steps(folder, 35, 125)[:, 0].tolist() == list(range(35, 125))
