"""Fits without some matches, then finds and measures their rallies."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from detection.alignment import Shift, best_shift
from detection.decoding import Decoding, decode, to_marks
from detection.detector import Detector, match_probs
from detection.fitting import ReadyMatch, fit_detector
from detection.segment_metrics import measure_match
from detection.temporal_head import HeadConfig
from experiments.folds import Fold


@dataclass(frozen=True)
class Job:
    """One fit: a fold and the seed of the training."""

    fold: Fold
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a fit that never saw a match found in it."""

    match: str
    times_sec: np.ndarray  # float64 (N,)
    probs: np.ndarray  # float32 (N,), probability of play; NaN where the file is damaged
    measured: dict  # measure_match(...)
    shift: Shift | None
    decoding: Decoding
    epochs: int | None  # of the head's training; None without a head

    def as_record(self) -> dict:
        """The outcome without its probabilities, as JSON keeps it."""
        shift = self.shift and asdict(self.shift)
        about = {"shift": shift, "decoding": asdict(self.decoding), "epochs": self.epochs}
        return self.measured | about


def run_job(
    detector: Detector, matches: list[ReadyMatch], config: HeadConfig | None, job: Job
) -> list[Outcome]:
    """Fits on a fold, and returns the outcome of each match that it holds out.

    config None fits only the decoding of windows.
    """
    fold, outcomes = job.fold, []
    train, validation = ([matches[k] for k in part] for part in (fold.train, fold.validation))
    fit = fit_detector(detector, train, validation, config, job.seed)
    for match in (matches[k] for k in fold.held_out):
        times_sec, probs = match_probs(fit.detector, match.features)
        rallies = to_marks(decode(times_sec, probs, fit.detector.decoding, match.end_sec))
        outcomes.append(
            Outcome(
                match.name,
                times_sec,
                probs,
                measure_match(rallies, match.truth, match.end_sec),
                best_shift(times_sec, probs, match.truth),
                fit.detector.decoding,
                len(fit.history) if fit.history else None,
            )
        )
    return outcomes


def run_jobs(
    detector: Detector, matches: list[ReadyMatch], config: HeadConfig | None, jobs: list[Job]
) -> Iterator[tuple[Job, list[Outcome]]]:
    """Runs jobs one after the other on this machine, and yields each with its outcomes."""
    for job in jobs:
        yield job, run_job(detector, matches, config, job)
