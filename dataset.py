"""Read and check the data set on disk; SequenceDataset and FeatureDataset load it for PyTorch.

    python dataset.py [Data] [--seq-frames N] [--deep]   # summarise it and list every problem

The check reads one frame per sequence. --deep decodes all frames: about 6 s for the 990 sequences
of the original study on 2 cores.
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
from cli import count_of, positive, run_command
from collection.sources import SAME_RATE, read_sources
from collection.video_index import index_splits
from extraction.backbones import normalise
from extraction.features import features_shape, load_features
from files import SPLITS, UserError
from media.frames import read_sequence

UNRECORDED_FPS = 30.0  # the frame rate of the original study, which recorded none


def has_data(data_dir: str | Path) -> bool:
    """Whether a data set was started here, complete or not: one split folder is enough."""
    return any((Path(data_dir) / split).is_dir() for split in SPLITS)


def is_synthetic(data_dir: str | Path) -> bool:
    """Whether sample/match.py drew this data set. Label all results from it as SYNTHETIC."""
    return (Path(data_dir) / "sample.json").is_file()


@dataclass(frozen=True)
class SequenceKind:
    """What the sequences of a data set have in common."""

    frames: int  # frames in a sequence
    fps: float  # frames per second; 30.0 if not recorded
    resize: str  # how the frames were resized (media.frames.RESIZE); "" if not recorded


def load_splits(
    data_dir: str | Path,
    splits: tuple[str, ...] = SPLITS,
    seq_frames: int | None = None,
    allow_unlabelled: bool = False,
    deep: bool = False,
) -> dict[str, pd.DataFrame]:
    """The labelled sequences of each split: a table with sequence (str) and label (0 or 1).

    Raises one UserError that lists every problem of every split: missing folders, sequences that
    do not have seq_frames frames (None: as many as most labelled sequences have), bad labels,
    duplicates, sequences without a label (skipped with allow_unlabelled), splits that are empty or
    have one class, videos or frames in two splits, mixed frame rates or resize methods. deep also
    decodes every frame and lists the corrupt ones, which extract_features would find later.
    """
    data_dir = Path(data_dir)
    if not has_data(data_dir):
        raise UserError(
            f"no data in {data_dir}: it needs the folders {', '.join(SPLITS)}. Collect data with "
            "collecting_data.py, unpack the data of the original study there (see README.md), or "
            "make the synthetic sample with: python -m sample.data_set (in the project folder)"
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
        count = count_of(len(problems), "problem")
        raise UserError("\n  - ".join([f"{count} in the data, to fix before training:", *problems]))
    return tables


def sequence_kind(data_dir: str | Path, tables: dict[str, pd.DataFrame]) -> SequenceKind:
    """What the labelled sequences of these tables (from load_splits) have in common.

    Frame rates within 1 % count as the same, and the most common one is returned. resize is ""
    unless it is recorded for all sequences. Raises UserError for mixed frame rates or resize
    methods.
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
    """name (split/sequence), fps, resize, has_row of each labelled sequence, from sequences.csv.

    A sequence without a row there has has_row False and the frame rate of the original study.
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
    """Problems of sequences that differ in their frame rate or in how they were resized."""
    problems = []
    remedy = "delete the folders and rows of one kind and collect its videos again"
    if len(recorded):
        usual_fps = _commonest(recorded["fps"])
        others = recorded[(recorded["fps"] / usual_fps - 1).abs() > SAME_RATE]
        if len(others):
            usual, other = recorded[recorded["fps"] == usual_fps].iloc[0], others.iloc[0]
            notes = ["" if each["has_row"] else " (not recorded)" for each in (usual, other)]
            add_rows = ", or add the sequences without a recorded rate to sequences.csv"
            problems.append(
                f"mixed frame rates: {usual['name']} has {usual_fps:g} fps{notes[0]}, "
                f"{other['name']} has {other['fps']:g} fps{notes[1]}; {remedy} with "
                f"collecting_data.py --fps {usual_fps:g}{add_rows if any(notes) else ''}"
            )
    firsts = recorded[recorded["resize"] != ""].drop_duplicates("resize")
    if len(firsts) > 1:
        one, other = firsts.iloc[0], firsts.iloc[1]
        problems.append(
            f"mixed resize methods: {one['name']} has {one['resize']}, {other['name']} has "
            f"{other['resize']}; {remedy} with collecting_data.py"
        )
    return problems


class SequenceDataset(Dataset):
    """(frames (T, 3, 224, 224) RGB, label float32 ()) of each row of the table.

    The frames are float32, normalised for the backbone, or uint8 (0 to 255) with normalised=False.
    Use it to train on frames or to look at them. extraction.features does not use it: that module
    needs the encoded bytes, to tell whether features are out of date, and reads ahead in threads.
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
    """(features float32 (T, 512), label float32 ()) of each row, from files of extract_features.

    With several views, each access draws one at random; plain_batches always gives view 0. All
    features are held in memory if they fit in most_bytes (61 KB per sequence and view), otherwise
    each is read from its file on access. Raises UserError for a file with fewer views or another
    shape.
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
            for path in self.paths:  # find bad files now, not after hours of training
                self._check(path, features_shape(path))

    def __len__(self) -> int:
        return len(self.labels)

    def load_views(self, index: int) -> torch.Tensor:
        """All views of a row, float32 (V, T, D)."""
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
                f"{path} holds features of shape {shape}, but (views, frames, features) should be "
                f"{self.shape}: run extract_features again"
            )

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        views = self.load_views(index)  # (V, T, D)
        view = int(torch.randint(len(views), ())) if len(views) > 1 else 0
        return views[view], self.labels[index]

    def plain_batches(self, size: int = 256) -> Iterator[torch.Tensor]:
        """Yields the features of all rows in order, without augmentation, (B, T, D) at a time."""
        for first in range(0, len(self), size):
            rows = range(first, min(first + size, len(self)))
            yield torch.stack([self.load_views(row)[0] for row in rows])


def describe(tables: dict[str, pd.DataFrame], class_names=("non-rally", "rally")) -> pd.DataFrame:
    """One row per split: number of sequences, number of each class, share of class 1."""
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
    parser = argparse.ArgumentParser(
        description=(
            "Check a labelled data set: count its sequences and list every problem.\n\n"
            "example:\n  python dataset.py Data --deep"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("data", nargs="?", default="Data", metavar="DIR", help="data folder (default: Data)")
    add("--deep", action="store_true", help="also decode every frame, to find corrupt ones")
    add("--allow-unlabelled", action="store_true", help="skip sequences without a label")
    add(
        "--seq-frames",
        type=positive(int),
        metavar="N",
        help="frames in a sequence (default: what most sequences have)",
    )
    options = parser.parse_args(arguments)
    tables = load_splits(
        options.data,
        seq_frames=options.seq_frames,
        allow_unlabelled=options.allow_unlabelled,
        deep=options.deep,
    )
    kind = sequence_kind(options.data, tables)
    print(describe(tables).to_string())
    print(f"{kind.frames} frames per sequence, {kind.fps:g} frames per second")
    print("no problems found" + ("" if options.deep else " (frames were not decoded: try --deep)"))
    if is_synthetic(options.data):
        about = json.loads((Path(options.data) / "sample.json").read_text())
        print(f"SYNTHETIC: {about['about']}")
    return 0


if __name__ == "__main__":
    run_command(main)
