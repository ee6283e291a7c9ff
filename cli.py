"""What the commands share: exit codes, parsers of numbers, --precision and --ray.

Imports only what starts at once, so that --help does.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from files import UserError

PRECISIONS = ("auto", "fp32", "bf16")  # of the backbone's arithmetic
ADDRESS = re.compile(r"auto|local|(ray://)?[^/:\s]+:\d+")  # of a Ray cluster


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


def positive(kind: type, zero: bool = False):
    """A parser of finite numbers above 0 (or of 0, too)."""

    def parse(text: str):
        value = kind(text)
        if not (0 < value < float("inf") or zero and value == 0):
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def probability(text: str) -> float:
    """A number between 0 and 1, neither of them included."""
    value = float(text)
    if not 0 < value < 1:
        raise ValueError
    return value


def two_names(names: list[str]) -> list[str]:
    """What labels 0 and 1 mean; ValueError unless they are two different names."""
    stripped = [name.strip() for name in names]
    if len(stripped) != 2 or "" in stripped or stripped[0] == stripped[1]:
        raise ValueError
    return stripped


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """--precision and --ray, of the commands that run the backbone on one machine or many."""
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
