"""Clones of a tumour from the expression of its units, told apart only where positions agree.

Two groups of units differ in programs of expression, whose genes lie all over the genome, or in
copies, which shift neighbouring genes alike. Groups are therefore found in one half of the
molecules, and believed where the other half shows neighbours shifting together.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import logsumexp, softmax
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from histoscribe.genome.contrast import LN2, Contrast, alignment, contrast, summed
from histoscribe.genome.segments import (
    GAIN,
    LEAST_HELD_OUT_Z,
    LEAST_Z,
    LOSS,
    SegmentSettings,
    cut_genome,
    mean_of,
)

N_COMPONENTS = 10
MIXED_COMPONENTS = 5
SINGLE_COMPONENTS = 4
N_ROUNDS = 5  # of telling each unit's clone anew


@dataclass(frozen=True)
class CloneSettings:
    """When units are two clones: `least_units` in each, and `p_below` of the test of positions."""

    least_units: int = 30
    least_share: float = 0.05
    p_below: float = 0.01
    n_shuffles: int = 1999
    most_clones: int = 8


@dataclass(frozen=True)
class Clones:
    """Clones of n_units.

    Attributes:
        clone: (n_units,) from 0 for the largest. posterior: (n_units,) of that clone, were counts
            Poisson's: they vary more, so it is too sure.
        of_half: (n_units,) the same clones as one half of the molecules tells them.
        p: (n_clones,) of the last split that made the clone, 1 where there is but one clone.
    """

    clone: np.ndarray
    posterior: np.ndarray
    of_half: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class Genome:
    """Genes in order: those of each chromosome, those of each window (n_windows, n_genes), what is
    `known` of each (n_genes, k) that shifts it, and what a segment must be.
    """

    by_chromosome: list[np.ndarray]
    windows: sparse.csr_matrix
    known: np.ndarray
    segments: SegmentSettings

    def without_known(self, profile: np.ndarray) -> np.ndarray:
        """Profiles (n_units, n_windows) less what follows from what is known of windows' genes."""
        n_genes = np.asarray(self.windows.sum(axis=1))
        design = np.column_stack([np.ones(len(n_genes)), (self.windows @ self.known) / n_genes])
        effect, *_ = np.linalg.lstsq(design, profile.T, rcond=None)
        return profile - (design[:, 1:] @ effect[1:]).T


def find_clones(
    profile_of: Callable[[np.ndarray], np.ndarray],
    one: sparse.csr_matrix,
    other: sparse.csr_matrix,
    few: sparse.csr_matrix,
    genome: Genome,
    settings: CloneSettings,
    seed: int,
) -> Clones:
    """Clones of units from two halves of their molecules, `one` and `other` (n_units, n_genes).

    `profile_of` some units gives their profiles (n, n_windows), by molecules of one half; `few`
    (n_units, n_units) is 1 for a few neighbours. Units are split in two again and again, by the
    split of the profile (a mixture on its components, or on one of them) whose genes shift most
    with their neighbours in the other half, as long as p stays below and a segment differs in both
    halves. After each split every unit's clone is told anew, and at last by all molecules, by the
    segments that clones differ in.
    """
    label, p = np.zeros(one.shape[0], dtype=np.int64), [1.0]
    of_few, waiting = few @ one, [0]
    while waiting and len(p) < settings.most_clones:
        number = waiting.pop(0)
        own = np.flatnonzero(label == number)
        least = max(settings.least_units, settings.least_share * len(own))
        if len(own) < 2 * least:
            continue
        split, chance = _best_split(
            profile_of(own), one[own], other[own], genome, least, settings.n_shuffles, seed
        )
        if split is None or chance >= settings.p_below:
            continue
        label[own[split]] = len(p)
        label, _ = _told_anew(label, of_few, one, genome)
        p[number] = chance
        waiting += [number, len(p)]
        p.append(chance)
    counts = one + other
    clone, posterior = _told_anew(label, few @ counts, counts, genome)
    order = np.argsort(-np.bincount(clone, minlength=len(p)), kind="stable")
    rank = np.argsort(order)
    return Clones(rank[clone], posterior, rank[label], np.array(p)[order])


def _best_split(
    profile: np.ndarray,
    one: sparse.csr_matrix,
    other: sparse.csr_matrix,
    genome: Genome,
    least: float,
    n_shuffles: int,
    seed: int,
) -> tuple[np.ndarray | None, float]:
    """A mask (n_units,) of one of two groups, and p of the best of the splits that were tried."""
    if profile.shape[1] < 2:  # less its median, one window says nothing
        return None, 1.0
    parts = components(genome.without_known(profile))
    tried = [parts[:, :MIXED_COMPONENTS]]
    tried += [parts[:, [i]] for i in range(min(SINGLE_COMPONENTS, parts.shape[1]))]
    masks = [_in_two(columns, seed) for columns in tried]
    masks = [mask for mask in masks if min(mask.sum(), (~mask).sum()) >= least]
    if not masks:
        return None, 1.0
    found, again = (
        [contrast(summed(half, mask), summed(half, ~mask), genome.known) for mask in masks]
        for half in (one, other)
    )
    far, p = alignment(again, genome.windows, n_shuffles, seed)
    # A split without a segment is no split, but had its chance, which p counts.
    able = [_has_segment(*halves, genome) for halves in zip(found, again, strict=True)]
    if not any(able):
        return None, 1.0
    best = int(np.where(able, far, -np.inf).argmax())
    return masks[best], float(p[best])


def _has_segment(found: Contrast, again: Contrast, genome: Genome) -> bool:
    """Whether a segment differs by `found`, and as well by `again`."""
    for genes in cut_genome(found, genome.by_chromosome, genome.segments.least_genes):
        (mean, error), (held, held_error) = mean_of(found, genes), mean_of(again, genes)
        is_far = abs(mean) >= max(genome.segments.least_log2, LEAST_Z * error)
        if is_far and held * np.sign(mean) >= LEAST_HELD_OUT_Z * held_error:
            return True
    return False


def components(profile: np.ndarray) -> np.ndarray:
    """Leading principal components of profiles (n_units, n_windows), (n_units, at most 10)."""
    n_components = min(N_COMPONENTS, *(size - 1 for size in profile.shape))
    return PCA(n_components, svd_solver="covariance_eigh").fit_transform(profile)


def _in_two(columns: np.ndarray, seed: int) -> np.ndarray:
    """Whether each unit (n_units, k) is of the smaller of two Gaussians of one shape."""
    mixture = GaussianMixture(2, covariance_type="tied", n_init=3, random_state=seed)
    found = _quietly(mixture, columns).predict(columns).astype(bool)
    return found if found.mean() <= 0.5 else ~found


def _told_anew(
    label: np.ndarray, pooled: sparse.csr_matrix, counts: sparse.csr_matrix, genome: Genome
) -> tuple[np.ndarray, np.ndarray]:
    """Clones and their posterior (n_units,), begun from `label`.

    A clone's composition is that of all units, but for the segments in which it differs from the
    other clones: the log likelihood of `pooled` counts is then linear in these.
    """
    n_clones = int(label.max()) + 1
    clone, posterior = label, np.ones(len(label))
    if n_clones == 1:
        return clone, posterior
    usual = np.log(np.asarray(counts.sum(axis=0)).ravel() + 0.5)
    for _ in range(N_ROUNDS):
        sums = np.array([summed(counts, clone == i) for i in range(n_clones)])
        rate = usual + LN2 * np.array([_shifts(sums, i, genome) for i in range(n_clones)])
        rate -= logsumexp(rate, axis=1, keepdims=True)
        likelihood = softmax(np.asarray(pooled @ rate.T), axis=1)
        found = likelihood.argmax(axis=1)
        if len(np.unique(found)) < n_clones:  # molecules of all don't show it: the half's it stays
            break
        clone, posterior = found, likelihood.max(axis=1)
    return clone, posterior


def _shifts(sums: np.ndarray, number: int, genome: Genome) -> np.ndarray:
    """Log2 ratio (n_genes,) of a clone to the mean of all, in segments that differ; else 0."""
    n_clones = len(sums)
    of = contrast(sums[number], sums.sum(axis=0) - sums[number], genome.known)
    shifts = np.zeros(sums.shape[1])
    for genes in cut_genome(of, genome.by_chromosome, genome.segments.least_genes):
        mean, error = mean_of(of, genes)
        if abs(mean) >= LEAST_Z * error:
            shifts[genes] = mean * (n_clones - 1) / n_clones
    return shifts


def _quietly(mixture: GaussianMixture, columns: np.ndarray) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(columns.astype(np.float64))


def clone_names(n_clones: int) -> list[str]:
    """What clones are called, from the largest."""
    return [f"clone {number + 1}" for number in range(n_clones)]


def found_again(clone: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """In which share of `others` each clone is found, (n_clones,): one holds most of both's units.

    `clone` and each of the others (n_units,) number the clones of the same units; most is more than
    half of the units that are of either (Jaccard).
    """
    again = np.zeros((len(others), int(clone.max()) + 1))
    for row, other in zip(again, others, strict=True):
        shared = pd.crosstab(clone, other).to_numpy()
        either = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
        row[:] = (shared / either).max(axis=1) > 0.5
    return again.mean(axis=0) if len(others) else np.full(again.shape[1], np.nan)


def clone_table(clones: Clones, segments: pd.DataFrame, others: list[np.ndarray]) -> pd.DataFrame:
    """A row a clone: n_units, share of units, p of its split; gains and losses of `segments`.

    `others` are the clones (n_units,) that other halvings of the molecules show.
    """
    names = clone_names(len(clones.p))
    size = np.bincount(clones.clone, minlength=len(names))
    of = [clones.clone == number for number in range(len(names))]
    called = segments[segments["call"] != ""].groupby(["clone", "call"]).size()
    return pd.DataFrame(
        {
            "clone": names,
            "n_units": size,
            "share": size / size.sum(),
            "p": clones.p,
            "posterior_mean": [clones.posterior[own].mean() for own in of],
            "same_by_half": [(clones.of_half[own] == i).mean() for i, own in enumerate(of)],
            "found_again": found_again(clones.clone, others),
            "n_gains": [int(called.get((name, GAIN), 0)) for name in names],
            "n_losses": [int(called.get((name, LOSS), 0)) for name in names],
        }
    )
