"""How well a prediction agrees with the measurement, gene by gene, and how well it could.

All scores compare log1p-normalised values over the units of one section. The noise ceiling is
the correlation that a perfect predictor of the expected expression would reach against these
counts: the square root of the Spearman-Brown reliability of two binomial halves of the counts.
"""

import logging
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

from histoscribe.block_bootstrap import (
    MIN_BLOCKS,
    REPLICATE_COLUMNS,
    interval,
    replicate_scores,
    replicate_table,
    resample_blocks,
)
from histoscribe.errors import UserError, problem
from histoscribe.expression import log_normalise, target_total, targets
from histoscribe.provenance import recall
from histoscribe.uncertainty.judgement import grades, judge_genes

log = logging.getLogger(__name__)

GENES_AT_ONCE = 256
MIN_CEILING = 0.05
SUMMARY_COLUMNS = [
    "experiment",
    "fold",
    "sample",
    "n_units",
    "n_genes",
    "pcc_mean",
    "pcc_median",
    "pcc_top50",
    "rmse_mean",
    "auroc_mean",
    "accuracy",
    "ceiling_mean",
    "fraction_of_ceiling_median",
    "pcc_mean_low",
    "pcc_mean_high",
    "skill_mean",
    "alignment",
]
FINE_ALIGNMENTS = ("aligned", "not checked")


@dataclass(frozen=True)
class Agreement:
    """What is compared: all arrays (n_units, n_genes); `probability` that a gene is expressed."""

    measured: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of matching columns, (n_genes,); 0 where a column is constant."""
    a = a - a.mean(axis=0, dtype=np.float64)
    b = b - b.mean(axis=0, dtype=np.float64)
    spread = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    # Rounding leaves a constant column a spread of about 1e-7 of its size, never a signal.
    constant = spread <= 1e-10 * len(a)
    return np.where(constant, 0.0, (a * b).sum(axis=0) / np.where(constant, 1.0, spread))


def auroc(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of matching columns, (n_genes,); NaN where only one class is."""
    n_positive = positive.sum(axis=0).astype(np.float64)
    n_negative = len(positive) - n_positive
    rank_sum = np.where(positive, rankdata(score, axis=0), 0.0).sum(axis=0)
    pairs = n_positive * n_negative
    wins = rank_sum - n_positive * (n_positive + 1) / 2
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan)


def average_precision(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve of matching columns, (n_genes,).

    Ties count as one step. A score without information reaches the share of positives; NaN where
    there are none.
    """
    result = np.full(score.shape[1], np.nan)
    for gene in np.flatnonzero(positive.any(axis=0)):
        order = np.argsort(-score[:, gene], kind="stable")
        hits = np.cumsum(positive[order, gene])
        last_of_tie = np.append(np.diff(score[order, gene]) != 0, True)
        hits, taken = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
        result[gene] = (np.diff(hits, prepend=0) * hits / taken).sum() / hits[-1]
    return result


def score_genes(agreement: Agreement, genes: list[str]) -> pd.DataFrame:
    """Scores of each gene: pcc, spearman, rmse, auroc, auprc, brier, accuracy, fraction_nonzero.

    auprc stands beside fraction_nonzero, which a guess would reach; brier is the mean squared error
    of the probability of being expressed.
    """
    rows = []
    for start in range(0, len(genes), GENES_AT_ONCE):
        part = slice(start, start + GENES_AT_ONCE)
        measured = agreement.measured[:, part]
        predicted = agreement.predicted[:, part]
        probability = agreement.probability[:, part]
        expressed = measured > 0
        rows.append(
            pd.DataFrame(
                {
                    "gene": genes[part],
                    "pcc": pearson(measured, predicted),
                    "spearman": pearson(rankdata(measured, axis=0), rankdata(predicted, axis=0)),
                    "rmse": np.sqrt(np.mean((measured - predicted) ** 2, axis=0, dtype=np.float64)),
                    "auroc": auroc(probability, expressed),
                    "auprc": average_precision(probability, expressed),
                    "brier": np.mean((probability - expressed) ** 2, axis=0, dtype=np.float64),
                    "accuracy": np.mean((probability > 0.5) == expressed, axis=0),
                    "fraction_nonzero": expressed.mean(axis=0),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def noise_ceiling(
    counts: sparse.csr_matrix,
    umi: np.ndarray,
    target_sum: float | str,
    n_repeats: int,
    seed: int,
) -> np.ndarray:
    """The reachable PCC of each gene, (n_genes,), by count splitting.

    `counts` (n_units, n_genes) are the scored genes, `umi` (n_units,) the totals over all genes.
    Each molecule falls into one of two halves by a fair coin; each half is normalised by its own
    total and scaled to half the target, so that a molecule weighs in a half what it weighs in the
    whole; with r the correlation of the halves, Spearman-Brown gives the reliability 2r / (1 + r)
    of the whole, whose square root bounds the correlation with it. Averaged over repeats; 0 where
    the halves do not agree.
    """
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(counts)
    scored = np.asarray(counts.sum(axis=1)).ravel()
    rest = np.asarray(umi, dtype=np.int64) - scored
    agreement = np.zeros(counts.shape[1])
    for _ in range(n_repeats):
        half = counts.copy()
        half.data = rng.binomial(counts.data, 0.5).astype(counts.dtype)
        other = counts - half
        half_umi = np.asarray(half.sum(axis=1)).ravel() + rng.binomial(rest, 0.5)
        both = [(half, half_umi), (other, umi - half_umi)]
        total = target_total(umi, target_sum) / 2
        for start in range(0, counts.shape[1], GENES_AT_ONCE):
            part = slice(start, start + GENES_AT_ONCE)
            a, b = (log_normalise(c[:, part], u, total) for c, u in both)
            agreement[part] += pearson(a, b) / n_repeats
    return np.sqrt(np.clip(2 * agreement / (1 + np.clip(agreement, 0, 1)), 0, 1))


@dataclass(frozen=True)
class EvaluationSettings:
    """`ceiling_repeats` count splits; `n_replicates` resampled sections of blocks of `block_um`."""

    ceiling_repeats: int
    n_replicates: int
    block_um: float


def evaluate_section(
    predicted: ad.AnnData, units: ad.AnnData, settings: EvaluationSettings, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The gene table of one section, and its scores in resampled sections (`replicate_table`).

    The gene table holds the scores of `score_genes`, the noise ceiling, the interval of the PCC,
    pcc_low and pcc_high (NaN, and no replicates, where the section is too small for one), the
    columns of `judge_genes`, and the grade, trust.

    Counts are normalised to the total that the prediction is made for. Genes that the section did
    not measure are left out. Raises UserError when no gene is shared or the units differ.
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
    genes = list(predicted.var_names[shared])
    umi = units.obs["umi"].to_numpy()
    target_sum = recall(predicted.uns)["target_sum"]
    agreement = Agreement(
        targets(units, genes, target_sum),
        np.asarray(predicted.X)[:, shared],
        np.asarray(predicted.layers["probability"])[:, shared],
    )
    scores = score_genes(agreement, genes)
    counts = units[:, genes].X
    scores["ceiling"] = noise_ceiling(counts, umi, target_sum, settings.ceiling_repeats, seed)
    columns = np.flatnonzero(shared)
    judged = judge_genes(predicted, columns, agreement.predicted, agreement.measured, seed)
    scores = pd.concat([scores, judged], axis=1)
    scores["n_units"] = units.n_obs
    block, draws = resample_blocks(
        units.obsm["spatial"], settings.block_um, settings.n_replicates, seed
    )
    if draws.shape[1] < MIN_BLOCKS:
        log.warning("only %d blocks of %g um: no intervals", draws.shape[1], settings.block_um)
        scores[["pcc_low", "pcc_high"]] = np.nan
        table = pd.DataFrame(columns=REPLICATE_COLUMNS, dtype=float)
    else:
        replicates = replicate_scores(agreement.measured, agreement.predicted, block, draws)
        scores["pcc_low"], scores["pcc_high"] = interval(replicates.pcc, scores["pcc"].to_numpy())
        ceiling = scores["ceiling"].to_numpy()
        table = replicate_table(replicates, ceiling, ceiling >= MIN_CEILING)
    return scores.assign(trust=grades(scores)), table


def summarise(
    scores: pd.DataFrame, replicates: pd.DataFrame, baseline: pd.DataFrame | None
) -> dict[str, float]:
    """One row of `summary.tsv` from the tables of one section.

    `fraction_of_ceiling_median` is over genes whose ceiling is at least 0.05: below that the
    counts do not tell the gene from noise. `skill_mean` is the share of the squared error of
    `baseline`, the gene table of the training mean, that is gone; negative where it is worse.
    """
    reachable = scores[scores["ceiling"] >= MIN_CEILING]
    low = high = np.nan
    if len(replicates):
        low, high = interval(replicates["pcc_mean"].to_numpy(), scores["pcc"].mean())
    skill = np.nan
    if baseline is not None:
        theirs = scores["gene"].map(baseline.set_index("gene")["rmse"])
        skill = (1 - (scores["rmse"] / theirs.where(theirs > 0)) ** 2).mean()
    fraction = (reachable["pcc"] / reachable["ceiling"]).median() if len(reachable) else np.nan
    return {
        "n_units": int(scores["n_units"].iloc[0]),
        "n_genes": len(scores),
        "pcc_mean": scores["pcc"].mean(),
        "pcc_median": scores["pcc"].median(),
        "pcc_top50": scores["pcc"].nlargest(50).mean(),
        "rmse_mean": scores["rmse"].mean(),
        "auroc_mean": scores["auroc"].mean(),
        "accuracy": scores["accuracy"].mean(),
        "ceiling_mean": scores["ceiling"].mean(),
        "fraction_of_ceiling_median": fraction,
        "pcc_mean_low": low,
        "pcc_mean_high": high,
        "skill_mean": skill,
    }


def trust_of_alignment(verdict: str, trained: dict[str, str]) -> str:
    """The verdict on a scored section, in capitals where scores can't be trusted.

    `trained` holds the verdicts on the sections that the model was trained on, or that told it
    when to stop; bad ones are named.
    """
    said = verdict if verdict in FINE_ALIGNMENTS else verdict.upper()
    bad = [f"{name} {v.upper()}" for name, v in trained.items() if v not in FINE_ALIGNMENTS]
    return "; ".join([said, *(f"trained on {text}" for text in bad)])
