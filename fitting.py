"""Fits the detection of whole matches on those of train and validation whose rallies are marked.

The temporal head learns from train and stops early on validation; the decoding is then fitted on
validation. Marks of test matches are never read.
"""

from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from detection import Detector, default_dir, load_detector, window_probs
from features import best_device
from files import UserError, read_table
from match_features import count_steps, extract_match, load_steps
from match_model import HeadConfig, fit_head, head_probs
from matches import Marks, marked_videos, marks_path, match_name, read_marks
from model import update_checkpoint
from segment_metrics import measure_match, summarise
from segments import decode, fit_decoding, to_marks
from sequences import find_file
from sources import is_address, read_sources, video_key
from video import Video, open_video

FIT_SPLITS = ("train", "validation")


class NotMarked(UserError):
    """A split has no match with marked rallies to learn from."""


def has_marked_matches(data_dir: Path) -> bool:
    """Whether a match of train and one of validation are marked and there."""
    try:
        marked_matches(data_dir)
    except NotMarked:
        return False
    return True


def marked_matches(data_dir: Path) -> tuple[dict[str, list[tuple[Path, Marks]]], list[str]]:
    """({split: (video file, its rallies) of each marked match}, why others are left out).

    The split is that of videos.csv or of the sequences collected from the video; matches of test,
    and of no split, are left out. Raises NotMarked where a split has none.
    """
    found, notes, used = {split: [] for split in FIT_SPLITS}, [], set()
    owners = marked_videos(data_dir)
    for split in (*FIT_SPLITS, "test"):
        for name in split_videos(data_dir, split):
            path = marks_path(data_dir, match_name(name))
            if not path.is_file() or video_key(owners.get(path.stem, name)) != video_key(name):
                continue
            used.add(path.stem)
            video = find_file(name if is_address(name) else data_dir / name, data_dir)
            if split == "test":
                notes.append(f"{path.stem}: of test, which is kept for measuring")
            elif video is None or not video.is_file():
                notes.append(f"{path.stem}: its video {name} is not there")
            else:
                found[split].append((video, read_marks(path)))
    tables = (data_dir / "matches").glob("*.csv")
    for name in sorted(p.stem for p in tables if not p.name.endswith(".log.csv")):
        if name not in used:
            notes.append(f"{name}: of no split; give its video a line in {data_dir / 'videos.csv'}")
    for split in FIT_SPLITS:
        if not any(marks for _, marks in found[split]):
            why = "".join(f"\n  - {note}" for note in notes)
            raise NotMarked(
                f"no marked match of {split} in {data_dir}: mark one with labeling.py --match "
                f"VIDEO, and say in videos.csv that it is of {split}{why}"
            )
    return found, notes


def split_videos(data_dir: Path, split: str) -> list[str]:
    """What the videos of a split are called: those of videos.csv, and those collected into it."""
    csv = data_dir / "videos.csv"
    listed = read_table(csv, ("split", "video")) if csv.is_file() else None
    names = [] if listed is None else list(listed.loc[listed["split"] == split, "video"])
    names += list(read_sources(data_dir / split)["video"].unique())
    return list({video_key(name): name for name in names}.values())


def extract_all(
    matches: list[tuple[Path, Marks]], detector: Detector, every: int
) -> list[tuple[Video, Path, Marks]]:
    """(video, folder of its features, its rallies) of each match; computes what is missing."""
    done = []
    for path, marks in matches:
        video = open_video(path)
        with tqdm(total=round(video.end_sec, 1), desc=path.name, unit="s") as bar:

            def show(done_sec: float, _computed_sec: float, bar: tqdm = bar) -> None:
                bar.update(min(round(done_sec, 1), bar.total) - bar.n)

            folder = extract_match(
                video,
                detector.model.backbone,
                default_dir(path),
                every,
                best_device(),
                show,
            )
        video.container.close()
        done.append((video, folder, marks))
    return done


def fit_detector(
    detector: Detector,
    found: dict[str, list[tuple[Path, Marks]]],
    config: HeadConfig | None = None,
    seed: int = 0,
) -> tuple[dict, dict]:
    """({"head", "head_decoding"} or, without config, {"window_decoding"}: what goes into the model
    file as "detection"; the figures of validation, by which it was chosen).

    With a config a head is trained first; without, windows are classified by the model as it is.
    """
    every = config.every if config else 1
    needed = FIT_SPLITS if config else ("validation",)
    sets = {split: extract_all(found[split], detector, every) for split in needed}
    fitted: dict = {}
    if config:
        loaded = [
            [(load_steps(folder, 0, count_steps(v, every)), marks) for v, folder, marks in part]
            for part in sets.values()
        ]
        head, history = fit_head(*loaded, config, seed)
        state = {name: value.clone() for name, value in head.state_dict().items()}
        fitted["head"] = {"config": asdict(config), "state": state, "history": history}
    scored = []
    for video, folder, marks in sets["validation"]:
        steps = count_steps(video, every)
        if config:
            times_sec, probs = head_probs(head, folder, steps)
        else:
            times_sec, probs = window_probs(detector.model, folder, steps, detector.hop_sec)
        scored.append((times_sec, probs, marks, video.end_sec))
    decoding = fit_decoding(scored)
    fitted["head_decoding" if config else "window_decoding"] = asdict(decoding)
    measured = {
        video.path.name: measure_match(
            to_marks(decode(times_sec, probs, decoding, duration_sec)), marks, duration_sec
        )
        for (video, _, _), (times_sec, probs, marks, duration_sec) in zip(
            sets["validation"], scored, strict=True
        )
    }
    return fitted, summarise(measured)


def fit_model(
    path: str | Path, data_dir: Path, every: int = 4, seed: int = 0, windows: bool = False
) -> dict:
    """Fits the detection of a model file on the marked matches of data_dir and keeps it in there.

    Returns summarise of validation. windows: see fit_detector, without config. Raises NotMarked.
    """
    found, notes = marked_matches(data_dir)
    for note in notes:
        print(f"left out: {note}")
    for split, matches in found.items():
        count = sum(len(marks) for _, marks in matches)
        print(f"{split}: {count} rallies in {len(matches)} matches")
    config = None if windows else HeadConfig(every=every)
    detection, summary = fit_detector(load_detector(path), found, config, seed)
    update_checkpoint(path, "detection", detection)
    return summary


def held_out_match(data_dir: Path) -> tuple[Path, Marks]:
    """A match of test (one with marked rallies, if there is one) and its rallies, if any.

    Raises UserError where none is there.
    """
    files = [
        (find_file(name if is_address(name) else data_dir / name, data_dir), name)
        for name in split_videos(data_dir, "test")
    ]
    there = [
        (path, read_marks(marks_path(data_dir, match_name(name))))
        for path, name in files
        if path is not None and path.is_file()
    ]
    if not there:
        raise UserError(f"no video of the test split of {data_dir} is there")
    return max(there, key=lambda match: len(match[1]) > 0)
