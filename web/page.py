"""Puts a page together: an HTML file with its style sheets and scripts in it, which needs no other.

The scripts are ES modules, so that editors and the linter know where each name comes from. A
browser loads modules from a server only, and a saved report has none: read_script joins them into
one plain script, in which no two modules may declare the same name.
"""

import re
from pathlib import Path

INCLUDE = re.compile(r"/\* include ([\w./]+) \*/")
NAMES = r"\{\s*[\w$]+(?:,\s*[\w$]+)*,?\s*\}"  # as they are: no module renames what it imports
IMPORT = re.compile(rf'^import {NAMES} from "([\w./]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function |const |let )", re.MULTILINE)


def read_page(path: Path) -> str:
    """The text of an HTML file. Where it says /* include NAME */ stands the file of that path from
    its folder; a .js file comes with the modules that it imports."""

    def included(name: re.Match) -> str:
        file = path.parent / name[1]
        text = read_script(file) if file.suffix == ".js" else file.read_text(encoding="utf-8")
        return text.rstrip("\n")

    return INCLUDE.sub(included, path.read_text(encoding="utf-8"))


def read_script(path: Path) -> str:
    """A module as plain script, after the modules that it imports, each once."""
    scripts: dict[Path, str] = {}

    def add(module: Path) -> None:
        text = module.read_text(encoding="utf-8")
        for name in IMPORT.findall(text):
            imported = (module.parent / name).resolve()
            if imported not in scripts:
                add(imported)
        scripts[module] = EXPORT.sub("", IMPORT.sub("", text))

    add(path.resolve())
    return "\n".join(scripts.values())
