"""Run work on a Ray cluster: connect, choose a precision, and map a list over a pool of actors.

    connect("10.0.0.5:6379")
    rows = map_on_actors(SequenceEncoder, (backbone, ...), names, 16)

Ray Data does the scheduling. If a worker or machine dies, only its unsaved work is lost, and the
others do that again. Every machine needs requirements.txt and requirements-cluster.txt installed;
the code of this project is sent to it. Without Ray, importing this module raises a UserError that
says how to install it.
"""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from cli import ADDRESS
from extraction.encoder import pick_precision
from files import UserError

REMEDY = "--ray needs more packages: pip install -r requirements-cluster.txt"
try:
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from upath import UPath
except ImportError as error:
    raise UserError(REMEDY) from error

ROOT = Path(__file__).resolve().parents[1]


def as_path(name: str) -> Path:
    """A Path; for an address such as s3://bucket/train a UPath (fsspec), used in the same way.

    Raises UserError if the package for that kind of address is missing.
    """
    if "://" not in name:
        return Path(name)
    try:
        path = UPath(name)
        path.fs  # noqa: B018, imports the package for this kind of address
    except (ImportError, ValueError) as error:
        raise UserError(f"{name}: {error}; install it with pip on every machine") from error
    return path


def all_but_code() -> list[str]:
    """Patterns, as in .gitignore, for everything that is not sent to the cluster.

    Only the modules and packages in the root are sent, not Data, runs or .venv, which may be large.
    """
    packages = [f"!/{path.parent.name}" for path in sorted(ROOT.glob("*/__init__.py"))]
    return ["/*", "!.", "!/*.py", *packages, "__pycache__"]  # "." is the root folder itself


def connect(address: str) -> None:
    """Joins the Ray cluster at an address; "" means RAY_ADDRESS, or a new one on this machine.

    Raises UserError if the address is malformed, nothing answers there, or Ray refuses to join.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its usage by default
    address = address or os.environ.get("RAY_ADDRESS", "local")
    if not ADDRESS.fullmatch(address):
        raise UserError(
            f"RAY_ADDRESS is {address!r}, but it must be HOST:PORT, ray://HOST:10001, auto or local"
        )
    if ":" in address:
        host, port = address.removeprefix("ray://").split(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray tries for minutes
        except OSError as error:
            raise UserError(
                f"no Ray cluster answers at {address} ({error}): run `ray start --head` there first"
            ) from error
    runtime_env = {
        "working_dir": str(ROOT),
        "excludes": all_but_code(),
        # The driver shows Ray's own progress bar. Each worker has one core, so one thread.
        "env_vars": {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"},
    }
    try:
        ray.init(address, runtime_env=runtime_env, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"could not join the Ray cluster at {address} ({error}). Use the same versions of "
            "Python and Ray as the cluster, and run this on one of its machines, or from outside "
            "with --ray ray://HOST:10001"
        ) from error


def choose_precision(precision: str) -> str:
    """encoder.pick_precision for all workers: asks a GPU of the cluster, or else this machine."""
    if not ray.cluster_resources().get("GPU"):
        return pick_precision(precision, "cpu")
    return ray.get(ray.remote(num_gpus=1)(pick_precision).remote(precision, "cuda"))


def map_on_actors(actor: type, about: tuple, items: list[str], most: int) -> Iterator[dict]:
    """Yields the rows that a pool of actors, each an actor(*about), makes from the items.

    There is one actor per GPU of the cluster, or per core if it has no GPU. An actor gets blocks of
    at most `most` items.
    """
    if not items:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # hides its execution plans and advice
    DataContext.get_current().enable_progress_bars = len(items) > most
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), max(int(resources.get("CPU", 1)), 1)
    workers = gpus or cores
    size = min(max(len(items) // (4 * workers), 1), most)
    rows = ray.data.from_items(
        [{"item": item} for item in items], override_num_blocks=-(-len(items) // size)
    ).map_batches(
        actor,
        batch_size=None,  # one block per call; if a worker dies, its block is done again
        batch_format="numpy",
        compute=ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        fn_constructor_args=about,
        num_gpus=1 if gpus else None,
        num_cpus=None if gpus else 1,
    )
    yield from rows.iter_rows()
