"""A real browser for the tests that need one. Without a browser these tests are skipped.

A test module gets the fixture with `pytest_plugins = ["browser"]`.
"""

import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The path of Chromium or Chrome, or None if neither is on PATH."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium. While it runs, this process cannot run other asyncio loops."""
    api = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
    if not (chromium := find_chromium()):
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is on PATH")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


def accessibility_problems(page) -> list[tuple[str, list[str]]]:
    """[(rule, elements)] that axe-core finds serious or critical on the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    found = axe.Axe().run(page).response["violations"]
    return [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
