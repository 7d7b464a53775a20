"""Over-representation: which gene sets hold more genes of a list than chance would give them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse, stats

TERM_COLUMNS = [
    "group", "term", "name", "n_overlap", "n_set", "n_group", "n_background", "odds_ratio", "p",
    "adjusted_p", "genes",
]  # fmt: skip


@dataclass(frozen=True)
class TermSize:
    """Terms with fewer or more genes in the background are not tested: they say little."""

    least: int
    most: int


def enriched_terms(
    groups: Mapping[str, Iterable[str]],
    background: Iterable[str],
    sets: pd.DataFrame,
    size: TermSize,
) -> pd.DataFrame:
    """A row a group and set that share a gene, by group and rising p.

    `groups` are lists of genes by name, `background` all genes that could have been in them; genes
    outside it do not count, in groups and in sets (columns set and gene). p is the upper tail of
    the hypergeometric distribution (Fisher's exact test, one-sided); adjusted_p is Benjamini and
    Hochberg's over all sets of the right size, those without a shared gene too, within a group.
    """
    genes = pd.Index(dict.fromkeys(background))
    kept = sets[sets["gene"].isin(genes)].drop_duplicates(["set", "gene"])
    terms = pd.Index(kept["set"].unique())
    member = _indicator(
        terms.get_indexer(kept["set"]), genes.get_indexer(kept["gene"]), (len(terms), len(genes))
    )
    n_set = np.asarray(member.sum(axis=1)).ravel().astype(int)
    is_tested = (n_set >= size.least) & (n_set <= size.most)
    terms, member, n_set = terms[is_tested], member[is_tested], n_set[is_tested]
    rows = []
    for name, listed in groups.items():
        inside = genes.isin(list(listed))
        n_group = int(inside.sum())
        n_overlap = np.asarray(member @ inside.astype(np.int64)).ravel()
        p = stats.hypergeom.sf(n_overlap - 1, len(genes), n_set, n_group)
        shared = np.flatnonzero(n_overlap)
        its_genes = [
            ",".join(genes[row.indices[inside[row.indices]]]) for row in map(member.getrow, shared)
        ]
        table = pd.DataFrame(
            {
                "group": name,
                "term": terms[shared],
                "name": terms[shared],
                "n_overlap": n_overlap[shared],
                "n_set": n_set[shared],
                "n_group": n_group,
                "n_background": len(genes),
                "odds_ratio": odds_ratio(n_overlap, n_set, n_group, len(genes))[shared],
                "p": p[shared],
                "adjusted_p": _adjusted(p)[shared],
                "genes": its_genes,
            }
        )
        rows.append(table.sort_values(["p", "odds_ratio"], ascending=[True, False], kind="stable"))
    return join_terms(rows)


def join_terms(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables of terms as one; an empty one with their columns where none has a row."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=TERM_COLUMNS)


def odds_ratio(
    n_overlap: np.ndarray, n_set: np.ndarray, n_group: int, n_background: int
) -> np.ndarray:
    """The sample odds ratio of each set, infinite where no gene of one stands outside the other."""
    a = n_overlap.astype(np.float64)
    b, c = n_group - a, n_set - a
    d = n_background - a - b - c
    with np.errstate(divide="ignore", invalid="ignore"):
        return a * d / (b * c)


def marker_lists(
    markers: pd.DataFrame, adjusted_p_below: float, log2_fold_change_from: float, max_genes: int
) -> dict[str, list[str]]:
    """The marker genes of each cluster, at most `max_genes` by falling z; lists may be empty.

    `markers` has columns cluster, gene, log2_fold_change, z and adjusted_p.
    """
    passed = (markers["adjusted_p"] < adjusted_p_below) & (
        markers["log2_fold_change"] >= log2_fold_change_from
    )
    lists = {}
    for cluster, table in markers.groupby("cluster", sort=False):
        chosen = table[passed[table.index]].sort_values("z", ascending=False, kind="stable")
        lists[str(cluster)] = chosen["gene"].head(max_genes).tolist()
    return lists


def loading_lists(loadings: pd.DataFrame, max_genes: int) -> dict[str, list[str]]:
    """The `max_genes` genes of each factor that load on it most, above 0.

    `loadings` has columns factor, gene and loading.
    """
    above = loadings[loadings["loading"] > 0].sort_values("loading", ascending=False, kind="stable")
    return {
        str(factor): above.loc[above["factor"] == factor, "gene"].head(max_genes).tolist()
        for factor in loadings["factor"].unique()
    }


def _indicator(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    ones = np.ones(len(rows), dtype=np.int64)
    return sparse.csr_matrix((ones, (rows, columns)), shape=shape)


def _adjusted(p: np.ndarray) -> np.ndarray:
    return stats.false_discovery_control(p, method="bh") if len(p) else p
