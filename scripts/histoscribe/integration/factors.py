"""What spatial factors stand for: where they are, how much of them, and which genes tell them."""

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.evaluation.spatial import morans_i, neighbour_weights

USED, ABSENT, UNIFORM = "used", "absent", "uniform"
LEAST_PROPORTION = 0.1  # that a factor reaches somewhere, or by which it varies; else it is unused
END_UNITS = 5  # so many units may lie beyond the ends of a factor's range,
END_SHARE = 0.001  # or that share of them
LEAST_LOG2_FOLD = 0.5  # of a gene that a factor is told by
N_TOP_GENES = 6
FACTOR = "factor_"


def factor_shares(loadings: pd.DataFrame) -> pd.DataFrame:
    """Each factor's shares of genes, (n_factors, n_genes), of the table integrate_sections writes
    (a row a gene, its index; columns factor_1 and so on)."""
    return loadings.filter(regex=f"^{FACTOR}").T


def specificity(shares: pd.DataFrame, use: np.ndarray) -> pd.DataFrame:
    """log2 of a gene's share in a factor over that in all others, (n_factors, n_genes).

    `shares` (n_factors, n_genes) have rows that sum to 1; the others are averaged by their `use`
    (n_factors,), the mean proportion. The median share of a gene in the whole is added on both
    sides, so that no gene of few molecules stands out.
    """
    values = shares.to_numpy()
    total = use @ values
    rest = np.maximum(use.sum() - use, 1e-12)[:, None]
    others = np.maximum(total - use[:, None] * values, 0) / rest
    floor = np.median(total / use.sum())
    return pd.DataFrame(
        np.log2((values + floor) / (others + floor)), index=shares.index, columns=shares.columns
    )


def factor_genes(shares: pd.DataFrame, specific: pd.DataFrame) -> pd.DataFrame:
    """A row a factor and gene: factor, gene, loading, log2_fold, share; by falling log2_fold.

    `loading` is what genes are ranked by, as by enrich_terms: the `log2_fold` of `specific`, or 0
    where that is below 0.5, since a factor's largest shares are those of genes found everywhere.
    """
    table = pd.DataFrame(
        {
            "factor": np.repeat(shares.index, shares.shape[1]),
            "gene": np.tile(shares.columns, len(shares)),
            "log2_fold": specific.to_numpy().ravel(),
            "share": shares.to_numpy().ravel(),
        }
    )
    table["loading"] = table["log2_fold"].where(table["log2_fold"] >= LEAST_LOG2_FOLD, 0.0)
    order = pd.Series(range(len(shares)), shares.index)
    table = table.sort_values(
        ["factor", "log2_fold"], key=lambda c: c.map(order) if c.name == "factor" else -c,
        kind="stable", ignore_index=True,
    )  # fmt: skip
    return table[["factor", "gene", "loading", "log2_fold", "share"]]


def describe_factors(units: ad.AnnData, genes: pd.DataFrame) -> pd.DataFrame:
    """A row a factor: state, use, Moran's I, where it is most, its likest other, its top genes.

    `units` as find_domains writes them, `genes` of factor_genes. Means by section are in columns
    `mean {section}`, Moran's I in `morans_i {section}`, of the six nearest units of the section.
    """
    proportions = np.asarray(units.obsm["factors"], dtype=np.float64)
    names = [f"{FACTOR}{number + 1}" for number in range(proportions.shape[1])]
    section, domain = units.obs["section"], units.obs["domain"]
    state = states(proportions)
    maps = {}
    for name in section.cat.categories:
        own = (section == name).to_numpy()
        maps[name] = morans_i(proportions[own], neighbour_weights(units.obsm["spatial"][own]))
    index = pd.DataFrame(maps, index=names)
    by_section = means_by(proportions, section, names)
    by_domain = means_by(proportions, domain, names)
    alike = likeness(proportions, state == USED)
    top = genes[genes["loading"] > 0].groupby("factor", sort=False)["gene"]
    table = pd.DataFrame(
        {
            "factor": names,
            "is_used": state == USED,
            "state": state,
            "mean": proportions.mean(axis=0),
            "standard_deviation": proportions.std(axis=0),
            "n_units_most": np.bincount(proportions.argmax(axis=1), minlength=len(names)),
            "morans_i": index.mean(axis=1).to_numpy(),
            "most_in_section": by_section.idxmax(axis=1).to_numpy(),
            "most_in_domain": by_domain.idxmax(axis=1).to_numpy(),
            "mean_in_domain": by_domain.max(axis=1).to_numpy(),
            "likest_factor": [names[i] if i >= 0 else "" for i in alike.argmax(axis=1)],
            "correlation": alike.max(axis=1),
        }
    )
    without = ~np.isfinite(alike).any(axis=1)
    table.loc[without, ["likest_factor", "correlation"]] = ["", np.nan]
    listed = top.agg(lambda its: ",".join(its.head(N_TOP_GENES)))
    table["top_genes"] = table["factor"].map(listed).fillna("")
    beside = [
        by_section.add_prefix("mean ").reset_index(drop=True),
        index.add_prefix("morans_i ").reset_index(drop=True),
    ]
    return pd.concat([table, *beside], axis=1)


def states(proportions: np.ndarray) -> np.ndarray:
    """Whether each factor is used, absent, or uniform, (n_factors,); `proportions` (n_units, n).

    Absent are those below a tenth in all but a thousandth of units (five at least); uniform those
    that vary by less than a tenth, a thousandth of units at either end aside.
    """
    beyond = min(max(END_SHARE, END_UNITS / len(proportions)), 0.25)
    low, high = np.quantile(proportions, [beyond, 1 - beyond], axis=0)
    state = np.where(high - low < LEAST_PROPORTION, UNIFORM, USED)
    return np.where(high < LEAST_PROPORTION, ABSENT, state)


def likeness(proportions: np.ndarray, is_used: np.ndarray) -> np.ndarray:
    """Pearson correlation of used factors with each other, (n, n); -inf on the diagonal and for
    others."""
    alike = np.full((proportions.shape[1],) * 2, -np.inf)
    used = np.flatnonzero(is_used)
    if len(used) > 1:
        alike[np.ix_(used, used)] = np.corrcoef(proportions[:, used].T)
    np.fill_diagonal(alike, -np.inf)
    return alike


def means_by(proportions: np.ndarray, group: pd.Series, names: list[str]) -> pd.DataFrame:
    """Mean proportions, a row a factor, a column a category of `group`."""
    table = pd.DataFrame(proportions, columns=names)
    return table.groupby(group.to_numpy(), observed=True).mean().T


def told_by(genes: pd.DataFrame, used: list[str]) -> pd.DataFrame:
    """The used factor that each gene tells best, by gene: factor and log2_fold.

    `genes` of factor_genes.
    """
    table = genes[genes["factor"].isin(used)].sort_values("log2_fold", ascending=False)
    return table.drop_duplicates("gene").set_index("gene")[["factor", "log2_fold"]]
