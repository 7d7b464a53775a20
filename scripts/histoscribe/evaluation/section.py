"""All scores of one section."""

import logging
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from tqdm import tqdm

from histoscribe.block_bootstrap import (
    MIN_BLOCKS,
    REPLICATE_COLUMNS,
    Replicates,
    interval,
    replicate_scores,
    replicate_table,
    resample_blocks,
)
from histoscribe.errors import UserError, problem
from histoscribe.evaluation.adjusted import deviance_explained, pcc_beyond, pcc_within
from histoscribe.evaluation.calibration import probability_sums, reliability_table
from histoscribe.evaluation.ceiling import (
    MIN_CEILING,
    CountHalf,
    ceiling_of,
    dense,
    gene_slices,
    split_counts,
)
from histoscribe.evaluation.clusters import UnitTypes, types_of
from histoscribe.evaluation.gene_correlation import (
    MIN_GENES,
    between,
    correlation_kept,
    correlation_matrix,
    correlation_reachable,
    trusted_genes,
)
from histoscribe.evaluation.scores import Agreement, pearson, score_genes
from histoscribe.evaluation.smoothing import Pool, pooled_measured, pooled_predicted, pools_of
from histoscribe.evaluation.spatial import (
    Raster,
    morans_i,
    neighbour_weights,
    raster_of,
    ssim,
    variance_ratio,
)
from histoscribe.evaluation.stored import read_columns, read_rows
from histoscribe.expression import log_normalise, target_total
from histoscribe.provenance import recall
from histoscribe.uncertainty.judgement import grades, judge_genes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSettings:
    """`ceiling_repeats` count splits; `n_replicates` resampled sections of blocks of `block_um`.

    `smoothing_um` are the radii at which expression is pooled and scored again.
    """

    ceiling_repeats: int
    n_replicates: int
    block_um: float
    smoothing_um: list[float]


@dataclass(frozen=True)
class Evaluation:
    """What is found out of a section.

    `genes`: one row a gene. `replicates`: the section's scores in resampled sections
    (`replicate_table`). `reliability`: the curve of the probabilities (`reliability_table`).
    `section`: one row of scores that no single gene has.
    """

    genes: pd.DataFrame
    replicates: pd.DataFrame
    reliability: pd.DataFrame
    section: pd.DataFrame


@dataclass(frozen=True)
class Measured:
    """What a section's genes are scored by: their counts, and what all genes have in common."""

    genes: list[str]
    counts: sparse.csc_matrix  # (n_units, n_genes)
    umi: np.ndarray
    total: float
    types: UnitTypes
    weights: sparse.csr_matrix
    raster: Raster
    pools: list[Pool]


def shared_genes(predicted: ad.AnnData, units: ad.AnnData) -> np.ndarray:
    """Places in `predicted` of the genes that the section measured.

    Raises UserError when there is none or the units differ.
    """
    shared = predicted.var_names.isin(units.var_names)
    if not shared.any():
        raise UserError(
            problem(
                "predicted and measured",
                f"no shared gene (predicted begins with {', '.join(predicted.var_names[:3])}, "
                f"measured with {', '.join(units.var_names[:3])})",
                "at least one",
                "Were model and section measured in one species, with gene symbols?",
            )
        )
    if not predicted.obs_names.equals(units.obs_names):
        raise UserError(
            problem(
                "predicted and measured",
                f"{predicted.n_obs} and {units.n_obs} units that differ",
                "the same units in the same order",
                "Delete the prediction and run again.",
            )
        )
    return np.flatnonzero(shared)


def describe(
    units: ad.AnnData, genes: list[str], target_sum: float | str, radii_um: list[float], seed: int
) -> Measured:
    """What a section's prediction of `genes` is scored by."""
    umi = units.obs["umi"].to_numpy()
    xy_um = np.asarray(units.obsm["spatial"], dtype=np.float64)
    return Measured(
        genes,
        sparse.csc_matrix(units.X[:, units.var_names.get_indexer(genes)]),
        umi,
        target_total(umi, target_sum),
        types_of(units, genes, seed),
        neighbour_weights(xy_um),
        raster_of(xy_um),
        pools_of(xy_um, radii_um, seed),
    )


def score_part(
    measured: Measured, halves: list[CountHalf], part: slice, agreement: Agreement
) -> pd.DataFrame:
    """Every score of a part of the genes, but for intervals."""
    chosen = measured.counts[:, part]
    halves = [CountHalf(half.counts[:, part], half.umi) for half in halves]
    counts, umi, total = dense(chosen), measured.umi, measured.total
    truth, predicted = agreement.measured, agreement.predicted
    table = score_genes(agreement, measured.genes[part])
    table["ceiling"] = ceiling_of(chosen, umi, halves, total)
    table["n_units"] = len(umi)
    kind_set = measured.types.kind_set[part]
    for index in np.unique(kind_set):
        mine = kind_set == index
        kind = measured.types.kinds[index]
        table.loc[mine, "pcc_within_type"] = pcc_within(truth[:, mine], predicted[:, mine], kind)
    table["pcc_beyond_total"] = pcc_beyond(truth, predicted, np.log1p(umi))
    table["deviance_explained"] = deviance_explained(counts, predicted, umi, total)
    table["moran_measured"] = morans_i(truth, measured.weights)
    table["moran_predicted"] = morans_i(predicted, measured.weights)
    table["ssim"] = ssim(truth, predicted, measured.raster)
    table["variance_ratio"] = variance_ratio(truth, predicted)
    for pool in measured.pools:
        name = f"{pool.radius_um:g}um"
        pooled = pooled_measured(pool, counts, umi, total)
        table[f"pcc_{name}"] = pearson(pooled, pooled_predicted(pool, predicted, umi))
        table[f"ceiling_{name}"] = ceiling_of(chosen, umi, halves, total, pool)
    return table


def gene_correlation(
    measured: Measured,
    predicted: np.ndarray,
    columns: np.ndarray,
    half: CountHalf,
    ceiling: pd.Series,
) -> dict[str, float]:
    """gene_correlation_kept and gene_correlation_reachable; NaN where fewer than 3 genes count."""
    chosen = trusted_genes(ceiling.to_numpy())
    if len(chosen) < MIN_GENES:
        return {"gene_correlation_kept": np.nan, "gene_correlation_reachable": np.nan}
    counts, umi, total = measured.counts[:, chosen], measured.umi, measured.total
    half = CountHalf(half.counts[:, chosen], half.umi)
    ours = correlation_matrix(read_rows(predicted, columns[chosen]))
    reachable = correlation_reachable(counts, umi, half, total, ceiling.to_numpy()[chosen])
    return {
        "gene_correlation_kept": correlation_kept(between(counts, umi, total), ours),
        "gene_correlation_reachable": reachable,
    }


def evaluate_section(
    predicted: ad.AnnData, units: ad.AnnData, settings: EvaluationSettings, seed: int
) -> Evaluation:
    """Scores of one section, gene by gene and as a whole, with the intervals of the PCC.

    pcc_low and pcc_high are NaN, and there are no replicates, where the section is too small. The
    columns of `judge_genes` and the grade, trust, come last.
    Counts are normalised to the total that the prediction is made for. Genes that the section did
    not measure are left out. The matrices of `predicted` may lie in a file (`open_h5ad`): a part of
    the genes is dense at a time. Raises UserError when no gene is shared or the units differ.
    """
    columns = shared_genes(predicted, units)
    genes = list(predicted.var_names[columns])
    target_sum = recall(predicted.uns)["target_sum"]
    measured = describe(units, genes, target_sum, settings.smoothing_um, seed)
    halves = split_counts(measured.counts, measured.umi, settings.ceiling_repeats, seed)
    block, draws = resample_blocks(
        units.obsm["spatial"], settings.block_um, settings.n_replicates, seed
    )
    enough = draws.shape[1] >= MIN_BLOCKS
    tables, replicates, sums = [], [], 0.0
    parts = gene_slices(units.n_obs, len(genes))
    for part in tqdm(parts, desc="genes", unit="part", disable=None):
        agreement = Agreement(
            log_normalise(measured.counts[:, part], measured.umi, measured.total),
            read_columns(predicted.X, columns[part]),
            read_columns(predicted.layers["probability"], columns[part]),
        )
        scores = score_part(measured, halves, part, agreement)
        judged = judge_genes(
            predicted, columns[part], agreement.predicted, agreement.measured, seed
        )
        tables.append(pd.concat([scores, judged], axis=1))
        sums = sums + probability_sums(agreement.probability, agreement.measured > 0)
        if enough:
            drawn = replicate_scores(agreement.measured, agreement.predicted, block, draws)
            replicates.append(drawn)
    table = pd.concat(tables, ignore_index=True)
    reliability = reliability_table(sums)
    section = gene_correlation(measured, predicted.X, columns, halves[0], table["ceiling"])
    section["calibration_error"] = reliability["calibration_error"].iloc[-1]
    resampled = add_intervals(table, replicates, settings.block_um, draws.shape[1])
    table["trust"] = grades(table)
    return Evaluation(table, resampled, reliability, pd.DataFrame([section]))


def add_intervals(
    table: pd.DataFrame, replicates: list[Replicates], block_um: float, n_blocks: int
) -> pd.DataFrame:
    """Put pcc_low and pcc_high behind n_units in the gene table; returns the `replicate_table`."""
    low = high = np.nan
    resampled = pd.DataFrame(columns=REPLICATE_COLUMNS, dtype=float)
    if replicates:
        joined = Replicates(
            np.concatenate([r.pcc for r in replicates], axis=1),
            np.concatenate([r.rmse for r in replicates], axis=1),
        )
        low, high = interval(joined.pcc, table["pcc"].to_numpy())
        ceiling = table["ceiling"].to_numpy()
        resampled = replicate_table(joined, ceiling, ceiling >= MIN_CEILING)
    else:
        log.warning("only %d blocks of %g um: no intervals", n_blocks, block_um)
    place = table.columns.get_loc("n_units") + 1
    table.insert(place, "pcc_low", low)
    table.insert(place + 1, "pcc_high", high)
    return resampled
