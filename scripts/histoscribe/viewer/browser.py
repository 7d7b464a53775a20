"""Opening a page from disk in a headless Chromium, for tests and screenshots."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from histoscribe.errors import UserError, problem

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Drawing by the CPU, and nothing that calls out.
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--use-gl=angle",
    "--use-angle=swiftshader",
)


def find_chromium() -> str | None:
    """The browser of this machine, where it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_page(
    page: str, size_px: tuple[int, int] = (1280, 800), scale: float = 1.0
) -> Iterator["Page"]:
    """A page from disk, `page` a path with an optional #...; it may still be drawing.

    `scale` is the pixels of the screen per CSS pixel. Raises UserError where there is no browser.
    """
    from playwright.sync_api import sync_playwright  # not where pages are only written

    chromium = find_chromium()
    if chromium is None:
        said = problem("the screen", "no browser", "Chromium", "apt-get install -y chromium")
        raise UserError(said)
    path, _, chosen = page.partition("#")
    address = Path(path).resolve().as_uri() + (f"#{chosen}" if chosen else "")
    viewport = {"width": size_px[0], "height": size_px[1]}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            opened = browser.new_page(viewport=viewport, device_scale_factor=scale)
            opened.goto(address)
            yield opened
        finally:
            browser.close()
