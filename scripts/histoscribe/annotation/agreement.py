"""How well the types of predicted expression agree with those of measured expression.

Wen et al. 2025: adjusted Rand index, silhouette, accuracy over broad classes and their confusion
matrix, and the shares of types.
"""

import logging

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import (
    silhouette_score,
)

from histoscribe.neighbourhood import within

LOG = logging.getLogger(__name__)
SILHOUETTE_UNITS = 10_000  # a random sample of more: the score takes all pairs
N_PERMUTATIONS = 200


def proportions(sides: dict[str, pd.Series]) -> pd.DataFrame:
    """Share of each label on each side: label, then a column a side; missing labels left out."""
    shares = {
        name: s.dropna().astype(str).value_counts(normalize=True) for name, s in sides.items()
    }
    table = pd.DataFrame(shares).fillna(0.0)
    table.index.name = "label"
    first = next(iter(sides))
    return table.sort_values(first, ascending=False, kind="stable").reset_index()


def silhouette(pcs: np.ndarray, labels: pd.Series, seed: int) -> float:
    """Mean silhouette of labelled units in `pcs` (n_units, n_pcs); NaN for fewer than two labels.

    At most 10,000 units, drawn at random.
    """
    labelled = np.flatnonzero(labels.notna().to_numpy())
    if len(labelled) > SILHOUETTE_UNITS:
        chosen = np.random.default_rng(seed).choice(len(labelled), SILHOUETTE_UNITS, replace=False)
        labelled = labelled[np.sort(chosen)]
    names = labels.astype(str).to_numpy()[labelled]
    if not 2 <= len(np.unique(names)) < len(names):
        return float("nan")
    return float(silhouette_score(pcs[labelled], names))


def neighbourhood_enrichment(
    xy_um: np.ndarray, labels: pd.Series, reach_um: float, seed: int
) -> pd.DataFrame:
    """How much more often labels are neighbours than if they were dealt out at random.

    A row a pair of labels: one, other, n_pairs, z. Neighbours are units within `reach_um`;
    unlabelled units are left out. The counts and the permutations are squidpy's (Palla et al., Nat
    Methods 2022, doi 10.1038/s41592-021-01358-2).
    """
    import squidpy as sq  # slow to import, and needed here alone

    known = labels.notna().to_numpy()
    categories = pd.Categorical(labels[known].astype(str))
    columns = ["one", "other", "n_pairs", "z"]
    if len(categories.categories) < 2:
        return pd.DataFrame(columns=columns)
    units = ad.AnnData(obs=pd.DataFrame({"label": categories}, index=labels.index[known]))
    graph = within(xy_um[known], xy_um[known], reach_um)
    graph.setdiag(0)
    graph.eliminate_zeros()
    units.obsp["spatial_connectivities"] = graph
    z, counts = sq.gr.nhood_enrichment(
        units, cluster_key="label", n_perms=N_PERMUTATIONS, seed=seed, copy=True,
        show_progress_bar=False, n_jobs=1,
    )  # fmt: skip
    names = list(categories.categories)
    pairs = pd.MultiIndex.from_product([names, names], names=["one", "other"])
    table = pd.DataFrame({"n_pairs": counts.ravel(), "z": z.ravel()}, index=pairs)
    return table.reset_index()[columns]
