"""What a bundle knows of its own errors, from training units that were held out."""

import logging
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from histoscribe.block_bootstrap import MIN_BLOCKS, interval, replicate_scores, resample_blocks
from histoscribe.evaluation.ceiling import noise_ceiling
from histoscribe.evaluation.scores import pearson
from histoscribe.models import TrainingUnits
from histoscribe.uncertainty.conformal import fit_intervals
from histoscribe.uncertainty.domain import fit_domain
from histoscribe.uncertainty.held_out import (
    HeldOut,
    held_out_predictions,
    learns_from,
    spatial_folds,
)

log = logging.getLogger(__name__)

GENES_AT_ONCE = 256  # in double precision
CEILING_REPEATS = 2
N_REPLICATES = 200
# Scores by which genes are graded; each becomes the bundle's tensor unseen_{name}.
SCORES = ("pcc", "pcc_low", "pcc_high", "ceiling", "skill")


@dataclass(frozen=True)
class CalibrationSettings:
    """`miscoverage` of the intervals; blocks of `block_um` are held out; `target_sum` of counts."""

    miscoverage: float
    block_um: float
    target_sum: float | str


def calibrate(
    training: TrainingUnits,
    counts: sparse.csr_matrix,
    umi: np.ndarray,
    kind: str,
    model_settings: dict,
    tensors: dict[str, np.ndarray],
    settings: CalibrationSettings,
    seed: int,
) -> dict[str, np.ndarray]:
    """Tensors of intervals, of the domain, and of the scores by which genes are graded.

    `counts` (n_units, n_genes) and totals `umi` (n_units,) are those of the training units. A
    part that needs held-out blocks is missing where the sections are too small to hold any out.
    """
    among = learns_from(training, kind)
    folds = spatial_folds(training, among, settings.block_um, seed)
    found = {"training_mean": training.expression[among].mean(axis=0, dtype=np.float64)}
    if folds:
        found |= fit_domain(training.features, folds, seed)
    held_out = held_out_predictions(training, kind, model_settings, tensors, folds)
    for part, missing in (
        ("domain", not folds),
        ("intervals and grades", held_out is None),
    ):
        if missing:
            log.warning("no %s: no block of %g um can be held out", part, settings.block_um)
    if held_out is not None:
        found |= fit_intervals(
            held_out.expression,
            training.expression[held_out.rows],
            held_out.fit_of,
            settings.miscoverage,
        ).arrays()
        found["miscoverage"] = np.array([settings.miscoverage])
        scores = unseen_scores(held_out, training, counts, umi, settings, seed)
        found |= {f"unseen_{name}": values for name, values in scores.items()}
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def unseen_scores(
    held_out: HeldOut,
    training: TrainingUnits,
    counts: sparse.csr_matrix,
    umi: np.ndarray,
    settings: CalibrationSettings,
    seed: int,
) -> dict[str, np.ndarray]:
    """SCORES of each gene over the held-out units, (n_genes,) each.

    PCC and ceiling are taken section by section and averaged by units, so that what differs between
    sections earns nothing. Blocks of half the held-out ones' edge are resampled for the interval,
    NaN where there are too few.
    """
    rows, predicted = held_out.rows, held_out.expression
    pcc, ceiling, replicates, n_blocks = 0.0, 0.0, 0.0, 0
    for number, section in enumerate(np.unique(training.section[rows])):
        here = np.flatnonzero(training.section[rows] == section)
        at, share = rows[here], len(here) / len(rows)
        a, b = training.expression[at], predicted[here]
        parts = np.array_split(np.arange(a.shape[1]), -(-a.shape[1] // GENES_AT_ONCE))
        pcc = pcc + share * np.concatenate([pearson(a[:, part], b[:, part]) for part in parts])
        ceiling = ceiling + share * noise_ceiling(
            counts[at], umi[at], settings.target_sum, CEILING_REPEATS, seed
        )
        block, draws = resample_blocks(
            training.xy_um[at], settings.block_um / 2, N_REPLICATES, seed + number
        )
        replicates = replicates + share * replicate_scores(a, b, block, draws).pcc
        n_blocks += draws.shape[1]
    low, high = interval(replicates, pcc)
    if n_blocks < MIN_BLOCKS:
        low, high = np.full_like(pcc, np.nan), np.full_like(pcc, np.nan)
    error, of_mean = np.zeros(len(pcc)), np.zeros(len(pcc))
    for fit, mean in enumerate(held_out.mean):
        here = held_out.fit_of == fit
        measured = training.expression[rows[here]]
        error += ((measured - predicted[here]) ** 2).sum(axis=0, dtype=np.float64)
        of_mean += ((measured - mean.astype(np.float32)) ** 2).sum(axis=0, dtype=np.float64)
    skill = 1 - error / np.where(of_mean > 0, of_mean, np.inf)
    skill[of_mean == 0] = 0.0
    return dict(zip(SCORES, (pcc, low, high, ceiling, skill), strict=True))
