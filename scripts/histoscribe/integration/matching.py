"""Units of two sections that match, and how far sections lie apart by them."""

from itertools import combinations

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

N_NEIGHBOURS = 20
N_COMPONENTS = 20
N_ROUNDS = 10
UNITS_OF_ONE, UNITS_OF_ALL, LEAST_UNITS = 4000, 40_000, 500  # drawn: offsets are means


def n_drawn(n_sections: int) -> int:
    """Units of a section to draw, so that time grows but little with the number of sections."""
    return int(np.clip(UNITS_OF_ALL // n_sections, LEAST_UNITS, UNITS_OF_ONE))


def mutual_neighbours(one: np.ndarray, other: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows that are among the `k` nearest of each other, (n_pairs,) of each side."""
    forth, back = _nearest(one, other, k), _nearest(other, one, k)
    pairs = forth.multiply(back.T).tocoo()
    return pairs.row, pairs.col


def _nearest(of: np.ndarray, among: np.ndarray, k: int) -> sparse.csr_matrix:
    k = min(k, len(among))
    index = NearestNeighbors(n_neighbors=k).fit(among).kneighbors(of, return_distance=False)
    ends = np.arange(0, index.size + 1, k)
    return sparse.csr_matrix((np.ones(index.size), index.ravel(), ends), (len(of), len(among)))


def matched_offsets(values: list[np.ndarray], seed: int) -> np.ndarray:
    """Offset of each section where its units match those of others, (n_sections, n_genes).

    `values`: log values of each section's units, (n_units, n_genes). Offsets start as the means of
    sections. Units are matched without them, as mutual nearest neighbours by cosine in 20
    components, and offsets are fitted to the differences of matched units, ten times over. Unlike
    means, they do not take a difference in composition for one between sections; their own mean is
    that of all units.
    Source: Haghverdi et al., Nat Biotechnol 2018, doi 10.1038/nbt.4091.
    """
    n_genes = values[0].shape[1]
    offset = np.vstack([v.mean(axis=0) for v in values])
    for _ in range(N_ROUNDS):
        parts = _positions(values, offset, seed)
        links, apart = np.zeros((len(values), len(values))), np.zeros((len(values), n_genes))
        for a, b in combinations(range(len(values)), 2):
            i, j = mutual_neighbours(parts[a], parts[b], N_NEIGHBOURS)
            difference = values[a][i].sum(axis=0) - values[b][j].sum(axis=0)
            links[[a, b], [a, b]] += len(i)
            links[[a, b], [b, a]] -= len(i)
            apart[a] += difference
            apart[b] -= difference
        offset = np.linalg.lstsq(links, apart, rcond=None)[0].astype(np.float32)
    rest = [v - o for v, o in zip(values, offset, strict=True)]
    return offset + np.vstack([r.mean(axis=0) for r in rest]).mean(axis=0)


def _positions(values: list[np.ndarray], offset: np.ndarray, seed: int) -> list[np.ndarray]:
    """Directions of units in components of what offsets leave, (n_units, n_components) each."""
    rest = np.vstack([v - o for v, o in zip(values, offset, strict=True)])
    components = PCA(min(N_COMPONENTS, *rest.shape), random_state=seed).fit_transform(rest)
    components /= np.maximum(np.linalg.norm(components, axis=1, keepdims=True), 1e-9)
    return np.split(components, np.cumsum([len(v) for v in values])[:-1])
