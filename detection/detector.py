"""Detects the rallies of one match: from its video to the table of its rallies.

detector = load_detector("runs/NAME/best_model.pth")
result = detect_match(Path("final.mp4"), detector, Path("final_rallies"))
"""

import time
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from detection.decoding import Decoding, decode, unknown_stretches
from detection.match_features import (
    GRID_FPS,
    StepFeatures,
    cached_steps,
    count_steps,
    extract_match,
)
from detection.temporal_head import HeadConfig, MatchHead, match_logits
from extraction.encoder import best_device, pick_precision
from files import UserError, file_sha256
from media.video import Video, open_video
from model import RES_LSTM, load_model

BATCH_WINDOWS = 64
COMMON_RATES = [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]
COMMON_RATES += [Fraction(n) for n in (24, 25, 30, 48, 50, 60, 100, 120)]


@dataclass(frozen=True)
class Detector:
    """A trained model, ready for whole matches."""

    path: Path
    model: RES_LSTM
    head: MatchHead | None  # None: windows are classified one by one
    decoding: Decoding
    fitted: bool  # whether decoding was fitted on marked matches
    window_hop_sec: float  # from one window to the next; a head ignores it
    precision: str  # of the backbone, "fp32" or "bf16"
    weights_name: str  # of the backbone
    synthetic: bool  # whether the model was trained on the SYNTHETIC sample
    about: dict  # further facts that the checkpoint records

    @property
    def every(self) -> float:
        """Frames of the 30 fps grid from one step to the next.

        Windows have the frame rate of the sequences that the model was trained on. Raises UserError
        if the checkpoint does not record it.
        """
        if self.head:
            return self.head.config.every
        if self.model.config.fps is None:
            raise UserError(
                f"{self.path} was saved by an earlier version, which did not record the frame rate "
                "of its training sequences, so it cannot classify windows; train it again "
                "(main.ipynb), or fit it on marked matches (detecting_rallies.py fit)"
            )
        return GRID_FPS / self.model.config.fps

    @property
    def hop_sec(self) -> float:
        """Seconds from one probability to the next."""
        step_sec = self.every / GRID_FPS
        return step_sec if self.head else max(round(self.window_hop_sec / step_sec), 1) * step_sec


@dataclass(frozen=True)
class Result:
    """What a detector found in a match's video."""

    video: Video  # closed
    sha256: str  # of its bytes
    fps: Fraction
    detector: Detector
    times_sec: np.ndarray  # float64 (N,)
    probs: np.ndarray  # float32 (N,), probability of play; NaN where the file is damaged
    rallies: pd.DataFrame  # start_sec, end_sec, duration_sec, confidence
    wall_sec: float
    computed_sec: float  # seconds of the match whose features were not cached

    @property
    def unknown(self) -> list[tuple[float, float]]:
        """(start_sec, end_sec) of each unknown stretch, where the file is damaged."""
        return unknown_stretches(self.times_sec, self.probs, self.video.end_sec)


def load_detector(
    path: str | Path, windows: bool = False, hop_sec: float = 0.5, precision: str = "auto"
) -> Detector:
    """Loads the detector of a checkpoint; windows=True leaves out its head.

    hop_sec is the time from window to window, precision one of cli.PRECISIONS. Raises UserError as
    load_model does.
    """
    model, checkpoint = load_model(path)
    detection = checkpoint.get("detection", {})
    head = None
    if "head" in detection and not windows:
        head = MatchHead(HeadConfig(**detection["head"]["config"]))
        head.load_state_dict(detection["head"]["state"])
        head.eval()
    fitted = detection.get("head_decoding" if head else "window_decoding")
    return Detector(
        path=Path(path),
        model=model,
        head=head,
        decoding=Decoding(**fitted) if fitted else Decoding(),
        fitted=bool(fitted),
        window_hop_sec=hop_sec,
        precision=pick_precision(precision, best_device()),
        weights_name=checkpoint["weights_name"],
        synthetic=bool(checkpoint["about"].get("synthetic")),
        about=checkpoint["about"],
    )


def with_settings(detector: Detector, **settings: float | None) -> Detector:
    """Returns the detector with other values of its decoding. Values that are None stay."""
    given = {name: value for name, value in settings.items() if value is not None}
    return replace(detector, decoding=replace(detector.decoding, **given))


def detect_match(
    path: Path,
    detector: Detector,
    out_dir: Path,
    progress: bool = True,
    sha256: str | None = None,
) -> Result:
    """Finds the rallies of a match. sha256 is that of its file, if it is known.

    Uses the features cached below out_dir and computes those that are missing. Raises UserError if
    path is not a video or shorter than one window, or if out_dir cannot be written.
    """
    began = time.perf_counter()
    with closing(open_video(path)) as video:
        sha256 = sha256 or file_sha256(path)
        steps = count_steps(video, detector.every)
        if detector.head is None and steps < detector.model.config.seq_frames:
            raise UserError(
                f"{path} is too short ({video.end_sec:.2f} s); one window of the model takes "
                f"{detector.model.config.seq_frames} frames"
            )
        folder, computed_sec = extract_shown(
            video, detector, out_dir, detector.every, sha256, progress
        )
        times_sec, probs = match_probs(detector, cached_steps(folder, steps))
        rallies = decode(times_sec, probs, detector.decoding, video.end_sec)
        wall_sec, fps = time.perf_counter() - began, nominal_fps(video)
    return Result(video, sha256, fps, detector, times_sec, probs, rallies, wall_sec, computed_sec)


def extract_shown(
    video: Video,
    detector: Detector,
    out_dir: Path,
    every: float,
    sha256: str | None = None,
    progress: bool = True,
) -> tuple[Path, float]:
    """Runs extract_match with a progress bar.

    Returns the folder of the features and how many seconds of the match were computed.
    """
    began, computed = time.perf_counter(), 0.0
    with tqdm(
        total=round(video.end_sec, 1),
        desc=video.path.name,
        unit="",
        bar_format="{desc}: {percentage:3.0f}%|{bar:20}| {unit}",
        **({} if progress else {"disable": True}),  # with progress, TQDM_DISABLE decides
    ) as bar:

        def show(done_sec: float, computed_sec: float) -> None:
            nonlocal computed
            computed, bar.n = computed_sec, min(round(done_sec, 1), bar.total)
            if not computed_sec:
                bar.unit = "features from an earlier run" if done_sec else ""
            else:
                speed = computed_sec / (time.perf_counter() - began)
                left = tqdm.format_interval(max(video.end_sec - done_sec, 0) / speed)
                bar.unit = f"{speed:.1f}x real time, {left} left"
            bar.update(0)

        folder = extract_match(
            video,
            detector.model.backbone,
            out_dir,
            every,
            best_device(),
            show,
            sha256,
            detector.precision,
        )
    return folder, computed


def match_probs(detector: Detector, features: StepFeatures) -> tuple[np.ndarray, np.ndarray]:
    """Returns times_sec (N,) and the probabilities of play (N,), from the head or from windows.

    A probability is NaN where the match is unknown.
    """
    if detector.head is None:
        rate = GRID_FPS / detector.every
        return window_probs(detector.model, features, rate, detector.hop_sec)
    probs = torch.sigmoid(match_logits(detector.head, features)).numpy()
    return np.arange(features.steps) * detector.every / GRID_FPS, probs


def nominal_fps(video: Video) -> Fraction:
    """Returns the average frame rate, or a common one within 0.02 % of it, such as 30000/1001."""
    rate = video.stream.average_rate or video.stream.guessed_rate
    near = [f for f in COMMON_RATES if rate and abs(f / Fraction(rate) - 1) < 2e-4]
    return near[0] if near else Fraction(rate or 1 / video.period_sec).limit_denominator(1001)


def window_probs(
    model: RES_LSTM, features: StepFeatures, rate: float, hop_sec: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the middle of each window (N,) in seconds and its probability, float32 (N,).

    A window has seq_frames steps, at `rate` steps a second, and one begins every hop_sec seconds.
    Its probability is NaN if one of its frames is unknown.
    """
    size, hop = model.config.seq_frames, round(hop_sec * rate)
    firsts = np.arange(0, features.steps - size + 1, hop)
    probs = np.empty(len(firsts), np.float32)
    with torch.inference_mode():
        for k in range(0, len(firsts), BATCH_WINDOWS):
            batch = firsts[k : k + BATCH_WINDOWS]
            read = features.read(int(batch[0]), int(batch[-1]) + size)  # (S, D)
            windows = read.unfold(0, size, hop).transpose(1, 2)  # (B, T, D)
            probs[k : k + len(batch)] = torch.sigmoid(model.classify(windows)).squeeze(1).numpy()
    return (firsts + size / 2) / rate, probs
