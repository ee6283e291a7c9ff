"""Rallies that a model proposes for a match, for a person to confirm on the marking page."""

from pathlib import Path

from collection.sources import video_key, video_name
from collection.video_index import read_splits
from detection.detector import load_detector
from detection.records import default_dir
from files import UserError
from output.results import detect_and_save


def detect_proposals(path: Path, model: Path, data_dir: Path) -> Path:
    """The table of the rallies that a model finds in a match of train, or of no split yet.

    Raises UserError for matches of validation and test, whose marks are to measure models by.
    """
    key = video_key(video_name(path, data_dir))
    split = read_splits(data_dir).split_by_key.get(key)
    if split in ("validation", "test"):
        raise UserError(
            f"{path} is in {split}, and its marks measure models: proposals would bend them "
            "towards a model; leave --model out"
        )
    if split is None:
        print(f"{path} has no split yet: marked from proposals, it may be used in train only")
    folder = default_dir(path)
    detect_and_save(path, load_detector(model), folder)
    return folder / "rallies.csv"
