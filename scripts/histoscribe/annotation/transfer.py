"""Cell types carried over from a reference .h5ad, by correlation with the means of its types.

Types are compared on genes that part them in the reference, each as its deviation from the mean of
all: of the reference's types there, of the section's clusters here. What is common to all units of
one side, such as the platform's own taste for genes, so drops out. The reference is scaled to the
section's total first, as log1p bends counts more, the more there are.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.clustering import rank_genes
from histoscribe.errors import UserError, problem
from histoscribe.gene_matching import species_of

LOG = logging.getLogger(__name__)
MIN_SHARED_GENES = 50
GENES_A_TYPE = 30
MIN_UNITS = 10  # of a type; means of fewer are noise
MAX_UNITS = 500  # of a type, drawn at random: means need no more
AMBIGUOUS_FROM = 0.9
LEAST_SPREAD = 0.05  # of a gene, relative to the gene that parts types most
MAX_ROUNDS = 10
LOG_BELOW = 16.0  # values that are no counts are log1p values up to that
REFERENCE_COLUMNS = [
    "reference_type", "reference_score", "reference_runner_up", "reference_runner_up_score",
    "reference_is_ambiguous",
]  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """Means of a reference's types, (n_types, n_genes) log1p values, and genes that part them."""

    means: pd.DataFrame
    genes: list[str]


def read_reference(path: Path, label: str, expression: ad.AnnData, seed: int) -> Reference:
    """The types of `obs[label]` of an .h5ad, on the genes that it shares with `expression`.

    X (or layers["counts"] or raw, where X is scaled) holds counts, which are whole numbers, or
    log1p values. Types of fewer than 10 units are left out; of larger ones 500 are drawn. Raises
    UserError for a file that can't be read, no such column, fewer than two types, other values,
    and fewer than 50 shared genes (or half of those of `expression`, where these are fewer).
    `expression.X` (n_units, n_genes) log1p values.
    """
    try:
        backed = ad.read_h5ad(path, backed="r")
    except (OSError, ValueError, KeyError) as error:
        raise _refusal(path, f"no readable .h5ad ({error})", "a reference", "Mend it.") from error
    try:
        labels = _labels(backed.obs, label, path)
        genes = _shared(backed.var_names, list(expression.var_names), path)
        rows = _drawn(labels, seed)
        units = backed[rows].to_memory()
    finally:
        backed.file.close()
    units = units[:, ~units.var_names.duplicated()]
    chosen = _log_values(units, genes, _total(expression, genes), path)
    types = labels.iloc[rows].to_numpy()
    means = pd.DataFrame(chosen.to_df()).groupby(types).mean()
    telling = _telling_genes(chosen, types)
    LOG.info("%s: %d types, %d of %d shared genes part them", path, len(means), len(telling),
             len(genes))  # fmt: skip
    return Reference(means, telling)


def transfer_to_clusters(
    reference: Reference, expression: ad.AnnData, cluster: np.ndarray
) -> pd.DataFrame:
    """The type whose mean each kept cluster's resembles most; REFERENCE_COLUMNS by cluster.

    Scores are correlations (-1 to 1). A name is ambiguous where the runner-up reaches 0.9 of the
    score: correlations of kindred types are all high. One kept cluster has no others to deviate
    from, and no name. `expression.X` (n_units, n_genes) log1p values; `cluster` (n_units,), -1
    left out.
    """
    kept = np.unique(cluster[cluster >= 0])
    if len(kept) < 2:
        return pd.DataFrame(index=kept, columns=REFERENCE_COLUMNS)
    means = _cluster_means(reference, expression, cluster)
    scores = _scores(means, reference, _centres(reference, means))
    return _best(scores, reference).set_index(kept)


def transfer_to_units(
    reference: Reference, expression: ad.AnnData, cluster: np.ndarray
) -> pd.DataFrame:
    """The type that each unit resembles most: reference_type and reference_score, (n_units, 2).

    Deviations are from the same centre as those of clusters. Sparse units have low scores, which
    tell how much is known; units without a molecule of the genes have neither.
    """
    picked = expression[:, reference.genes].X
    values = picked.toarray() if sparse.issparse(picked) else np.asarray(picked, dtype=np.float32)
    centres = _centres(reference, _cluster_means(reference, expression, cluster))
    scores = _scores(values, reference, centres)
    scores[~values.any(axis=1)] = np.nan
    best = _best(scores, reference)[REFERENCE_COLUMNS[:2]]
    best["reference_type"] = pd.Categorical(
        best["reference_type"], categories=list(reference.means.index)
    )
    return best.set_index(expression.obs_names)


def _cluster_means(reference: Reference, expression: ad.AnnData, cluster: np.ndarray) -> np.ndarray:
    """Means of the telling genes, (n_kept_clusters, n_genes); of all units where none is kept."""
    kept = np.unique(cluster[cluster >= 0])
    groups = [cluster == one for one in kept] or [np.ones(len(cluster), dtype=bool)]
    return np.vstack(
        [np.asarray(expression[g, reference.genes].X.mean(axis=0)).ravel() for g in groups]
    )


def _centres(reference: Reference, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What deviations are from: of the section and of the reference, (n_genes,) each.

    Both are means over the types that clusters are given, each type once: else a section would
    seem to lack what it has many clusters of, and to have what only the reference has.
    """
    theirs = reference.means[reference.genes].to_numpy()
    centres = means.mean(axis=0), theirs.mean(axis=0)
    given = np.full(len(means), -1)
    for _ in range(MAX_ROUNDS):
        before, given = given, _scores(means, reference, centres).argmax(axis=1)
        present = np.unique(given)
        if len(present) < 2 or (before == given).all():
            break
        ours = np.vstack([means[given == one].mean(axis=0) for one in present])
        centres = ours.mean(axis=0), theirs[present].mean(axis=0)
    return centres


def _scores(
    values: np.ndarray, reference: Reference, centres: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Correlations of deviations with those of each type, (n, n_types); 0 where there are none.

    A gene's deviations are in units of how far it parts the types, lest the loudest genes decide.
    """
    theirs = reference.means[reference.genes].to_numpy()
    spread = theirs.std(axis=0)
    spread = spread + LEAST_SPREAD * spread.max()
    sides = (values - centres[0]) / spread, (theirs - centres[1]) / spread
    one, other = (
        side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9) for side in sides
    )
    return one @ other.T


def _refusal(path: Path, found: str, expected: str, remedy: str) -> UserError:
    return UserError(problem(f"annotation.reference, {path}", found, expected, remedy))


def _labels(obs: pd.DataFrame, label: str, path: Path) -> pd.Series:
    """Types of the reference's units as text; NaN for those without, and for rare ones."""
    if label not in obs:
        raise _refusal(
            path,
            f"no column {label} in obs, which has {', '.join(map(str, obs.columns)) or 'none'}",
            "a column of cell types",
            "Set annotation.reference_label.",
        )
    labels = obs[label].astype(object).where(obs[label].notna(), None)
    labels = labels.map(str, na_action="ignore")
    sizes = labels.value_counts()
    labels = labels.where(labels.map(sizes) >= MIN_UNITS)
    if labels.nunique() < 2:
        raise _refusal(
            path,
            f"{labels.nunique()} types of {MIN_UNITS} units or more in obs[{label!r}]",
            "two or more",
            "Set annotation.reference_label to a column of cell types.",
        )
    return labels


def _shared(theirs: pd.Index, measured: list[str], path: Path) -> list[str]:
    ours = set(measured)
    shared = [gene for gene in dict.fromkeys(theirs) if gene in ours]
    least = min(MIN_SHARED_GENES, max(len(ours) // 2, 2))
    if len(shared) < least:
        kinds = [species_of(names) or "unclear" for names in (theirs, measured)]
        raise _refusal(
            path,
            f"{len(shared)} of its {len(theirs)} genes (species {kinds[0]}, such as "
            f"{', '.join(map(str, theirs[:3]))}) in the data (species {kinds[1]}, such as "
            f"{', '.join(measured[:3])})",
            f"{least} or more",
            "Give a reference of the data's species, with gene names of the same kind in "
            "var_names.",
        )
    return shared


def _drawn(labels: pd.Series, seed: int) -> np.ndarray:
    """Rows of labelled units, at most MAX_UNITS of each type, in the order of the file."""
    rng = np.random.default_rng(seed)
    codes, _ = pd.factorize(labels)
    rows = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    few = [r if len(r) <= MAX_UNITS else rng.choice(r, MAX_UNITS, replace=False) for r in rows]
    return np.sort(np.concatenate(few))


def _total(expression: ad.AnnData, genes: list[str]) -> float:
    """Mean sum of the linear values of genes over the units that have some."""
    values = sparse.csr_matrix(expression[:, genes].X, dtype=np.float64)
    values.data = np.expm1(values.data)
    sums = np.asarray(values.sum(axis=1)).ravel()
    return float(sums[sums > 0].mean()) if (sums > 0).any() else 1.0


def _log_values(units: ad.AnnData, genes: list[str], total: float, path: Path) -> ad.AnnData:
    """log1p values of some genes, from counts or log1p values, scaled to a total over them."""
    tried = [units.X, units.layers.get("counts")]
    if units.raw is not None and list(units.raw.var_names) == list(units.var_names):
        tried.append(units.raw.X)
    for stored in tried:
        if stored is None:
            continue
        values = sparse.csr_matrix(stored, dtype=np.float32)
        kind = value_kind(values.data)
        if kind:
            values = values[:, units.var_names.get_indexer(genes)]
            linear = values.data if kind == "counts" else np.expm1(values.data)
            values.data = linear.astype(np.float64)
            sums = np.asarray(values.sum(axis=1)).ravel()
            values.data *= np.repeat(total / np.maximum(sums, 1e-9), np.diff(values.indptr))
            values = np.log1p(values).astype(np.float32)
            return ad.AnnData(values, obs=units.obs[[]], var=pd.DataFrame(index=genes))
    low, high = (float(f(values.data)) if values.nnz else 0.0 for f in (np.min, np.max))
    raise _refusal(
        path,
        f"values from {low:.3g} to {high:.3g} in X",
        f"counts (whole numbers from 0) or log1p values (0 to {LOG_BELOW:g})",
        "Put counts into X or layers['counts']; scaled values are of no use.",
    )


def value_kind(values: np.ndarray) -> str:
    """ "counts", "log1p", or "" for neither, of stored values that are not 0."""
    if not len(values) or not np.isfinite(values).all() or values.min() < 0:
        return ""
    if (values == np.round(values)).all():
        return "counts"
    return "log1p" if values.max() < LOG_BELOW else ""


def _telling_genes(values: ad.AnnData, types: np.ndarray) -> list[str]:
    """The 30 genes that stand out most in each type, without repeats."""
    ranked = rank_genes(values, types).sort_values("z", ascending=False, kind="stable")
    above = ranked[ranked["log2_fold_change"] > 0]
    return list(dict.fromkeys(above.groupby("cluster", sort=True).head(GENES_A_TYPE)["gene"]))


def _best(scores: np.ndarray, reference: Reference) -> pd.DataFrame:
    """The best type of each row of scores (n, n_types), and the second; REFERENCE_COLUMNS."""
    names = np.append(reference.means.index.to_numpy(dtype=object), None)
    order = np.argsort(-np.nan_to_num(scores, nan=-2), axis=1, kind="stable")[:, :2]
    best, second = np.take_along_axis(scores, order, axis=1).T
    order[np.isnan(best)] = len(names) - 1
    columns = [names[order[:, 0]], best, names[order[:, 1]], second,
               second >= AMBIGUOUS_FROM * best]  # fmt: skip
    return pd.DataFrame(dict(zip(REFERENCE_COLUMNS, columns, strict=True)))
