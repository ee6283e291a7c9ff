"""What experiments over many matches share: their setting, their matches, runs and files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from cli import count_of
from detection.detector import Detector, load_detector
from detection.fitting import ReadyMatch, ready_matches
from detection.marked_matches import MarkedMatch, marked_matches
from detection.temporal_head import HeadConfig
from experiments.held_out import Job, Outcome, run_jobs
from files import SPLITS, save_json
from importing.imported import read_groups


@dataclass(frozen=True)
class Setting:
    """What is fitted, on which matches, and where it runs."""

    model: Path
    data_dir: Path
    by: str = "match"  # or "group": what is held out together
    splits: tuple[str, ...] = SPLITS  # whose marked matches take part
    every: int = 4  # frames of 30 a second from one step of the head to the next
    windows: bool = False  # True: no head; the decoding of windows is fitted
    precision: str = "auto"  # of the backbone
    on_ray: bool = False  # whether to run on the cluster that connect has joined


@dataclass(frozen=True)
class Found:
    """A setting with its model loaded and its marked matches found."""

    detector: Detector  # without a head
    config: HeadConfig | None  # None: windows
    every: float  # frames of 30 a second from one step to the next
    matches: list[MarkedMatch]


@dataclass(frozen=True)
class Prepared:
    """A setting with the features of its matches computed."""

    setting: Setting
    detector: Detector  # without a head
    config: HeadConfig | None  # None: windows
    matches: list[ReadyMatch]
    units: list[str]  # the match or the group of each match

    def about(self) -> dict:
        """What a record of the experiment says about it. It fits JSON."""
        return {
            "model": self.setting.model.name,
            "weights": self.detector.weights_name,
            "synthetic": self.detector.synthetic,
            "data": str(self.setting.data_dir),
            "by": self.setting.by,
            "head": self.config is not None,
            "every": self.config and self.config.every,
            "precision": self.detector.precision,
            "videos": {match.name: str(match.path) for match in self.matches},
            "units": {
                match.name: unit for match, unit in zip(self.matches, self.units, strict=True)
            },
        }


def find_matches(setting: Setting) -> Found:
    """Loads the model and finds the marked matches; on Ray it also computes their features there.

    Prints which matches are left out. Raises UserError as load_detector, marked_matches and
    extract_on_ray do.
    """
    detector = replace(load_detector(setting.model, precision=setting.precision), head=None)
    config = None if setting.windows else HeadConfig(every=setting.every)
    by_split, notes = marked_matches(setting.data_dir, setting.splits)
    for note in notes:
        print(f"skipped {note}")
    found = [match for matches in by_split.values() for match in matches]
    shares = [f"{split} {len(matches)}" for split, matches in by_split.items()]
    print(f"{count_of(len(found), 'marked match', 'marked matches')}: {', '.join(shares)}")
    every = config.every if config else detector.every
    if setting.on_ray:
        from experiments.ray_jobs import extract_on_ray  # noqa: PLC0415, Ray may not be installed

        extract_on_ray(found, detector, every, setting.precision)
    return Found(detector, config, every, found)


def prepare(setting: Setting) -> Prepared:
    """Finds the marked matches and computes their missing features.

    Raises UserError as find_matches and ready_matches do.
    """
    found = find_matches(setting)
    groups = read_groups(setting.data_dir) if setting.by == "group" else {}
    units = [groups.get(match.name, match.name) for match in found.matches]
    matches = ready_matches(found.matches, found.detector, found.every)
    return Prepared(setting, found.detector, found.config, matches, units)


def save_result(
    result: dict, folder: Path, name: str, plot: Callable[[dict, Path, bool], Figure]
) -> list[Path]:
    """Writes NAME.json and .png into a folder, by group NAME_by_group.*; returns their paths."""
    name = name if result["by"] == "match" else f"{name}_by_group"
    paths = [folder / f"{name}.json", folder / f"{name}.png"]
    save_json(paths[0], result)
    plot(result, paths[1], result["synthetic"])
    return paths


def run_all(prepared: Prepared, jobs: list[Job]) -> Iterator[tuple[Job, list[Outcome]]]:
    """Runs jobs, here or on the cluster, and prints and yields what each found."""
    run = run_jobs
    if prepared.setting.on_ray:
        from experiments.ray_jobs import run_jobs_on_ray  # noqa: PLC0415, Ray may not be installed

        run = run_jobs_on_ray
    results = run(prepared.detector, prepared.matches, prepared.config, jobs)
    for number, (job, outcomes) in enumerate(results, start=1):
        train = count_of(len(job.fold.train), "match", "matches")
        for outcome in outcomes:
            f1 = outcome.measured["iou"]["0.5"]["f1"]
            print(
                f"fit {number} of {len(jobs)} (seed {job.seed}, trained on {train}): "
                f"{outcome.match}: " + ("no rally" if f1 is None else f"F1@0.5 {f1:.3f}")
            )
        yield job, outcomes
