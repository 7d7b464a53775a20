"""Which genes a viewer shows, best first, and what is known of each."""

from dataclasses import dataclass

import pandas as pd

SCORES = ("pcc", "pcc_low", "pcc_high", "ceiling")
UNSEEN = {f"unseen_{name}": name for name in SCORES}


@dataclass(frozen=True)
class ShownGenes:
    """`table` by gene, best first: trust, pcc, pcc_low, pcc_high, ceiling, NaN where not known.

    `left_out` are genes that are predicted but not shown.
    """

    table: pd.DataFrame
    left_out: list[str]


def shown_genes(
    predicted: list[pd.DataFrame], scores: list[pd.DataFrame], n_genes: int
) -> ShownGenes:
    """The `n_genes` best genes, by grade and PCC, that every prediction of the section holds.

    `predicted` are the `var` of the predictions, a fold each; `scores` the evaluations of the same
    folds, or none where nothing was measured: then what the model scored on training tissue that
    it had not seen stands in. Of several folds, the mean of the scores and the worst grade count.
    """
    common = [
        gene for gene in predicted[0].index if all(gene in var.index for var in predicted[1:])
    ]
    known = [table.set_index("gene") for table in scores] or [
        var.rename(columns=UNSEEN) for var in predicted
    ]
    tables = [table.reindex(index=common, columns=["trust", *SCORES]) for table in known]
    numbers = pd.concat([table[list(SCORES)].astype(float) for table in tables])
    merged = numbers.groupby(level=0, sort=False).mean().loc[common]
    grades = pd.concat([table["trust"].astype("string") for table in tables])
    merged.insert(0, "trust", grades.groupby(level=0, sort=False).max().loc[common])  # A < D
    ranked = merged.sort_values("pcc", ascending=False, kind="stable", na_position="last")
    is_shown = ranked["trust"].rank(method="first", na_option="bottom") <= n_genes  # A first
    return ShownGenes(ranked[is_shown], list(ranked.index[~is_shown]))
