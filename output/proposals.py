"""Rallies that a model proposes for a match, for a person to confirm on the marking page."""

from pathlib import Path

from collection.sources import video_key, video_name
from collection.video_index import videos_by_split
from detection.detector import load_detector
from detection.records import default_dir
from files import UserError
from output.results import detect_and_save


def detect_proposals(path: Path, model: Path, data_dir: Path) -> Path:
    """The table of the rallies that a model finds in a match of train, or of no split yet.

    Raises UserError for matches of validation and test, whose marks are to measure models by.
    """
    key, videos = video_key(video_name(path, data_dir)), videos_by_split(data_dir)
    for split in ("validation", "test"):
        if key in map(video_key, videos[split]):
            raise UserError(
                f"{path} is of {split}, and its marks are to measure models by: with proposals of "
                "one they would lean towards it; leave --model out"
            )
    if key not in map(video_key, videos["train"]):
        print(f"{path} is of no split yet: with proposals, it may only become train's")
    folder = default_dir(path)
    detect_and_save(path, load_detector(model), folder)
    return folder / "rallies.csv"
