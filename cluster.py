"""Extraction and detection on all machines of a Ray cluster; Ray Data schedules and retries.

    python features.py Data/train --ray                        # the cores of this machine
    python features.py s3://bucket/train --ray HOST:6379       # a cluster, a folder that all reach
    python detecting_rallies.py MATCHES/ --model runs/NAME/best_model.pth --ray HOST:6379

Every machine needs requirements.txt and requirements-cluster.txt; this project's code is sent
there. A worker or machine that dies costs what it had not yet saved: the others take that over.
Importing this imports neither Ray nor torch.
"""

import argparse
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from files import UserError, one_writer

HERE = Path(__file__).resolve().parent
ADDRESS = re.compile(r"auto|local|(ray://)?[^/:\s]+:\d+")
MOST_SEQUENCES = 16  # a task: about 15 s of a core, lost at most when it dies
REMEDY = "--ray and addresses of folders need more: pip install -r requirements-cluster.txt"


def split_address(ray: str | None, names: list[str]) -> tuple[str | None, list[str]]:
    """(address, names) of `--ray [ADDRESS]`, which takes the name behind it for an address."""
    if not ray or ADDRESS.fullmatch(ray):
        return ray, names
    return "", [ray, *names]


def as_path(name: str) -> Path:
    """A Path, or for an address such as s3://bucket/train the like of it from fsspec."""
    if "://" not in name:
        return Path(name)
    try:
        from upath import UPath
    except ImportError as error:
        raise UserError(f"{name}: {REMEDY}") from error
    return UPath(name)


def connect(address: str) -> None:
    """Joins the cluster at an address; "" is RAY_ADDRESS, or else one begun on this machine."""
    try:
        import ray
        import upath  # noqa: F401
    except ImportError as error:
        raise UserError(REMEDY) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray tells its makers unless told not to
    if ":" in address:
        host, port = address.removeprefix("ray://").split(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray tries for minutes
        except OSError as error:
            raise UserError(
                f"no Ray cluster answers at {address} ({error}): is `ray start --head` there?"
            ) from error
    with tempfile.TemporaryDirectory() as code:  # without Data, which may be large
        for file in [*HERE.glob("*.py"), *HERE.glob("*.html")]:
            shutil.copy(file, code)
        shown = {"TQDM_DISABLE": "1"}  # the driver shows Ray's own progress
        try:
            ray.init(
                address or None,
                runtime_env={"working_dir": code, "env_vars": shown},
                logging_level="ERROR",
            )
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at {address or 'this machine'} ({error}): is "
                "`ray start --head` there?"
            ) from error


def extract_on_ray(
    split_dir: Path,
    sequences: list[str],
    backbone,
    views: int = 1,
    seq_frames: int = 30,
    precision: str = "auto",
) -> Path:
    """features.extract_features on the cluster that connect has joined: the same files.

    split_dir is one folder for all machines, by path or by address. precision "auto" is what the
    GPUs of the cluster, or else this machine, are quickest with.
    """
    import ray
    import torch

    from encoder import best_device, pick_precision
    from features import features_dir, remove_leftovers, report_failures

    if not hasattr(split_dir, "fs"):
        split_dir = split_dir.resolve()
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if precision == "auto" and gpus and not torch.cuda.is_available():
        precision = "bf16"
    precision = pick_precision(precision, best_device() if gpus else "cpu")
    folder = features_dir(split_dir, backbone, precision)
    with nullcontext() if hasattr(folder, "fs") else one_writer(folder):
        if not hasattr(folder, "fs"):
            remove_leftovers(folder)
        about = (ray.put(backbone), split_dir, folder, views, seq_frames, precision)
        rows = map_on_actors(SequenceEncoder, about, sequences, MOST_SEQUENCES)
        failures = sorted(f"{row['item']}: {row['problem']}" for row in rows if row["problem"])
    report_failures(split_dir, failures, len(sequences))
    return folder


def detect_on_ray(matches: list[Path | str], options: argparse.Namespace) -> Iterator[dict]:
    """detecting_rallies.detect_one of each match, one to a core (or GPU), as they are done.

    Rows of item (the match), told (lines of text) and problem ("" if all went well).
    """
    options = argparse.Namespace(**vars(options))
    for name in ("model", "out", "data"):  # workers have working folders of their own
        if given := getattr(options, name):
            setattr(options, name, given.absolute())
    names = [str(match.resolve()) if isinstance(match, Path) else match for match in matches]
    return map_on_actors(MatchDetector, (options,), names, 1)


def map_on_actors(actor: type, about: tuple, items: list[str], most: int) -> Iterator[dict]:
    """The rows that a pool of actor(*about) makes of the items, each machine as many as it can."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    DataContext.get_current().enable_progress_bars = len(items) > most
    found = ray.cluster_resources()
    gpus, cores = int(found.get("GPU", 0)), max(int(found.get("CPU", 1)), 1)
    workers = gpus or cores
    size = min(max(len(items) // (4 * workers), 1), most)
    rows = ray.data.from_items(
        [{"item": item} for item in items], override_num_blocks=-(-len(items) // size)
    ).map_batches(
        actor,
        batch_size=None,  # a block, which is what is done again when a worker dies
        batch_format="numpy",
        compute=ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        fn_constructor_args=about,
        num_gpus=1 if gpus else None,
        num_cpus=None if gpus else 1,
    )
    return rows.iter_rows()


class SequenceEncoder:
    """An actor of Ray Data: names of sequences in, whether they were computed and problems out."""

    def __init__(self, backbone, split_dir, folder, views, seq_frames, precision):
        import ray

        from encoder import best_device, build_encoder

        self.device = best_device()
        self.encoder = build_encoder(ray.get(backbone), self.device, precision)
        self.where = split_dir, folder, views, seq_frames

    def __call__(self, batch: dict) -> dict:
        from encoder import encoding_pool
        from features import compute_sequence

        split_dir, *rest = self.where

        def compute(name: str) -> tuple[bool, str]:
            try:
                return compute_sequence(self.encoder, split_dir, name, *rest), ""
            except UserError as error:
                return False, str(error)

        names = [str(item) for item in batch["item"]]
        with encoding_pool(self.device) as pool:
            computed, problems = zip(*pool.map(compute, names), strict=True)
        return {"item": names, "computed": list(computed), "problem": list(problems)}


class MatchDetector:
    """An actor of Ray Data: a match in, what was said of it and what went wrong out."""

    def __init__(self, options: argparse.Namespace):
        from detecting_rallies import load_with_settings

        self.options, self.detector = options, load_with_settings(options)

    def __call__(self, batch: dict) -> dict:
        from detecting_rallies import detect_or_say

        rows = {"item": [], "told": [], "problem": []}
        for item in map(str, batch["item"]):
            told: list[str] = []
            problem = detect_or_say(item, self.detector, self.options, told.append)
            for name, value in (("item", item), ("told", "\n".join(told)), ("problem", problem)):
                rows[name].append(value)
        return rows
