"""Matches joined from clips of the same group by a fixed recipe, with pauses in between.

    features, truth = join_clips(prepared, stills, seed=0)

A real match is mostly pauses, and the clips hold hardly any. So between two clips comes a pause of
3 to 8 s, in turn a still that is no play, and a stretch of the main camera in which nobody plays,
run back and forth. The first is easy to tell from play. The second looks like it.

Joining features is the same as joining films. The backbone sees one frame at a time, so the
features of a frame do not depend on the frames around it. Frames of all sizes are resized to
224x224 before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from real_clips import STEP_SEC, PreparedClip, Still

from annotation.ground_truth import Truth
from annotation.match_marks import Marks
from files import UserError

PAUSE_SEC = (3.0, 8.0)  # the shortest and the longest pause
MIN_STRETCH_STEPS = 4  # of the main camera, half a second
FAR_FROM_PLAY = 2.5  # close-ups and replays are 4 to 10 times as far, the main camera about 1


@dataclass(frozen=True)
class StillSplit:
    """Stills without a match in common, so that nothing is measured on a picture learned from."""

    train: list[Still]  # these two teach the window model the two views
    validation: list[Still]
    pauses: dict[str, list[Still]]  # {group: the stills of its pauses}, all without play


def split_stills(stills: list[Still], groups: list[str]) -> StillSplit:
    """Splits stills by their match, in the order of the matches' names.

    Of the matches that have a still without play, every second is for pauses, dealt out to the
    groups in turn. Of the other matches every fourth is for validation. Raises UserError if too few
    matches are there.
    """
    names = sorted({still.match for still in stills if not still.is_court})
    for_pauses = names[1::2]
    others = sorted({still.match for still in stills} - set(for_pauses))
    validation, train = others[::4], [name for k, name in enumerate(others) if k % 4]
    if len(for_pauses) < len(groups) or not train:
        raise UserError(
            f"{len(names)} matches have stills without play, too few for the pauses of "
            f"{len(groups)} groups: at least {2 * len(groups)} are needed"
        )

    def of(matches: list[str]) -> list[Still]:
        return [still for still in stills if still.match in matches]

    pauses = {
        group: [still for still in of(for_pauses[k :: len(groups)]) if not still.is_court]
        for k, group in enumerate(sorted(groups))
    }
    return StillSplit(of(train), of(validation), pauses)


def join_clips(
    clips: list[PreparedClip], stills: torch.Tensor, seed: int
) -> tuple[torch.Tensor, Truth]:
    """Joins clips in random order to one match: its features, float32 (S, 512), and ground truth.

    stills are features (N, 512) of pictures without play. The first pause is a still, the second a
    stretch of main camera, and so on. Each is drawn until none is left, then all are drawn anew.
    Raises UserError if no still or no stretch is there.
    """
    stretches = [stretch for clip in clips for stretch in standing_stretches(clip)]
    if not len(stills) or not stretches:
        what = "still" if stretches else "stretch of main camera"
        raise UserError(f"cannot fill the pauses between clips: there is no {what} without play")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(clips))
    next_still, next_stretch = _draw(len(stills), rng), _draw(len(stretches), rng)
    parts, rallies, unknown = [], [], []
    for position, k in enumerate(order):
        if position:
            steps = round(rng.uniform(*PAUSE_SEC) / STEP_SEC)
            if position % 2:
                pause = stills[next(next_still)].expand(steps, -1)
            else:
                pause = back_and_forth(stretches[next(next_stretch)], steps)
            parts.append(pause)
        start_sec = sum(map(len, parts)) * STEP_SEC
        rallies += _moved(clips[k].truth.rallies, start_sec)
        unknown += _moved(clips[k].truth.unknown, start_sec)
        parts.append(clips[k].features)
    return torch.cat(parts), Truth(rallies, unknown)


def standing_stretches(clip: PreparedClip) -> list[torch.Tensor]:
    """The features (S, 512) of each stretch of main camera without play, at least half a second.

    A stretch ends where the picture no longer looks like the main camera: where its features are
    FAR_FROM_PLAY times as far from the mean of the clip's play as nine in ten steps of play are.
    """
    play = torch.cat([clip.features[_steps(rally)] for rally in clip.truth.rallies])
    mean = play.mean(0)
    reach = FAR_FROM_PLAY * (play - mean).norm(dim=1).quantile(0.9)
    stretches = []
    for span in clip.standing:
        stretch = clip.features[_steps(span)]
        near = (stretch - mean).norm(dim=1) <= reach
        stretches.append(stretch[: int(near.cumprod(0).sum())])
    return [stretch for stretch in stretches if len(stretch) >= MIN_STRETCH_STEPS]


def _steps(span: tuple[float, float]) -> slice:
    """The steps of a clip whose time lies between two seconds, the end excluded."""
    first, past = (int(np.ceil(round(sec / STEP_SEC, 6))) for sec in span)
    return slice(first, past)


def back_and_forth(stretch: torch.Tensor, steps: int) -> torch.Tensor:
    """Runs a stretch (S, D) forwards, backwards and so on: (steps, D), no step twice in a row."""
    there_and_back = [*range(len(stretch)), *range(len(stretch) - 2, 0, -1)]
    return stretch[torch.tensor(there_and_back)[torch.arange(steps) % len(there_and_back)]]


def _draw(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Yields the numbers below count in random order, then again in another one, for ever."""
    while True:
        yield from rng.permutation(count).tolist()


def _moved(marks: Marks, by_sec: float) -> Marks:
    return [(round(start + by_sec, 3), round(end + by_sec, 3)) for start, end in marks]
