"""How well predicted scores of programs follow measured ones."""

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.evaluation.ceiling import reachable, split_counts
from histoscribe.evaluation.scores import pearson
from histoscribe.evaluation.smoothing import Pool, pools_of
from histoscribe.expression import log_normalised, target_total
from histoscribe.programs.scoring import score_sets


def scores_of_halves(
    units: ad.AnnData,
    programs: dict[str, list[str]],
    target_sum: float | str,
    seed: int,
    control_from: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores from two binomial halves of the counts, each scaled to half of the total."""
    umi = units.obs["umi"].to_numpy()
    counts = sparse.csc_matrix(units.X)
    (one,) = split_counts(counts, umi, n_repeats=1, seed=seed)
    rest = sparse.csc_matrix(
        (counts.data - one.counts.data, counts.indices, counts.indptr), counts.shape
    )
    total = target_total(umi, target_sum) / 2
    halves = []
    for half, its_umi in ((one.counts, one.umi), (rest, umi - one.umi)):
        obs = pd.DataFrame({"umi": its_umi}, index=units.obs_names)
        its = ad.AnnData(half, obs=obs, var=pd.DataFrame(index=units.var_names))
        halves.append(score_sets(log_normalised(its, total), programs, seed, control_from)[0])
    return halves[0], halves[1]


def compare_scores(
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    on_panel: pd.DataFrame,
    halves: tuple[pd.DataFrame, pd.DataFrame],
    halves_on_panel: tuple[pd.DataFrame, pd.DataFrame],
    xy_um: np.ndarray,
    smoothing_um: float,
    seed: int,
) -> pd.DataFrame:
    """A row a set that both sides score: PCC of predicted with measured scores over units.

    All frames (n_units, n_sets) have the same units in the same order, at `xy_um` (n_units, 2).
    `pcc` is against the measured score as it is mapped (all measured genes of the set),
    `pcc_same_genes` against `on_panel` (the predicted genes alone), each with the `ceiling` that a
    perfect predictor would reach, from `halves` and `halves_on_panel`; `..._pooled` the same with
    scores averaged over the units within `smoothing_um`, NaN where most units have no neighbour
    so near.
    """
    names = [name for name in predicted if name in measured]
    pools = pools_of(xy_um, [smoothing_um], seed)
    sides = {
        "pcc": (predicted, measured),
        "ceiling": halves,
        "pcc_same_genes": (predicted, on_panel),
        "ceiling_same_genes": halves_on_panel,
    }
    table: dict[str, object] = {"set": names}
    for ending, pool in (("", None), ("_pooled", pools[0] if pools else None)):
        for column, (one, other) in sides.items():
            is_absent = bool(ending) and pool is None
            found = np.full(len(names), np.nan) if is_absent else _pcc(one, other, names, pool)
            table[column + ending] = reachable(found) if "ceiling" in column else found
    return pd.DataFrame(table)


def _pcc(one: pd.DataFrame, other: pd.DataFrame, names: list[str], pool: Pool | None) -> np.ndarray:
    """Of each set, (n_sets,); NaN where a side did not score it."""
    values = [frame.reindex(columns=names).to_numpy(dtype=np.float64) for frame in (one, other)]
    if pool is not None:
        n_within = np.asarray(pool.members.sum(axis=1))
        values = [pool.members @ value / n_within for value in values]
    return pearson(*values)
