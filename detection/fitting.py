"""Fits the detection of whole matches on marked matches.

The temporal head is trained on train, with early stopping on validation. The decoding is then
fitted on validation.
"""

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from annotation.ground_truth import Truth
from annotation.match_marks import check_marks
from cli import count_of
from detection.alignment import best_shift, warn_of_shift
from detection.decoding import decode, fit_decoding, to_marks
from detection.detector import Detector, extract_shown, load_detector, match_probs
from detection.marked_matches import MarkedMatch, marked_for_fit
from detection.match_features import StepFeatures, cached_steps, count_steps
from detection.records import default_dir
from detection.segment_metrics import measure_match, summarise
from detection.temporal_head import MAX_EPOCHS, HeadConfig, fit_head
from files import UserError
from media.video import open_video
from model import update_checkpoint


@dataclass(frozen=True)
class ReadyMatch:
    """A marked match whose features are computed."""

    name: str
    features: StepFeatures
    truth: Truth
    end_sec: float


@dataclass(frozen=True)
class Fit:
    """A fitted detection of whole matches."""

    detector: Detector  # with the fitted head, if there is one, and decoding
    history: list[tuple[float, float]] | None  # train and validation loss of each epoch of the head
    validation: dict  # summarise(...) of the validation matches, on which it was chosen

    def as_record(self) -> dict:
        """The fit as the checkpoint keeps it: head and head_decoding, or window_decoding."""
        head, decoding = self.detector.head, asdict(self.detector.decoding)
        if head is None:
            return {"window_decoding": decoding}
        config, state = asdict(head.config), head.state_dict()
        return {
            "head": {"config": config, "state": state, "history": self.history},
            "head_decoding": decoding,
        }


def ready_matches(matches: list[MarkedMatch], detector: Detector, every: float) -> list[ReadyMatch]:
    """Computes the features of marked matches, as far as they are missing.

    Raises UserError, which lists all of them, if rallies lie beyond the end of their video.
    """
    ready, problems = [], []
    for match in matches:
        with closing(open_video(match.path)) as video:
            try:
                check_marks(match.truth.rallies, video.end_sec)
            except UserError as error:
                problems.append(f"marks of {match.path}: {error}")
                continue
            folder, _ = extract_shown(video, detector, default_dir(match.path), every)
        features = cached_steps(folder.absolute(), count_steps(video, every))
        ready.append(ReadyMatch(match.name, features, match.truth, video.end_sec))
    if problems:
        raise UserError("\n  - ".join(problems))
    return ready


def fit_detector(
    detector: Detector,
    train: list[ReadyMatch],
    validation: list[ReadyMatch],
    config: HeadConfig | None = None,
    seed: int = 0,
    max_epochs: int = MAX_EPOCHS,
) -> Fit:
    """Fits the decoding on matches of validation; with a config, first a head on those of train.

    Without a config, the model classifies windows as it is. Raises UserError as fit_head does.
    """
    detector, history = replace(detector, head=None), None
    if config:
        labelled = [[(m.features, m.truth) for m in part] for part in (train, validation)]
        head, history = fit_head(*labelled, config, seed, max_epochs)
        detector = replace(detector, head=head)
    scored = [
        (*match_probs(detector, match.features), match.truth, match.end_sec) for match in validation
    ]
    detector = replace(detector, decoding=fit_decoding(scored), fitted=True)
    measured = {}
    for match, (times_sec, probs, _, end_sec) in zip(validation, scored, strict=True):
        rallies = decode(times_sec, probs, detector.decoding, end_sec)
        measured[match.name] = measure_match(to_marks(rallies), match.truth, end_sec)
    return Fit(detector, history, summarise(measured))


def fit_model(
    path: str | Path,
    data_dir: Path,
    every: int = 4,
    seed: int = 0,
    windows: bool = False,
    precision: str = "auto",
) -> dict:
    """Fits the detection of a checkpoint on the marked matches of data_dir and saves it there.

    windows=True fits the decoding of windows, without a head. Prints a warning for each match whose
    marks seem shifted against its film. Returns summarise(...) of the validation matches. Raises
    UserError as marked_for_fit does.
    """
    matches, notes = marked_for_fit(data_dir)
    for note in notes:
        print(f"skipped {note}")
    for split, marked in matches.items():
        count = sum(len(match.truth.rallies) for match in marked)
        rallies = count_of(count, "rally", "rallies")
        print(f"{split}: {rallies} in {count_of(len(marked), 'match', 'matches')}")
    config = None if windows else HeadConfig(every=every)
    detector = replace(load_detector(path, precision=precision), head=None)
    step = config.every if config else detector.every
    train, validation = (ready_matches(part, detector, step) for part in matches.values())
    fit = fit_detector(detector, train, validation, config, seed)
    update_checkpoint(path, "detection", fit.as_record())
    for match in (*train, *validation):
        probs = match_probs(fit.detector, match.features)
        warn_of_shift(match.name, best_shift(*probs, match.truth))
    return fit.validation
