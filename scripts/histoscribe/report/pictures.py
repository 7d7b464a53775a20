"""Figures inside the page: small enough together, sharp enough each."""

import base64
import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml
from PIL import Image

LOG = logging.getLogger(__name__)

WIDTHS_PX = (1800, 1300, 900)  # tried in turn, until all figures fit
WEBP_QUALITY = 84
LINE_ART_COLOURS = 4096  # a drawing has fewer distinct colours than a photograph


@dataclass(frozen=True)
class Figure:
    """A figure of the run. `kind` is its folder, or its own name where it lies in none.

    `hrefs` lead to its files from the page, each with its ending.
    """

    kind: str
    name: str
    png: Path
    hrefs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it: `uri` holds it, or is None where it did not fit."""

    figure: Figure
    uri: str | None
    width: int
    height: int


@dataclass(frozen=True)
class Caption:
    """What figures of a kind are called, and what they show."""

    title: str
    text: str


def figures_of(
    files: Iterable[Path], folder: Path, unnamed: Iterable[str], tested: Iterable[str]
) -> list[Figure]:
    """Figures among `files`, of a run, below its figures `folder`; of `tested` samples first.

    Links start from the folder above, where the page is. Folders in `unnamed` tell nothing, such as
    that of the only fold.
    """
    endings: dict[Path, list[Path]] = {}
    for path in files:
        endings.setdefault(path.with_suffix(""), []).append(path)
    found, others = [], []
    for stem, paths in endings.items():
        png = next((path for path in paths if path.suffix == ".png"), None)
        if png is None:
            continue
        kind, *names = stem.relative_to(folder).parts
        name = _name([part for part in names if part not in unnamed])
        hrefs = tuple(
            (href_of(path, folder.parent), path.suffix[1:].upper().replace("TSV", "numbers"))
            for path in sorted(paths, key=lambda path: path.suffix)
        )
        figure = Figure(kind, name, png, hrefs)
        (found if set(names) & set(tested) else others).append(figure)
    return found + others


def _name(parts: list[str]) -> str:
    """The sample that it is drawn of; then experiment and fold, where it is of a prediction."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{parts[-1]} ({', '.join(parts[:-1])})"


def href_of(path: Path, folder: Path) -> str:
    """A link from a page in `folder` to a file below it."""
    return quote(path.relative_to(folder).as_posix())


def read_captions(path: Path) -> dict[str, Caption]:
    """Captions by kind of figure."""
    return {kind: Caption(**words) for kind, words in yaml.safe_load(path.read_text()).items()}


def caption_of(kind: str, captions: dict[str, Caption]) -> Caption:
    """The caption of a kind; one from its name where none is written."""
    title = kind.replace("_", " ").capitalize()
    return captions.get(kind, Caption(title, ""))


def embed(figures: list[Figure], budget_bytes: int) -> list[Picture]:
    """Figures as data URIs that take at most `budget_bytes` together.

    All are shrunk alike until they fit; where even the smallest do not, the first ones are shown
    and the others left to their files.
    """
    pictures: list[Picture] = []
    for width in WIDTHS_PX:
        pictures = list(_shrunk(figures, width, budget_bytes))
        if len(pictures) == len(figures):
            return pictures
        if width != WIDTHS_PX[-1]:
            LOG.info("%d figures do not fit at %d px: shrunk further", len(figures), width)
    left = figures[len(pictures) :]
    LOG.warning("%d figures are not in the report, only in their files", len(left))
    return [*pictures, *(Picture(figure, None, 0, 0) for figure in left)]


def _shrunk(figures: list[Figure], width_px: int, budget_bytes: int) -> Iterator[Picture]:
    """Pictures in turn, for as long as they fit."""
    spent = 0
    for figure in figures:
        picture = _picture(figure, width_px)
        spent += len(picture.uri or "")
        if spent > budget_bytes:
            return
        yield picture


def _picture(figure: Figure, width_px: int) -> Picture:
    with Image.open(figure.png) as opened:
        image = opened.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    if image.width > width_px:
        height = max(round(image.height * width_px / image.width), 1)
        image = image.resize((width_px, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    kind, data = _encoded(image)
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Picture(figure, uri, image.width, image.height)


def _encoded(image: Image.Image) -> tuple[str, bytes]:
    """Drawings without loss, photographs with little."""
    file = io.BytesIO()
    if image.getcolors(LINE_ART_COLOURS) is not None:
        image.save(file, "PNG", optimize=True)
        return "png", file.getvalue()
    image.save(file, "WEBP", quality=WEBP_QUALITY, method=4)
    return "webp", file.getvalue()
