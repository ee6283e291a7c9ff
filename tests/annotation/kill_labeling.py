"""Saves answers from several processes, and kills them. test_labels.py runs it.

    kill_labeling.py kill FOLDER KILLS     # one process at a time, killed after a moment
    kill_labeling.py together FOLDER 4 25  # 4 at once, each gives 25 answers

Prints how many kills hit a working process, or how many answers were saved.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from annotation.change_log import log_path, read_changes
from annotation.labels import Answer, read_labels, save_labels, undo
from files import labels_path


def answer_and_be_killed(split_dir: Path, number: int, pause_sec: float) -> tuple[set[str], bool]:
    """(the sequences that the process reported as saved, whether the kill came before its end)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for k in range(200):
            count = 12 if k % 3 == 2 else 1  # single answers and whole pages of twelve
            names = [f"羽毛球 {number}-{k}-{j}" for j in range(count)]
            save_labels(split_dir, [Answer(name, "1", "") for name in names])
            os.write(writing, "".join(f"{name}\n" for name in names).encode())
        os._exit(0)
    os.close(writing)
    time.sleep(pause_sec)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), "the process failed before the kill"
    with os.fdopen(reading, encoding="utf-8") as pipe:
        return set(pipe.read().splitlines()), code != 0


def check_what_is_there(split_dir: Path, told: set[str], number: int) -> None:
    """All reported answers are on disk, no page is partial, and labelling can go on."""
    labels = read_labels(split_dir)
    assert told <= {name for name, label in labels.items() if label == "1"}, "answers were lost"
    pages = [name.rpartition("-")[0] for name in labels if name.startswith(f"羽毛球 {number}-")]
    assert {pages.count(page) for page in pages} <= {1, 12}, "half a page"
    log = log_path(labels_path(split_dir))
    assert told <= {change.sequence for change in read_changes(log)}, "the log lacks answers"
    assert save_labels(split_dir, [Answer("after", "0", "")])[1] == {}
    assert undo(split_dir) == [("after", "", True)] and read_labels(split_dir) == labels


def kill(folder: Path, kills: int) -> int:
    rng, hit, told, counts = random.Random(0), 0, set(), set()
    for number in range(kills):
        new, killed = answer_and_be_killed(folder, number, rng.uniform(0, 0.1))
        told |= new
        counts.add(len(new))
        hit += killed
        check_what_is_there(folder, told, number)
    assert len(counts) > 5, "the kills hit no process while it was saving"
    return hit


def together(folder: Path, processes: int, answers: int) -> int:
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            for k in range(answers):
                save_labels(folder, [Answer(f"{number}-{k}", str(k % 2), "")])
                time.sleep(0.002)  # nobody answers without a pause
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * processes, codes
    return processes * answers


if __name__ == "__main__":
    print(
        {"kill": kill, "together": together}[sys.argv[1]](
            Path(sys.argv[2]), *map(int, sys.argv[3:])
        )
    )
