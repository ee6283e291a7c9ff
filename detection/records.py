"""A match's folder, its rallies.json, and whether a person changed its rallies.csv.

Imports no torch.
"""

import hashlib
import json
from pathlib import Path

from files import UserError, write_whole

SUFFIX = "_rallies"  # final.mp4 has its results in final_rallies/


def default_dir(video: Path) -> Path:
    """Returns <match>_rallies beside the video."""
    return video.with_name(video.stem + SUFFIX)


def read_record(folder: Path) -> dict:
    """Reads a folder's rallies.json, {} if there is none. Raises UserError if it is damaged."""
    path = folder / "rallies.json"
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"could not read {path} ({error}); delete it and detect the match again. A rallies.csv "
            "beside it then counts as a corrected table and is kept"
        ) from error
    return record


def save_record(folder: Path, record: dict) -> None:
    write_whole(folder / "rallies.json", (json.dumps(record, indent=1) + "\n").encode())


def is_corrected(folder: Path, record: dict) -> bool:
    """Whether rallies.csv is a corrected table: it exists and differs from what was written here.

    record is the folder's rallies.json. Raises UserError if rallies.csv cannot be read.
    """
    csv = folder / "rallies.csv"
    if not csv.exists():
        return False
    try:
        digest = hashlib.sha256(csv.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"could not read {csv}: {error.strerror}") from error
    return digest not in (record.get("written_sha256") or [])
