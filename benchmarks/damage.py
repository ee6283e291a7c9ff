"""Read sequences from damaged video files, with this project's reader and with OpenCV.

    python benchmarks/damage.py [--files 8]

A drawn (SYNTHETIC) match of ten seconds is written in several formats, then damaged: truncated, or
5 % of its bytes replaced by garbage, in one piece or everywhere. A sequence is exact if all its
frames are bit-identical to those that the same reader gives for the intact file, and wrong if one
is not. The OpenCV reader seeks early, steps forward, and picks frames by timestamp, which is the
best that OpenCV allows. It takes about 3 minutes on 2 plain cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from files import UserError
from media.frames import SIZE, FrameError
from media.video import CLOCK_SEC, open_video, read_sequence_at
from sample.match import draw_match

STARTS = [0.5 * k for k in range(18)]
H264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 30"
KINDS = {
    "H.264, index in front": ("a.mp4", f"{H264} -movflags +faststart"),
    "H.264, index behind": ("b.mp4", H264),
    "H.264, transport stream": ("c.ts", H264),
    "H.264, Matroska": ("d.mkv", H264),
    "VP9, WebM": ("e.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k -g 30"),
    "HEVC": ("f.mp4", "-c:v libx265 -preset veryfast -x265-params log-level=none -g 30"),
}


def damage(data: bytes, how: str, rng: np.random.Generator) -> bytes:
    """The bytes of a file, truncated somewhere, or with 5 % of them replaced by random ones."""
    if how == "truncated":
        return data[: int(len(data) * rng.uniform(0.1, 0.95))]
    damaged, count = np.frombuffer(data, np.uint8).copy(), len(data) // 20
    first = int(rng.integers(len(data) - count))
    one_piece = np.arange(first, first + count)
    everywhere = rng.choice(len(data), count, replace=False)
    at = one_piece if how == "garbage in one piece" else everywhere
    damaged[at] = rng.integers(256, size=count)
    return damaged.tobytes()


def ours(path: Path) -> dict[float, np.ndarray]:
    """{start_sec: frames} for the sequences that this project's reader does not refuse."""
    found = {}
    try:
        video = open_video(path)
    except UserError:
        return found
    for start_sec in STARTS:
        try:
            found[start_sec] = np.stack(read_sequence_at(video, start_sec))
        except FrameError:
            continue
    video.close()
    return found


def opencvs(path: Path) -> dict[float, np.ndarray]:
    """{start_sec: frames} for the sequences that OpenCV reads 30 frames of, by timestamp."""
    capture, found = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), {}
    for start_sec in STARTS if capture.isOpened() else []:
        capture.set(cv2.CAP_PROP_POS_MSEC, max(start_sec - 1, 0) * 1000)
        frames, wanted_sec, picture = [], start_sec + CLOCK_SEC, None
        while len(frames) < 30:
            more, after = capture.read()
            until_sec = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if more else wanted_sec
            while picture is not None and wanted_sec < until_sec and len(frames) < 30:
                frames.append(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
                wanted_sec = start_sec + CLOCK_SEC + len(frames) / 30
            if not more:
                break
            picture = after
        if len(frames) == 30:
            found[start_sec] = np.stack(frames)
    return found


def count(path: Path, files: int, how: str, reader) -> Counter:
    """Counts the sequences of `files` damaged copies that are exact, wrong, or refused (none)."""
    whole, data, counts = reader(path), path.read_bytes(), Counter(exact=0, wrong=0, none=0)
    copy = path.with_name(f"copy{path.suffix}")
    for seed in range(files):
        copy.write_bytes(damage(data, how, np.random.default_rng(seed)))
        given = reader(copy)
        for start_sec, frames in whole.items():
            exact = np.array_equal(given.get(start_sec), frames)
            counts["none" if start_sec not in given else "exact" if exact else "wrong"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Count exact and wrong sequences from damaged video files."
    )
    parser.add_argument(
        "--files",
        type=int,
        default=8,
        metavar="N",
        help="damaged copies for each format and kind of damage (default: 8)",
    )
    options = parser.parse_args()
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
    totals = {"ours": Counter(), "opencv": Counter()}
    print(f"{'format':26}{'damage':22}{'ours: exact wrong  none':>26}{'OpenCV: same':>22}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "drawn.mp4"
        draw_match(source, seed=1, duration_sec=10, fps=30)
        for kind, (name, encoding) in KINDS.items():
            path = Path(folder) / name
            ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-i", source]
            subprocess.run([*ffmpeg, "-an", *encoding.split(), path], check=True)
            for how in ("truncated", "garbage in one piece", "garbage everywhere"):
                row = []
                for label, reader in (("ours", ours), ("opencv", opencvs)):
                    counts = count(path, options.files, how, reader)
                    totals[label] += counts
                    row.append("".join(f"{counts[k]:6}" for k in ("exact", "wrong", "none")))
                print(f"{kind:26}{how:22}{row[0]:>26}{row[1]:>22}", flush=True)
    figures = {
        f"{reader}_{what}": totals[reader][what]
        for reader in totals
        for what in ("exact", "wrong", "none")
    }
    print(json.dumps({**figures, "files": options.files, "opencv": cv2.__version__}))


if __name__ == "__main__":
    main()
