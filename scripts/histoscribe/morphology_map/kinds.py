"""The four quadrants, what a question is answered from, and what share genes of each kind have."""

import numpy as np
import pandas as pd

TRANSLATION, INTEGRATION = "translation", "integration"
OVERESTIMATION, NOISE = "overestimation", "noise"
QUADRANTS = (TRANSLATION, INTEGRATION, OVERESTIMATION, NOISE)
GENES, IMAGE, BOTH, CHOSEN = "genes", "image", "genes + image", "genes + integration features"
SETS = (GENES, IMAGE, BOTH, CHOSEN)


def quadrant(overlaps: pd.Series, is_relevant: pd.Series) -> np.ndarray:
    """Names of quadrants, (n,), from which of the two counts."""
    return np.select(
        [overlaps & is_relevant, is_relevant, overlaps],
        [TRANSLATION, INTEGRATION, OVERESTIMATION],
        NOISE,
    )


def shares_of_pcc(table: pd.DataFrame) -> dict[str, float]:
    """What share of the mean PCC comes from which genes: of each quadrant, and housekeeping genes.

    Genes of negative PCC count as 0, and those whose interval does not say that they are predicted
    are of neither quadrant. Keys overestimation, translation, housekeeping; NaN where no gene has
    a PCC above 0, or none an interval.
    """
    pcc = table["pcc"].fillna(0).clip(lower=0)
    total = pcc.sum() if pcc.sum() > 0 and table["pcc_low"].notna().any() else np.nan
    shares = {
        name: pcc[table["quadrant"] == name].sum() / total for name in (OVERESTIMATION, TRANSLATION)
    }
    shares["housekeeping"] = pcc[table["is_housekeeping"]].sum() / total
    return shares


def overestimation_share(scores: pd.DataFrame, genes: pd.DataFrame) -> float:
    """The share of a prediction's mean PCC that comes from genes that say nothing of a question.

    `scores` of any prediction of the section (gene, pcc, pcc_low), `genes` a map's (gene,
    is_relevant); over the genes that both have.
    """
    both = scores[["gene", "pcc", "pcc_low"]].merge(genes[["gene", "is_relevant"]], on="gene")
    kind = quadrant(both["pcc_low"] > 0, both["is_relevant"].astype(bool))
    return shares_of_pcc(both.assign(quadrant=kind, is_housekeeping=False))[OVERESTIMATION]
