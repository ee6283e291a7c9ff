"""Kills collecting at random moments. test_sequences.py runs this in a process without threads.

    python tests/collection/kill_collecting.py VIDEO FOLDER KILLS

A child process collects VIDEO into FOLDER/0 and is killed after a moment. New children go on until
FOLDER/0 is complete, then comes FOLDER/1, and so on. Stops after KILLS kills that hit a process at
work, and prints their number.
"""

import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from collection import sequences
from collection.sources import read_sources


def collect_and_be_killed(video: Path, data: Path, rng: np.random.Generator) -> bool:
    """Whether the kill came before the child had finished."""
    pause = float(rng.uniform(0, 0.5))
    sequences.PUBLISH_SEC = float(rng.choice([0.0, 0.05, 0.2]))
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as sys.stderr:
            sequences.collect_video(video, data, "train", sequences.Settings(0.5))
        os._exit(0)
    time.sleep(pause)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), "collecting failed without a kill"
    return code != 0


def check_what_is_there(split_dir: Path, seen: dict[Path, list]) -> int:
    """Asserts that each visible sequence is whole and listed once; returns how many there are.

    seen maps each sequence that was whole before to the sizes and times of its frames. Frames are
    decoded again only if these have changed.
    """
    if not (split_dir / "sequences").is_dir():
        return 0
    listed = list(read_sources(split_dir)["sequence"])
    folders = list((split_dir / "sequences").glob("seq_*"))
    for folder in folders:
        assert listed.count(folder.name) == 1, folder
        paths = sorted(folder.iterdir())
        stats = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        if seen.get(folder) == stats:
            continue
        pictures = [cv2.imread(str(path)) for path in paths]
        assert len(pictures) == 30 and all(p.shape == (224, 224, 3) for p in pictures), folder
        seen[folder] = stats
    return len(folders)


def main() -> None:
    video, folder, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng, data, hit = np.random.default_rng(0), 0, 0
    half_way, seen = set(), {}
    while hit < kills:
        killed = collect_and_be_killed(video, folder / str(data), rng)
        half_way.add(check_what_is_there(folder / str(data) / "train", seen))
        hit, data = (hit + 1, data) if killed else (hit, data + 1)
    assert len(half_way) > 5, "the kills hit too little work: run it again on an idle machine"
    print(hit)


if __name__ == "__main__":
    main()
