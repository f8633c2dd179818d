"""Pictures of a report, to be looked at: ``python -m suites.browser.pictures PAGE --out DIR``.

Makes the page at the width of a desk and of a phone, light and dark, as it is opened and with
everything unfolded, one picture a screenful where that tells more, and a PDF of the print. With
``--readme FILE`` it makes only the picture of the README. Nothing of it belongs into git but that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser

from suites.browser.chromium import NONE_FOUND, find_chromium, launched, opened

DESK, PHONE = 1280, 390
README_SIZE = (1280, 900)
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
UNFOLD = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })"


def readme_picture(browser: Browser, page: Path, target: Path) -> None:
    """Make the picture that the README shows: the top of the page, sharp on dense screens."""
    width, height = README_SIZE
    with opened(browser, page, width=width, height=height, color_scheme="light") as found:
        target.parent.mkdir(parents=True, exist_ok=True)
        found.page.screenshot(path=target)


def all_pictures(browser: Browser, page: Path, folder: Path) -> list[Path]:
    """Make every picture and return where they are; says so if a page is wider than its screen."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for width in (DESK, PHONE):
        for scheme in SCHEMES:
            with opened(browser, page, width=width, color_scheme=scheme) as found:
                target = folder / f"{width}-{scheme}.png"
                found.page.screenshot(path=target, full_page=True)
                made.append(target)
                for section in found.page.locator("section[id]").all():
                    name = section.get_attribute("id")
                    made.append(folder / f"{width}-{scheme}-{name}.png")
                    section.screenshot(path=made[-1])
    with opened(browser, page) as found:
        made.append(folder / "print.pdf")
        found.page.pdf(path=made[-1], format="A4")
    return made


def main() -> int:
    """Make the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", type=Path, help="an index.html")
    parser.add_argument("--out", type=Path, help="folder for all pictures")
    parser.add_argument("--readme", type=Path, help="the one picture of the README")
    given = parser.parse_args()
    if not (given.out or given.readme):
        parser.error("say where the pictures go: --out DIR, --readme FILE, or both")
    program = find_chromium()
    if program is None:
        print(NONE_FOUND, file=sys.stderr)
        return 3
    with launched(program) as browser:
        if given.readme:
            readme_picture(browser, given.page, given.readme)
        for path in all_pictures(browser, given.page, given.out) if given.out else ():
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
