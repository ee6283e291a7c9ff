"""What must start fast: the --help of each command, and the folders that need no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
SLOW = {"torch", "torchvision", "ray", "scipy", "sklearn", "pytubefix"}
HEAVY = SLOW | {"pandas", "uvicorn", "cv2", "av"}


def loaded_by(code: str) -> set[str]:
    """The names of all modules that the code loads in a new process."""
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
        ("detecting_rallies", {"pandas", "cv2", "av", "scipy"}),
    ],
)
def test_help_imports_no_heavy_module(command, allowed):
    loaded = loaded_by(
        f"import runpy\nsys.argv = ['{command}.py', '--help']\n"
        f"try:\n    runpy.run_path('{command}.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
    )
    assert "argparse" in loaded
    assert loaded & HEAVY <= allowed


def modules_of(folder: str) -> list[str]:
    return [f"{folder}.{path.stem}" for path in (REPO / folder).glob("[a-z]*.py")]


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        (["cli", "files"], HEAVY),
        (modules_of("media"), SLOW),
        (modules_of("collection"), SLOW),
        (modules_of("annotation"), SLOW),
        (modules_of("importing"), SLOW),
        (["output.editor_files", "output.reel", "output.report"], SLOW),
        (["detection.evaluation"], SLOW - {"scipy"}),
    ],
    ids=["root", "media", "collection", "annotation", "importing", "output", "evaluation"],
)
def test_these_modules_import_nothing_slow(modules, slow):
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert set(modules) <= loaded
    assert not loaded & slow
