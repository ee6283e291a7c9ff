"""What every part shares about the disk: whole writes, tables, one writer at a time, clear errors.

Imports no torch, and pandas only to read a table, so that collecting and labelling start at once.
"""

import hashlib
import io
import json
import os
import secrets
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")


def labels_path(split_dir: Path) -> Path:
    """The table of a split's labels."""
    return split_dir / f"{split_dir.name}.csv"


class UserError(Exception):
    """Something its reader can mend: the message names the file and the remedy."""


def is_remote(path: Path) -> bool:
    """Whether a path is one of fsspec's file systems, such as a bucket's, and not on a disk."""
    return hasattr(path, "fs")


def write_whole(path: str | Path, data: bytes) -> None:
    """Writes `data` beside `path`, syncs it and renames it over `path`: old or new, never half.

    Raises UserError (the old file stays) when the disk is full or the folder cannot be written.
    Paths of fsspec's file systems are written by them, beside and moved over, too; there a kill
    leaves the .part behind.
    """
    path = Path(path) if isinstance(path, str) else path
    writer = f"{os.getpid()}-{secrets.token_hex(4)}"  # numbers of processes repeat on a cluster
    temporary = path.with_name(f".{path.name}.{writer}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_remote(path):
            path.fs.pipe_file(temporary.path, data)
            path.fs.mv(temporary.path, path.path)
            return
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose "
            "another folder (what was there before is untouched)"
        ) from error


def sync_file(path: Path) -> None:
    """Puts a file's bytes on disk, so that they survive a power cut."""
    with open(path, "rb+") as file:  # Windows syncs only what can be written
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on disk, so that new files and renames survive a power cut.

    Where that cannot be had (Windows, some network drives) the files are whole and in their place.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_json(path: Path, record: dict) -> None:
    write_whole(path, (json.dumps(record, indent=2, default=str) + "\n").encode())


def write_table(path: str | Path, table: "pd.DataFrame") -> None:
    """Writes a table as UTF-8 CSV, whole or not at all."""
    write_whole(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_table(path: str | Path, columns: tuple[str, ...], others: bool = False) -> "pd.DataFrame":
    """The named columns of a CSV, as stripped strings (an empty cell is "").

    A byte-order mark, Windows line ends, blank lines and further columns are accepted; the latter
    follow the named ones if others is True, and are left out if not. Raises
    UserError when the file cannot be read as a table or lacks a column.
    """
    import pandas as pd  # noqa: PLC0415, spares --help 0.3 s

    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # longer rows than the header
            table = pd.read_csv(
                io.StringIO(text), dtype=str, keep_default_na=False, index_col=False
            )
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UserError(
            f"{path} cannot be read as a CSV table with lines of {','.join(columns)}: {error}"
        ) from error
    table.columns = [str(name).strip() for name in table.columns]
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(
            f"{path} has no column {' and no column '.join(missing)}: its first line should be "
            f"{','.join(columns)}, and is {','.join(table.columns)}"
        )
    further = [name for name in table.columns if others and name not in columns]
    table = table[[*columns, *further]].fillna("").apply(lambda column: column.str.strip())
    return table[(table != "").any(axis=1)].reset_index(drop=True)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, which tells copies of a video whatever their names."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_run_dir(runs_dir: str | Path = "runs", name: str | None = None) -> Path:
    """Makes runs/<name>/ (by default named after the time) and returns it; never an old one."""
    name = name or datetime.now().strftime("%Y%m%d-%H%M%S")
    run_dir, count = Path(runs_dir) / name, 1
    try:
        Path(runs_dir).mkdir(parents=True, exist_ok=True)
        while True:
            try:
                run_dir.mkdir()
                return run_dir
            except FileExistsError:  # two runs in one second, or a name used before
                count += 1
                run_dir = Path(runs_dir) / f"{name}-{count}"
    except OSError as error:
        raise UserError(
            f"cannot make the run's folder {run_dir}: {error.strerror}; set runs_dir to a folder "
            "that you may write in"
        ) from error


@contextmanager
def one_writer(
    folder: str | Path, name: str = ".lock", patience_sec: float | None = None
) -> Iterator[None]:
    """Holds `folder` for this process; a second one waits and says so. A killed one lets go.

    Locks of other names are held apart. A remote folder cannot be held: there each file is written
    whole, and who is last wins. Raises UserError after patience_sec (None: never).
    """
    if is_remote(folder):
        yield
        return
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, is_singleton=True)  # the same process may hold it twice
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if patience_sec is None:
                print(f"another process is writing {folder}: waiting for it", file=sys.stderr)
            lock.acquire(timeout=-1 if patience_sec is None else patience_sec)
    except Timeout as error:
        raise UserError(f"another process still holds {folder / name}: is it stopped?") from error
    except OSError as error:
        raise UserError(
            f"cannot write in {folder}: {error.strerror or error}; choose another folder, or "
            "give yourself the right to write there"
        ) from error
    try:
        yield
    finally:
        lock.release()
