"""What all parts share about files: atomic writes, CSV tables, one writer at a time, clear errors.

Imports no torch, and pandas only to read a table, so that collecting and labelling start fast.
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
    """The path of a split's label table, such as Data/train/train.csv."""
    return split_dir / f"{split_dir.name}.csv"


class UserError(Exception):
    """An error that the user can fix. The message names the file or value, and the remedy."""


def is_remote(path: Path) -> bool:
    """Whether a path is on one of fsspec's file systems, such as a bucket, and not on a disk."""
    return hasattr(path, "fs")


def write_whole(path: str | Path, data: bytes) -> None:
    """Writes `data` to a temporary file beside `path`, syncs it and renames it to `path`.

    Readers see the old file or the new one, never half a file. Raises UserError when the disk is
    full or the folder is not writable; the old file stays. On a remote path, fsspec writes and
    moves the temporary file. A process killed meanwhile leaves a .part file there.
    """
    path = Path(path) if isinstance(path, str) else path
    writer = f"{os.getpid()}-{secrets.token_hex(4)}"  # process ids repeat on a cluster
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
            "another folder (an older file of this name is unchanged)"
        ) from error


def sync_file(path: Path) -> None:
    """Flushes a file's bytes to disk, so that they survive a power cut."""
    with open(path, "rb+") as file:  # Windows syncs only files that are open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to disk, so that new files and renames survive a power cut.

    Some systems cannot do this (Windows, some network drives). There it does nothing; the files
    are still whole and in place.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_json(path: Path, record: dict) -> None:
    """Writes a record as indented JSON, whole or not at all."""
    write_whole(path, (json.dumps(record, indent=2, default=str) + "\n").encode())


def write_table(path: str | Path, table: "pd.DataFrame") -> None:
    """Writes a table as UTF-8 CSV, whole or not at all."""
    write_whole(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_table(path: str | Path, columns: tuple[str, ...], others: bool = False) -> "pd.DataFrame":
    """The named columns of a CSV file, as stripped strings (an empty cell is "").

    Accepts a byte-order mark, Windows line ends, blank lines and other columns. Other columns
    follow the named ones if others is True, else they are dropped. Raises UserError when the file
    cannot be read as a table or lacks a column.
    """
    import pandas as pd  # noqa: PLC0415, spares --help 0.3 s

    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(
                io.StringIO(text), dtype=str, keep_default_na=False, index_col=False
            )
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UserError(
            f"{path} cannot be read as a CSV table with the columns {','.join(columns)}: {error}"
        ) from error
    table.columns = [str(name).strip() for name in table.columns]
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(
            f"{path} has no column {' and no column '.join(missing)}: its first line must name "
            f"{','.join(columns)}, but is {','.join(table.columns)}"
        )
    further = [name for name in table.columns if others and name not in columns]
    table = table[[*columns, *further]].fillna("").apply(lambda column: column.str.strip())
    return table[(table != "").any(axis=1)].reset_index(drop=True)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex: equal for copies of a video, whatever their names."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_run_dir(runs_dir: str | Path = "runs", name: str | None = None) -> Path:
    """Makes a new folder runs/<name>/ and returns it. The default name is the time.

    A name that is taken gets a suffix, such as name-2. Raises UserError if no folder can be made.
    """
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
            f"cannot create the run folder {run_dir}: {error.strerror}; set runs_dir to a folder "
            "that you can write to"
        ) from error


@contextmanager
def one_writer(
    folder: str | Path, name: str = ".lock", patience_sec: float | None = None
) -> Iterator[None]:
    """Locks `folder` for this process. A second process waits, and prints that it waits.

    A killed process releases its lock. Locks with different names are independent. A remote folder
    cannot be locked: each file there is written whole, and the last writer wins. Raises UserError
    after waiting patience_sec (None: waits without limit), and when the folder is not writable.
    """
    if is_remote(folder):
        yield
        return
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / name, is_singleton=True)  # one process may take it twice
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if patience_sec is None:
                print(f"another process is writing to {folder}; waiting for it", file=sys.stderr)
            lock.acquire(timeout=-1 if patience_sec is None else patience_sec)
    except Timeout as error:
        raise UserError(
            f"another process still holds the lock {folder / name}; resume or end that process, "
            "then try again"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror or error}; choose another folder, or "
            "give yourself write permission"
        ) from error
    try:
        yield
    finally:
        lock.release()
