"""How a page is built, and the rules by which its modules can be joined."""

import re
from collections import Counter
from pathlib import Path

import pytest

from web.page import read_page, read_script

REPO = Path(__file__).resolve().parents[2]
PAGES = [REPO / "annotation/pages/labeling.html", REPO / "output/pages/report.html"]
MODULES = sorted(path for path in REPO.glob("[!.]*/**/*.js"))
DECLARED = re.compile(r"^(?:export )?(?:async function|function|const|let) (\w+|\$)", re.MULTILINE)
EXPORTED = re.compile(r"^export (?:async function|function|const|let) (\w+|\$)", re.MULTILINE)
IMPORTED = re.compile(r"^import \{([^}]*)\} from", re.MULTILINE)


def test_a_page_contains_the_files_that_it_includes(tmp_path):
    (tmp_path / "a.html").write_text("<style>\n/* include a.css */\n</style><p>é \\1</p>\n")
    (tmp_path / "a.css").write_text("p { content: '\\1'; } /* include nothing more */\n")
    assert read_page(tmp_path / "a.html") == (
        "<style>\np { content: '\\1'; } /* include nothing more */\n</style><p>é \\1</p>\n"
    )


def test_modules_are_joined_in_the_order_of_their_imports(tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "top.js").write_text(
        'import { one } from "../one.js";\nimport {\n  two,\n} from "./two.js";\n\none(two);\n'
    )
    (tmp_path / "pages" / "two.js").write_text(
        'import { one } from "../one.js";\nexport const two = one(2);\n'
    )
    (tmp_path / "one.js").write_text(
        "export async function one() {}\nexport let export_ = 1;  // export const\n"
    )
    assert read_script(tmp_path / "pages" / "top.js") == (
        "async function one() {}\nlet export_ = 1;  // export const\n\n"
        "const two = one(2);\n\n"
        "\none(two);\n"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_needs_no_other_file(page):
    text = read_page(page)
    assert "/* include" not in text and not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert not re.search(r"""(src|href)="(?!data:)""", text)


def test_no_two_modules_declare_the_same_name():
    """In one script, the later of two functions with the same name would replace the other."""
    assert len(MODULES) > 20
    names = Counter(name for path in MODULES for name in DECLARED.findall(path.read_text()))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_export_is_imported():
    texts = [path.read_text() for path in MODULES]
    exported = {name for text in texts for name in EXPORTED.findall(text)}
    lists = [names for text in texts for names in IMPORTED.findall(text)]
    assert exported == {name.strip() for names in lists for name in names.split(",")} - {""}
