"""What every part shares about the disk: whole writes, tables, one writer at a time, clear errors.

Imports no torch, so that collecting and labelling start at once.
"""

import io
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

SPLITS = ("train", "validation", "test")
PRECISIONS = ("auto", "fp32", "bf16")  # of the backbone's arithmetic


class UserError(Exception):
    """Something its reader can mend: the message names the file and the remedy."""


def run_command(main: Callable[[], int]) -> None:
    """Ends the process with main's exit code; a UserError is one line on stderr and exit code 1."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept", file=sys.stderr)
        sys.exit(130)


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
        if hasattr(path, "fs"):
            path.fs.pipe_file(temporary.path, data)
            path.fs.mv(temporary.path, path.path)
            return
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose "
            "another folder (what was there before is untouched)"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Puts a rename on disk, too, so that it survives a power cut.

    Where that cannot be had (Windows, some network drives) the file is whole and in its place.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Writes a table as UTF-8 CSV, whole or not at all."""
    write_whole(path, table.to_csv(index=False, lineterminator="\n").encode())


def read_table(path: str | Path, columns: tuple[str, ...], others: bool = False) -> pd.DataFrame:
    """The named columns of a CSV, as stripped strings (an empty cell is "").

    A byte-order mark, Windows line ends, blank lines and further columns are accepted; the latter
    follow the named ones if others is True, and are left out if not. Raises
    UserError when the file cannot be read as a table or lacks a column.
    """
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


@contextmanager
def one_writer(
    folder: str | Path, name: str = ".lock", patience_sec: float | None = None
) -> Iterator[None]:
    """Holds `folder` for this process; a second one waits and says so. A killed one lets go.

    Locks of other names are held apart. Raises UserError after patience_sec (None: never).
    """
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
