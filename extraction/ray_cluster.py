"""Extraction and detection on all machines of a Ray cluster; Ray Data schedules and retries.

    python -m extraction.features Data/train --ray                  # the cores of this machine
    python -m extraction.features s3://bucket/train --ray HOST:6379  # a cluster, a shared folder
    python detecting_rallies.py MATCHES/ --model runs/NAME/best_model.pth --ray HOST:6379

Every machine needs requirements.txt and requirements-cluster.txt; this project's code is sent
there. A worker or machine that dies costs what it had not yet saved: the others take that over.
Importing this imports neither Ray nor torch.
"""

import argparse
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from files import PRECISIONS, UserError, one_writer

HERE = Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"auto|local|(ray://)?[^/:\s]+:\d+")
MOST_SEQUENCES = 16  # a task: about 15 s of a core, lost at most when it dies
REMEDY = "--ray and addresses of folders need more: pip install -r requirements-cluster.txt"


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """--precision and --ray, of both commands."""
    add = parser.add_argument
    add("--precision", choices=PRECISIONS, default="auto", help="auto: what is quickest here")
    add(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="HOST:PORT of a Ray cluster (this machine)",
    )


def split_address(ray: str | None, names: list[str]) -> tuple[str | None, list[str]]:
    """(address, names) of `--ray [ADDRESS]`, which takes the name behind it for an address."""
    if not ray or ADDRESS.fullmatch(ray):
        return ray, names
    if "/" not in ray and not Path(ray).exists():
        raise UserError(f"--ray {ray}: that is neither there nor an address, HOST:PORT")
    return "", [ray, *names]


def as_path(name: str) -> Path:
    """A Path, or for an address such as s3://bucket/train the like of it from fsspec."""
    if "://" not in name:
        return Path(name)
    try:
        from upath import UPath
    except ImportError as error:
        raise UserError(f"{name}: {REMEDY}") from error
    try:
        path = UPath(name)
        path.fs  # noqa: B018, imports what the kind of address needs
    except (ImportError, ValueError) as error:
        raise UserError(f"{name}: {error} (with pip, on every machine)") from error
    return path


def connect(address: str, ship: bool = True) -> None:
    """Joins the cluster at an address, or begins one on this machine ("" without RAY_ADDRESS).

    ship: send this project's code there; otherwise every machine has it at this one's path.
    """
    try:
        import ray
        import upath  # noqa: F401
    except ImportError as error:
        raise UserError(REMEDY) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray tells its makers unless told not to
    address = address or os.environ.get("RAY_ADDRESS", "local")
    if not ADDRESS.fullmatch(address):
        raise UserError(
            f"RAY_ADDRESS is {address!r}: HOST:PORT, ray://HOST:10001 or auto is wanted"
        )
    if ":" in address:
        host, port = address.removeprefix("ray://").split(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray tries for minutes
        except OSError as error:
            raise UserError(
                f"no Ray cluster answers at {address} ({error}): is `ray start --head` there?"
            ) from error
    # The driver shows Ray's own progress; a worker of one core has one thread.
    settings = {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as code:
        if ship and address != "local":
            for file in [*HERE.glob("*.py"), *HERE.glob("*.html")]:  # not Data, which may be large
                shutil.copy(file, code)
            shutil.copytree(HERE / "extraction", Path(code) / "extraction")
            where = {"working_dir": code}
        else:
            where, known = {}, os.environ.get("PYTHONPATH", "")
            settings["PYTHONPATH"] = os.pathsep.join([str(HERE), known]).rstrip(os.pathsep)
        try:
            ray.init(address, runtime_env={"env_vars": settings, **where}, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"cannot join the Ray cluster at {address} ({error}): it wants the same versions "
                "of Python and Ray, and this on one of its machines, or ray://HOST:10001 from "
                "outside"
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

    split_dir is one folder for all machines, by path or by address.
    """
    from extraction.features import features_dir, remove_leftovers, report_failures

    if not hasattr(split_dir, "fs"):
        split_dir = split_dir.resolve()
    precision = choose_precision(precision)
    folder = features_dir(split_dir, backbone, precision)
    with nullcontext() if hasattr(folder, "fs") else one_writer(folder):
        if not hasattr(folder, "fs"):
            remove_leftovers(folder)
        about = (backbone, split_dir, folder, views, seq_frames, precision)
        rows = map_on_actors(SequenceEncoder, about, sequences, MOST_SEQUENCES)
        failures = []
        for row in rows:
            if row["end"]:
                raise UserError(row["end"])
            if row["problem"]:
                failures.append(f"{row['item']}: {row['problem']}")
    report_failures(split_dir, sorted(failures), len(sequences))
    return folder


def choose_precision(precision: str) -> str:
    """encoder.pick_precision for all workers: of a GPU of the cluster, or else of this machine."""
    import ray

    from encoder import pick_precision

    if not ray.cluster_resources().get("GPU"):
        return pick_precision(precision, "cpu")
    return ray.get(ray.remote(num_gpus=1)(pick_precision).remote(precision, "cuda"))


def detect_on_ray(
    matches: list[Path | str], detector, options: argparse.Namespace
) -> Iterator[dict]:
    """detecting_rallies.detect_one of each match, one to a core (or GPU), as they are done.

    Rows of item (the match), told (lines of text) and problem ("" if all went well).
    """
    detector = replace(detector, precision=choose_precision(options.precision))
    options = argparse.Namespace(**vars(options))
    for name in ("out", "data"):  # workers have working folders of their own
        if given := getattr(options, name):
            setattr(options, name, given.absolute())
    names = [str(match.resolve()) if isinstance(match, Path) else match for match in matches]
    return map_on_actors(MatchDetector, (detector, options), names, 1)


def map_on_actors(actor: type, about: tuple, items: list[str], most: int) -> Iterator[dict]:
    """The rows that a pool of actor(*about) makes of the items, each machine as many as it can."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    if not items:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and advice
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
    yield from rows.iter_rows()


class SequenceEncoder:
    """An actor of Ray Data: names of sequences in; out the problem of each, what ends the job."""

    def __init__(self, backbone, split_dir, folder, views, seq_frames, precision):
        import torch

        from encoder import build_encoder

        self.device = "cuda" if torch.cuda.is_available() else "cpu"  # no core each for MPS
        self.encoder = build_encoder(backbone, self.device, precision)
        self.where = split_dir, folder, views, seq_frames

    def __call__(self, batch: dict) -> dict:
        from encoder import encoding_pool
        from extraction.features import UnreadableError, compute_sequence

        split_dir, *rest = self.where

        def compute(name: str) -> tuple[str, str]:
            try:
                compute_sequence(self.encoder, split_dir, name, *rest)
            except UnreadableError as error:
                return str(error), ""
            except UserError as error:  # raised, Ray would wrap it in pages of its own
                return "", str(error)
            return "", ""

        names = [str(item) for item in batch["item"]]
        with encoding_pool(self.device) as pool:
            problems, ends = zip(*pool.map(compute, names), strict=True)
        return {"item": names, "problem": list(problems), "end": list(ends)}


class MatchDetector:
    """An actor of Ray Data: a match in, what was said of it and what went wrong out."""

    def __init__(self, detector, options: argparse.Namespace):
        self.detector, self.options = detector, options

    def __call__(self, batch: dict) -> dict:
        from detecting_rallies import detect_or_say

        rows = {"item": [], "told": [], "problem": []}
        for item in map(str, batch["item"]):
            told: list[str] = []
            problem = detect_or_say(item, self.detector, self.options, told.append)
            for name, value in (("item", item), ("told", "\n".join(told)), ("problem", problem)):
                rows[name].append(value)
        return rows
