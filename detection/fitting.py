"""Fits the detection of whole matches on the marked matches of train and validation.

The temporal head is trained on train, with early stopping on validation. The decoding is then
fitted on validation. Marks of test matches are never read.
"""

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from annotation.mark_owners import tables_by_video
from annotation.match_marks import Marks, check_marks, list_tables, read_marks
from cli import count_of
from collection.downloading import find_file
from collection.sources import is_address, youtube_id
from collection.video_index import read_splits
from detection.decoding import decode, fit_decoding, to_marks
from detection.detector import Detector, extract_shown, load_detector, match_probs
from detection.match_features import count_steps, load_steps
from detection.records import default_dir
from detection.segment_metrics import measure_match, summarise
from detection.temporal_head import HeadConfig, fit_head
from files import UserError
from media.video import Video, open_video
from model import update_checkpoint

FIT_SPLITS = ("train", "validation")


class NotMarked(UserError):
    """A split has no match with marked rallies."""


def has_marked_matches(data_dir: Path) -> bool:
    """Whether train and validation each have a marked match, and test has a match."""
    try:
        marked_matches(data_dir)
    except NotMarked:
        return False
    return bool(present_matches(data_dir, "test"))


def marked_matches(data_dir: Path) -> tuple[dict[str, list[tuple[Path, Marks]]], list[str]]:
    """Returns {split: [(video file, its rallies)]} of the marked matches, and why others are out.

    The split is that of videos.csv or of the sequences collected from the video. Matches of test
    and matches without a split are skipped. Raises NotMarked if train or validation has no marked
    rally, UserError if a video is in two splits or a table of marks could belong to two videos.
    """
    matches, notes = {split: [] for split in FIT_SPLITS}, []
    index = read_splits(data_dir)
    tables = tables_by_video(data_dir, list(index.name_by_key.values()))
    for split in FIT_SPLITS:  # marks of test are for evaluation
        for name in index.names_in(split):
            if name not in tables:
                continue
            table, path = tables[name], _file_of(name, data_dir)
            if path is None:
                notes.append(f"{table.stem}: its video {name} is missing")
            else:
                matches[split].append((path, read_marks(table)))
    for table in list_tables(data_dir):
        if table not in tables.values():
            where = data_dir / "videos.csv"
            notes.append(f"{table.stem}: its video has no split; add it to {where}")
    for split in FIT_SPLITS:
        if not any(marks for _, marks in matches[split]):
            why = "".join(f"\n  - {note}" for note in notes)
            raise NotMarked(
                f"no marked match in {split}; mark one with python labeling.py --match VIDEO, and "
                f"add the line {split},VIDEO to {data_dir / 'videos.csv'}{why}"
            )
    return matches, notes


def present_matches(data_dir: Path, split: str) -> list[tuple[Path, Marks]]:
    """Returns (video file, its marked rallies) of the matches of a split whose file exists.

    The rallies are [] if the match is not marked.
    """
    index = read_splits(data_dir)
    tables = tables_by_video(data_dir, list(index.name_by_key.values()))
    files = [(name, _file_of(name, data_dir)) for name in index.names_in(split)]
    return [
        (path, read_marks(tables[name]) if name in tables else [])
        for name, path in files
        if path is not None
    ]


def _file_of(name: str, data_dir: Path) -> Path | None:
    """Returns the file of a video, or None if it is missing or an address outside YouTube."""
    if is_address(name) and youtube_id(name) is None:
        return None
    path = find_file(name if is_address(name) else data_dir / name, data_dir)
    return path if path is not None and path.is_file() else None


def extract_all(
    matches: list[tuple[Path, Marks]], detector: Detector, every: float
) -> list[tuple[Video, Path, Marks]]:
    """Returns (video, folder of its features, its rallies) of each match.

    Computes the features that are missing. Raises UserError if marks do not fit their video.
    """
    done = []
    for path, marks in matches:
        with closing(open_video(path)) as video:
            try:
                check_marks(marks, video.end_sec)
            except UserError as error:
                raise UserError(f"marks of {path}: {error}") from error
            folder, _ = extract_shown(video, detector, default_dir(path), every)
        done.append((video, folder, marks))
    return done


@dataclass(frozen=True)
class Fit:
    """A fitted detection of whole matches."""

    detection: dict  # for the checkpoint: head and head_decoding, or window_decoding
    validation: dict  # summarise(...) of the validation matches, on which it was chosen


def fit_detector(
    detector: Detector,
    matches: dict[str, list[tuple[Path, Marks]]],
    config: HeadConfig | None = None,
    seed: int = 0,
) -> Fit:
    """Fits the decoding on matches of validation; with a config, first a head on those of train.

    Without a config, the model classifies windows as it is. matches is {split: [(video file, its
    rallies)]}, as marked_matches returns it.
    """
    detector, fitted = replace(detector, head=None), {}
    every = config.every if config else detector.every
    val = extract_all(matches["validation"], detector, every)
    if config:
        train = extract_all(matches["train"], detector, every)
        loaded = [
            [(load_steps(folder, 0, count_steps(v, every)), marks) for v, folder, marks in part]
            for part in (train, val)
        ]
        head, history = fit_head(*loaded, config, seed)
        fitted["head"] = {"config": asdict(config), "state": head.state_dict(), "history": history}
        detector = replace(detector, head=head)
    scored = [
        (*match_probs(detector, folder, count_steps(video, every)), marks, video.end_sec)
        for video, folder, marks in val
    ]
    decoding = fit_decoding(scored)
    fitted["head_decoding" if config else "window_decoding"] = asdict(decoding)
    measured = {}
    for (video, _, marks), (times_sec, probs, _, end_sec) in zip(val, scored, strict=True):
        rallies = decode(times_sec, probs, decoding, end_sec)
        measured[video.path.name] = measure_match(to_marks(rallies), marks, end_sec)
    return Fit(fitted, summarise(measured))


def fit_model(
    path: str | Path,
    data_dir: Path,
    every: int = 4,
    seed: int = 0,
    windows: bool = False,
    precision: str = "auto",
) -> dict:
    """Fits the detection of a checkpoint on the marked matches of data_dir and saves it there.

    windows=True fits the decoding of windows, without a head. Returns summarise(...) of the
    validation matches. Raises UserError as marked_matches does.
    """
    matches, notes = marked_matches(data_dir)
    for note in notes:
        print(f"skipped {note}")
    for split, marked in matches.items():
        count = sum(len(marks) for _, marks in marked)
        rallies, found = (
            count_of(count, "rally", "rallies"),
            count_of(len(marked), "match", "matches"),
        )
        print(f"{split}: {rallies} in {found}")
    config = None if windows else HeadConfig(every=every)
    fit = fit_detector(load_detector(path, precision=precision), matches, config, seed)
    update_checkpoint(path, "detection", fit.detection)
    return fit.validation
