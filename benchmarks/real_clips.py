"""Clips and stills of real matches: what is known of them, and their features.

    clips, stills = read_clips(folder), read_stills(folder)
    prepared = [prepare_clip(clip, backbone, work_dir) for clip in clips]

The folder holds broadcast.csv and main_camera.csv, which label the clips in broadcast/ and
main_camera/, and stills.csv, which labels the pictures in stills/. It is only read; features go to
work_dir.
"""

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from annotation.ground_truth import Truth, without
from annotation.match_marks import Marks, check_marks
from detection.match_features import GRID_FPS, count_steps, extract_match, load_steps
from detection.temporal_head import HeadConfig
from extraction.encoder import best_device, build_encoder, encode, pick_precision
from files import UserError, read_table
from media.frames import FrameError, decode_frames
from media.video import open_video

EVERY = HeadConfig().every  # frames of the 30 fps grid from one step to the next
STEP_SEC = EVERY / GRID_FPS
LANDING_SEC = 1.0  # from the last stroke of a rally to its end
UNKNOWN_SEC = 5.0  # before a first stroke that is no serve
CAMERA_STAYS_SEC = 1.3  # after a rally, most broadcasts keep the main camera on this long
SPAN = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)(\??)")  # seconds; "?": the start is not known


@dataclass(frozen=True)
class Clip:
    """A clip, and what is known of it. Seconds count from its first frame."""

    path: Path
    group: str  # its match or venue
    truth: Truth
    standing: Marks  # (start_sec, end_sec) where the main camera may be on and nobody plays


@dataclass(frozen=True)
class Still:
    """A picture of a match."""

    path: Path
    match: str
    is_court: bool  # the view of the main camera; else a close-up, a replay, the crowd, a break


@dataclass(frozen=True)
class PreparedClip:
    """A clip whose features are computed."""

    features: torch.Tensor  # float32 (S, 512), NaN where the file is damaged
    truth: Truth
    standing: Marks


def read_clips(data: Path) -> list[Clip]:
    """Reads the labelled clips, in the order of their tables.

    Clips without a stroke or rally are left out: nothing is known of them. Raises UserError, which
    lists every problem, for missing files and for spans that are no spans.
    """
    clips, problems = [], []
    for folder, group, spans, label in (
        ("broadcast", "match", "strokes", label_broadcast),
        ("main_camera", "venue", "rallies", label_main_camera),
    ):
        table = read_table(data / f"{folder}.csv", ("video", group, "duration_sec", spans))
        for video, name, duration_sec, text in table.itertuples(index=False, name=None):
            path = data / folder / video
            if not path.is_file():
                problems.append(f"{path} is missing")
                continue
            try:
                if text:
                    clips.append(Clip(path, name, *label(text, float(duration_sec))))
            except (ValueError, UserError) as error:
                problems.append(f"{data / folder}.csv, {video}: {error}")
    if problems:
        raise UserError("\n  - ".join(["the clips cannot be used:", *problems]))
    return clips


def label_broadcast(strokes: str, duration_sec: float) -> tuple[Truth, Marks]:
    """What is known of a broadcast clip, from the seconds of the first and last stroke of rallies.

    A rally ends LANDING_SEC after its last stroke. If its first stroke is no serve ("?"), the
    UNKNOWN_SEC before it are an unknown stretch. For CAMERA_STAYS_SEC after a rally the main camera
    may be on; real_matches.standing_stretches finds out.
    """
    spans = _spans(strokes)
    rallies = [(start, min(end + LANDING_SEC, duration_sec)) for start, end, _ in spans]
    check_marks(rallies, duration_sec)
    doubtful = [(max(start - UNKNOWN_SEC, 0.0), start) for start, _, known in spans if not known]
    truth = Truth(rallies, without(doubtful, rallies))
    after = [(end, min(end + CAMERA_STAYS_SEC, duration_sec)) for _, end in rallies]
    return truth, without(after, [*truth.rallies, *truth.unknown])


def label_main_camera(rallies: str, duration_sec: float) -> tuple[Truth, Marks]:
    """What is known of a clip of the main camera: nobody plays outside its rallies."""
    truth = Truth([(start, end) for start, end, _ in _spans(rallies)])
    check_marks(truth.rallies, duration_sec)
    return truth, without([(0.0, duration_sec)], truth.rallies)


def _spans(text: str) -> list[tuple[float, float, bool]]:
    """(start_sec, end_sec, whether the start is known) of each span, in order."""
    found = [SPAN.fullmatch(part) for part in text.split()]
    if not all(found):
        raise UserError(f"{text!r} must be spans of seconds such as 1.27-25.47 or 1.27-25.47?")
    return sorted((float(each[1]), float(each[2]), not each[3]) for each in found)


def read_stills(data: Path) -> list[Still]:
    """Reads the stills, in the order of their table.

    Raises UserError, which lists every problem, for missing pictures and unknown views.
    """
    table = read_table(data / "stills.csv", ("picture", "match", "view"))
    stills, problems = [], []
    for picture, match, view in table.itertuples(index=False, name=None):
        still = Still(data / "stills" / picture, match, view == "court")
        stills.append(still)
        problems += [] if still.path.is_file() else [f"{still.path} is missing"]
        problems += [] if view in ("court", "other") else [f"{picture}: the view is {view!r}"]
    if problems:
        raise UserError("\n  - ".join(["the stills cannot be used:", *problems]))
    return stills


def prepare_clip(clip: Clip, backbone: nn.Sequential, work: Path) -> PreparedClip:
    """Computes the features of a clip below work, unless they are there."""
    with closing(open_video(clip.path)) as video:
        folder = extract_match(video, backbone, work / clip.path.stem, EVERY, best_device())
        steps = count_steps(video, EVERY)
    return PreparedClip(load_steps(folder, 0, steps), clip.truth, clip.standing)


def encode_stills(stills: list[Still], backbone: nn.Sequential) -> torch.Tensor:
    """Returns the features of stills, float32 (N, 512). Raises UserError for a damaged picture."""
    try:
        frames = [decode_frames([still.path.read_bytes()], still.path) for still in stills]
    except (OSError, FrameError) as error:
        raise UserError(f"a still cannot be read: {error}") from error
    device = best_device()
    encoder = build_encoder(backbone, device, pick_precision("auto", device))
    return encode(encoder, torch.from_numpy(np.concatenate(frames)))
