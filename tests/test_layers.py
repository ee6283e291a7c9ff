"""make lint refuses code that breaks the layout. Each case adds one bad line to a copy of it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PACKAGES = [path.parent.name for path in REPO.glob("*/__init__.py")]
ONLY_FOR_TYPES = (
    "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import collection.sources"
)
IN_A_FUNCTION = "def late():\n    import json\n\n    return json"


@pytest.fixture
def checkout(tmp_path):
    settings = [REPO / name for name in ("tach.toml", "pyproject.toml", ".oxlintrc.json")]
    for file in [*REPO.glob("*.py"), *settings]:
        shutil.copy(file, tmp_path)
    for package in PACKAGES:
        shutil.copytree(REPO / package, tmp_path / package)
    return tmp_path


def lint(checkout: Path, tool: str) -> subprocess.CompletedProcess:
    """Runs one of the tools of make lint on a copy."""
    arguments = {"tach": ["check"], "ruff": ["check", "."], "lint-imports": ["--no-cache"]}
    command = [BIN / tool, *arguments.get(tool, [])]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("tool", "file", "line", "why"),
    [
        ("tach", "media/video.py", "import collection.sources", "'media'"),
        ("tach", "collection/batch.py", "import annotation.labels", "'collection'"),
        ("tach", "annotation/labels.py", "import extraction.features", "'extraction'"),
        ("tach", "extraction/features.py", "import annotation.labels", "'annotation'"),
        ("tach", "annotation/labels.py", "import importing.points", "'importing'"),
        ("tach", "importing/points.py", "import extraction.features", "'extraction'"),
        ("tach", "extraction/features.py", "import model", "'model'"),
        ("tach", "media/video.py", ONLY_FOR_TYPES, "'collection'"),
        ("tach", "detection/fitting.py", "import output.report", "'output'"),
        ("tach", "output/pipeline.py", "import detecting_rallies", "'detecting_rallies'"),
        ("tach", "features.py", "import detecting_rallies", "'detecting_rallies'"),
        ("tach", "a_new_module.py", "import files", "'files'"),
        ("tach", "files.py", "import cli", "'cli'"),
        ("lint-imports", "annotation/change_log.py", "import annotation.labels", "change_log"),
        ("lint-imports", "collection/sources.py", "import torch", "torch"),
        ("lint-imports", "importing/points.py", "import torch", "torch"),
        ("lint-imports", "media/frames.py", "from safetensors.torch import load", "safetensors"),
        ("ruff", "media/video.py", "import benchmarks.experiment", "TID251"),
        ("ruff", "files.py", IN_A_FUNCTION, "PLC0415"),
        ("oxlint", "web/time.js", "const unused = 1;", "no-unused-vars"),
        ("oxlint", "web/time.js", "showHours(nowhere);", "no-undef"),
        ("oxlint", "annotation/pages/labeling.js", "// more\n" * 500, "max-lines"),
        ("oxlint", "web/time.js", 'import { nowSec } from "./player.js";\nnowSec();', "no-cycle"),
        ("oxlint", "output/pages/saving.js", 'import { none } from "./list.js";\nnone();', "named"),
        ("oxlint", "web/time.js", "showHours(hours == 1);", "eqeqeq"),
    ],
)
def test_lint_refuses(checkout, tool, file, line, why):
    assert lint(checkout, tool).returncode == 0
    with open(checkout / file, "a") as text:
        text.write(f"\n\n{line}\n")
    told = lint(checkout, tool)
    assert told.returncode != 0 and why in told.stdout + told.stderr


def test_lint_knows_every_module():
    tach = tomllib.loads((REPO / "tach.toml").read_text())["modules"]
    placed = [path for module in tach for path in module.get("paths", [module.get("path")])]
    assert sorted(placed) == sorted([*(path.stem for path in REPO.glob("*.py")), *PACKAGES])
    linted = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert linted["root_packages"] == linted["contracts"][0]["ancestors"] == sorted(PACKAGES)


def test_the_root_is_short_and_no_folder_is_crowded():
    assert len(list(REPO.glob("*.py"))) <= 12
    for package in PACKAGES:
        assert len(list((REPO / package).glob("[a-z]*.py"))) <= 14
