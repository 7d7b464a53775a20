"""How well sections mix in a space, and how well what is known to differ stays apart."""

import numpy as np
import pandas as pd
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

from histoscribe.annotation.embedding import import_umap

PERPLEXITY = 30  # Korsunsky et al., Nat Methods 2019
UNITS = 20_000  # drawn where there are more: means need no more
SILHOUETTE_UNITS = 5_000  # all pairs are taken
MIXING_COLUMNS = [
    "space", "n_units", "n_sections", "ilisi", "ilisi_equal", "silhouette_section", "n_labelled",
    "n_labels", "clisi", "silhouette_label",
]  # fmt: skip


def mixing(
    space: str, position: np.ndarray, section: np.ndarray, label: pd.Series | None, seed: int
) -> dict[str, object]:
    """Measures of one space, `position` (n_units, width). Keys: MIXING_COLUMNS.

    iLISI is the mean over units of the effective number of sections among a unit's neighbours (1 to
    n_sections, more is better mixed), cLISI that of labels (from 1, less is better), both after
    Korsunsky et al. 2019 with perplexity 30. `ilisi_equal` takes as many units of each section as
    the smallest has, so that a small section beside a large one counts, too. Silhouettes (-1 to 1)
    are those of sections, lower being better, and of labels, higher being better. At most 20,000
    units, drawn at random. Without labels, or with one alone, what needs them is NaN.
    """
    equal = _equal(section, seed)
    lisi_equal = float(lisi(position[equal], section[equal]).mean())
    drawn = _drawn(len(position), UNITS, seed)
    position, section = position[drawn], section[drawn]
    row: dict[str, object] = dict.fromkeys(MIXING_COLUMNS, np.nan)
    row |= {"space": space, "n_units": len(drawn), "n_sections": len(np.unique(section))}
    row["ilisi"] = float(lisi(position, section).mean())
    row["ilisi_equal"] = lisi_equal
    few = _drawn(len(position), SILHOUETTE_UNITS, seed)
    row["silhouette_section"] = _silhouette(position[few], section[few])
    known = np.zeros(len(drawn), dtype=bool)
    if label is not None:
        label = label.iloc[drawn]
        known = label.notna().to_numpy()
    row |= {"n_labelled": int(known.sum()), "n_labels": 0}
    if known.any():
        codes, names = pd.factorize(label[known].astype(str))
        row["n_labels"] = len(names)
        if len(names) > 1:
            row["clisi"] = float(lisi(position[known], codes).mean())
            few = _drawn(len(codes), SILHOUETTE_UNITS, seed)
            row["silhouette_label"] = _silhouette(position[known][few], codes[few])
    return row


def lisi(position: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Effective number of labels (n_units,) among each unit's neighbours (n_units,), from 1.

    The local inverse Simpson index of scib-metrics, perplexity 30 over 90 neighbours.
    """
    import_umap()  # which scib-metrics imports, too
    from scib_metrics import lisi_knn  # imports jax, slowly
    from scib_metrics.nearest_neighbors import NeighborsResults

    n_neighbours = min(3 * PERPLEXITY, len(position) - 1)
    search = NearestNeighbors(n_neighbors=n_neighbours + 1).fit(position)
    distance, index = search.kneighbors(position)
    nearest = NeighborsResults(indices=index, distances=distance)
    perplexity = min(PERPLEXITY, n_neighbours / 3)
    return np.asarray(lisi_knn(nearest, pd.factorize(label)[0], perplexity=perplexity))


def _silhouette(position: np.ndarray, label: np.ndarray) -> float:
    if not 2 <= len(np.unique(label)) < len(label):
        return float("nan")
    return float(silhouette_samples(position, label).mean())


def _equal(section: np.ndarray, seed: int) -> np.ndarray:
    """Rows with as many of each section as the smallest has, at most 20,000, drawn at random."""
    rng = np.random.default_rng(seed)
    names, sizes = np.unique(section, return_counts=True)
    n_each = max(min(sizes.min(), UNITS // len(names)), 1)
    drawn = (rng.choice(np.flatnonzero(section == n), n_each, replace=False) for n in names)
    return np.sort(np.concatenate(list(drawn)))


def _drawn(n: int, most: int, seed: int) -> np.ndarray:
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
