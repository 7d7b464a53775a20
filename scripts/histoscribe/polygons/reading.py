"""Read polygons of any known format into um in the image frame, repaired and checked."""

import logging
import zlib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from histoscribe.errors import UserError, problem

from .geojson import read_geojson
from .given import GivenPolygons
from .labels import read_labels
from .repair import drop_duplicates, whole_outlines
from .tables import open_text, read_csv, read_parquet

INDEX_NAME = "nucleus"
MIN_SHARE_IN_IMAGE = 0.95
# Polygons of another frame may reach over a region larger than the image.
MIN_SHARE_OF_OTHER_FRAME = 0.5
AREA_UM2 = (2.0, 5000.0)
SMALL_UM2 = 10.0  # a median below is rare among nuclei, and what um taken for pixels look like
SMALL_IN_CORNER_UM2 = 20.0  # the same where they fill just the corner that um would fill
KINDS = ("nucleus", "cell")
IMAGE_STARTS = (b"\x93NUMPY", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

log = logging.getLogger(__name__)


def read_polygons(
    path: Path,
    um_per_px: float,
    image_size_um: tuple[float, float],
    kind: str = "nucleus",
    um_to_image: np.ndarray | None = None,
) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Read nuclei or cells (`kind`) that the user already has, and count what was mended.

    Known by their content: GeoJSON of Space Ranger 4 and QuPath and label images (TIFF, PNG, NPY),
    both in pixels of the full-resolution image of `um_per_px`; GeoParquet and Xenium boundaries
    (parquet, csv) in um. `um_to_image` (3, 3) is an affine that brings um of the file's frame to um
    of the image; files in pixels need none. `image_size_um` is width, height.

    Returns geometry in um, columns `area_um2` and, where the file has one, `probability`, index
    `nucleus` (text); and the number of polygons read, of each repair, and kept. Of invalid outlines
    and of several parts the largest valid part is kept, holes are filled; empty ones, those centred
    outside the image and those that cover another by half are dropped. Raises UserError for
    unreadable files, repeated ids, and polygons of the wrong scale or image.
    """
    if kind not in KINDS:
        raise UserError(problem(str(path), f"kind {kind}", " or ".join(KINDS), "Choose one."))
    size_um = np.asarray(image_size_um, dtype=np.float64)
    given = _read_given(path, um_per_px, size_um, kind)
    return mend_polygons(given, um_per_px, image_size_um, str(path), um_to_image)


def mend_polygons(
    given: GivenPolygons,
    um_per_px: float,
    image_size_um: tuple[float, float],
    where: str,
    um_to_image: np.ndarray | None = None,
) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Polygons that are read already, repaired and checked; as `read_polygons`."""
    size_um = np.asarray(image_size_um, dtype=np.float64)
    _require_unique(given.ids, where)
    to_image = _to_image(given, um_per_px, um_to_image)
    parts = shapely.transform(given.parts, lambda xy: xy @ to_image[:2, :2].T + to_image[:2, 2])
    outlines, mended = whole_outlines(parts, given.owner, len(given.ids))
    counts = {"read": len(given.ids) + sum(given.dropped.values()), **given.dropped, **mended}
    kept = ~shapely.is_empty(outlines)
    nuclei = gpd.GeoDataFrame(
        {"area_um2": shapely.area(outlines[kept])},
        geometry=outlines[kept],
        index=pd.Index(given.ids[kept], name=INDEX_NAME, dtype=object),
    )
    if given.probability is not None:
        nuclei.insert(0, "probability", given.probability[kept])
    other_frame = um_to_image is not None and given.in_own_frame
    min_share = MIN_SHARE_OF_OTHER_FRAME if other_frame else MIN_SHARE_IN_IMAGE
    looks_like = _looks_like(nuclei, um_per_px, size_um, given.in_px)
    require_on_image(nuclei, image_size_um, where, min_share, looks_like)
    if given.in_px and not given.scale_is_certain:
        _require_no_um(nuclei, um_per_px, size_um, where)
    is_inside = _is_inside(_centres(nuclei), size_um)
    counts["outside_dropped"] = int((~is_inside).sum())
    nuclei, doubles = drop_duplicates(nuclei[is_inside])
    bounds = shapely.bounds(np.asarray(nuclei.geometry))
    over_edge = (bounds[:, :2] < 0).any(axis=1) | (bounds[:, 2:] > size_um).any(axis=1)
    counts |= {**doubles, "reaching_over_edge": int(over_edge.sum()), "kept": len(nuclei)}
    return nuclei, counts


def require_on_image(
    nuclei: gpd.GeoDataFrame,
    image_size_um: tuple[float, float],
    where: str,
    min_share: float = MIN_SHARE_IN_IMAGE,
    looks_like: str = "",
) -> None:
    """Raise UserError unless nuclei lie on the image and have the size of nuclei.

    `min_share` of the centres must be inside; `looks_like` is said where they are not.
    """
    if nuclei.empty:
        raise UserError(problem(where, "no polygon", "at least one", "Check the file."))
    centre = _centres(nuclei)
    inside = _is_inside(centre, np.asarray(image_size_um)).mean()
    area_um2 = float(nuclei["area_um2"].median())
    extent_um = np.ptp(centre, axis=0).max()
    if inside < min_share or not AREA_UM2[0] < area_um2 < AREA_UM2[1]:
        raise UserError(
            problem(
                where,
                f"{inside:.0%} of {len(nuclei)} polygons on the image of "
                f"{image_size_um[0]:.0f} x {image_size_um[1]:.0f} um; they span {extent_um:.0f} um "
                f"and their median area is {area_um2:.3g} um2",
                f"nuclei on the tissue, {AREA_UM2[0]:g} to {AREA_UM2[1]:g} um2",
                (f"This looks like {looks_like}. " if looks_like else "")
                + "The scale is wrong: GeoJSON must be in full-resolution pixels of the image, "
                "tables in um.",
            )
        )


def _read_given(path: Path, um_per_px: float, size_um: np.ndarray, kind: str) -> GivenPolygons:
    """Choose the reader by what the file begins with."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if not start:
            raise UserError(problem(str(path), "an empty file", "polygons", "Export it again."))
        if start.startswith(b"PAR1"):
            return read_parquet(path)
        if start.startswith(IMAGE_STARTS):
            width, height = np.round(size_um / um_per_px).astype(int)
            return read_labels(path, (width, height))
        with open_text(path) as file:
            first = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if first in (b"{", b"["):
            with open_text(path) as file:
                return read_geojson(file.read(), path, kind)
        if path.name.removesuffix(".gz").endswith(".csv"):
            return read_csv(path)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", "polygons", "Write it again.")
        ) from error
    raise UserError(
        problem(
            str(path),
            "a file of no known kind",
            "GeoJSON, GeoParquet, Xenium boundaries (parquet or csv), or a label image "
            "(TIFF, PNG or NPY)",
            "Export it as one of these.",
        )
    )


def _require_unique(ids: np.ndarray, where: str) -> None:
    repeated = pd.Index(ids)[pd.Index(ids).duplicated()]
    if len(repeated):
        found = f"the id {repeated[0]} more than once"
        raise UserError(problem(where, found, "unique ids", "Rename them."))


def _to_image(given: GivenPolygons, um_per_px: float, um_to_image: np.ndarray | None) -> np.ndarray:
    """Affine (3, 3) from the file's coordinates to um in the image frame."""
    if given.in_px:
        return np.diag([um_per_px, um_per_px, 1.0])
    if um_to_image is None or not given.in_own_frame:
        return np.eye(3)
    affine = np.asarray(um_to_image, dtype=np.float64)
    if affine.shape != (3, 3) or not np.isfinite(affine).all():
        raise UserError(
            problem(
                "um_to_image", f"an array of {affine.shape}", "3 x 3 finite numbers", "Correct it."
            )
        )
    return affine


def _centres(nuclei: gpd.GeoDataFrame) -> np.ndarray:
    return shapely.get_coordinates(shapely.centroid(np.asarray(nuclei.geometry)))


def _is_inside(xy_um: np.ndarray, size_um: np.ndarray) -> np.ndarray:
    return np.all((xy_um >= 0) & (xy_um <= size_um), axis=1)


def _looks_like(
    nuclei: gpd.GeoDataFrame, um_per_px: float, size_um: np.ndarray, in_px: bool
) -> str:
    """The commonest mistake that would explain polygons that do not fit the image, or nothing."""
    if nuclei.empty:
        return ""
    centre, area_um2 = _centres(nuclei), float(nuclei["area_um2"].median())
    given = centre / um_per_px if in_px else centre
    is_tiny = np.ptp(given, axis=0).max() < 1 and area_um2 < AREA_UM2[0]
    if is_tiny and (np.abs(given) <= (180, 90)).all():
        return "longitude and latitude"
    factor = 1 / um_per_px if in_px else um_per_px
    unit = "um where pixels are expected" if in_px else "pixels where um are expected"
    readings = {
        f"{unit} (a factor of {factor:.3g})": (centre * factor, factor),
        "x and y swapped": (centre[:, ::-1], 1.0),
        "y pointing up, below 0": (centre * (1, -1), 1.0),
        f"{unit} (a factor of {factor:.3g}), and x and y swapped": (
            centre[:, ::-1] * factor,
            factor,
        ),
    }
    for mistake, (xy_um, scale) in readings.items():
        has_size = AREA_UM2[0] < area_um2 * scale**2 < AREA_UM2[1]
        if has_size and _is_inside(xy_um, size_um).mean() >= MIN_SHARE_IN_IMAGE:
            return mistake
    return ""


def _require_no_um(
    nuclei: gpd.GeoDataFrame, um_per_px: float, size_um: np.ndarray, where: str
) -> None:
    """Raise UserError for um in place of pixels, which lie small in the image's first corner."""
    reach = shapely.total_bounds(np.asarray(nuclei.geometry))[2:] / size_um
    area_um2 = float(nuclei["area_um2"].median())
    if um_per_px >= 0.8 or (reach > um_per_px * 1.02).any():
        return
    found = (
        f"polygons only in the first {reach[0]:.0%} of the width and {reach[1]:.0%} of the height, "
        f"of median area {area_um2:.3g} um2"
    )
    fills_corner = (reach > 0.8 * um_per_px).all()
    small_um2 = SMALL_IN_CORNER_UM2 if fills_corner else SMALL_UM2
    if area_um2 < small_um2 < area_um2 / um_per_px**2:
        raise UserError(
            problem(
                where,
                found,
                "pixels of the full-resolution image",
                f"This looks like um where pixels are expected (a factor of {1 / um_per_px:.3g}): "
                "divide by the um per pixel, or give GeoParquet in um.",
            )
        )
    log.warning("%s: %s: are they in pixels, not um?", where, found)
