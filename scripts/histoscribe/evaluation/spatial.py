"""Whether predicted maps look like measured ones: smoothness, structure, contrast."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from histoscribe.evaluation.scores import CONSTANT

N_NEIGHBOURS = 6
PIXEL_SPACINGS = 2  # edge of a map's pixel, in median distances to the nearest unit
PIXELS_PER_UNIT = 32
WINDOW_PX = 1.5  # standard deviation of the window of SSIM, as Wang et al. have it
STABILISERS = (0.01, 0.03)  # of SSIM, times the range of the measured map; as Wang et al.


def neighbour_weights(xy_um: np.ndarray, k: int = N_NEIGHBOURS) -> sparse.csr_matrix:
    """(n_units, n_units), 1 / k for each of the k nearest other units.

    On a lattice some neighbours are equally far, and which of them count is arbitrary.
    """
    n = len(xy_um)
    k = min(k, n - 1)
    if k < 1:
        return sparse.csr_matrix((n, n))
    _, nearest = cKDTree(xy_um).query(xy_um, k + 1)
    # A unit is its own nearest, but for those that share a place with others.
    own = nearest == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    columns = nearest[~own]
    return sparse.csr_matrix((np.full(n * k, 1 / k), columns, np.arange(0, n * k + 1, k)), (n, n))


def morans_i(values: np.ndarray, weights: sparse.csr_matrix) -> np.ndarray:
    """Moran's I of columns, (n_genes,), for weights whose rows sum to 1; NaN where constant.

    Moran, Biometrika 1950. About 0 for noise, towards 1 for what varies slowly over the section.
    """
    centred = values - values.mean(axis=0, dtype=np.float64)
    spread = (centred**2).sum(axis=0)
    constant = spread <= CONSTANT * len(values)
    alike = (centred * (weights @ centred)).sum(axis=0)
    return np.where(constant, np.nan, alike / np.where(constant, 1.0, spread))


def variance_ratio(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Variance of the predicted over that of the measured columns, (n_genes,); NaN if that is 0.

    Counting noise is part of the measured variance, so the true expected expression has a ratio
    of about the ceiling squared, not 1.
    """
    ours, theirs = (x.var(axis=0, dtype=np.float64) for x in (predicted, measured))
    constant = theirs <= CONSTANT
    return np.where(constant, np.nan, ours / np.where(constant, 1.0, theirs))


@dataclass(frozen=True)
class Raster:
    """Means of the units in each pixel; `members` (n_pixels, n_units) has rows that sum to 1 or 0.

    `n_units` (height, width) in each pixel.
    """

    members: sparse.csr_matrix
    n_units: np.ndarray

    def map_of(self, values: np.ndarray) -> np.ndarray:
        """Means of `values` (n_units,), (height, width); 0 in pixels without units."""
        return (self.members @ values).reshape(self.n_units.shape)


def raster_of(xy_um: np.ndarray) -> Raster:
    """Pixels of PIXEL_SPACINGS median distances to the nearest unit: about four units of a lattice.

    Pixels much smaller would compare counting noise, much larger would hide structure. Larger they
    are only where units lie in clumps, so that pixels are at most PIXELS_PER_UNIT times the units.
    """
    spacing_um = np.median(cKDTree(xy_um).query(xy_um, 2)[0][:, 1]) if len(xy_um) > 1 else 1.0
    least_um = np.sqrt(np.ptp(xy_um, axis=0).prod() / (PIXELS_PER_UNIT * len(xy_um)))
    edge_um = max(PIXEL_SPACINGS * spacing_um, least_um) or 1.0
    # A quarter of a spacing off, so that no lattice has its units on the borders of pixels.
    start = xy_um.min(axis=0) - edge_um / (4 * PIXEL_SPACINGS)
    column, row = np.floor((xy_um - start) / edge_um).astype(np.int64).T
    height, width = row.max() + 1, column.max() + 1
    pixel = row * width + column
    count = np.bincount(pixel, minlength=height * width)
    members = sparse.csr_matrix(
        (1 / count[pixel], (pixel, np.arange(len(pixel)))), (height * width, len(pixel))
    )
    return Raster(members, count.reshape(height, width))


def ssim(measured: np.ndarray, predicted: np.ndarray, raster: Raster) -> np.ndarray:
    """Structural similarity of measured and predicted maps, (n_genes,); NaN if measured is flat.

    Wang et al., IEEE Trans Image Process 2004, with Gaussian windows. Pixels weigh in by the units
    they hold, so glass counts nothing; the maps keep their own scales, so that a pattern too weak
    or too strong costs; the range is that of the measured map.
    """
    weight = raster.n_units.astype(np.float64)
    seen = weight > 0

    def local(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, WINDOW_PX, mode="constant")

    around = np.where(seen, local(weight), 1.0)
    result = np.full(measured.shape[1], np.nan)
    for gene in range(measured.shape[1]):
        a, b = (raster.map_of(x[:, gene].astype(np.float64)) for x in (measured, predicted))
        value_range = np.ptp(a[seen])
        if value_range <= CONSTANT:
            continue
        c1, c2 = ((k * value_range) ** 2 for k in STABILISERS)
        mean_a, mean_b, aa, bb, ab = (
            local(weight * x) / around for x in (a, b, a * a, b * b, a * b)
        )
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        covariance = ab - mean_a * mean_b
        variances = (aa - mean_a**2) + (bb - mean_b**2)
        similarity = luminance * (2 * covariance + c2) / (variances + c2)
        result[gene] = np.average(similarity[seen], weights=weight[seen])
    return result
