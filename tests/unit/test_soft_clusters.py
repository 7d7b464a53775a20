"""Sections brought onto each other cluster by cluster."""

import numpy as np
import pytest

from histoscribe.integration.soft_clusters import _shifts, mix_sections

WIDTH = 6
CENTRES = 6 * np.eye(WIDTH)


def drawn(n_of, moved_by, seed=0, spread=0.5):
    """Units (n, WIDTH) of clusters, `n_of` (n_sections, n_clusters) each; section and cluster.

    `moved_by` (n_sections, n_clusters, WIDTH); `spread` of units within a cluster.
    """
    rng = np.random.default_rng(seed)
    parts, section, cluster = [], [], []
    for s, numbers in enumerate(n_of):
        for c, n in enumerate(numbers):
            parts.append(CENTRES[c] + moved_by[s, c] + spread * rng.standard_normal((n, WIDTH)))
            section += n * [s]
            cluster += n * [c]
    return np.vstack(parts).astype(np.float32), np.array(section), np.array(cluster)


def means(latent, *groups):
    """Mean of each group, by its numbers."""
    keys = np.column_stack(groups)
    return {tuple(k): latent[(keys == k).all(axis=1)].mean(axis=0) for k in np.unique(keys, axis=0)}


def test_each_cluster_has_a_shift_of_its_own():
    apart = 1.5 * np.random.default_rng(1).standard_normal((1, 3, WIDTH))
    latent, section, cluster = drawn([[200] * 3] * 2, np.vstack([0 * apart, apart]))
    mixed = means(mix_sections(latent, section, 2, 1.0, seed=0), section, cluster)
    before = means(latent, section, cluster)
    for c in range(3):
        left = np.linalg.norm(mixed[1, c] - mixed[0, c])
        assert left < 0.25 * np.linalg.norm(before[1, c] - before[0, c])
        for other in range(c):
            assert np.linalg.norm(mixed[0, c] - mixed[0, other]) > 5


@pytest.mark.parametrize("spread", [0.5, 1.0, 1.5])
def test_what_one_section_has_alone_stays_where_it_is(spread):
    latent, section, cluster = drawn(
        [[200, 200, 0], [200, 200, 200]], np.zeros((2, 3, WIDTH)), spread=spread
    )
    mixed = mix_sections(latent, section, 3, 1.0, seed=0)
    alone = cluster == 2
    assert np.linalg.norm((mixed - latent)[alone], axis=1).mean() < 0.4
    kept = means(mixed, cluster)
    assert min(np.linalg.norm(kept[2,] - kept[c,]) for c in (0, 1)) > 6


def test_a_difference_in_composition_is_not_taken_for_one_of_sections():
    latent, section, cluster = drawn([[360, 40], [40, 360]], np.zeros((2, 2, WIDTH)))
    mixed = means(mix_sections(latent, section, 1, 1.0, seed=0), section, cluster)
    for s in (0, 1):
        assert np.linalg.norm(mixed[s, 0] - mixed[s, 1]) > 7  # of 8.5


def test_shifts_are_those_of_ridge_regressions():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((90, 4)).astype(np.float32)
    is_of = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 90)]
    membership = rng.dirichlet(np.ones(5), 90).astype(np.float32)
    expected = np.zeros((90, 4))
    design = np.column_stack([np.ones(90), is_of])
    for k in range(5):
        weighted = design * membership[:, [k]]
        penalty = np.diag([0.0, 1.0, 1.0, 1.0])
        fitted = np.linalg.solve(design.T @ weighted + penalty, weighted.T @ latent)
        expected += membership[:, [k]] * (is_of @ fitted[1:])
    assert np.allclose(_shifts(latent, membership, is_of), expected, atol=1e-4)


@pytest.mark.parametrize("n", [1, 12])
def test_few_units_and_none_to_move(n):
    latent, section, _ = drawn([[n], [n]], np.zeros((2, 1, WIDTH)))
    assert np.isfinite(mix_sections(latent, section, 2, 1.0, seed=0)).all()
    assert np.array_equal(mix_sections(latent, section, 0, 1.0, seed=0), latent)
    assert np.isfinite(mix_sections(0 * latent, section, 2, 1.0, seed=0)).all()


def test_mixing_is_repeated_by_its_seed():
    latent, section, _ = drawn([[80] * 3] * 2, np.ones((2, 3, WIDTH)) * [[[0]], [[0.5]]])
    one, again = (mix_sections(latent, section, 2, 1.0, seed=3) for _ in range(2))
    assert np.array_equal(one, again)
