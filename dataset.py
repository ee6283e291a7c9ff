"""The data set on disk: reading it, checking all of it at once, frames and features as Datasets.

    python dataset.py [Data] [--deep]   # what is there, and every problem in it

Checking opens one frame a sequence; --deep decodes them all, about 6 s for the 990 sequences of the
original study on 2 cores.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from annotation.labels import LABELS
from cli import run_command
from collection.sources import read_sources
from collection.video_index import index_splits
from extraction.backbones import normalise
from extraction.features import load_features
from files import SPLITS, UserError, read_table
from media.frames import FrameError, decode_frames, read_bytes, read_sequence


def has_data(data_dir: str | Path) -> bool:
    """Whether a person has begun a data set here, complete or not."""
    return any((Path(data_dir) / split).is_dir() for split in SPLITS)


def is_synthetic(data_dir: str | Path) -> bool:
    """Whether sample/match.py drew this data set: every number made from it must say so."""
    return (Path(data_dir) / "sample.json").is_file()


def load_splits(
    data_dir: str | Path,
    splits: tuple[str, ...] = SPLITS,
    seq_frames: int = 30,
    allow_unlabelled: bool = False,
    deep: bool = False,
) -> dict[str, pd.DataFrame]:
    """The labelled sequences of each split: a table with sequence (str) and label (0 or 1).

    Raises one UserError that lists every problem of every split: missing folders, wrong number of
    frames, bad labels, duplicates, folders without a label (accepted with allow_unlabelled), empty
    or one-class splits, a video or frames that appear in two splits. deep decodes every frame and
    lists those that cannot be, too; extract_features finds the same ones later.
    """
    data_dir = Path(data_dir)
    if not has_data(data_dir):
        raise UserError(
            f"there is no data in {data_dir}: it should hold {', '.join(SPLITS)}. Collect some "
            "with collecting_data.py, unpack the original study's there (see README.md), or draw "
            "the synthetic sample, in the project's folder, with: python -m sample.data_set"
        )
    tables, problems, prints, videos = {}, [], {}, []
    for split in splits:
        checked = _check_split(data_dir / split, seq_frames, allow_unlabelled, deep)
        tables[split], found, prints[split] = checked
        problems += [f"{data_dir / split}: {problem}" for problem in found]
        try:
            videos += [(split, name) for name in read_sources(data_dir / split)["video"].unique()]
        except UserError as error:
            problems.append(str(error))
    in_two = index_splits(videos).in_two
    problems += [f"{each}; remove its sequences from one of them" for each in in_two]
    problems += _frames_in_two_splits(data_dir, prints)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise UserError("\n  - ".join([f"{count} in the data, nothing was trained:", *problems]))
    return tables


def _check_split(split_dir: Path, seq_frames: int, allow_unlabelled: bool, deep: bool):
    """(table of sequence and label, list of problems, {print: sequences}) of one split."""
    empty = pd.DataFrame({"sequence": pd.Series(dtype=str), "label": pd.Series(dtype=int)})
    csv, sequences_dir = split_dir / f"{split_dir.name}.csv", split_dir / "sequences"
    if not split_dir.is_dir():
        return empty, ["the folder is missing"], {}
    if not sequences_dir.is_dir():
        return empty, ["the folder sequences/ is missing"], {}
    folders = {p.name for p in sequences_dir.iterdir() if p.is_dir() and p.name[0] != "."}
    if not csv.is_file():
        missing = (
            f"{csv.name} is missing: a first line sequence,label, then one (label 0 or 1) for each "
            f"of {len(folders)} sequences"
        )
        return empty, [missing], {}
    try:
        table = read_table(csv, ("sequence", "label"))
    except UserError as error:
        return empty, [str(error)], {}

    problems = []

    def report(what: str, names: list[str]) -> None:
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            problems.append(f"{what}: {', '.join(names[:10])}{more}")

    bad = table[~table["label"].isin(LABELS)]
    report(
        f"labels in {csv.name} that are neither 0 nor 1",
        [f"{row.sequence} is {row.label!r}" for row in bad.itertuples()],
    )
    table = table.assign(label=table["label"].map(LABELS))
    repeated = table["sequence"].duplicated(keep="first")
    report(f"more than one row in {csv.name}", sorted(set(table["sequence"][repeated])))
    listed = set(table["sequence"])
    report(f"in {csv.name} without a folder", sorted(listed - folders))
    if not allow_unlabelled:
        report(
            f"without a label (give each one a row in {csv.name}, or set allow_unlabelled = True "
            "or --allow-unlabelled to go on without them)",
            sorted(folders - listed),
        )
    damaged, prints = _look_at_all(sequences_dir, sorted(listed & folders), seq_frames, deep)
    report(
        "damaged (put the files right, or delete folder and row; collecting makes it again)",
        damaged,
    )
    table = table[table["label"].notna()].drop_duplicates("sequence")
    table = table[table["sequence"].isin(folders)].astype({"label": int}).reset_index(drop=True)
    if table.empty:
        problems.append("no labelled sequence")
    elif table["label"].nunique() == 1:
        problems.append(f"all {len(table)} sequences have label {table['label'][0]}; needs both")
    return table, problems, prints


def _look_at_all(
    sequences_dir: Path, sequences: list[str], seq_frames: int, deep: bool
) -> tuple[list[str], dict[str, list[str]]]:
    """('name (what is wrong)' of the bad sequences, {print of the middle frame: names} of all)."""

    middle = slice(seq_frames // 2, seq_frames // 2 + 1)

    def look_at(sequence: str) -> tuple[str | None, str | None]:
        folder = sequences_dir / sequence
        try:
            if deep:
                decode_frames(read_bytes(folder, seq_frames)[0], folder)
            return None, read_bytes(folder, seq_frames, middle)[1]
        except FrameError as error:
            return f"{sequence} ({error.reason})", None

    with ThreadPoolExecutor() as pool:
        name = f"Checking {sequences_dir.parent.name}"
        checks = tqdm(pool.map(look_at, sequences), name, len(sequences), unit="seq", leave=False)
        damaged, prints = zip(*checks, strict=True) if sequences else ((), ())
    named = zip(prints, sequences, strict=True)
    by_print: dict[str, list[str]] = {}
    for key, sequence in named:
        if key:
            by_print.setdefault(key, []).append(sequence)
    return [p for p in damaged if p], by_print


def _frames_in_two_splits(data_dir: Path, prints: dict[str, dict[str, list[str]]]) -> list[str]:
    """Problems of splits that share frames, as when a video was collected under two names.

    Stills, 30 times the same picture such as a black one, are no problem: two matches can share
    them. Only what shares its middle frame is read as a whole.
    """

    def whole_prints(split: str, names: list[str]) -> dict[str, str]:
        found = {}
        for name in names:
            try:
                frames, fingerprint = read_bytes(data_dir / split / "sequences" / name, None)
            except FrameError as error:
                problems.append(f"{data_dir / split}: {name} {error.reason}")
                continue
            if len(set(frames)) > 1:
                found[fingerprint] = name
        return found

    problems: list[str] = []
    for one, other in combinations(prints, 2):
        shared = []
        for key in prints[one].keys() & prints[other].keys():
            ours, theirs = (whole_prints(split, prints[split][key]) for split in (one, other))
            shared += [(ours[same], theirs[same]) for same in ours.keys() & theirs.keys()]
        if shared:
            problems.append(
                f"{len(shared)} sequences are in both {one} and {other}, to the byte, such as "
                f"{min(shared)[0]} and {min(shared)[1]}: one video, two names? Numbers on {other} "
                "would be a lie; remove that video from one of them"
            )
    return problems


class SequenceDataset(Dataset):
    """(frames (T, 3, 224, 224) RGB, label float32) of each row; frames float32 as the backbone
    wants them, or uint8 with normalised=False."""

    def __init__(
        self,
        split_dir: str | Path,
        table: pd.DataFrame,
        normalised: bool = True,
        seq_frames: int = 30,
    ):
        self.sequences_dir = Path(split_dir) / "sequences"
        self.table, self.normalised, self.seq_frames = table, normalised, seq_frames

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = self.table.iloc[index]
        frames = torch.from_numpy(
            read_sequence(self.sequences_dir / row["sequence"], self.seq_frames)
        )
        label = torch.tensor(row["label"], dtype=torch.float32)
        return (normalise(frames) if self.normalised else frames), label


class FeatureDataset(Dataset):
    """(features float32 (T, 512), label float32) of each row, from the files of extract_features.

    Up to most_bytes of them (61 KB a sequence and view) are held in memory; of more, each is read
    from its file when it is asked for. With several views, one is drawn at each access.
    """

    def __init__(
        self, features_dir: str | Path, table: pd.DataFrame, views: int = 1, most_bytes: int = 2**31
    ):
        self.table, self.count = table, views
        self.labels = torch.tensor(table["label"].to_numpy(), dtype=torch.float32)
        self.paths = [Path(features_dir) / f"{name}.safetensors" for name in table["sequence"]]
        _, T, D = load_features(self.paths[0]).shape
        self.features = None
        if len(self.paths) * views * T * D * 4 <= most_bytes:
            self.features = torch.empty(len(self.paths), views, T, D)
            for row, path in zip(self.features, self.paths, strict=True):
                row.copy_(load_features(path)[:views])
        elif missing := [path for path in self.paths if not path.is_file()]:
            load_features(missing[0])  # to say so before hours of training

    def __len__(self) -> int:
        return len(self.labels)

    def load_views(self, index: int) -> torch.Tensor:
        """All views of a row, (V, T, D)."""
        if self.features is not None:
            return self.features[index]
        return load_features(self.paths[index])[: self.count]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        views = self.load_views(index)  # (V, T, D)
        view = int(torch.randint(len(views), ())) if len(views) > 1 else 0
        return views[view], self.labels[index]

    def plain_batches(self, size: int = 256) -> Iterator[torch.Tensor]:
        """The features of all rows in their order, without augmentation, (B, T, D) at a time."""
        for first in range(0, len(self), size):
            rows = range(first, min(first + size, len(self)))
            yield torch.stack([self.load_views(row)[0] for row in rows])


def describe(tables: dict[str, pd.DataFrame], class_names=("non-rally", "rally")) -> pd.DataFrame:
    """A row a split: how many sequences, how many of each class, the share of class 1."""
    counts = {split: Counter(table["label"]) for split, table in tables.items()}
    rows = [
        {
            "split": split,
            "sequences": sum(count.values()),
            class_names[0]: count[0],
            class_names[1]: count[1],
            f"{class_names[1]} share": round(count[1] / sum(count.values()), 3),
        }
        for split, count in counts.items()
    ]
    return pd.DataFrame(rows).set_index("split")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check a data set and say what is in it.")
    parser.add_argument("data", nargs="?", default="Data", help="its folder (Data)")
    parser.add_argument("--allow-unlabelled", action="store_true", help="skip unlabelled folders")
    parser.add_argument("--deep", action="store_true", help="decode every frame of them, too")
    options = parser.parse_args(arguments)
    tables = load_splits(options.data, allow_unlabelled=options.allow_unlabelled, deep=options.deep)
    print(describe(tables).to_string())
    print("no problems" + ("" if options.deep else "; frames were not decoded (--deep does that)"))
    if is_synthetic(options.data):
        about = json.loads((Path(options.data) / "sample.json").read_text())
        print(f"SYNTHETIC: {about['about']}")
    return 0


if __name__ == "__main__":
    run_command(main)
