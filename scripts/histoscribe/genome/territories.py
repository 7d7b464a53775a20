"""What chance would have a genotype's territories be: as large and as ragged, anywhere.

Carriers lie together, and so do units that are alike for any other reason. Territories of chance
are smooth random fields with noise, cut so that every kind of cells has as many carriers as it has;
how smooth and how noisy is such that pairs of units at any distance share their genotype as often
as they do (after Viladomat et al., Biometrics 2014, and Burt et al., NeuroImage 2020).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

N_WAVES = 64  # of a random field
N_PAIRS = 20_000  # of units, whose genotypes are compared
N_TRIED = 10  # fields of each smoothness
N_NEAR = 60  # neighbours that half of the pairs are of
N_DISTANCES = 10
FITTED_UNITS = 3000
NOISES = (0.0, 0.1, 0.3, 0.6)  # share of the variance
SHORTEST, LONGEST = 1.0, 2.0  # of smoothness: of the distance to neighbours, and of the extent
N_LENGTHS = 8


def territories(
    carrier: np.ndarray, kind: np.ndarray, xy_um: np.ndarray, n_maps: int, seed: int
) -> Iterator[np.ndarray]:
    """`n_maps` genotypes of chance, (n_units,) bool each, with as many carriers of each kind.

    `carrier` (n_units,) bool, `kind` (n_units,) text, `xy_um` (n_units, 2).
    """
    rng = np.random.default_rng(seed)
    length_um, noise = smoothness(carrier, kind, xy_um, rng)
    for _ in range(n_maps):
        yield _cut(random_field(xy_um, length_um, noise, rng), carrier, kind)


def smoothness(
    carrier: np.ndarray, kind: np.ndarray, xy_um: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """Length in um, and share of noise, of fields that cut territories like those of `carrier`.

    A length of 0 stands for noise alone.
    """
    rows = np.sort(rng.permutation(len(carrier))[:FITTED_UNITS])
    carrier, kind, xy_um = carrier[rows], kind[rows], xy_um[rows]
    pairs = rng.integers(len(rows), size=(2, N_PAIRS))
    # Half of the pairs are near, where territories show.
    pairs = np.concatenate([pairs[:, pairs[0] != pairs[1]], _near_pairs(xy_um, rng)], axis=1)
    apart = np.linalg.norm(xy_um[pairs[0]] - xy_um[pairs[1]], axis=1)
    extent = float(np.linalg.norm(np.ptp(xy_um, axis=0)))
    if not extent:
        return 0.0, 1.0
    nearest = extent / np.sqrt(len(rows))
    edges = np.quantile(apart, np.linspace(0, 1, N_DISTANCES + 1)[1:-1])
    place = np.searchsorted(edges, apart)
    expected = pd.Series(carrier.astype(float)).groupby(kind).transform("mean").to_numpy()

    def shared(genotype: np.ndarray) -> np.ndarray:
        """How alike units are at each distance, beyond their kinds' carriers."""
        off = genotype - expected
        return np.bincount(place, off[pairs[0]] * off[pairs[1]], N_DISTANCES) / np.bincount(
            place, minlength=N_DISTANCES
        )

    found = shared(carrier)
    best, least = (0.0, 1.0), np.inf
    lengths = np.geomspace(SHORTEST * nearest, LONGEST * extent, N_LENGTHS)
    for length_um, noise in [(0.0, 1.0), *((x, y) for x in lengths for y in NOISES)]:
        fields = (random_field(xy_um, length_um, noise, rng) for _ in range(N_TRIED))
        usual = np.mean([shared(_cut(field, carrier, kind)) for field in fields], axis=0)
        off = float(((usual - found) ** 2).sum())
        if off < least:
            best, least = (float(length_um), noise), off
    return best


def _near_pairs(xy_um: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pairs of units and one of their near neighbours, (2, n_pairs)."""
    n_near = min(N_NEAR, len(xy_um))
    _, nearest = cKDTree(xy_um).query(xy_um, k=n_near)
    first = rng.integers(len(xy_um), size=N_PAIRS)
    second = nearest[first, rng.integers(1, n_near, size=N_PAIRS)]
    return np.stack([first, second])


def random_field(
    xy_um: np.ndarray, length_um: float, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """A Gaussian field (n_units,) of variance about 1, whose correlation falls off by `length_um`.

    Of random waves (Rahimi & Recht, NIPS 2007), with a share `noise` of independent variance.
    """
    white = rng.standard_normal(len(xy_um))
    if noise >= 1:
        return white
    wave = rng.standard_normal((2, N_WAVES)) / length_um
    phase = rng.uniform(0, 2 * np.pi, N_WAVES)
    weight = rng.standard_normal(N_WAVES) * np.sqrt(2 / N_WAVES)
    smooth = np.cos(xy_um @ wave + phase) @ weight
    return np.sqrt(1 - noise) * smooth + np.sqrt(noise) * white


def _cut(field: np.ndarray, carrier: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """The highest of each kind, as many as carry the genotype, (n_units,) bool."""
    cut = np.zeros(len(field), dtype=bool)
    for name in np.unique(kind):
        own = np.flatnonzero(kind == name)
        n = int(carrier[own].sum())
        cut[own[np.argsort(-field[own], kind="stable")[:n]]] = True
    return cut
