"""A headless Chromium for the report: where it is, and a page that notes everything it says.

The browser is the one of the system: nothing is downloaded. `find_chromium` looks where Debian,
other distributions and macOS put it; the variable ``CHROMIUM`` names another one. `opened` gives a
page of a local file, with every console message, error and request since it was loaded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
NONE_FOUND = (
    "no Chromium is on this machine; install one (Debian: apt-get install chromium), or name it in "
    "the variable CHROMIUM"
)
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage")


def find_chromium() -> Path | None:
    """Return the browser's program; ``None`` if there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return Path(named)
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return MAC if MAC.exists() else None


@dataclass
class Opened:
    """A page, and what it did since it was opened.

    Attributes:
        page: of Playwright.
        console: console messages and uncaught errors.
        requests: the address of everything it asked for, its own file left out.
    """

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def launched(program: Path) -> Iterator[Browser]:
    """Start the browser; it is gone when the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    *,
    width: int = 1280,
    height: int = 900,
    fragment: str = "",
    **options: Any,
) -> Iterator[Opened]:
    """Open a local file in a fresh, offline context; ``options`` go to `Browser.new_context`."""
    viewport = {"width": width, "height": height}
    context = browser.new_context(viewport=viewport, **options)
    try:
        found = Opened(context.new_page())
        own = file.resolve().as_uri()
        found.page.on("console", lambda message: found.console.append(message.text))
        found.page.on("pageerror", lambda error: found.console.append(str(error)))
        found.page.on(
            "request",
            lambda request: (
                found.requests.append(request.url) if request.url.partition("#")[0] != own else None
            ),
        )
        found.page.goto(f"{own}#{fragment}" if fragment else own)
        yield found
    finally:
        context.close()
