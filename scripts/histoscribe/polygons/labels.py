"""Polygons from label images: a pixel of nucleus k holds k, the background 0.

The outline follows the pixels' edges exactly, so that drawing it gives the pixels back. Pixels
that touch only at a corner are not joined. The image is read in bands of rows, and the corners of
all outlines are found and linked with sorts; nothing is done label by label.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import zarr
from PIL import Image

from histoscribe.errors import UserError, problem

from .given import GivenPolygons, as_text
from .rings import follow_rings, polygons_of_vertices, signed_areas

BAND_PX = 2**24
EXPECTED = "one image plane of whole numbers, 0 for background and k for nucleus k"


def read_labels(path: Path, image_size_px: tuple[int, int]) -> GivenPolygons:
    """Outlines of a label image (TIFF, PNG or NPY) in pixels of the full-resolution image.

    A label image of another size is scaled by one factor for both axes. Holes are filled.
    Raises UserError for damaged files, images that hold no labels, and sizes that do not fit.
    """
    try:
        labels = _open(path)
        _require_labels(labels, path)
        scale = _scale(labels.shape, image_size_px, path)
        corners = _corners(_bands(labels), path)
    except UserError:
        raise
    except Exception as error:  # each compression raises its own for damaged pixels
        found = f"no readable label image ({error})"
        raise UserError(problem(str(path), found, EXPECTED, "Write it again.")) from error
    xy, ring, label = _outer_rings(*corners)
    names, owner = np.unique(label, return_inverse=True)
    if len(names) == 1 and len(label) > 1:
        raise UserError(
            problem(
                str(path),
                f"a mask: the value {names[0]} in {len(label)} pieces",
                EXPECTED,
                "Number the nuclei first (connected components).",
            )
        )
    parts = polygons_of_vertices(xy * scale, ring, len(label))
    return GivenPolygons(parts, owner, as_text(names), True, scale_is_certain=True)


def _open(path: Path) -> np.ndarray | zarr.Array:
    """The labels (height, width), read when sliced where the format allows it."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x93NUMPY"):
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if start.startswith(b"\x89PNG"):
        with Image.open(path) as image:
            return np.asarray(image)
    with tifffile.TiffFile(path) as tiff:
        if len(tiff.series) != 1:
            raise ValueError(f"{len(tiff.series)} images in one file")
    pixels = zarr.open(tifffile.imread(path, aszarr=True, series=0, level=0), mode="r")
    # One chunk for the whole image would be unpacked again for every band.
    return pixels if pixels.chunks != pixels.shape else pixels[:]


def _require_labels(labels: np.ndarray | zarr.Array, path: Path) -> None:
    found = None
    if len(labels.shape) != 2:
        found = f"an image of {' x '.join(map(str, labels.shape))}"
    elif labels.dtype.kind not in "uifb":
        found = f"values of type {labels.dtype}"
    if found:
        remedy = "Export labels, not colours or a stack."
        raise UserError(problem(str(path), found, EXPECTED, remedy))


def _scale(shape: tuple[int, int], image_size_px: tuple[int, int], path: Path) -> np.ndarray:
    """Full-resolution pixels per label pixel in x and y.

    A shrunk image may lack or have one row and column in excess, no more.
    """
    (height, width), wanted = shape, np.array(image_size_px)
    size = np.array([width, height])
    least, most = (wanted / (size + 1)).max(), (wanted / np.maximum(size - 1, 0.5)).min()
    ratio = wanted / size
    whole = max(round(float(ratio.mean())), 1)
    if least < whole < most:
        return np.array([whole, whole], dtype=np.float64)
    swapped = " with x and y swapped" if (width, height) == tuple(wanted[::-1]) else ""
    raise UserError(
        problem(
            str(path),
            f"a label image of {width} x {height} px{swapped}",
            f"the size of the image, {wanted[0]} x {wanted[1]} px, or that size shrunk by one "
            "whole factor",
            "Make the labels from this image, or give polygons.",
        )
    )


def _bands(labels: np.ndarray | zarr.Array) -> Iterator[tuple[int, np.ndarray]]:
    """Rows between grid lines: first grid line and the rows above, in and below the band."""
    height, width = labels.shape
    chunk = labels.chunks[0] if hasattr(labels, "chunks") else 1
    rows = -(-max(BAND_PX // width, 1) // chunk) * chunk
    above = np.zeros((1, width), dtype=labels.dtype)
    for top in range(0, height, rows):
        band = np.concatenate([above, np.asarray(labels[top : top + rows])])
        above = band[-1:]
        yield top, band
    yield height, np.concatenate([above, np.zeros_like(above)])


def _corners(bands: Iterator[tuple[int, np.ndarray]], path: Path) -> tuple[np.ndarray, ...]:
    """Corners of all outlines: x, y (grid lines), label, whether the outline leaves along its
    row, whether its horizontal edge lies right of it, and its vertical edge below it.

    The outline runs with its pixels on the right hand (y points down).
    """
    found = []
    for top, band in bands:
        if band.dtype.kind == "f" and not (band == np.floor(band)).all():
            raise UserError(problem(str(path), "fractions", EXPECTED, "Export labels."))
        if band.dtype.kind in "if" and band.min(initial=0) < 0:
            raise UserError(problem(str(path), "values below 0", EXPECTED, "Use 0 there."))
        padded = np.pad(band, ((0, 0), (1, 1)))
        quads = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
        nw, ne, sw, se = quads
        y, x = np.nonzero((nw != ne) | (nw != sw) | (nw != se))
        quads = [q[y, x].astype(np.int64) for q in quads]
        for at, (south, east) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            label, beside, stacked, across = (quads[at ^ step] for step in (0, 1, 2, 3))
            convex = (label != 0) & (beside != label) & (stacked != label)
            # The three other pixels are of one label, this one is not.
            concave = (beside != 0) & (beside == stacked) & (beside == across) & (label != beside)
            for here, value, is_convex in ((convex, label, True), (concave, beside, False)):
                n = int(here.sum())
                leaves_along_row = (south != east) != is_convex
                flags = np.broadcast_to([leaves_along_row, east == 1, south == 1], (n, 3))
                found.append((x[here], y[here] + top, value[here], flags))
    x, y, label, flags = (np.concatenate(part) for part in zip(*found, strict=True))
    return x, y, label, flags


def _outer_rings(
    x: np.ndarray, y: np.ndarray, label: np.ndarray, flags: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n, 2), their ring (n,) and each ring's label, of outlines without holes."""
    if not len(x):
        return np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    along_row, right, below = flags.T
    # Corners of a label on one grid line take turns in opening and closing an edge.
    successor = np.empty(len(x), dtype=np.int64)
    for line, place, opens, leaves in ((y, x, right, along_row), (x, y, below, ~along_row)):
        pairs = np.lexsort((opens, place, line, label)).reshape(-1, 2)
        partner = np.empty(len(x), dtype=np.int64)
        partner[pairs] = pairs[:, ::-1]
        successor[leaves] = partner[leaves]
    order, ring = follow_rings(successor)
    xy = np.stack([x, y], axis=1)[order].astype(np.float64)
    is_outer = signed_areas(xy, ring) > 0
    of_ring = label[order][np.flatnonzero(np.diff(ring, prepend=-1))]
    kept = is_outer[ring]
    return xy[kept], (np.cumsum(is_outer) - 1)[ring[kept]], of_ring[is_outer]
