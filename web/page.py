"""Builds a page: one self-contained HTML file with its style sheets and scripts inside.

The scripts are ES modules, so that editors and the linter know where each name comes from. But
browsers load modules only from a server, and a saved report has none. So read_script joins the
modules into one plain script; no two modules may declare the same name.
"""

import re
from pathlib import Path

INCLUDE = re.compile(r"/\* include ([\w./]+) \*/")
NAMES = r"\{\s*[\w$]+(?:,\s*[\w$]+)*,?\s*\}"  # modules may not rename what they import
IMPORT = re.compile(rf'^import {NAMES} from "([\w./]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function |const |let )", re.MULTILINE)


def read_page(path: Path) -> str:
    """The text of an HTML file in which each /* include NAME */ is replaced by that file.

    NAME is a path relative to the HTML file. A .js file includes the modules that it imports.
    """

    def included(name: re.Match) -> str:
        file = path.parent / name[1]
        text = read_script(file) if file.suffix == ".js" else file.read_text(encoding="utf-8")
        return text.rstrip("\n")

    return INCLUDE.sub(included, path.read_text(encoding="utf-8"))


def read_script(path: Path) -> str:
    """A module as plain script, after the modules that it imports; each module appears once."""
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
