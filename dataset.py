"""The data set on disk: reading it, checking all of it at once, frames and features as Datasets.

    python dataset.py [Data] [--seq-frames N] [--deep]   # what is there, and every problem in it

Checking opens one frame a sequence; --deep decodes them all, about 6 s for the 990 sequences of the
original study on 2 cores.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import Dataset

from annotation.split_check import (
    check_split,
    frames_in_two_splits,
    labelled_folders,
    usual_frames,
)
from cli import positive, run_command
from collection.sources import SAME_RATE, read_sources
from collection.video_index import index_splits
from extraction.backbones import normalise
from extraction.features import features_shape, load_features
from files import SPLITS, UserError
from media.frames import read_sequence

UNRECORDED_FPS = 30.0  # the original study's, whose second has 30 frames


def has_data(data_dir: str | Path) -> bool:
    """Whether a person has begun a data set here, complete or not."""
    return any((Path(data_dir) / split).is_dir() for split in SPLITS)


def is_synthetic(data_dir: str | Path) -> bool:
    """Whether sample/match.py drew this data set: every number made from it must say so."""
    return (Path(data_dir) / "sample.json").is_file()


@dataclass(frozen=True)
class SequenceKind:
    """What the sequences of a data set have in common."""

    frames: int
    fps: float  # frames a second, 30.0 where nothing is recorded
    resize: str  # how the frames were made small (media.frames.RESIZE); "" where not recorded


def load_splits(
    data_dir: str | Path,
    splits: tuple[str, ...] = SPLITS,
    seq_frames: int | None = None,
    allow_unlabelled: bool = False,
    deep: bool = False,
) -> dict[str, pd.DataFrame]:
    """The labelled sequences of each split: a table with sequence (str) and label (0 or 1).

    Raises one UserError that lists every problem of every split: missing folders, another number of
    frames than seq_frames (None: than most labelled ones have), bad labels, duplicates, folders
    without a label (accepted with allow_unlabelled), empty or one-class splits, a video or frames
    that appear in two splits, sequences of two kinds. deep decodes every frame and lists those that
    cannot be, too; extract_features finds the same ones later.
    """
    data_dir = Path(data_dir)
    if not has_data(data_dir):
        raise UserError(
            f"there is no data in {data_dir}: it should hold {', '.join(SPLITS)}. Collect some "
            "with collecting_data.py, unpack the original study's there (see README.md), or draw "
            "the synthetic sample, in the project's folder, with: python -m sample.data_set"
        )
    if seq_frames is None:
        folders = (path for split in splits for path in labelled_folders(data_dir / split))
        seq_frames = usual_frames(folders)
    tables, sources, prints, problems = {}, {}, {}, []
    for split in splits:
        check = check_split(data_dir / split, seq_frames, allow_unlabelled, deep)
        tables[split], prints[split] = check.table, check.prints
        problems += [f"{data_dir / split}: {problem}" for problem in check.problems]
        try:
            sources[split] = read_sources(data_dir / split)
        except UserError as error:
            problems.append(str(error))
    videos = ((split, name) for split in sources for name in sources[split]["video"].unique())
    in_two = index_splits(videos).in_two
    problems += [f"{each}; remove its sequences from one of them" for each in in_two]
    problems += frames_in_two_splits(data_dir, prints)
    problems += _mixed_kinds(_recorded({split: tables[split] for split in sources}, sources))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise UserError("\n  - ".join([f"{count} in the data, nothing was trained:", *problems]))
    return tables


def sequence_kind(data_dir: str | Path, tables: dict[str, pd.DataFrame]) -> SequenceKind:
    """What the labelled sequences of these tables (those of load_splits) have in common.

    Rates within 1 % are one, the commonest. Raises UserError where rates, or the ways in which
    frames were made small, are mixed; where one is not recorded of all sequences, it is not known.
    """
    data_dir = Path(data_dir)
    sources = {split: read_sources(data_dir / split) for split in tables}
    recorded = _recorded(tables, sources)
    if mixed := _mixed_kinds(recorded):
        raise UserError(f"{data_dir}: {'; '.join(mixed)}")
    folders = (
        data_dir / split / "sequences" / name
        for split, table in tables.items()
        for name in table["sequence"]
    )
    resizes = set(recorded["resize"])
    return SequenceKind(
        usual_frames(folders),
        _commonest(recorded["fps"]) if len(recorded) else UNRECORDED_FPS,
        resizes.pop() if len(resizes) == 1 else "",
    )


def _recorded(tables: dict[str, pd.DataFrame], sources: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """name (split/sequence), fps, resize of each labelled sequence, as sequences.csv says.

    Of those without a row there has_row is False, and fps the original study's.
    """
    recorded = []
    for split, table in tables.items():
        rows = sources[split].drop_duplicates("sequence").set_index("sequence")
        fps = rows["fps"].astype(float).to_dict()
        resize = rows["resize"].to_dict()
        recorded += [
            (f"{split}/{name}", fps.get(name, UNRECORDED_FPS), resize.get(name, ""), name in fps)
            for name in table["sequence"]
        ]
    return pd.DataFrame(recorded, columns=["name", "fps", "resize", "has_row"])


def _commonest(values: pd.Series) -> float:
    return float(values.value_counts().index[0])


def _mixed_kinds(recorded: pd.DataFrame) -> list[str]:
    """Problems of sequences that differ in their rate, or in how their frames were made small."""
    problems = []
    remedy = "delete the folders and rows of one of them, and collect its videos again"
    if len(recorded):
        usual_fps = _commonest(recorded["fps"])
        others = recorded[(recorded["fps"] / usual_fps - 1).abs() > SAME_RATE]
        if len(others):
            usual, other = recorded[recorded["fps"] == usual_fps].iloc[0], others.iloc[0]
            notes = ["" if each["has_row"] else " (not recorded)" for each in (usual, other)]
            add_rows = ", or give those without a recorded rate a row in sequences.csv"
            problems.append(
                f"two rates: {usual['name']} has {usual_fps:g} frames a second{notes[0]}, "
                f"{other['name']} {other['fps']:g}{notes[1]}; {remedy} with collecting_data.py "
                f"--fps {usual_fps:g}{add_rows if any(notes) else ''}"
            )
    firsts = recorded[recorded["resize"] != ""].drop_duplicates("resize")
    if len(firsts) > 1:
        one, other = firsts.iloc[0], firsts.iloc[1]
        problems.append(
            f"frames made small in two ways: {one['name']} by {one['resize']}, {other['name']} by "
            f"{other['resize']}; {remedy} with collecting_data.py"
        )
    return problems


class SequenceDataset(Dataset):
    """(frames (T, 3, 224, 224) RGB, label float32) of each row; frames float32 as the backbone
    wants them, or uint8 with normalised=False.

    For training on frames, or looking at them. Extraction does without it and reads the files by
    itself (extraction.features): it needs their bytes, to tell whether features are out of date,
    and reads several sequences ahead in threads that decode and encode at once.
    """

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

    With several views, one is drawn at each access; plain_batches gives the first of each. Up to
    most_bytes of them (61 KB a sequence and view) are held in memory; of more, each is read from
    its file when it is asked for. Raises UserError for files that hold fewer views.
    """

    def __init__(
        self, features_dir: str | Path, table: pd.DataFrame, views: int = 1, most_bytes: int = 2**31
    ):
        self.table, self.views = table, views
        self.labels = torch.tensor(table["label"].to_numpy(), dtype=torch.float32)
        self.paths = [Path(features_dir) / f"{name}.safetensors" for name in table["sequence"]]
        self.shape = views, *load_features(self.paths[0]).shape[1:]  # (V, T, D)
        self.features = None
        if len(self.paths) * prod(self.shape) * 4 <= most_bytes:
            self.features = torch.empty(len(self.paths), *self.shape)
            for row, path in zip(self.features, self.paths, strict=True):
                row.copy_(self._load(path))
        else:
            for path in self.paths:  # to say so before hours of training
                self._check(path, features_shape(path))

    def __len__(self) -> int:
        return len(self.labels)

    def load_views(self, index: int) -> torch.Tensor:
        """All views of a row, (V, T, D)."""
        if self.features is not None:
            return self.features[index]
        return self._load(self.paths[index])

    def _load(self, path: Path) -> torch.Tensor:
        features = load_features(path)
        self._check(path, tuple(features.shape))
        return features[: self.views]

    def _check(self, path: Path, shape: tuple[int, ...]) -> None:
        if shape[0] < self.views or shape[1:] != self.shape[1:]:
            raise UserError(
                f"{path} holds features {shape}, not (views, frames, numbers) = {self.shape}: run "
                "extract_features again"
            )

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
    parser.add_argument(
        "--seq-frames", type=positive(int), metavar="N", help="frames a sequence (what most have)"
    )
    parser.add_argument("--allow-unlabelled", action="store_true", help="skip unlabelled folders")
    parser.add_argument("--deep", action="store_true", help="decode every frame of them, too")
    options = parser.parse_args(arguments)
    tables = load_splits(
        options.data,
        seq_frames=options.seq_frames,
        allow_unlabelled=options.allow_unlabelled,
        deep=options.deep,
    )
    kind = sequence_kind(options.data, tables)
    print(describe(tables).to_string())
    print(f"{kind.frames} frames a sequence, {kind.fps:g} a second")
    print("no problems" + ("" if options.deep else "; frames were not decoded (--deep does that)"))
    if is_synthetic(options.data):
        about = json.loads((Path(options.data) / "sample.json").read_text())
        print(f"SYNTHETIC: {about['about']}")
    return 0


if __name__ == "__main__":
    run_command(main)
