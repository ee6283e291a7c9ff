"""Time the labelling page in Chromium, with many sequences.

    python benchmarks/labeling.py [--sequences 10000] [--keys 40]

It makes a data set (links to one drawn, SYNTHETIC second; 90 % labelled) and starts labeling.py on
it. It measures the time from the start of the process to the first painted picture, and from each
key press until its label is on disk and the next sequence is painted. It needs Chromium or Chrome,
and the Python package playwright. It takes about a minute.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import cv2
import pandas as pd
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from annotation.change_log import read_changes
from browser import find_chromium
from media.video import open_video, read_sequence_at
from sample.match import draw_match

ROOT = Path(__file__).resolve().parents[1]
PACE_MS = 300  # between keys: three labels per second
TARGET_MS, TARGET_SEC = 100, 2.0
# Times from a key event to the browser frame after the one that drew the next sequence.
WATCH = """() => {
  window.took = [];
  let pressed = 0;
  window.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => requestAnimationFrame(() => requestAnimationFrame((now) => {
    window.took.push(now - pressed);
  }))).observe(document.getElementById("picture"), { attributeFilter: ["data-sequence"] });
}"""


def make_data(root: Path, sequences: int) -> None:
    """Makes a split of `sequences` links to one drawn second, the first 90 % labelled."""
    match = root / "match.mp4"
    draw_match(match, seed=1, duration_sec=10)
    with closing(open_video(match)) as video:
        pictures = read_sequence_at(video, 5.0)
    frames = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
    first = root / "frames"
    first.mkdir()
    for k, frame in enumerate(frames, 1):
        (first / f"{k:05d}.jpg").write_bytes(frame)
    names = [f"seq_{k:05d}" for k in range(1, sequences + 1)]
    for name in names:
        folder = root / "Data" / "train" / "sequences" / name
        folder.mkdir(parents=True)
        for frame in first.iterdir():
            os.link(frame, folder / frame.name)
    os.sync()  # so that saving a label does not wait for 300,000 links
    labelled = pd.DataFrame({"sequence": names[: sequences * 9 // 10]}).assign(label=0)
    labelled.to_csv(root / "Data" / "train" / "train.csv", index=False)
    sources = pd.DataFrame({"sequence": names, "video": "match.mp4", "start_sec": 5.0, "fps": 30})
    sources.to_csv(root / "Data" / "train" / "sequences.csv", index=False)


def measure(data: Path, keys: int) -> tuple[float, list[float]]:
    """(seconds from the start of labeling.py to the first picture, milliseconds of each key)."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        begun = time.perf_counter()
        command = [sys.executable, str(ROOT / "labeling.py"), "--data", str(data), "--no-browser"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().split()[-1]
            page.goto(address)
            page.wait_for_selector("#picture[data-sequence]")
            start_sec = time.perf_counter() - begun
            page.wait_for_timeout(1000)
            page.evaluate(WATCH)
            for k in range(keys):
                page.keyboard.press("01"[k % 2])
                page.wait_for_timeout(PACE_MS)
            took_ms = page.evaluate("() => window.took")
        finally:
            server.kill()
            server.wait()
            browser.close()
    return start_sec, took_ms


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the labelling page in Chromium.")
    parser.add_argument(
        "--sequences",
        type=int,
        default=10_000,
        metavar="N",
        help="sequences in the data set (default: 10000)",
    )
    parser.add_argument(
        "--keys", type=int, default=40, metavar="N", help="labels to give (default: 40)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), options.sequences)
        data = Path(folder) / "Data"
        start_sec, took_ms = measure(data, options.keys)
        saved = len(read_changes(data / "train" / "train.log.csv"))  # includes blind repeats
    if len(took_ms) != options.keys or saved != options.keys:
        print(
            f"FAILED: {options.keys} keys pressed, but {len(took_ms)} sequences painted and "
            f"{saved} labels saved"
        )
        return 1
    took_ms.sort()
    median, slow = statistics.median(took_ms), took_ms[int(0.95 * len(took_ms))]
    print(f"{options.sequences} sequences, {options.keys} labels, {PACE_MS} ms between keys")
    print(f"start to first picture            {start_sec:6.2f} s    (target: {TARGET_SEC})")
    print(f"key to next picture, median       {median:6.1f} ms   (target: {TARGET_MS})")
    print(f"key to next picture, 95th centile {slow:6.1f} ms")
    figures = {"key_to_painted_ms": round(median, 1), "start_10k_sec": round(start_sec, 2)}
    figures |= {"key_to_painted_95_ms": round(slow, 1), "sequences": options.sequences}
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
