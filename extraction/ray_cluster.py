"""A Ray cluster: joining it, its precision, and a pool of actors that a list of items goes through.

    connect("10.0.0.5:6379")
    rows = map_on_actors(SequenceEncoder, (backbone, ...), names, 16)

Ray Data schedules: a worker or machine that dies costs what it had not yet saved, and the others
take that over. Every machine needs requirements.txt and requirements-cluster.txt; this project's
code is sent there. Without Ray, importing this raises the UserError that says how to install it.
"""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from cli import ADDRESS
from extraction.encoder import pick_precision
from files import UserError

REMEDY = "--ray and addresses of folders need more: pip install -r requirements-cluster.txt"
try:
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from upath import UPath
except ImportError as error:
    raise UserError(REMEDY) from error

ROOT = Path(__file__).resolve().parents[1]


def as_path(name: str) -> Path:
    """A Path, or for an address such as s3://bucket/train the like of it from fsspec."""
    if "://" not in name:
        return Path(name)
    try:
        path = UPath(name)
        path.fs  # noqa: B018, imports what the kind of address needs
    except (ImportError, ValueError) as error:
        raise UserError(f"{name}: {error} (with pip, on every machine)") from error
    return path


def all_but_code() -> list[str]:
    """Patterns, as in .gitignore, of all that does not go to a cluster with the code.

    Only the root's modules and packages go, so Data, runs and .venv stay, whatever their size.
    """
    packages = [f"!/{path.parent.name}" for path in sorted(ROOT.glob("*/__init__.py"))]
    return ["/*", "!.", "!/*.py", *packages, "__pycache__"]  # "." is the folder itself


def connect(address: str) -> None:
    """Joins the cluster at an address, or begins one on this machine ("" without RAY_ADDRESS)."""
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
    runtime_env = {
        "working_dir": str(ROOT),
        "excludes": all_but_code(),
        # The driver shows Ray's own progress; a worker of one core has one thread.
        "env_vars": {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"},
    }
    try:
        ray.init(address, runtime_env=runtime_env, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot join the Ray cluster at {address} ({error}): it wants the same versions "
            "of Python and Ray, and this on one of its machines, or ray://HOST:10001 from "
            "outside"
        ) from error


def choose_precision(precision: str) -> str:
    """encoder.pick_precision for all workers: of a GPU of the cluster, or else of this machine."""
    if not ray.cluster_resources().get("GPU"):
        return pick_precision(precision, "cpu")
    return ray.get(ray.remote(num_gpus=1)(pick_precision).remote(precision, "cuda"))


def map_on_actors(actor: type, about: tuple, items: list[str], most: int) -> Iterator[dict]:
    """The rows that a pool of actor(*about) makes of the items, each machine as many as it can."""
    if not items:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and advice
    DataContext.get_current().enable_progress_bars = len(items) > most
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), max(int(resources.get("CPU", 1)), 1)
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
