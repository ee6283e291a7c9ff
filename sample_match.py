"""Draw a synthetic badminton broadcast with sound, and write down when its rallies are.

    python sample_match.py OUT.mp4 [--seed 1] [--duration-sec 120] [--fps 30]

writes OUT.mp4 (H.264 + AAC) and OUT.csv (start_sec,end_sec of each rally: from the serve's hit to
the shuttle's landing). Each hit is a knock in the sound. Everything follows from the seed.

The court is also shown between rallies, for 35 to 50 % of the time without play, so that telling
the court view from other scenes is not enough: "court view = rally" has an accuracy of 0.73 per
second. Two minutes of match take about 10 s at 30 frames per second on 2 cores.
"""

import argparse
import math
import os
import subprocess
import tempfile
import time
import wave
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
from tqdm import tqdm

import sample_scenes as scenes_of
from files import UserError, run_command, write_table
from sample_players import plan_point

SCENE_KINDS = ("rally", "court", "closeup", "crowd", "replay", "break")
FILLER_SEC = {"closeup": 2.8, "crowd": 2.3, "replay": 3.8, "break": 4.5}  # typical lengths
FRAME_RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50))
SAMPLE_RATE = 48000


@dataclass(frozen=True)
class Scene:
    """A stretch of the match; scenes in a row with the same seed are one shot, without a cut."""

    start_sec: float
    end_sec: float
    kind: str
    seed: int
    hits: tuple = ()  # seconds on the match's clock, the serve first; rallies only


def split_time(rng, total, count, low, high):
    """Cut total seconds into count random lengths within low..high, (count,)."""
    low, high = min(low, 0.9 * total / count), max(high, 1.1 * total / count)
    while True:  # draw again until none is too long
        weights = rng.gamma(2.0, size=count)
        lengths = low + (total - count * low) * weights / weights.sum()
        if lengths.max() <= high:
            return lengths


def write_script(seed: int, duration_sec: float) -> list[Scene]:
    """Which scene is when, from 0 to duration_sec without gaps, on a grid of milliseconds."""
    rng = np.random.default_rng([seed, 0])
    rally_sec = duration_sec * rng.uniform(0.36, 0.41)
    court_sec = (duration_sec - rally_sec) * rng.uniform(0.38, 0.48)
    filler_sec = duration_sec - rally_sec - court_sec
    points = max(1, round(rally_sec / 7.7)) if rally_sec >= 3 else 0
    rallies = split_time(rng, rally_sec, points, 3.01, 19.9) if points else []
    courts = split_time(rng, court_sec, max(2 * points, 1), 1.5, 7)

    # A gap of cut-away scenes lies before, between and after the rallies.
    gaps = [[] for _ in range(points + 1)]
    count = max(round(filler_sec / 3.0), points - 1, 1)
    for k in range(count):
        gap = gaps[1 + k] if k < points - 1 else gaps[rng.integers(points + 1)]
        odds = {"closeup": 0.4, "crowd": 0.2, "replay": 0.28, "break": 0.12}
        if gap and gap[-1] != "closeup":
            odds[gap[-1]] = 0
        if gap is gaps[0]:
            odds["replay"] = 0
        odds = np.array(list(odds.values()))
        gap.append(str(rng.choice(list(FILLER_SEC), p=odds / odds.sum())))
    weights = rng.uniform(0.75, 1.25, count) * [FILLER_SEC[kind] for gap in gaps for kind in gap]
    fillers = iter(filler_sec * weights / weights.sum())

    pieces, courts, shot = [], list(courts), seed * 1000  # (length, kind, shot)
    for k, gap in enumerate(gaps):
        gap = [(next(fillers), kind) for kind in gap]
        if k > 0:  # the court after the rally, now and then only after a cut away
            gap.insert(int(len(gap) > 1 and rng.random() < 0.25), (courts.pop(), "court"))
        elif not points:
            gap.append((courts.pop(), "court"))
        for n, (length, kind) in enumerate(gap):
            shot += not (n == 0 and kind == "court")
            pieces.append((length, kind, shot))
        if k < points:
            shot += 1
            pieces += [(courts.pop(), "court", shot), (rallies[k], "rally", shot)]

    borders = np.round(np.cumsum([0] + [length for length, _, _ in pieces]), 3)
    borders[-1] = duration_sec
    script = []
    for (_, kind, shot), start, end in zip(pieces, borders[:-1], borders[1:], strict=True):
        hits = ()
        if kind == "rally":
            flights = rng.uniform(0.75, 1.25, max(2, round((end - start) / rng.uniform(0.9, 1.1))))
            hits = start + np.cumsum([0, *flights[:-1]]) * (end - start) / flights.sum()
            hits = tuple(np.round(hits, 3).tolist())
        script.append(Scene(float(start), float(end), kind, shot, hits))
    return script


def draw_banners(shot, rng):
    """Which graphics a shot shows, as (start, end, text): between rallies, never over play."""
    return [
        (scene.start_sec + 0.2, scene.end_sec - 0.3, str(rng.choice(scenes_of.BANNERS)))
        for scene in shot
        if scene.kind == "court" and rng.random() < 0.8
    ]


def draw_pictures(script, look, fps, start_score):
    """Yield the pictures of the whole match, uint8 (360, 640, 3) BGR, one every 1/fps seconds."""
    score = list(start_score)
    for shot in [list(scenes) for _, scenes in groupby(script, key=lambda scene: scene.seed)]:
        rng = np.random.default_rng(shot[0].seed)
        start, end = shot[0].start_sec, shot[-1].end_sec
        frames = np.arange(math.ceil(start * fps - 1e-6), math.ceil(end * fps - 1e-6))
        times, kind = frames / float(fps), shot[0].kind
        shutter_sec = 0.5 / max(fps, 30)
        if kind in ("rally", "court"):
            rally = next((scene for scene in shot if scene.kind == "rally"), None)
            hits, landing = (rally.hits, rally.end_sec) if rally else ((), None)
            plan = plan_point(rng, start, end, hits, landing)
            pictures = scenes_of.play_frames(
                look, scenes_of.main_camera(look, rng), rng, times, times, shutter_sec, plan
            )
        elif kind == "replay":
            plan = plan_point(rng, -1, 12, tuple(np.arange(8) * 1.0), 8.0)
            slow = rng.uniform(0.5, 2.5) + (times - start) * rng.uniform(0.35, 0.5)
            pictures = scenes_of.play_frames(
                look, scenes_of.replay_camera(rng), rng, times, slow, shutter_sec * 0.4, plan
            )
        elif kind == "break":
            pictures = scenes_of.break_frames(look, rng, times, score)
        else:
            draw = {"closeup": scenes_of.closeup_frames, "crowd": scenes_of.crowd_frames}[kind]
            pictures = draw(look, rng, times)
        banners = draw_banners(shot, rng)
        panel, place = scenes_of.score_panel(look, score)
        for moment, picture in zip(times, pictures, strict=True):
            if kind in ("rally", "court", "closeup"):
                picture[place] = cv2.addWeighted(picture[place], 0.12, panel, 0.88, 0)
            elif kind == "replay":
                scenes_of.wipe(picture, look, 1 - min(moment - start, end - moment) / 0.45)
            for first, last, text in banners:
                if first <= moment < last:
                    scenes_of.draw_banner(picture, look, text)
            yield picture
        if any(scene.kind == "rally" for scene in shot):
            score[rng.integers(2)] += 1


def make_sound(script, duration_sec, rng):
    """Arena noise, applause after rallies and a knock at each hit, int16 (samples,) mono."""
    count, coarse = round(duration_sec * SAMPLE_RATE), 6  # noise needs no treble
    seconds = np.arange(0, count, coarse) / SAMPLE_RATE
    level = np.full(len(seconds), rng.uniform(0.006, 0.02))
    knocks = np.zeros(count + SAMPLE_RATE)
    burst = np.arange(int(0.025 * SAMPLE_RATE)) / SAMPLE_RATE
    for rally in (scene for scene in script if scene.kind == "rally"):
        since = np.maximum(seconds - rally.end_sec - 0.2, 0)
        level += rng.uniform(0.05, 0.15) * since * np.exp(-since / 0.8)
        for hit in rally.hits:
            knock = np.cos(2 * np.pi * rng.uniform(900, 1900) * burst)
            knock += rng.normal(0, 0.4, len(burst))
            first = round(hit * SAMPLE_RATE)
            knock *= rng.uniform(0.35, 0.6) * np.exp(-burst / 0.006)
            knocks[first : first + len(burst)] += knock
    ambience = np.repeat(level * rng.standard_normal(len(level)), coarse)
    return np.int16(32767 * np.clip(ambience[:count] + knocks[:count], -1, 1))


def add_noise(planes, grain, rng):
    """Add a random crop of a sheet of sensor noise to the luma of I420 planes, in place."""
    y, x = rng.integers(0, np.array(grain[0].shape) - (scenes_of.HEIGHT, scenes_of.WIDTH) + 1)
    luma, crop = (
        planes[: scenes_of.HEIGHT],
        np.s_[y : y + scenes_of.HEIGHT, x : x + scenes_of.WIDTH],
    )
    cv2.subtract(cv2.add(luma, grain[0][crop], dst=luma), grain[1][crop], dst=luma)


def encode(path, pictures, fps, sound, crf):
    """Write I420 pictures, uint8 (540, 640), and sound, int16 (samples,), as H.264 + AAC."""
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w+b") as log:
        with wave.open(str(Path(folder, "sound.wav")), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes(sound.tobytes())
        # The log is a file: a pipe that nobody empties could fill up and stop ffmpeg.
        encoder = subprocess.Popen(
            [
                imageio_ffmpeg.get_ffmpeg_exe(),
                "-y",
                "-loglevel",
                "error",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "yuv420p",
                "-r",
                str(fps),
                "-s",
                f"{scenes_of.WIDTH}x{scenes_of.HEIGHT}",
                "-i",
                "-",
                "-i",
                str(Path(folder, "sound.wav")),
                "-c:v",
                "libx264",
                "-preset",
                "superfast",
                "-crf",
                str(crf),
                "-g",
                str(round(2 * fps)),
                "-c:a",
                "aac",
                "-b:a",
                "96k",
                "-movflags",
                "+faststart",
                "-f",
                "mp4",
                str(path),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pipesize=1 << 20,
        )
        try:
            for picture in pictures:
                encoder.stdin.write(picture)
        except BrokenPipeError:
            pass  # ffmpeg has given up: its exit code and its log say why
        except BaseException:
            encoder.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                encoder.stdin.close()
            encoder.wait()
        log.seek(0)
        last_lines = log.read().decode(errors="replace").strip().splitlines()[-5:]
    if encoder.returncode != 0:
        raise UserError(
            f"ffmpeg could not write {path} (exit code {encoder.returncode}): "
            + (" / ".join(last_lines) or "is the disk full?")
        )


def draw_match(
    path, seed: int, duration_sec: float = 120.0, fps: float | None = None, progress: bool = False
) -> list[Scene]:
    """Write the match to path (.mp4) and its true rallies beside it (.csv); returns the scenes.

    fps None draws one of FRAME_RATES from the seed. Both files appear whole or not at all.
    """
    path, rng = Path(path), np.random.default_rng([seed, 1])
    drawn_fps = FRAME_RATES[rng.integers(len(FRAME_RATES))]
    fps = (
        drawn_fps
        if fps is None
        else min(
            (*FRAME_RATES, Fraction(fps).limit_denominator(1001)), key=lambda rate: abs(rate - fps)
        )
    )
    script, look = write_script(seed, duration_sec), scenes_of.draw_look(rng)
    sound = make_sound(script, duration_sec, rng)
    noise = rng.normal(0, rng.uniform(0.4, 2.0), (2, scenes_of.HEIGHT + 64, scenes_of.WIDTH + 64))
    grain = np.uint8(np.clip(noise, 0, 255))
    crf, score = rng.integers(21, 28), rng.integers(12, size=2)

    def noisy_planes():
        pictures = draw_pictures(script, look, fps, score)
        for picture in tqdm(
            pictures,
            path.name,
            math.ceil(duration_sec * fps - 1e-6),
            unit="frame",
            disable=not progress,
        ):
            planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
            add_noise(planes, grain, rng)
            yield planes

    part = path.with_name(path.name + ".part")
    rallies = [
        (f"{scene.start_sec:.3f}", f"{scene.end_sec:.3f}")
        for scene in script
        if scene.kind == "rally"
    ]
    try:
        encode(part, noisy_planes(), fps, sound, crf)
        truth = pd.DataFrame(rallies, columns=["start_sec", "end_sec"])
        write_table(path.with_suffix(".csv"), truth)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return script


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw a synthetic badminton broadcast.")
    parser.add_argument("out", type=Path, metavar="OUT.mp4")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration-sec", type=float, default=120.0)
    parser.add_argument("--fps", type=float, default=None, help="default: drawn from the seed")
    args = parser.parse_args()
    if not 4 <= args.duration_sec <= 36000:
        parser.error("--duration-sec must be from 4 to 36000")
    if args.fps is not None and not 5 <= args.fps <= 120:
        parser.error("--fps must be from 5 to 120")
    began = time.perf_counter()
    script = draw_match(args.out, args.seed, args.duration_sec, args.fps, progress=True)
    took = time.perf_counter() - began
    lengths = [scene.end_sec - scene.start_sec for scene in script if scene.kind == "rally"]
    fps = cv2.VideoCapture(str(args.out)).get(cv2.CAP_PROP_FPS)
    print(
        f"{args.out}: {args.duration_sec:g} s at {fps:.4g} fps, {len(lengths)} rallies "
        f"({sum(lengths):.1f} s), drawn at {args.duration_sec / took:.1f}x real time"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
