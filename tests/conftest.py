"""Tiny inputs that the tests make themselves: numbered videos, small data sets, a random model."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch

from extraction import encoder
from extraction.backbones import build_backbone
from files import SPLITS
from model import RES_LSTM, ModelConfig

pytest.register_assert_rewrite("labeling_client", "answers")

PICKS = ("fp32", "bf16")  # what precision="auto" can come to
BITS = 10  # of the frame's number, one column of the picture each


def pytest_addoption(parser):
    about = 'what precision="auto" comes to in these tests, not in processes that they start'
    parser.addoption("--pick", choices=PICKS, help=about)


def pytest_collection_modifyitems(items):
    """The files that take longest go first, so that two processes end at about the same time."""
    longest = ("test_ray.py", "test_notebook.py", "test_labeling_page.py", "test_reel.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Weights that a test and its fixtures draw are the same, whatever ran before."""
    torch.manual_seed(0)


def force_pick(monkeypatch, precision: str) -> None:
    """precision="auto" becomes this one, whatever the processor: bf16 is emulated if need be."""
    monkeypatch.setattr(encoder, "has_native_bf16", lambda device: precision == "bf16")


@pytest.fixture(scope="session", autouse=True)
def pick_for_all_tests(pytestconfig):
    """The pick of this processor, or that of --pick."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if given := pytestconfig.getoption("pick"):
            force_pick(monkeypatch, given)
        yield


@pytest.fixture(params=PICKS)
def pick(request, monkeypatch) -> str:
    """Runs a test twice, with precision="auto" forced to each of what it can come to."""
    force_pick(monkeypatch, request.param)
    return request.param


def assert_features_agree(found, expected, precision: str) -> None:
    """found (N, 512) are the backbone's features expected, to what the precision allows."""
    cosine = torch.cosine_similarity(found, expected)
    assert cosine.min() > 0.9999
    if precision == "fp32":
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        assert cosine.max() < 1 - 1e-7  # it was bf16 that computed


def numbered_frame(number: int, size: int = 80) -> np.ndarray:
    """A grey picture whose columns spell its number in binary."""
    frame = np.zeros((size, size), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            frame[:, bit * size // BITS : (bit + 1) * size // BITS] = 255
    return frame


def number_in(frame: np.ndarray) -> int:
    """The number that a numbered frame of any size spells."""
    height, width = frame.shape[:2]
    columns = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(int(frame[height // 2, x].mean() > 128) << bit for bit, x in enumerate(columns))


def write_video(path: Path, rate: str, count: int, *options: str) -> Path:
    """A numbered H.264 video (or what the ffmpeg options say) of `count` frames."""
    pixels = np.stack([numbered_frame(k) for k in range(count)]).tobytes()
    options = options or ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "50")
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "80x80", "-r", rate, "-i", "-"]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    subprocess.run([*ffmpeg, *source, *options, str(path)], input=pixels, check=True)
    return path


def write_damaged_video(path: Path, count: int, at: float) -> Path:
    """The same as MPEG-2 in a transport stream, 20 packets of it zeros from a share `at` on."""
    write_video(path, "30", count, "-c:v", "mpeg2video", "-g", "15", "-q:v", "2")
    data = bytearray(path.read_bytes())
    first = int(len(data) * at) // 188 * 188
    data[first : first + 188 * 20] = bytes(188 * 20)
    path.write_bytes(data)
    return path


@pytest.fixture
def video(tmp_path):
    """10 s at 30 fps, 300 numbered frames."""
    return write_video(tmp_path / "match.mp4", "30", 300)


@cache
def drawn_sequence(label: int, seed: int, frames: int) -> tempfile.TemporaryDirectory:
    """A folder of frames, drawn once in a run of the tests; it goes with the last test."""
    folder, rng = tempfile.TemporaryDirectory(), np.random.default_rng(seed)
    for k in range(frames):
        picture = rng.integers(0, 60, (224, 224, 3), np.uint8)
        if label:
            x = (seed * 31 + k * 6) % 180
            picture[60:120, x : x + 44] = (40, 220, 250)
        cv2.imwrite(f"{folder.name}/{k + 1:05d}.jpg", picture)
    return folder


def write_sequence(folder: Path, label: int, seed: int, frames: int = 30) -> None:
    """Label 1 is a bright square that runs across noise, label 0 the noise alone.

    Copies, not links: tests write into them.
    """
    shutil.copytree(drawn_sequence(label, seed, frames).name, folder)


def write_sequences(split: Path, count: int, frames: int = 30) -> list[str]:
    """Sequences without labels, every other one with a square; returns their names."""
    names = [f"seq_{k:05d}" for k in range(1, count + 1)]
    for k, name in enumerate(names):
        write_sequence(split / "sequences" / name, k % 2, seed=k, frames=frames)
    return names


def feature_files(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of features in a folder, by its name."""
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def write_data(root: Path, counts=(4, 2, 2), frames: int = 30) -> Path:
    """A labelled data set of `counts` sequences a split, every other one a rally."""
    for first, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        rows, sources = [], []
        for k in range(1, count + 1):
            name, label = f"seq_{k:05d}", k % 2
            folder = root / split / "sequences" / name
            write_sequence(folder, label, seed=100 * first + k, frames=frames)
            rows.append({"sequence": name, "label": label})
            sources.append([name, f"{split}.mp4", 30 * k, 30])
        pd.DataFrame(rows).to_csv(root / split / f"{split}.csv", index=False)
        columns = ["sequence", "video", "start_sec", "fps"]
        pd.DataFrame(sources, columns=columns).to_csv(root / split / "sequences.csv", index=False)
    return root


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "Data")


@pytest.fixture(scope="session")
def backbone():
    return build_backbone("random")[0]


@pytest.fixture
def model(backbone):
    return RES_LSTM(backbone, ModelConfig())
