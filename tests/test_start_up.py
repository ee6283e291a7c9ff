"""What starts at once: each command's --help, and the rooms that need no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "ray", "pandas", "uvicorn", "cv2", "av", "pytubefix"}


def loaded_by(code: str) -> set[str]:
    """The names of all modules that are loaded in a new process after the code."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO)
    assert told.returncode == 0, told.stderr
    return set(json.loads(told.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("collecting_data", set()),
        ("labeling", set()),
        ("features", set()),
        ("detecting_rallies", {"pandas", "cv2", "av"}),
    ],
)
def test_help_starts_without_what_only_work_needs(command, allowed):
    loaded = loaded_by(
        f"import runpy\nsys.argv = ['{command}.py', '--help']\n"
        f"try:\n    runpy.run_path('{command}.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
    )
    assert "argparse" in loaded
    assert loaded & HEAVY <= allowed


def modules_of(room: str) -> list[str]:
    return [f"{room}.{path.stem}" for path in (REPO / room).glob("[a-z]*.py")]


@pytest.mark.parametrize(
    "modules",
    [
        ["cli", "files"],
        modules_of("media"),
        modules_of("collection"),
        modules_of("annotation"),
        ["output.editor_files", "output.reel", "output.report", "detection.evaluation"],
    ],
    ids=["base", "media", "collection", "annotation", "tables and films"],
)
def test_what_needs_no_torch_imports_none(modules):
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert set(modules) <= loaded
    assert not loaded & {"torch", "torchvision", "ray", "pytubefix"}
