"""Runs experiments on a Ray cluster: features of matches, and fits of folds."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from detection.detector import Detector, extract_shown
from detection.fitting import ReadyMatch
from detection.marked_matches import MarkedMatch
from detection.records import default_dir
from detection.temporal_head import HeadConfig
from experiments.held_out import Job, Outcome, run_job
from extraction.ray_cluster import choose_precision, map_on_actors
from files import UserError
from media.video import open_video


def extract_on_ray(
    matches: list[MarkedMatch], detector: Detector, every: float, precision: str
) -> None:
    """Computes the missing features of matches on the cluster that connect has joined.

    The videos must have the same paths on all machines. Raises UserError with all problems.
    """
    detector = replace(detector, precision=choose_precision(precision))
    paths = [str(match.path.resolve()) for match in matches]
    rows = map_on_actors(MatchEncoder, (detector, every), paths, 1)
    problems = [row["problem"] for row in rows if row["problem"]]
    if problems:
        raise UserError("\n  - ".join(problems))


def run_jobs_on_ray(
    detector: Detector, matches: list[ReadyMatch], config: HeadConfig | None, jobs: list[Job]
) -> Iterator[tuple[Job, list[Outcome]]]:
    """Does what held_out.run_jobs does on the cluster, one job per core. The order may differ.

    Raises UserError if a fit fails.
    """
    numbers = [str(k) for k in range(len(jobs))]
    for row in map_on_actors(JobRunner, (detector, matches, config, jobs), numbers, 1):
        if row["problem"]:
            raise UserError(row["problem"])
        yield jobs[int(row["item"])], row["outcomes"]


class MatchEncoder:
    """A Ray Data actor: computes the features of matches, and returns the error of each, or ""."""

    def __init__(self, detector: Detector, every: float):
        self.detector, self.every = detector, every

    def __call__(self, batch: dict) -> dict:
        return {
            "item": list(batch["item"]),
            "problem": [self.encode(Path(str(item))) for item in batch["item"]],
        }

    def encode(self, path: Path) -> str:
        try:
            with closing(open_video(path)) as video:
                extract_shown(video, self.detector, default_dir(path), self.every, progress=False)
        except UserError as error:  # Ray would bury a raised error in pages of traceback
            return str(error)
        return ""


class JobRunner:
    """A Ray Data actor: runs jobs by their numbers, and returns their outcomes, or an error."""

    def __init__(self, detector, matches, config, jobs):
        self.about, self.jobs = (detector, matches, config), jobs

    def __call__(self, batch: dict) -> dict:
        rows = {"item": [], "problem": [], "outcomes": []}
        for item in batch["item"]:
            try:
                outcomes, problem = run_job(*self.about, self.jobs[int(item)]), ""
            except UserError as error:
                outcomes, problem = [], str(error)
            for name, value in (("item", item), ("problem", problem), ("outcomes", outcomes)):
                rows[name].append(value)
        return rows
