"""Checks a split on disk, its folders, labels and frames, and lists all problems at once.

Imports no torch.
"""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from annotation.labels import COLUMNS, LABELS
from annotation.labels_from_marks import unknown_sequences
from files import UserError, labels_path, read_table
from media.frames import FrameError, count_frames, decode_frames, read_bytes, sequence_folders

SHOWN = 10  # names listed per problem


@dataclass
class SplitCheck:
    """The labelled sequences of a split (columns sequence, label) and its problems."""

    table: pd.DataFrame
    problems: list[str]
    prints: dict[str, list[str]] = field(
        default_factory=dict
    )  # {fingerprint of the middle frame: sequences}


class FrameCheck(NamedTuple):
    """The problem of a sequence ("" if none) and the fingerprint of its middle frame."""

    problem: str
    fingerprint: str


def labelled_folders(split_dir: Path) -> list[Path]:
    """The folders of the sequences that have a row in the table of labels.

    Empty if the table is missing or cannot be read; check_split reports that.
    """
    try:
        names = set(read_table(labels_path(split_dir), COLUMNS)["sequence"])
    except UserError:
        return []
    return [folder for folder in sequence_folders(split_dir) if folder.name in names]


def usual_frames(folders: Iterable[Path]) -> int:
    """The most frequent number of frames of these sequences; 30 if none has any.

    Of two equally frequent numbers the larger one, because a damaged sequence lacks frames.
    """
    counts = Counter(count for count in map(count_frames, folders) if count)
    return max(counts, key=lambda count: (counts[count], count), default=30)


def check_split(split_dir: Path, seq_frames: int, allow_unlabelled: bool, deep: bool) -> SplitCheck:
    """Checks folders, labels and frames of one split; `deep` also decodes every frame."""
    empty = pd.DataFrame({"sequence": pd.Series(dtype=str), "label": pd.Series(dtype=int)})
    csv, sequences_dir = labels_path(split_dir), split_dir / "sequences"
    if not split_dir.is_dir():
        return SplitCheck(empty, ["the folder is missing"])
    if not sequences_dir.is_dir():
        return SplitCheck(empty, ["the folder sequences/ is missing"])
    folders = {path.name for path in sequence_folders(split_dir)}
    if not csv.is_file():
        missing = (
            f"{csv.name} is missing; label the sequences (here: {len(folders)}) with labeling.py, "
            "or write a table sequence,label with labels 0 and 1"
        )
        return SplitCheck(empty, [missing])
    try:
        table = read_table(csv, COLUMNS)
    except UserError as error:
        return SplitCheck(empty, [str(error)])

    problems = []

    def report(what: str, names: list[str]) -> None:
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            problems.append(f"{what}: {', '.join(names[:SHOWN])}{more}")

    bad = table[~table["label"].isin(LABELS)]
    report(
        f"labels in {csv.name} that are neither 0 nor 1",
        [f"{row.sequence} is {row.label!r}" for row in bad.itertuples()],
    )
    table = table.assign(label=table["label"].map(LABELS))
    repeated = table["sequence"].duplicated(keep="first")
    report(f"more than one row in {csv.name}", sorted(set(table["sequence"][repeated])))
    listed = set(table["sequence"])
    report(f"rows of {csv.name} without a folder", sorted(listed - folders))
    if not allow_unlabelled:
        try:
            need_none = unknown_sequences(split_dir)
        except UserError as error:
            return SplitCheck(empty, [*problems, str(error)])
        report(
            f"without a label (add a row to {csv.name} for each, or skip them with "
            "allow_unlabelled = True or --allow-unlabelled)",
            sorted(folders - listed - need_none),
        )
    prints: dict[str, list[str]] = {}
    damaged = []
    for sequence, check in _check_frames(sequences_dir, sorted(listed & folders), seq_frames, deep):
        if check.problem:
            damaged.append(f"{sequence} ({check.problem})")
        else:
            prints.setdefault(check.fingerprint, []).append(sequence)
    report("damaged (repair the files, or delete folder and row and collect again)", damaged)
    table = table[table["label"].notna()].drop_duplicates("sequence")
    table = table[table["sequence"].isin(folders)].astype({"label": int}).reset_index(drop=True)
    if table.empty:
        problems.append("no labelled sequences")
    elif table["label"].nunique() == 1:
        all_have = (
            "the only sequence has" if len(table) == 1 else f"all {len(table)} sequences have"
        )
        problems.append(f"{all_have} label {table['label'][0]}; both labels are needed")
    return SplitCheck(table, problems, prints)


def _check_frames(
    sequences_dir: Path, sequences: list[str], seq_frames: int, deep: bool
) -> list[tuple[str, FrameCheck]]:
    """[(sequence, its FrameCheck)]; reads only the middle frame, or all if deep."""
    middle = slice(seq_frames // 2, seq_frames // 2 + 1)

    def check(sequence: str) -> FrameCheck:
        folder = sequences_dir / sequence
        try:
            if deep:
                decode_frames(read_bytes(folder, seq_frames)[0], folder)
            return FrameCheck("", read_bytes(folder, seq_frames, middle)[1])
        except FrameError as error:
            return FrameCheck(error.reason, "")

    with ThreadPoolExecutor() as pool:
        name = f"Checking {sequences_dir.parent.name}"
        checks = tqdm(pool.map(check, sequences), name, len(sequences), unit="seq", leave=False)
        return list(zip(sequences, checks, strict=True))


def frames_in_two_splits(data_dir: Path, prints: dict[str, dict[str, list[str]]]) -> list[str]:
    """Problems of splits with identical sequences, as when a video was collected under two names.

    prints is {split: prints of its SplitCheck}. Only sequences with the same middle frame are
    compared in full. Stills (30 times the same frame, such as a black one) are no problem: two
    matches can share them.
    """

    def prints_of_all_frames(split: str, names: list[str]) -> dict[str, str]:
        sequence_by_print = {}
        for name in names:
            try:
                frames, fingerprint = read_bytes(data_dir / split / "sequences" / name, None)
            except FrameError as error:
                problems.append(f"{data_dir / split}: {name} {error.reason}")
                continue
            if len(set(frames)) > 1:
                sequence_by_print[fingerprint] = name
        return sequence_by_print

    problems: list[str] = []
    for one, other in combinations(prints, 2):
        shared = []
        for key in prints[one].keys() & prints[other].keys():
            ours, theirs = (prints_of_all_frames(each, prints[each][key]) for each in (one, other))
            shared += [(ours[same], theirs[same]) for same in ours.keys() & theirs.keys()]
        if shared:
            are = "1 sequence is" if len(shared) == 1 else f"{len(shared)} sequences are"
            problems.append(
                f"{are} identical in {one} and {other}, such as {min(shared)[0]} and "
                f"{min(shared)[1]}. Was one video collected under two names? Results on {other} "
                "would be too good; remove the video from one of the splits"
            )
    return problems
