"""A match's folder, its rallies.json, and whether its rallies.csv is still as it was written.

Imports no torch.
"""

import hashlib
import json
from pathlib import Path

from files import UserError, write_whole

SUFFIX = "_rallies"  # of the folder that a match's rallies lie in


def default_dir(video: Path) -> Path:
    """<match>_rallies beside the video."""
    return video.with_name(video.stem + SUFFIX)


def read_record(folder: Path) -> dict:
    """rallies.json of a folder; empty where there is none. Raises UserError if it is damaged."""
    path = folder / "rallies.json"
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("it is no object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete it and detect the match again; a rallies.csv "
            "beside it then counts as a person's"
        ) from error
    return record


def save_record(folder: Path, record: dict) -> None:
    write_whole(folder / "rallies.json", (json.dumps(record, indent=1) + "\n").encode())


def is_corrected(folder: Path, record: dict) -> bool:
    """Whether rallies.csv is there and not as it was written here: then it is a person's work."""
    csv = folder / "rallies.csv"
    if not csv.exists():
        return False
    try:
        digest = hashlib.sha256(csv.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{csv} cannot be read: {error.strerror}") from error
    return digest not in (record.get("written_sha256") or [])
