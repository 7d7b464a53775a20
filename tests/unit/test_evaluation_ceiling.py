"""What is reachable: estimates from counts alone, against simulations whose truth is known."""

import numpy as np
import pytest
from scipy import ndimage, sparse

from histoscribe.evaluation.ceiling import (
    CountHalf,
    ceiling_of,
    gene_slices,
    noise_ceiling,
    split_counts,
)
from histoscribe.evaluation.gene_correlation import (
    between,
    correlation_kept,
    correlation_matrix,
    correlation_reachable,
    trusted_genes,
)
from histoscribe.evaluation.scores import pearson
from histoscribe.evaluation.smoothing import pooled_measured, pooled_predicted, pools_of
from histoscribe.expression import log_normalise

SIDE, N_GENES, SPACING_UM = 100, 40, 8.0


def simulated(depth, seed=0):
    """Positions, counts and true shares of the molecules, on a lattice of 8 um."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 4) for _ in range(3)]
    fields = np.stack([field.ravel() / field.std() for field in fields], axis=1)
    state = np.sqrt(0.7) * fields + np.sqrt(0.3) * rng.normal(size=fields.shape)
    rate = np.exp(state @ rng.normal(size=(3, N_GENES)) * 0.4 + rng.normal(size=N_GENES))
    share = rate / rate.sum(axis=1, keepdims=True)
    counts = rng.poisson(share * depth * rng.lognormal(0, 0.3, (SIDE**2, 1))).astype(np.int32)
    row, column = np.mgrid[:SIDE, :SIDE]
    return SPACING_UM * np.column_stack([column.ravel(), row.ravel()]), counts, share


@pytest.mark.parametrize("radius_um", [None, 8, 16, 32, 64])
@pytest.mark.parametrize("depth", [50, 200, 1000])
def test_ceiling_is_what_the_truth_scores(depth, radius_um):
    """The ceiling estimates the correlation of the expected expression with the counts."""
    xy_um, counts, share = simulated(depth)
    umi = counts.sum(axis=1)
    total = float(np.median(umi))
    truth = np.log1p(share * total)
    if radius_um is None:
        pool = None
        reached = pearson(log_normalise(counts, umi, total), truth)
    else:
        (pool,) = pools_of(xy_um, [radius_um], seed=0)
        measured = pooled_measured(pool, counts.astype(np.float32), umi, total)
        reached = pearson(measured, pooled_predicted(pool, truth, umi))
    ceiling = noise_ceiling(sparse.csr_matrix(counts), umi, total, 5, seed=0, pool=pool)
    assert abs((ceiling - reached).mean()) < 0.015
    assert np.abs(ceiling - reached).mean() < 0.02


def test_ceiling_of_pure_noise_is_near_zero():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(0.5, (5000, 30)))
    umi = np.asarray(counts.sum(axis=1)).ravel()
    assert noise_ceiling(counts, umi, 1e4, 3, seed=0).mean() < 0.12


def test_every_molecule_falls_into_one_half():
    rng = np.random.default_rng(0)
    counts = sparse.csc_matrix(rng.poisson(3, (500, 6)))
    counts[0, 0] = 1000  # more than a byte holds
    umi = np.asarray(counts.sum(axis=1)).ravel() + rng.poisson(20, 500)
    for half in split_counts(counts, umi, 3, seed=0):
        values = half.counts.toarray().astype(int)
        assert (values >= 0).all()
        assert (values <= counts.toarray()).all()
        assert (half.umi >= values.sum(axis=1)).all()
        assert 400 < values[0, 0] < 600
        assert half.umi.sum() == pytest.approx(umi.sum() / 2, rel=0.02)


def test_ceilings_do_not_depend_on_how_many_genes_stand_dense(monkeypatch):
    xy_um, counts, _ = simulated(50)
    counts, umi = sparse.csc_matrix(counts), counts.sum(axis=1)
    (pool,) = pools_of(xy_um, [16], seed=0)
    halves = split_counts(counts, umi, 2, seed=0)
    at_once = ceiling_of(counts, umi, halves, 50.0, pool)
    monkeypatch.setattr("histoscribe.evaluation.ceiling.VALUES_AT_ONCE", 70_000)
    assert len(gene_slices(*counts.shape)) == 6
    np.testing.assert_allclose(ceiling_of(counts, umi, halves, 50.0, pool), at_once, atol=1e-6)


def test_parts_of_the_genes_are_all_of_them():
    for n_units in (10, 57_600, 800_000, 10**9):
        parts = gene_slices(n_units, 1820)
        assert np.concatenate([np.arange(1820)[part] for part in parts]).tolist() == [*range(1820)]
    assert max(part.stop - part.start for part in gene_slices(800_000, 1820)) == 10


@pytest.mark.parametrize("depth", [50, 200, 1000])
def test_reachable_gene_correlation_is_what_the_truth_keeps(depth):
    _, counts, share = simulated(depth)
    umi = counts.sum(axis=1)
    total = float(np.median(umi))
    counts = sparse.csc_matrix(counts)
    halves = split_counts(counts, umi, 5, seed=0)
    ceiling = ceiling_of(counts, umi, halves, total)
    chosen = trusted_genes(ceiling)
    assert len(chosen) > 30
    counts, truth = counts[:, chosen], np.log1p(share * total)[:, chosen]
    half = CountHalf(halves[0].counts[:, chosen], halves[0].umi)
    measured = between(counts, umi, total)
    kept = correlation_kept(measured, correlation_matrix([truth]))
    reachable = correlation_reachable(counts, umi, half, total, ceiling[chosen])
    assert reachable == pytest.approx(kept, abs=0.03)
    strangers = np.random.default_rng(1).normal(size=truth.shape)
    assert correlation_kept(measured, correlation_matrix([strangers])) < 0.2


def test_correlation_matrix_of_parts_is_numpys():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 5)) + 3
    values[:, 2] += values[:, 0]
    parts = (values[:50], values[50:51], values[51:])
    np.testing.assert_allclose(correlation_matrix(parts), np.corrcoef(values.T), atol=1e-9)
    np.testing.assert_allclose(
        correlation_matrix([sparse.csr_matrix(values)]), np.corrcoef(values.T), atol=1e-9
    )
    values[:, 1] = 7
    assert (correlation_matrix([values])[1] == 0).all()
