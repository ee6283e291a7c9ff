"""What the commands share: exit codes, number parsers, printing, --precision and --ray.

Imports only fast modules, so that --help appears at once.
"""

import argparse
import re
import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from files import UserError

if TYPE_CHECKING:
    import pandas as pd

PRECISIONS = ("auto", "fp32", "bf16")  # of the backbone
ADDRESS = re.compile(r"auto|local|(ray://)?[^/:\s]+:\d+")  # of a Ray cluster


def run_command(main: Callable[[], int]) -> None:
    """Runs main and exits with its code.

    A UserError prints its message on stderr and exits with 1, Ctrl-C with 130.
    """
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; finished work is kept", file=sys.stderr)
        sys.exit(130)


def positive(kind: type, zero: bool = False):
    """A parser of finite numbers above 0; with zero=True it accepts 0 too."""

    def parse(text: str):
        value = kind(text)
        if not (0 < value < float("inf") or zero and value == 0):
            raise ValueError
        return value

    parse.__name__ = f"{'non-negative' if zero else 'positive'} {kind.__name__}"  # for argparse
    return parse


def finite(text: str) -> float:
    """A finite number, also below 0."""
    value = float(text)
    if not isfinite(value):
        raise ValueError
    return value


def probability(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def two_names(names: list[str]) -> list[str]:
    """The names of labels 0 and 1, stripped; ValueError unless they are two different names."""
    stripped = [name.strip() for name in names]
    if len(stripped) != 2 or "" in stripped or stripped[0] == stripped[1]:
        raise ValueError
    return stripped


def print_table(table: "pd.DataFrame", left: tuple[str, ...]) -> None:
    """Prints a table. The columns of text named in `left` are aligned left, all others right."""
    for column in left:
        width = max(table[column].str.len().max(), len(column))
        table = table.assign(**{column: table[column].str.ljust(width)})
        table = table.rename(columns={column: column.ljust(width)})
    print(table.to_string(index=False))


def count_of(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun, for messages: 1 sequence, 2 sequences."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Adds --precision and --ray, for the commands that run on one machine or many."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the backbone; auto (the default): bf16 where the processor supports it, else fp32",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="use Ray: the cluster at HOST:PORT; without ADDRESS, that of RAY_ADDRESS or a new one "
        "on this machine",
    )


def split_address(ray: str | None, names: list[str]) -> tuple[str | None, list[str]]:
    """(address, names) of `--ray [ADDRESS] NAME ...`.

    argparse takes the word after --ray for the address. A word that is no address goes back to the
    front of the names. Raises UserError unless it contains a / or exists.
    """
    if not ray or ADDRESS.fullmatch(ray):
        return ray, names
    if "/" not in ray and not Path(ray).exists():
        raise UserError(f"--ray {ray}: no such file or folder; an address needs a port, HOST:PORT")
    return "", [ray, *names]
