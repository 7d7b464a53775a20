"""The one row of `summary.tsv` that an experiment has in a section."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.block_bootstrap import interval
from histoscribe.evaluation.ceiling import MIN_CEILING
from histoscribe.tables import read_table

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
    "pcc_within_type_mean",
    "pcc_beyond_total_mean",
    "deviance_explained_mean",
    "moran_measured_mean",
    "moran_predicted_mean",
    "ssim_mean",
    "variance_ratio_mean",
    "gene_correlation_kept",
    "gene_correlation_reachable",
    "calibration_error",
    "overestimation_share",
]
AVERAGED = [c.removesuffix("_mean") for c in SUMMARY_COLUMNS[17:24]]
SMOOTHED = re.compile(r"(pcc|ceiling)_([0-9.e+]+um)")
FINE_ALIGNMENTS = ("aligned", "not checked")


def summarise(
    scores: pd.DataFrame,
    replicates: pd.DataFrame,
    section: pd.DataFrame,
    baseline: pd.DataFrame | None,
) -> dict[str, float]:
    """One row of `summary.tsv` from the tables of one section.

    `fraction_of_ceiling_median` is over genes whose ceiling is at least 0.05: below that the
    counts do not tell the gene from noise. `skill_mean` is the share of the squared error of
    `baseline`, the gene table of the training mean, that is gone; negative where it is worse.
    Means leave out genes for which a score is not defined. pcc_mean_{radius}um and
    ceiling_mean_{radius}um come last, for the radii at which the section was scored.
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
    smoothed = {
        f"{match[1]}_mean_{match[2]}": scores[match[0]].mean()
        for match in map(SMOOTHED.fullmatch, scores.columns)
        if match
    }
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
        **{f"{name}_mean": scores[name].mean() for name in AVERAGED},
        **section.iloc[0].to_dict(),
        **smoothed,
    }


def summary_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows of all sections under SUMMARY_COLUMNS, then the scores at each radius that any has."""
    smoothed = {name for row in rows for name in row} - set(SUMMARY_COLUMNS)
    radius_of = {name: float(name.rsplit("_", 1)[1].removesuffix("um")) for name in smoothed}
    # pcc beside its ceiling, from fine to coarse.
    last = sorted(smoothed, key=lambda name: (radius_of[name], not name.startswith("pcc")))
    return pd.DataFrame(rows, columns=[*SUMMARY_COLUMNS, *last])


def trust_of_alignment(verdict: str, trained: dict[str, str]) -> str:
    """The verdict on a scored section, in capitals where scores can't be trusted.

    `trained` holds the verdicts on the sections that the model was trained on, or that told it
    when to stop; bad ones are named.
    """
    said = verdict if verdict in FINE_ALIGNMENTS else verdict.upper()
    bad = [f"{name} {v.upper()}" for name, v in trained.items() if v not in FINE_ALIGNMENTS]
    return "; ".join([said, *(f"trained on {text}" for text in bad)])


def gather_scores(evaluated: list[tuple[str, str, str]], paths: list[Path]) -> pd.DataFrame:
    """The scores of genes of many evaluations, with columns experiment, fold and sample.

    `evaluated` names (experiment, fold, sample) of each of `paths`.
    """
    tables = [
        read_table(path).assign(experiment=experiment, fold=fold, sample=sample)
        for (experiment, fold, sample), path in zip(evaluated, paths, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)
