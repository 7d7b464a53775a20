"""Genes on the map: how well each is predicted, and whether it says anything of the question."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.morphology_map.information import Part, Target, normal_scores
from histoscribe.morphology_map.inputs import Asked
from histoscribe.morphology_map.kinds import quadrant
from histoscribe.morphology_map.quadrants import MapSettings, beside_chance, moved
from histoscribe.morphology_map.surrogates import moved_units

GENE_COLUMNS = [
    "gene", "pcc", "pcc_low", "ceiling", "fraction_of_ceiling", "is_housekeeping", "relevance",
    "relevance_by_chance", "relevance_p", "relevance_q", "is_predicted", "is_relevant", "quadrant",
]  # fmt: skip
LEAST_CEILING = 0.05


def read_gene_list(path: Path) -> set[str]:
    """Names of genes, one a line in upper case; lines that start with # are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(
            problem(
                str(path), f"unreadable ({error})", "a file with one gene a line", "Correct it."
            )
        ) from error
    return {line.strip().upper() for line in lines if line.strip() and not line.startswith("#")}


def relate_genes(
    asked: Asked,
    scores: pd.DataFrame,
    housekeeping: set[str],
    parts: list[Part],
    settings: MapSettings,
    seed: int,
) -> pd.DataFrame:
    """A row a scored gene: GENE_COLUMNS.

    `scores` are a section's scores of one prediction (gene, pcc, pcc_low, ceiling). A gene is
    predicted where the interval of its PCC lies above 0; relevant where the question tells as much
    of its expression as for features (quadrants.relate). Predicted and relevant is translation,
    predicted alone overestimation, relevant alone integration (what the image could not tell). No
    rows where nothing was scored.
    """
    scores = scores[scores["gene"].isin(asked.values.var_names)].reset_index(drop=True)
    if scores.empty:
        return pd.DataFrame(columns=GENE_COLUMNS)
    values = asked.values[:, scores["gene"]].X
    values = values.toarray() if sparse.issparse(values) else np.asarray(values)
    values = normal_scores(values)
    moves = list(moved_units(asked.xy_um, settings.n_moves, seed))
    design = asked.question.design()
    told = beside_chance(
        "relevance", design, moved(design, moves), Target.of(values, parts), settings
    )
    table = scores[["gene", "pcc", "pcc_low", "ceiling"]].join(told)
    table["fraction_of_ceiling"] = (table["pcc"] / table["ceiling"]).where(
        table["ceiling"] >= LEAST_CEILING
    )
    table["is_housekeeping"] = table["gene"].str.upper().isin(housekeeping)
    table["is_predicted"], table["is_relevant"] = table["pcc_low"] > 0, table["relevance_counts"]
    table["quadrant"] = quadrant(table["is_predicted"], table["is_relevant"])
    return table[GENE_COLUMNS]
