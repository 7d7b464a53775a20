"""Predicted units, summed over spots, against the spots that were measured."""

import logging
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.block_bootstrap import MIN_BLOCKS, interval, replicate_scores, resample_blocks
from histoscribe.errors import UserError, problem
from histoscribe.evaluation.ceiling import MIN_CEILING, noise_ceiling
from histoscribe.evaluation.scores import pearson, ranks
from histoscribe.evaluation.stored import read_rows
from histoscribe.provenance import recall
from histoscribe.spots.aggregation import (
    SpotSums,
    share_of_total,
    sum_over_spots,
    variance_within,
)
from histoscribe.spots.membership import spots_of_units

LOG = logging.getLogger(__name__)
MIN_SPOTS = 10  # a correlation over fewer says nothing
GENE_COLUMNS = [
    "gene", "n_spots", "pcc", "pcc_low", "pcc_high", "spearman", "rmse", "ceiling",
    "mean_measured", "mean_predicted", "within_share",
]  # fmt: skip
SECTION_SCORES = [
    "pcc_mean", "pcc_mean_low", "pcc_mean_high", "pcc_median", "spearman_mean", "rmse_mean",
    "ceiling_mean", "fraction_of_ceiling_median", "pcc_total", "pcc_total_n_units",
    "pcc_features", "pcc_features_n_units",
]  # fmt: skip
AREA = "area"


@dataclass(frozen=True)
class SpotSettings:
    """How units are summed over spots, and how the sums are scored.

    `diameter_um` of a spot, None for the platform's; `weights` of units, equal or area; the others
    as `EvaluationSettings`.
    """

    diameter_um: float | None
    weights: str
    ceiling_repeats: int
    n_replicates: int
    block_um: float


@dataclass(frozen=True)
class SpotComparison:
    """`genes` one row a gene, `section` one row, `spots` every measured spot and shared gene.

    X of `spots` is predicted, `layers["measured"]` measured: log1p of shares of the total over the
    shared genes, scaled to its median. Spots that were not compared hold zeros in X.
    """

    genes: pd.DataFrame
    section: pd.DataFrame
    spots: ad.AnnData


def compare_with_spots(
    predicted: ad.AnnData, spots: ad.AnnData, settings: SpotSettings, seed: int
) -> SpotComparison:
    """Sum the predictions of units over measured spots, and score the sums.

    The matrices of `predicted` may lie in a file (`open_h5ad`). Fewer than MIN_SPOTS spots with
    units are a stated skip: no row of `genes`, and a note in `section`. Raises UserError where no
    gene is shared, or no unit lies in a spot.
    """
    facts = recall(spots.uns)
    diameter_um = settings.diameter_um or facts["unit_size_um"]
    columns, counts = shared_counts(predicted, spots)
    xy_um = np.asarray(predicted.obsm["spatial"], dtype=np.float64)
    spots_um = np.asarray(spots.obsm["spatial"], dtype=np.float64)
    spot = spots_of_units(xy_um, spots_um, diameter_um, f"sample {facts['sample']}")
    weight = unit_weights(predicted.obs, settings.weights)
    parts = zip(
        read_rows(predicted.X, columns),
        read_rows(predicted.layers["probability"], columns),
        strict=True,
    )
    sums = sum_over_spots(parts, spot, weight, spots.n_obs, len(columns))
    totals = np.asarray(counts.sum(axis=1)).ravel()
    compared = (sums.n_units > 0) & (totals > 0)
    target = float(np.median(totals[totals > 0])) if totals.any() else 1.0
    within_gene, within_spot = variance_within(sums)
    table = spot_table(spots, counts, sums, within_spot, compared)
    names = predicted.var_names[columns]
    aggregated = ad.AnnData(
        share_of_total(sums.rate, target).astype(np.float32),
        obs=table.set_index("spot"),
        var=pd.DataFrame({"within_share": within_gene}, index=names),
        layers={"measured": share_of_total(counts.toarray(), target).astype(np.float32)},
        obsm={"spatial": spots_um},
    )
    n_compared = int(compared.sum())
    if n_compared < MIN_SPOTS:
        note = f"skipped: {n_compared} spots hold units, fewer than {MIN_SPOTS}"
        LOG.warning("%s: %s", facts["sample"], note)
        genes = pd.DataFrame(columns=GENE_COLUMNS)
        scores = dict.fromkeys(SECTION_SCORES, np.nan)
    else:
        note = ""
        genes, scores = score_spots(aggregated, counts, compared, settings, seed)
    section = {
        "platform": facts["platform"],
        "diameter_um": diameter_um,
        "weights": settings.weights,
        "n_spots": spots.n_obs,
        "n_spots_compared": n_compared,
        "n_units": predicted.n_obs,
        "n_units_in_spots": int(sums.n_units.sum()),
        "units_per_spot": float(sums.n_units.mean()),
        "n_genes": len(columns),
        "within_share": float(np.nanmean(within_gene))
        if np.isfinite(within_gene).any()
        else np.nan,
        **scores,
        "note": note,
    }
    return SpotComparison(genes, pd.DataFrame([section]), aggregated)


def shared_counts(predicted: ad.AnnData, spots: ad.AnnData) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Places in `predicted` of the genes that spots measured, and their counts, (n_spots, n_genes).

    Raises UserError where there are fewer than two: a share of one gene's own total is always 1.
    """
    columns = np.flatnonzero(predicted.var_names.isin(spots.var_names))
    if len(columns) < 2:
        raise UserError(
            problem(
                "predicted units and measured spots",
                f"{len(columns)} shared genes (predicted begins with "
                f"{', '.join(predicted.var_names[:3])}, measured with "
                f"{', '.join(spots.var_names[:3])})",
                "at least two",
                "Were model and section measured in one species, with gene symbols?",
            )
        )
    names = predicted.var_names[columns]
    return columns, sparse.csr_matrix(spots.X[:, spots.var_names.get_indexer(names)])


def unit_weights(obs: pd.DataFrame, weights: str) -> np.ndarray:
    """What each unit counts in a sum, (n_units,): 1, or its area over the mean area."""
    if weights != AREA:
        return np.ones(len(obs))
    area = obs["area_um2"].to_numpy(dtype=np.float64)
    return area / area.mean()


def spot_table(
    spots: ad.AnnData,
    counts: sparse.csr_matrix,
    sums: SpotSums,
    within_share: np.ndarray,
    compared: np.ndarray,
) -> pd.DataFrame:
    """One row a measured spot; predicted columns are empty where no unit lies in it.

    Totals and features are those of the shared genes. `predicted_total` sums rates over genes and
    units: molecules, if every unit of mean weight held `target_sum`. `predicted_features` is the
    number of genes expected in at least one unit, at the depth that the model was trained on.
    """
    x_um, y_um = np.asarray(spots.obsm["spatial"]).T
    has_units = sums.n_units > 0
    return pd.DataFrame(
        {
            "spot": spots.obs_names,
            "x_um": x_um,
            "y_um": y_um,
            "n_units": sums.n_units,
            "measured_total": np.asarray(counts.sum(axis=1)).ravel(),
            "predicted_total": np.where(has_units, sums.rate.sum(axis=1), np.nan),
            "measured_features": np.diff(counts.tocsr().indptr),
            "predicted_features": np.where(has_units, sums.expected_features(), np.nan),
            "within_share": within_share,
            "is_compared": compared,
        }
    )


def score_spots(
    aggregated: ad.AnnData,
    counts: sparse.csr_matrix,
    compared: np.ndarray,
    settings: SpotSettings,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The gene table, and the section's scores, of the spots that are compared."""
    predicted = np.asarray(aggregated.X)[compared]
    measured = np.asarray(aggregated.layers["measured"])[compared]
    counts = counts[compared]
    totals = np.asarray(counts.sum(axis=1)).ravel()
    table = aggregated.obs[compared]
    pcc = pearson(measured, predicted)
    ceiling = noise_ceiling(counts, totals, "median", settings.ceiling_repeats, seed)
    block, draws = resample_blocks(
        aggregated.obsm["spatial"][compared], settings.block_um, settings.n_replicates, seed
    )
    low = high = mean_low = mean_high = np.nan
    if draws.shape[1] >= MIN_BLOCKS:
        replicates = replicate_scores(measured, predicted, block, draws).pcc
        low, high = interval(replicates, pcc)
        mean_low, mean_high = interval(replicates.mean(axis=1), pcc.mean())
    genes = pd.DataFrame(
        {
            "gene": aggregated.var_names,
            "n_spots": len(table),
            "pcc": pcc,
            "pcc_low": low,
            "pcc_high": high,
            "spearman": pearson(ranks(measured).mean, ranks(predicted).mean),
            "rmse": np.sqrt(np.mean((measured - predicted) ** 2, axis=0, dtype=np.float64)),
            "ceiling": ceiling,
            "mean_measured": measured.mean(axis=0),
            "mean_predicted": predicted.mean(axis=0),
            "within_share": aggregated.var["within_share"].to_numpy(),
        }
    )
    reachable = ceiling >= MIN_CEILING
    share = pcc[reachable] / ceiling[reachable]

    def correlation(one: str, other: str) -> float:
        pair = table[[one, other]].to_numpy(dtype=np.float64)
        return float(pearson(np.log1p(pair[:, :1]), np.log1p(pair[:, 1:]))[0])

    values = [
        pcc.mean(), mean_low, mean_high, np.median(pcc), genes["spearman"].mean(),
        genes["rmse"].mean(), ceiling.mean(), np.median(share) if len(share) else np.nan,
        correlation("measured_total", "predicted_total"), correlation("measured_total", "n_units"),
        correlation("measured_features", "predicted_features"),
        correlation("measured_features", "n_units"),
    ]  # fmt: skip
    scores = {name: float(v) for name, v in zip(SECTION_SCORES, values, strict=True)}
    return genes, scores
