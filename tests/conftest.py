"""Tiny inputs that the tests make: numbered videos, small data sets, a random model."""

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

PICKS = ("fp32", "bf16")  # what precision="auto" can resolve to
BITS = 10  # of the frame number, one column of the frame each


def pytest_addoption(parser):
    about = 'what precision="auto" resolves to in the tests, but not in processes they start'
    parser.addoption("--pick", choices=PICKS, help=about)


def pytest_collection_modifyitems(items):
    """Runs the longest files first, so that two processes end at about the same time."""
    longest = ("test_ray.py", "test_notebook.py", "test_labeling_page.py", "test_reel.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Seeds torch, so that a test and its fixtures draw the same weights whatever ran before."""
    torch.manual_seed(0)


def force_pick(monkeypatch, precision: str) -> None:
    """Makes precision="auto" resolve to this one on any processor; bf16 is emulated if needed."""
    monkeypatch.setattr(encoder, "has_native_bf16", lambda device: precision == "bf16")


@pytest.fixture(scope="session", autouse=True)
def pick_for_all_tests(pytestconfig):
    """Applies --pick if given; else the processor decides."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if given := pytestconfig.getoption("pick"):
            force_pick(monkeypatch, given)
        yield


@pytest.fixture(params=PICKS)
def pick(request, monkeypatch) -> str:
    """Runs a test twice: precision="auto" is fp32, then bf16."""
    force_pick(monkeypatch, request.param)
    return request.param


def assert_features_agree(found, expected, precision: str) -> None:
    """Asserts that features (N, 512) are the expected ones, as far as the precision allows."""
    cosine = torch.cosine_similarity(found, expected)
    assert cosine.min() > 0.9999
    if precision == "fp32":
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        assert cosine.max() < 1 - 1e-7  # proves that bf16 was used


def numbered_frame(number: int, size: int = 80) -> np.ndarray:
    """A grey frame, uint8 (size, size), whose columns spell its number in binary."""
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
    """Writes a video of `count` numbered frames, in H.264 unless ffmpeg options are given."""
    pixels = np.stack([numbered_frame(k) for k in range(count)]).tobytes()
    options = options or ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "50")
    source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "80x80", "-r", rate, "-i", "-"]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    subprocess.run([*ffmpeg, *source, *options, str(path)], input=pixels, check=True)
    return path


def write_damaged_video(path: Path, count: int, at: float) -> Path:
    """Writes an MPEG-2 transport stream with 20 packets zeroed from the fraction `at` (0 to 1)."""
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
    """A folder of frames, drawn once per test run and deleted at its end."""
    folder, rng = tempfile.TemporaryDirectory(), np.random.default_rng(seed)
    for k in range(frames):
        picture = rng.integers(0, 60, (224, 224, 3), np.uint8)
        if label:
            x = (seed * 31 + k * 6) % 180
            picture[60:120, x : x + 44] = (40, 220, 250)
        cv2.imwrite(f"{folder.name}/{k + 1:05d}.jpg", picture)
    return folder


def write_sequence(folder: Path, label: int, seed: int, frames: int = 30) -> None:
    """Writes a sequence: a bright square that runs across noise for label 1, only noise for 0.

    The frames are copies, not links, because tests write to them.
    """
    shutil.copytree(drawn_sequence(label, seed, frames).name, folder)


def write_sequences(split: Path, count: int, frames: int = 30) -> list[str]:
    """Writes sequences without labels, every other one with a square; returns their names."""
    names = [f"seq_{k:05d}" for k in range(1, count + 1)]
    for k, name in enumerate(names):
        write_sequence(split / "sequences" / name, k % 2, seed=k, frames=frames)
    return names


def feature_files(folder: Path) -> dict[str, bytes]:
    """{name: bytes} of the feature files in a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def write_data(root: Path, counts=(4, 2, 2), frames: int = 30) -> Path:
    """Writes a labelled data set of `counts` sequences per split, every other one a rally."""
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
