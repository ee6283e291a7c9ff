"""Proposes a match's rallies with a model, for a person to confirm on the marking page."""

from pathlib import Path

from collection.sources import video_key, video_name
from collection.video_index import read_splits
from detection.detector import load_detector
from detection.records import default_dir
from files import UserError
from output.results import detect_and_save


def detect_proposals(path: Path, model: Path, data_dir: Path) -> Path:
    """Detects a match of train, or of no split yet, and returns the path of its rallies.csv.

    Raises UserError for matches of validation and test: proposals would bias their ground truth.
    """
    key = video_key(video_name(path, data_dir))
    split = read_splits(data_dir).split_by_key.get(key)
    if split in ("validation", "test"):
        raise UserError(
            f"{path} is in {split}, so its marks are ground truth; proposals of a model would bias "
            "them; mark it without --model"
        )
    if split is None:
        print(f"{path} has no split yet; because it is marked from proposals, use it in train only")
    folder = default_dir(path)
    detect_and_save(path, load_detector(model), folder)
    return folder / "rallies.csv"
