"""Take a picture of a page that opens from disk: take_screenshots.py page.html#gene=UMOD out.png"""

import argparse
from pathlib import Path

from histoscribe.viewer.browser import open_page

WAIT_MS = 60_000


def main(page: str, output: Path, width_px: int, height_px: int, scale: float) -> None:
    with open_page(page, (width_px, height_px), scale) as opened:
        if opened.locator("#map").count():  # a viewer
            painted = "document.documentElement.dataset.painted"
            opened.wait_for_function(painted, timeout=WAIT_MS)
        opened.wait_for_timeout(2000)  # tiles fade in
        output.parent.mkdir(parents=True, exist_ok=True)
        opened.screenshot(path=str(output))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", help="path of a page, with #... for what it shows")
    parser.add_argument("output", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--scale", type=float, default=1.0, help="screen pixels per CSS pixel")
    given = parser.parse_args()
    main(given.page, given.output, given.width, given.height, given.scale)
