"""What README.md and docs/ promise: short pages, a README of short sentences, links that lead."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parent.parent
README = REPO / "README.md"
DOCS = sorted((REPO / "docs").glob("*.md"))
PAGES = [README, REPO / "CONTRIBUTING.md", *DOCS, REPO / "benchmarks" / "README.md"]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = [
    ["collecting_data.py"],
    ["labeling.py"],
    ["features.py"],
    ["detecting_rallies.py"],
    ["detecting_rallies.py", "fit"],
    ["detecting_rallies.py", "evaluate"],
    ["run_notebook.py"],
    ["dataset.py"],
    ["-m", "sample.match"],
    ["-m", "sample.data_set"],
]


def name_of(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def without_code(text: str) -> list[str]:
    """The lines of a page that are not code: neither fenced nor indented by four spaces."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return [line for line in text.splitlines() if not line.startswith("    ")]


def sentences(text: str) -> list[str]:
    """A page's sentences; a list item or a table cell ends one, a line break does not."""
    found = []
    prose = "\n".join(without_code(text))
    prose = re.sub(r"^\s*[-*] |^#+ .*$", "\n\n", prose, flags=re.M)
    prose = re.sub(r"\|", "\n\n", prose)
    prose = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", prose)  # a link counts by its words
    for paragraph in re.split(r"\n\s*\n", prose):
        found += re.split(r"(?<=[.!?:])\s+", paragraph.strip())
    return [sentence for sentence in found if sentence]


def anchors(page: Path) -> set[str]:
    """The #anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", "\n".join(without_code(page.read_text())), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page to a file that is not there, or to a heading that is not in it."""
    broken = []
    for link in LINK.findall("\n".join(without_code(page.read_text()))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        missing = not target.exists() or (anchor and anchor not in anchors(target))
        broken += [link] if missing else []
    return broken


def test_the_readme_has_at_most_150_lines_and_each_page_of_docs_120():
    assert len(README.read_text().splitlines()) <= 150
    for page in DOCS:
        assert len(page.read_text().splitlines()) <= 120, name_of(page)
    assert len((REPO / "CONTRIBUTING.md").read_text().splitlines()) <= 30


def test_no_sentence_of_the_readme_has_more_than_30_words():
    found = sentences(README.read_text())
    assert len(found) > 50
    assert [sentence for sentence in found if len(sentence.split()) > 30] == []


def test_a_long_sentence_is_noticed():
    assert max(len(s.split()) for s in sentences("One. " + "word " * 31 + "\nend.")) == 32


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    assert broken_links(page) == []


def test_a_broken_link_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A b\n[x](page.md#a-b) [y](#a-c) [z](gone.md) [w](https://example.com)\n")
    assert broken_links(page) == ["#a-c", "gone.md"]


def test_the_readme_leads_to_every_page_of_docs():
    links = {link.partition("#")[0] for link in LINK.findall(README.read_text())}
    assert {name_of(page) for page in DOCS} <= links


def help_of(command: list[str]) -> str:
    told = subprocess.run(
        [sys.executable, *command, "--help"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={"COLUMNS": "80", "PATH": ""},
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    return {" ".join(command): help_of(command) for command in COMMANDS}


def test_each_help_fits_a_screen_of_40_lines_by_80(helps):
    for command, text in helps.items():
        lines = text.splitlines()
        assert len(lines) <= 40 and max(map(len, lines)) <= 80, command


def test_make_help_fits_a_screen_of_24_lines_by_80():
    told = subprocess.run(["make", "help"], capture_output=True, text=True, cwd=REPO, check=True)
    lines = told.stdout.splitlines()
    assert 10 < len(lines) <= 24 and max(map(len, lines)) <= 80


def test_every_option_that_the_pages_name_exists(helps):
    """In the commands of the pages: python SCRIPT ... --option, and make TARGET."""
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), flags=re.M))
    commands = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for target in re.findall(r"(?:^    |`)make ([a-z-]+)", text, flags=re.M):
            assert target in targets, f"{name_of(page)}: make {target}"
        for script, rest in re.findall(r"python ((?:-m )?[\w./]+)([^\n`]*)", text):
            commands.append((page, script, rest.partition("#")[0].split()))
    assert len(commands) > 20
    for page, script, words in commands:
        name = f"{script} {words[0]}" if words[:1] in (["fit"], ["evaluate"]) else script
        known = helps.get(name)
        if known is None:
            assert script.startswith("benchmarks/") and (REPO / script).is_file(), script
            continue
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", known), f"{name_of(page)}: {name} has no {option}"


def test_every_option_in_the_prose_of_the_guides_exists(helps):
    known = "\n".join(helps.values())
    elsewhere = {"--head", "--port", "--address", "--pick", "--speed-minutes", "--long-minutes"}
    elsewhere |= {"--seeds", "--long-every"}  # ray's, pytest's, the benchmarks'
    for page in [README, *DOCS]:
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text())) - elsewhere:
            assert re.search(rf"{option}(?![\w-])", known), f"{name_of(page)}: {option}"


def test_the_citation_names_the_study_and_shuttleset():
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert citation["license"] == "MIT" and citation["cff-version"] == "1.2.0"
    titles = [reference["title"] for reference in citation["references"]]
    assert len(titles) == 2 and any("ShuttleSet" in title for title in titles)
    assert "ooooo333i/Rally_Detector" in str(citation["references"])
    assert "the Rally Detector contributors" in (REPO / "LICENSE").read_text()
