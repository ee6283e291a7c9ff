"""Shared by the tests of the server: a small data set, and requests like those of the page."""

import pytest
from starlette.testclient import TestClient

from annotation.app import OWN_HEADER, Labelling, build_app

BASE = "http://127.0.0.1:8765"
OWN = {OWN_HEADER: "1"}
ONE, TWO, THREE, FOUR = (f"seq_{k:05d}" for k in range(1, 5))
MARKUP = "<img src=x onerror=alert(1)>"
ODD_NAMES = (
    MARKUP,
    'it\'s "said", she said',
    '"',
    "a,b",
    "羽毛球 – Ødegård",
    "NA",
    "1.0",
    "%2e%2e",
)


def write_frames(data, split, *names, count=2):
    """Writes sequences whose frames are a few bytes each, all different."""
    for name in names:
        folder = data / split / "sequences" / name
        folder.mkdir(parents=True)
        for k in range(1, count + 1):
            (folder / f"{k:05d}.jpg").write_bytes(f"{split} {name} {k}".encode() + b"." * k)


def everything(folder):
    """{path: bytes} of all files in a folder, hidden ones too; {path: None} of its folders."""
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def rows(data, split="train"):
    return (data / split / f"{split}.csv").read_text().splitlines()


@pytest.fixture
def small_data(tmp_path):
    """Four sequences of train, the last one labelled, and two of validation with the same names."""
    data = tmp_path / "Data"
    write_frames(data, "train", ONE, TWO, THREE, FOUR)
    write_frames(data, "validation", ONE, TWO)
    (data / "train" / "train.csv").write_text(f"sequence,label\n{FOUR},1\n")
    return data


@pytest.fixture
def work(data):
    """What the server shows; the fixture `data` is that of the test module."""
    return Labelling(data)


@pytest.fixture
def client(work):
    with TestClient(build_app(work), base_url=BASE) as client:
        yield client


def post(client, path, body, **headers):
    return client.post(path, json=body, headers=OWN | headers)


def answer(sequence, label, seen=""):
    return {"sequence": sequence, "label": label, "seen": seen}


# A valid request of each kind.
TAKEN = {
    "/labels": {"split": "train", "answers": [answer(ONE, "1")]},
    "/repeat": {"split": "train", "sequence": FOUR, "label": "0"},
    "/undo": {"split": "train", "time": ""},
    "/flag": {"split": "train", "sequence": ONE, "flagged": True},
}


def label(client, *answers, split="train"):
    told = post(client, "/labels", {"split": split, "answers": list(answers)})
    assert told.status_code == 200
    return told.json()
