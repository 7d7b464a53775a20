"""Where the tissue lies on a slide: Otsu's threshold on saturation, within limits.

A coarse overview is corrected for the colour of its glass. What is more saturated than glass and
has the hue of a stain is tissue. Felt pen and dark frames absorb the three colours in proportions
of optical density (OD) that no mixture of haematoxylin, eosin and blood has; shadows and dust are
grey; eosin that has bled onto the glass is flat.
"""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import find_contours

from histoscribe.errors import UserError, problem
from histoscribe.image import open_slide, read_window

INDEX_NAME = "piece"
MAX_OVERVIEW_PX = 16_000_000

# Glass is bright, nearly neutral and flat (levels of 255); white padding around a scan is no glass.
GLASS_MIN_LEVEL = 170.0
GLASS_MAX_RANGE = 40.0
GLASS_MAX_SD = 5.0
GLASS_MIN_SHARE = 0.002
PADDING_LEVEL = 254.0
DEFAULT_GLASS = 240.0
MODE_BIN = 4

# Eosin that has bled onto the glass is pale and as flat as glass; tissue has an sd of 10 and more.
WASH_MAX_SATURATION = 0.2
WASH_MAX_SD = 2.5
FINE_MIN_SD = 6.0  # threads thinner than a pixel, such as the walls of fat cells

# Shares of red, green and blue in the total OD tell the dyes apart. Over H&E of several
# laboratories, red exceeds green by 0.07 at most, blue lies between 0.17 and 0.35, and green is
# never the least.
BLUE_INK_RED_OVER_GREEN = 0.09
BLUE_INK_BLUE_SHARE = (0.13, 0.35)  # blue below the first while red is above the second
GREEN_INK_GREEN_SHARE = 0.28
RED_INK_BLUE_TO_GREEN = 0.85
RED_INK_RED_SHARE = 0.15
BLACK_LEAST_TO_MOST = 0.75
BLACK_OD = 2.1  # sum over the channels; a grey of half the glass's brightness
DARK_LEVEL = 45.0  # below it in all channels, hue is noise
INK_OD = 0.5  # sum over the channels below which a hue is too faint to judge


@dataclass(frozen=True)
class TissueSettings:
    """How tissue is told from glass; too much is better than too little.

    `overview_um_per_px` is the resolution of the overview and `smooth_um` the standard deviation
    of the Gaussian against noise. Otsu's threshold on saturation (0-1, relative to glass) is kept
    between `min_saturation`, above the noise of glass, and `max_saturation`, which pale tissue
    reaches: on a slide without glass, or with next to no tissue, Otsu would split what is one.
    Gaps up to `close_gap_um` are closed, holes below `max_hole_um2` filled, pieces below
    `min_area_um2` dropped, and outlines widened by `margin_um`. Marks (pen, frame) of at least
    `min_mark_width_um` and `min_mark_area_um2` are taken out with `mark_margin_um` around.
    """

    overview_um_per_px: float = 6.0
    smooth_um: float = 4.0
    min_saturation: float = 0.05
    max_saturation: float = 0.12
    close_gap_um: float = 60.0
    max_hole_um2: float = 100_000.0
    min_area_um2: float = 10_000.0
    margin_um: float = 10.0
    min_mark_width_um: float = 60.0
    min_mark_area_um2: float = 20_000.0
    mark_margin_um: float = 20.0


def detect_tissue(
    image: Path, um_per_px: float, settings: TissueSettings | None = None
) -> gpd.GeoDataFrame:
    """Tissue of a tiled, pyramidal image at `um_per_px`; see `find_tissue`.

    Reads the overview at `overview_um_per_px`, or coarser where that exceeds 16 million pixels.
    Raises UserError where there is no tissue.
    """
    settings = settings or TissueSettings()
    slide = open_slide(image)
    width_um, height_um = slide.width_px * um_per_px, slide.height_px * um_per_px
    coarsest = np.sqrt(width_um * height_um / MAX_OVERVIEW_PX)
    wanted_um_per_px = max(settings.overview_um_per_px, um_per_px, coarsest)
    longest_um = max(width_um, height_um)
    max_px = max(1, round(longest_um / wanted_um_per_px))
    overview = read_window(image, um_per_px, (0.0, 0.0, width_um, height_um), max_px)
    tissue = find_tissue(overview, longest_um / max(overview.shape[:2]), settings)
    if tissue.empty:
        largest_um2 = _largest_stained_um2(overview, longest_um / max(overview.shape[:2]), settings)
        found = f"the largest piece that is stained like H&E measures {largest_um2:.3g} um2"
        raise UserError(
            problem(
                str(image),
                f"no tissue: {found if largest_um2 else 'nothing is stained like H&E'}",
                f"a piece of at least {settings.min_area_um2:g} um2 (tissue.min_area_um2)",
                "Check that the image is the H&E of this section; for very small pieces lower "
                "tissue.min_area_um2, for very pale tissue tissue.min_saturation.",
            )
        )
    return tissue


def find_tissue(
    overview: np.ndarray, um_per_px: float, settings: TissueSettings | None = None
) -> gpd.GeoDataFrame:
    """Pieces of tissue on an overview (height, width, 3) uint8, the largest first.

    Returns polygons in um of the image frame with `area_um2`, index `piece` from 1; no rows where
    there is no tissue.
    """
    settings = settings or TissueSettings()
    stained, unlike_stain = _stained(overview, um_per_px, settings)
    mask = _clean(stained, um_per_px, settings)
    mask &= ~_marks(unlike_stain, um_per_px, settings)
    mask = _without_small(mask, settings.min_area_um2 / um_per_px**2)
    return _to_frame(mask, um_per_px)


def _stained(
    overview: np.ndarray, um_per_px: float, settings: TissueSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that are stained like H&E, and those of a hue that H&E does not have."""
    colour = np.moveaxis(overview, -1, 0).astype(np.float32)  # (3, height, width)
    texture = _local_sd(colour[1])
    for plane in colour:
        ndimage.gaussian_filter(plane, settings.smooth_um / um_per_px, output=plane)
    glass = _glass_colour(colour, texture <= GLASS_MAX_SD)
    saturation = _saturation(colour, glass)
    unlike_stain = _is_unlike_stain(colour, glass)
    judged = saturation[~unlike_stain & (colour.min(axis=0) < PADDING_LEVEL)]
    if judged.size == 0:
        return np.zeros(saturation.shape, dtype=bool), unlike_stain
    threshold = np.clip(threshold_otsu(judged), settings.min_saturation, settings.max_saturation)
    stained = (saturation > threshold) & (
        (saturation > WASH_MAX_SATURATION) | (texture > WASH_MAX_SD)
    )
    stained |= (saturation > settings.min_saturation / 2) & (texture > FINE_MIN_SD)
    return stained & ~unlike_stain, unlike_stain


def _largest_stained_um2(overview: np.ndarray, um_per_px: float, settings: TissueSettings) -> float:
    """Area of the largest stained piece as it is, no gap closed: less than any that is kept."""
    stained, unlike_stain = _stained(overview, um_per_px, settings)
    pieces, _ = ndimage.label(stained & ~_marks(unlike_stain, um_per_px, settings), np.ones((3, 3)))
    return float(np.bincount(pieces.ravel())[1:].max(initial=0) * um_per_px**2)


def _local_sd(plane: np.ndarray) -> np.ndarray:
    """Standard deviation in 5 x 5 px around every pixel."""
    mean = ndimage.uniform_filter(plane, 5)
    return np.sqrt(np.maximum(ndimage.uniform_filter(plane**2, 5) - mean**2, 0.0))


def _glass_colour(colour: np.ndarray, is_flat: np.ndarray) -> np.ndarray:
    """The commonest colour (3, 1, 1) of what looks like glass; light grey where nothing does."""
    lowest, highest = colour.min(axis=0), colour.max(axis=0)
    candidate = is_flat & (lowest >= GLASS_MIN_LEVEL) & (highest - lowest <= GLASS_MAX_RANGE)
    inside = candidate & (lowest < PADDING_LEVEL)
    least = GLASS_MIN_SHARE * candidate.size
    candidate = inside if inside.sum() >= least else candidate
    if candidate.sum() < max(least, 1):
        return np.full((3, 1, 1), DEFAULT_GLASS, dtype=np.float32)
    levels = colour[:, candidate]  # (3, n_px)
    bins = 256 // MODE_BIN
    code = np.ravel_multi_index((levels / MODE_BIN).astype(np.intp), (bins, bins, bins))
    mode = np.stack(np.unravel_index(np.bincount(code).argmax(), (bins, bins, bins)))
    near = np.abs(levels - (mode[:, None] + 0.5) * MODE_BIN).max(axis=0) <= 1.5 * MODE_BIN
    return np.median(levels[:, near], axis=1)[:, None, None]


def _saturation(colour: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """Saturation (0-1) as in HSV, of colours that glass makes white."""
    relative = np.minimum(colour / glass, 1.0)
    most = relative.max(axis=0)
    return (most - relative.min(axis=0)) / np.maximum(most, 1 / 255)


def _is_unlike_stain(colour: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """Pixels of a hue that H&E does not have: blue, green, red and black ink, dark frames."""
    density = np.maximum(np.log((glass + 1) / (colour + 1)), 0.0)
    total = density.sum(axis=0)
    black = (density.min(axis=0) > BLACK_LEAST_TO_MOST * density.max(axis=0)) & (total > BLACK_OD)
    black |= colour.max(axis=0) < DARK_LEVEL
    red, green, blue = density / np.maximum(total, 1e-6)
    blue_ink = red - green > BLUE_INK_RED_OVER_GREEN
    blue_ink |= (blue < BLUE_INK_BLUE_SHARE[0]) & (red > BLUE_INK_BLUE_SHARE[1])
    green_ink = (green < GREEN_INK_GREEN_SHARE) & (green < red)
    red_ink = (blue > RED_INK_BLUE_TO_GREEN * green) & (red < RED_INK_RED_SHARE)
    return black | ((blue_ink | green_ink | red_ink) & (total > INK_OD))


def _clean(mask: np.ndarray, um_per_px: float, settings: TissueSettings) -> np.ndarray:
    """Gaps closed, specks dropped, small holes filled, outlines widened."""
    mask = _without_small(mask, 0.1 * settings.min_area_um2 / um_per_px**2)
    mask = _closed(mask, settings.close_gap_um / 2 / um_per_px)
    mask = _without_small(mask, settings.min_area_um2 / um_per_px**2)
    holes = ndimage.binary_fill_holes(mask) & ~mask
    mask = mask | (holes & ~_without_small(holes, settings.max_hole_um2 / um_per_px**2))
    return _widened(mask, settings.margin_um / um_per_px)


def _marks(unlike_stain: np.ndarray, um_per_px: float, settings: TissueSettings) -> np.ndarray:
    """Pen and frame with a margin: thin or small spots of odd colour are part of the tissue."""
    reach = settings.min_mark_width_um / 2 / um_per_px
    # Strokes are streaky; what lies beyond the image continues as at its edge.
    odd = np.pad(_closed(unlike_stain, reach / 2), 1, mode="edge")
    core = _widened((ndimage.distance_transform_edt(odd) > reach)[1:-1, 1:-1], reach)
    core = _without_small(core, settings.min_mark_area_um2 / um_per_px**2)
    return _widened(core, settings.mark_margin_um / um_per_px)


def _without_small(mask: np.ndarray, min_px: float) -> np.ndarray:
    pieces, n = ndimage.label(mask, np.ones((3, 3)))
    kept = np.bincount(pieces.ravel(), minlength=n + 1) >= min_px
    kept[0] = False
    return kept[pieces]


def _closed(mask: np.ndarray, radius_px: float) -> np.ndarray:
    """Closing by a disc; nothing lies beyond the image, so that glass at its edge stays glass."""
    margin = int(np.ceil(radius_px)) + 1
    wide = _widened(np.pad(mask, margin), radius_px)
    closed = ndimage.distance_transform_edt(wide) > radius_px
    return closed[margin:-margin, margin:-margin] | mask


def _widened(mask: np.ndarray, radius_px: float) -> np.ndarray:
    if not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask) <= radius_px


def _to_frame(mask: np.ndarray, um_per_px: float) -> gpd.GeoDataFrame:
    """Outlines of a mask, holes kept, in um; pixel k covers [k, k + 1)."""
    rings = [
        shapely.linestrings((ring[:, ::-1] - 0.5) * um_per_px)  # row, column of the padded mask
        for ring in find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    ]
    area = shapely.build_area(shapely.geometrycollections(rings))
    pieces = shapely.get_parts(shapely.simplify(area, 0.3 * um_per_px))
    pieces = pieces[np.argsort(-shapely.area(pieces), kind="stable")]
    index = pd.RangeIndex(1, len(pieces) + 1, name=INDEX_NAME)
    geometry = gpd.GeoSeries(pieces, index=index, dtype="geometry")
    return gpd.GeoDataFrame({"area_um2": shapely.area(pieces)}, geometry=geometry, index=index)
