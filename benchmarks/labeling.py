"""How fast the labelling page is, in a real Chromium, with many sequences.

    python benchmarks/labeling.py [--sequences 10000] [--keys 40]

Starts labeling.py on a data set that it makes (a drawn second, linked under every name, nine in ten
labelled), and measures from the start of the process until the first picture is painted, and from
each key pressed until its label is on disk and the next sequence is painted. Needs Chromium or
Chrome and Playwright's Python package. About a minute.
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
PACE_MS = 300  # between keys: three answers a second
TARGET_MS, TARGET_SEC = 100, 2.0
# Times from a key's event to the frame after the one in which the next sequence was drawn.
WATCH = """() => {
  window.took = [];
  let pressed = 0;
  window.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => requestAnimationFrame(() => requestAnimationFrame((now) => {
    window.took.push(now - pressed);
  }))).observe(document.getElementById("picture"), { attributeFilter: ["data-sequence"] });
}"""


def make_data(root: Path, sequences: int) -> None:
    """sequences folders of the same drawn second, the first nine in ten labelled."""
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
    os.sync()  # 300,000 links are not to be part of what a label waits for
    labelled = pd.DataFrame({"sequence": names[: sequences * 9 // 10]}).assign(label=0)
    labelled.to_csv(root / "Data" / "train" / "train.csv", index=False)
    sources = pd.DataFrame({"sequence": names, "video": "match.mp4", "start_sec": 5.0, "fps": 30})
    sources.to_csv(root / "Data" / "train" / "sequences.csv", index=False)


def measure(data: Path, keys: int) -> tuple[float, list[float]]:
    """(seconds from the start of labeling.py to the first picture, ms of each key)."""
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
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=40, help="labels given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), options.sequences)
        data = Path(folder) / "Data"
        start_sec, took_ms = measure(data, options.keys)
        saved = len(read_changes(data / "train" / "train.log.csv"))  # blind repeats, too
    if len(took_ms) != options.keys or saved != options.keys:
        print(f"{options.keys} keys pressed, {len(took_ms)} painted, {saved} saved")
        return 1
    took_ms.sort()
    median, slow = statistics.median(took_ms), took_ms[int(0.95 * len(took_ms))]
    print(f"{options.sequences} sequences, {options.keys} labels, {PACE_MS} ms between keys")
    print(f"start to first picture    {start_sec:6.2f} s    (at most {TARGET_SEC})")
    print(f"key to painted, median    {median:6.1f} ms   (at most {TARGET_MS})")
    print(f"key to painted, 95 %      {slow:6.1f} ms")
    figures = {"key_to_painted_ms": round(median, 1), "start_10k_sec": round(start_sec, 2)}
    figures |= {"key_to_painted_95_ms": round(slow, 1), "sequences": options.sequences}
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
