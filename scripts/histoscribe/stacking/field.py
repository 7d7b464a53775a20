"""A section's latent channels as a field on a grid in um, with a mask of where tissue is."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from histoscribe.stacking.splines import cubic_weights

BLUR_PX = 1.5  # finer structure could not be interpolated between pixels
ENOUGH_PIXELS = 40_000  # to compare fields by; neighbours know much the same
REACH = 1.25  # shorter, scattered cells would leave holes between them
FAINT = 1e-5  # of the densest place: where fewer units lie around, nothing is known


@dataclass(frozen=True)
class LatentField:
    """Channels over tissue: `values` (height, width, n_channels) float32, `mask` (height, width).

    Values reach a little beyond the mask, so that its rim can be interpolated. Pixel (row, column)
    has its centre at `corner_um` + `pixel_um` * (column, row).
    """

    values: np.ndarray
    mask: np.ndarray
    corner_um: np.ndarray
    pixel_um: float

    @property
    def area_um2(self) -> float:
        return float(self.mask.sum()) * self.pixel_um**2

    def pixels_um(self) -> np.ndarray:
        """Centres (n, 2) of the pixels with tissue, row by row."""
        row, column = np.nonzero(self.mask)
        return self.corner_um + self.pixel_um * np.column_stack([column, row])

    @cached_property
    def step_px(self) -> int:
        """Every how many pixels, along both axes, one stands for its neighbours."""
        return int(np.ceil(np.sqrt(self.mask.sum() / ENOUGH_PIXELS)))

    @cached_property
    def spread_um(self) -> np.ndarray:
        """Centres (n, 2) of the pixels that stand for all."""
        return self.pixels_um()[self._spread]

    @cached_property
    def spread_values(self) -> np.ndarray:
        """Values (n, n_channels) of the pixels that stand for all."""
        return self.values[self.mask][self._spread]

    def is_tissue(self, xy_um: np.ndarray) -> np.ndarray:
        """Whether positions (n, 2) lie on tissue, (n,)."""
        column, row = np.rint(self._place(xy_um)).astype(np.int64).T
        inside = (row >= 0) & (row < self.mask.shape[0])
        inside &= (column >= 0) & (column < self.mask.shape[1])
        inside[inside] = self.mask[row[inside], column[inside]]
        return inside

    def sample(self, xy_um: np.ndarray) -> np.ndarray:
        """Values (n, n_channels) at positions (n, 2).

        By cubic splines: linear interpolation evens out noise between pixels, so that two fields
        would seem to agree best half a pixel from where they do.
        """
        return cubic_weights(self._place(xy_um), *self.mask.shape) @ self._control

    def slopes(self, xy_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Change of the values per um along x and along y at positions (n, 2), (n, n_channels)."""
        place = self._place(xy_um)
        x, y = (cubic_weights(place, *self.mask.shape, axis) @ self._control for axis in (0, 1))
        return x / self.pixel_um, y / self.pixel_um

    def _place(self, xy_um: np.ndarray) -> np.ndarray:
        return (xy_um - self.corner_um) / self.pixel_um

    @cached_property
    def _spread(self) -> np.ndarray:
        row, column = np.nonzero(self.mask)
        return np.flatnonzero((row % self.step_px == 0) & (column % self.step_px == 0))

    @cached_property
    def _control(self) -> np.ndarray:
        """Control points of cubic splines through the values, (height * width, n_channels)."""
        planes = np.moveaxis(self.values, -1, 0)
        planes = [ndimage.spline_filter(plane, output=np.float32).ravel() for plane in planes]
        return np.stack(planes, axis=1)


def latent_field(
    xy_um: np.ndarray, channels: np.ndarray, pixel_um: float, spacing_um: float
) -> LatentField:
    """The field of units at `xy_um` (n, 2) with `channels` (n, n_channels).

    Means of the units around each pixel, with Gaussian weights (normalised convolution, Knutsson
    and Westin 1993). Tissue is what lies within REACH of a unit's `spacing_um`, or of a pixel.
    """
    reach_um = REACH * max(spacing_um, pixel_um)
    margin_um = 3 * BLUR_PX * pixel_um + reach_um
    corner_um = xy_um.min(axis=0) - margin_um
    width, height = (np.ceil((np.ptp(xy_um, axis=0) + 2 * margin_um) / pixel_um) + 1).astype(int)
    place = (xy_um - corner_um) / pixel_um
    column, row = np.floor(place).astype(np.int64).T
    right, down = (place % 1).T
    # A unit is shared among the four pixels around it, or else it would move to one's centre.
    at = np.concatenate([(row + i) * width + column + j for i in (0, 1) for j in (0, 1)])
    share = np.concatenate([y * x for y in (1 - down, down) for x in (1 - right, right)])

    def spread(weight: np.ndarray) -> np.ndarray:
        summed = np.bincount(at, np.tile(weight, 4) * share, minlength=height * width)
        return ndimage.gaussian_filter(summed.reshape(height, width), BLUR_PX)

    n_units = spread(np.ones(len(xy_um)))
    centre = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    reach_px = reach_um / pixel_um
    nearest_px, _ = cKDTree(place).query(centre, distance_upper_bound=reach_px)
    mask = nearest_px <= reach_px
    values = np.zeros((height, width, channels.shape[1]), dtype=np.float32)
    known = n_units > FAINT * n_units.max()
    for k in range(channels.shape[1]):
        values[known, k] = spread(channels[:, k])[known] / n_units[known]
    return LatentField(values, mask, corner_um, pixel_um)
