"""Draw a synthetic badminton broadcast with sound, and write the ground truth of its rallies.

    python -m sample.match OUT.mp4 [--seed 11] [--duration-sec 120] [--fps 30]

It writes three files. OUT.mp4 is H.264 + AAC; each hit is a knock in the sound. OUT.csv has
start_sec,end_sec of each rally, from the hit of the serve to the landing of the shuttle.
OUT.points.csv also has the game (from 1), score_a,score_b before the rally, and its winner; a is
the upper row of the score board. The seed determines everything. A minute takes about 10 s on one
core at 30 frames per second and 15 s at 50. At the end the command prints its speed as a multiple
of real time.
"""

import argparse
import math
import os
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
from numpy.random import Generator
from tqdm import tqdm

from cli import count_of, run_command
from files import UserError, write_table
from sample import scenes
from sample.court import follow_shuttle, main_camera, play_frames, replay_camera
from sample.look import HEIGHT, WIDTH, Look, draw_look, drift
from sample.players import plan_point
from sample.score import DESIGNS, Design, draw_panel
from sample.script import Scene, write_script

FRAME_RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50))
SAMPLE_RATE = 48000
COLUMNS = ["start_sec", "end_sec"]
POINT_COLUMNS = [*COLUMNS, "game", "score_a", "score_b", "winner"]


def draw_pictures(
    script: list[Scene], look: Look, design: Design, fps: Fraction
) -> Iterator[np.ndarray]:
    """Yields the pictures of the whole match, uint8 (360, 640, 3) BGR, one every 1/fps seconds."""

    def first_frame(moment: float) -> int:
        return math.ceil(moment * fps - 1e-6)

    for shot in [list(group) for _, group in groupby(script, key=lambda scene: scene.seed)]:
        frames = np.arange(first_frame(shot[0].start_sec), first_frame(shot[-1].end_sec))
        pictures = _draw_shot(shot, look, frames / float(fps))
        for scene in shot:
            panel, place = draw_panel(design, look, scene.board)
            for _ in range(first_frame(scene.start_sec), first_frame(scene.end_sec)):
                picture = next(pictures)
                if scene.kind in ("rally", "court", "closeup"):
                    picture[place] = panel
                yield picture


def _draw_shot(shot: list[Scene], look: Look, times: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures of one shot at times (T,) in seconds, without the score board."""
    rng, first = np.random.default_rng(shot[0].seed), shot[0]
    if first.kind == "court":
        rally = shot[1]
        plan = plan_point(
            rng, first.start_sec, shot[-1].end_sec, rally.hits, rally.end_sec, rally.board.server
        )
        return play_frames(look, main_camera(), rng, times, plan, follow_shuttle(plan, times, rng))
    if first.kind == "replay":
        plan = plan_point(rng, -1, 12, tuple(np.arange(8) * 1.0), 8.0, 0)
        slow = rng.uniform(0.5, 2.5) + (times - times[0]) * rng.uniform(0.35, 0.5)
        return play_frames(look, replay_camera(rng), rng, slow, plan, drift(times, rng))
    if first.kind == "break":
        return scenes.break_frames(look, rng, times, first.board.score)
    draw = {"closeup": scenes.closeup_frames, "crowd": scenes.crowd_frames}[first.kind]
    return draw(look, rng, times)


def make_sound(script: list[Scene], duration_sec: float, rng: Generator) -> np.ndarray:
    """Arena noise, applause after rallies and a knock at each hit: mono int16 (samples,)."""
    count, coarse = round(duration_sec * SAMPLE_RATE), 6  # noise at 1/6 of the sample rate will do
    seconds = np.arange(0, count, coarse) / SAMPLE_RATE
    level = np.full(len(seconds), rng.uniform(0.006, 0.02))
    knocks = np.zeros(count + SAMPLE_RATE)
    burst = np.arange(int(0.025 * SAMPLE_RATE)) / SAMPLE_RATE
    for rally in (scene for scene in script if scene.kind == "rally"):
        since = np.maximum(seconds - rally.end_sec - 0.2, 0)
        level += rng.uniform(0.02, 0.05) * since * np.exp(-since / 0.8)
        for hit in rally.hits:
            knock = np.cos(2 * np.pi * rng.uniform(900, 1900) * burst)
            knock += rng.normal(0, 0.4, len(burst))
            first = round(hit * SAMPLE_RATE)
            knock *= rng.uniform(0.35, 0.6) * np.exp(-burst / 0.006)
            knocks[first : first + len(burst)] += knock
    ambience = np.repeat(level * rng.standard_normal(len(level)), coarse)
    return np.int16(32767 * np.clip(ambience[:count] + knocks[:count], -1, 1))


def add_noise(planes: np.ndarray, grain: np.ndarray, rng: Generator) -> None:
    """Adds noise to the luma of I420 planes: a random crop of grain[0] minus one of grain[1].

    grain is uint8 (2, H, W), larger than the picture. planes change in place.
    """
    y, x = rng.integers(0, np.array(grain[0].shape) - (HEIGHT, WIDTH) + 1)
    luma, crop = planes[:HEIGHT], np.s_[y : y + HEIGHT, x : x + WIDTH]
    cv2.subtract(cv2.add(luma, grain[0][crop], dst=luma), grain[1][crop], dst=luma)


def encode(
    path: Path, pictures: Iterable[np.ndarray], fps: Fraction, sound: np.ndarray, crf: int
) -> None:
    """Writes I420 pictures, uint8 (540, 640), and sound, int16 (samples,), as H.264 + AAC.

    crf is x264's quality, 0 (best) to 51. Raises UserError with ffmpeg's message if it fails.
    """
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w+b") as log:
        sound_file = str(Path(folder, "sound.wav"))
        with wave.open(sound_file, "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes(sound.tobytes())
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
        command += f"-f rawvideo -pix_fmt yuv420p -r {fps} -s {WIDTH}x{HEIGHT} -i -".split()
        command += ["-i", sound_file]
        video = f"-c:v libx264 -preset superfast -crf {crf} -g {round(2 * fps)}"
        command += f"{video} -c:a aac -b:a 96k -movflags +faststart -f mp4".split()
        command.append(str(path))
        # The log is a file, because a full pipe that nobody reads would stop ffmpeg.
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        encoder = subprocess.Popen(command, stdin=pipe, stdout=null, stderr=log, pipesize=1 << 20)
        try:
            for picture in pictures:
                encoder.stdin.write(picture)
        except BrokenPipeError:
            pass  # ffmpeg has ended: its exit code and log say why
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
    path: str | Path,
    seed: int,
    duration_sec: float = 120.0,
    fps: float | None = None,
    rallies: list[tuple[float, float]] | None = None,
    progress: bool = False,
) -> list[Scene]:
    """Writes a match (.mp4), its true rallies (.csv) and points (.points.csv); returns its scenes.

    fps None picks one of FRAME_RATES by the seed. rallies, (start_sec, end_sec) each, are drawn by
    the seed unless given. Each file appears complete or not at all, and the video last. Raises
    UserError if a file cannot be written, and ValueError as write_script does.
    """
    path, rng = Path(path), np.random.default_rng([seed, 1])
    if not path.parent.is_dir():
        raise UserError(
            f"no such folder: {path.parent} (make it first, to write {path.name} there)"
        )
    rate = FRAME_RATES[rng.integers(len(FRAME_RATES))]
    if fps is not None:  # 29.97 means 30000/1001
        near = [known for known in FRAME_RATES if abs(known - fps) < 0.005]
        rate = near[0] if near else Fraction(fps).limit_denominator(1001)
    script = write_script(seed, duration_sec, rallies)
    look = draw_look(np.random.default_rng([seed, 2]))
    sound = make_sound(script, duration_sec, rng)
    noise = rng.normal(0, rng.uniform(0.4, 2.0), (2, HEIGHT + 64, WIDTH + 64))
    grain = np.uint8(np.clip(noise, 0, 255))
    crf, design = rng.integers(21, 28), DESIGNS[seed % len(DESIGNS)]

    def noisy_planes():
        count = math.ceil(duration_sec * rate - 1e-6)
        pictures = draw_pictures(script, look, design, rate)
        for picture in tqdm(pictures, path.name, count, unit="frame", disable=not progress):
            planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
            add_noise(planes, grain, rng)
            yield planes

    part = path.with_name(path.name + ".part")
    rows = [
        (s.start_sec, s.end_sec, len(s.board.games) + 1, *s.board.score, "ab"[s.winner])
        for s in script
        if s.kind == "rally"
    ]
    points = pd.DataFrame(rows, columns=POINT_COLUMNS)
    try:
        encode(part, noisy_planes(), rate, sound, crf)
        write_table(path.with_suffix(".csv"), points[COLUMNS])
        write_table(path.with_suffix(".points.csv"), points)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return script


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sample.match",
        description=(
            "Draw a SYNTHETIC badminton broadcast, and write the ground truth of its rallies."
        ),
    )
    add = parser.add_argument
    add("out", type=Path, metavar="OUT.mp4", help="the video; OUT.csv, OUT.points.csv go beside it")
    add(
        "--duration-sec",
        type=float,
        default=120.0,
        metavar="SEC",
        help="length of the match in seconds, 4 to 36000 (default: 120)",
    )
    add(
        "--fps", type=float, help="frame rate, 5 to 120 (default: 25, 29.97, 30 or 50, by the seed)"
    )
    add(
        "--seed",
        type=int,
        default=11,
        metavar="N",
        help="the same seed gives the same match (default: 11; the sample holds 1 to 10)",
    )
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
        f"{args.out}: {args.duration_sec:g} s at {fps:.4g} fps, "
        f"{count_of(len(lengths), 'rally', 'rallies')} ({sum(lengths):.1f} s in all), drawn at "
        f"{args.duration_sec / took:.1f}x real time"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
