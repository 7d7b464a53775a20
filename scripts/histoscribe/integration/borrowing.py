"""What units take from like units of other sections: labels, and genes their own never measured."""

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

LEAST_DISTANCE = 1e-9


def like_units(of: np.ndarray, among: np.ndarray, n_neighbours: int) -> sparse.csr_matrix:
    """Weights of the nearest units `among` others, (n_of, n_among); rows sum to 1.

    Positions (n, width) in one space. Weights fall with distance as a Gaussian as wide as a unit's
    mean distance to its `n_neighbours`.
    """
    k = min(n_neighbours, len(among))
    distance, index = NearestNeighbors(n_neighbors=k).fit(among).kneighbors(of)
    width = distance.mean(axis=1, keepdims=True) + LEAST_DISTANCE
    weight = np.exp(-0.5 * (distance / width) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    ends = np.arange(0, index.size + 1, k)
    return sparse.csr_matrix((weight.ravel(), index.ravel(), ends), (len(of), len(among)))


def transfer_labels(
    position: np.ndarray, tissue: np.ndarray, label: pd.Series, n_neighbours: int
) -> pd.DataFrame:
    """Labels of units by the labelled units of all other tissue, never by their own section's.

    `position` (n_units, width), `tissue` (n_units,) the section, which is the same for measured and
    predicted units of one; `label` (n_units,) with NaN for unknown. One
    row a unit, indexed as `label`: `transferred`, the label of the largest weight (NaN where no
    other section has labels), and `confidence`, its share of the weight.
    """
    table = pd.DataFrame({"transferred": None, "confidence": np.nan}, index=label.index)
    is_known = label.notna().to_numpy()
    for name in pd.unique(tissue):
        own, donors = tissue == name, is_known & (tissue != name)
        if not donors.any():
            continue
        codes, names = pd.factorize(label[donors].astype(str), sort=True)
        ends = np.arange(len(codes) + 1)
        votes = sparse.csr_matrix((np.ones(len(codes)), codes, ends), (len(codes), len(names)))
        share = (like_units(position[own], position[donors], n_neighbours) @ votes).toarray()
        table.loc[own, "transferred"] = np.asarray(names, dtype=object)[share.argmax(axis=1)]
        table.loc[own, "confidence"] = share.max(axis=1)
    return table
