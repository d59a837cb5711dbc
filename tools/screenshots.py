"""Pictures of a study's page for the README: `python tools/screenshots.py studies-out/quickstart docs/images`.

Needs Chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import ViewportSize, sync_playwright

VIEWS: dict[str, tuple[ViewportSize, Literal["light", "dark"]]] = {
    "report-light": ({"width": 1280, "height": 1500}, "light"),
    "report-dark": ({"width": 1280, "height": 1500}, "dark"),
    "report-phone": ({"width": 390, "height": 1500}, "light"),
}


def take_screenshots(page_file: Path, folder: Path, chromium: str) -> None:
    """Writes a PNG of the top of the page for each of `VIEWS`."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (size, scheme) in VIEWS.items():
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.goto(page_file.resolve().as_uri())
            page.wait_for_selector("html[data-charts=drawn]")
            page.screenshot(path=folder / f"{name}.png")
            print(folder / f"{name}.png")
        browser.close()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="a study's folder")
    parser.add_argument("out", type=Path, help="where the pictures go")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no chromium; apt-get install chromium")
    take_screenshots(arguments.study / "report.html", arguments.out, chromium)


if __name__ == "__main__":
    main()
