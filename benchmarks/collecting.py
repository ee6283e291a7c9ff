"""Time collecting from an hour of video, compared with seeking by frame number in OpenCV.

    python benchmarks/collecting.py [--minutes 60] [--video FILE]

The "plain" way sets CAP_PROP_POS_FRAMES once per sequence and reads 30 frames; "each" sets it for
every frame. Both are timed on some of the same sequences: "plain" on one half before ours, on the
other half after ours. All write the same JPEG files, and are compared in sequences per second.
Without --video, a drawn (SYNTHETIC) match of 1280x720 is repeated to the wanted length. It takes
about 3 minutes on 2 plain cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import cv2
import imageio_ffmpeg
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from collection.sequences import Settings, collect_video, write_frames
from media.frames import SIZE
from media.video import open_video
from sample.match import draw_match

ROOT = Path(__file__).resolve().parent.parent
DRAWN_SEC = 120


def make_match(path: Path, minutes: float) -> None:
    """Writes a drawn match of two minutes, enlarged to 1280x720 with noise, on repeat."""
    small, large = path.with_name("small.mp4"), path.with_name("large.mp4")
    draw_match(small, seed=1, duration_sec=min(DRAWN_SEC, minutes * 60), fps=30, progress=True)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
    enlarge = "scale=1280:720,noise=alls=6:allf=t"
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "copy"]
    subprocess.run([*ffmpeg, "-i", small, "-vf", enlarge, *encode, large], check=True)
    repeat = ["-stream_loop", str(max(round(minutes * 60 / DRAWN_SEC) - 1, 0)), "-i", large]
    subprocess.run([*ffmpeg, *repeat, "-c", "copy", "-movflags", "+faststart", path], check=True)


def time_frame_seeking(video: Path, starts: list[float], out: Path, each: bool) -> float:
    """Seconds to write the sequences at these starts (seconds) by OpenCV's frame numbers.

    each: set the frame number before every frame, not only before the first.
    """
    (out / "sequences").mkdir(parents=True)
    began = time.perf_counter()
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    fps = capture.get(cv2.CAP_PROP_FPS)
    for number, start_sec in enumerate(starts):
        capture.set(cv2.CAP_PROP_POS_FRAMES, round(start_sec * fps))
        frames = []
        for k in range(30):
            if each:
                capture.set(cv2.CAP_PROP_POS_FRAMES, round(start_sec * fps) + k)
            picture = capture.read()[1]
            frames.append(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
        write_frames(out, f"seq_{number:05d}", frames)
    return time.perf_counter() - began


def time_ours(video: Path, settings: Settings, data: Path) -> float:
    """Seconds that collect_video takes to read the packets, hash, decode and write."""
    began = time.perf_counter()
    collect_video(video, data, "train", settings)
    return time.perf_counter() - began


def compare(video: Path, settings: Settings, some: int, scratch: Path, each: int = 0) -> dict:
    """Sequences per second of our way (all), the plain way (on `some`), and by each frame (`each`).

    each 0 skips the last one.
    """
    with closing(open_video(video)) as opened:
        starts = settings.starts(opened.end_sec, 30.0)
    part = starts[:: max(len(starts) // some, 1)][:some]
    half = len(part) // 2
    plain_sec = time_frame_seeking(video, part[:half], scratch / "plain1", each=False)
    ours_sec = time_ours(video, settings, scratch / "ours")
    plain_sec += time_frame_seeking(video, part[half:], scratch / "plain2", each=False)
    figures = {
        "sequences": len(starts),
        "ours_sec": ours_sec,
        "ours_per_sec": len(starts) / ours_sec,
        "plain_per_sec": len(part) / plain_sec,
    }
    if each:
        each_sec = time_frame_seeking(video, part[:each], scratch / "each", each=True)
        figures["each_per_sec"] = each / each_sec
    return figures


def time_start(video: Path, data: Path, count: int) -> float:
    """Seconds of the whole command if `count` sequences exist and one is missing."""
    folder = data / "train" / "sequences"
    folder.mkdir(parents=True)
    rows = []
    for k in range(1, count + 1):
        (folder / f"seq_{k:05d}").mkdir()
        rows.append([f"seq_{k:05d}", f"{k // 100}.mp4", k % 100 * 30, 30])
    table = pd.DataFrame(rows, columns=["sequence", "video", "start_sec", "fps"])
    table.to_csv(data / "train" / "sequences.csv", index=False)
    command = [sys.executable, "collecting_data.py", video, "--split", "train", "--data", data]
    began = time.perf_counter()
    subprocess.run([*command, "--end-sec", "1"], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time collecting, compared with seeking by frame number in OpenCV."
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=60.0,
        metavar="MIN",
        help="length of the drawn match in minutes (default: 60)",
    )
    parser.add_argument(
        "--video", type=Path, metavar="FILE", help="use this video instead of a drawn match"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch, video = Path(folder), options.video
        if not video:
            video = scratch / "match.mp4"
            make_match(video, options.minutes)
        sparse = compare(video, Settings(30.0), 24, scratch / "sparse", each=2)
        dense = compare(video, Settings(1.0, end_sec=60.0), 24, scratch / "dense")
        short = scratch / "short.mp4"
        draw_match(short, seed=2, duration_sec=5)
        start_sec = time_start(short, scratch / "many", 10_000)

    print(f"\n{'sequences per second':22}{'ours':>8}{'plain':>8}{'ratio':>8}{'each':>8}")
    for name, row in (("30 s apart", sparse), ("1 s apart, 60 s", dense)):
        ratio = row["ours_per_sec"] / row["plain_per_sec"]
        print(f"{name:22}{row['ours_per_sec']:8.2f}{row['plain_per_sec']:8.2f}{ratio:8.2f}", end="")
        print(f"{row['each_per_sec']:8.3f}" if "each_per_sec" in row else "")
    source = str(options.video) if options.video else "a drawn (SYNTHETIC) match"
    print(f"{sparse['sequences']} sequences from {source}: {sparse['ours_sec']:.1f} s")
    print(f"the whole command, if 10,000 sequences exist and one is missing: {start_sec:.2f} s")
    figures = {
        "hour_match_sec": sparse["ours_sec"]
        if options.minutes == 60 and not options.video
        else None,
        "over_frame_seeking": sparse["ours_per_sec"] / sparse["plain_per_sec"],
        "over_frame_seeking_dense": dense["ours_per_sec"] / dense["plain_per_sec"],
        "over_seeking_each_frame": sparse["ours_per_sec"] / sparse["each_per_sec"],
        "start_10000_sec": start_sec,
        "sequences": sparse["sequences"],
        "opencv": cv2.__version__,
    }
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main()
