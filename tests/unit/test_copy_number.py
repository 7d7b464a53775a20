"""Counts pooled and halved, contrasts along the genome, and how these are cut into segments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_cells import (
    GENES_OF_EACH,
    N_GENES,
    change_of_arms,
    change_of_program,
    made_up_places,
)
from scipy import sparse, stats

from histoscribe.genome.contrast import (
    Contrast,
    alignment,
    contrast,
    summed,
    weighted_median,
    window_matrix,
)
from histoscribe.genome.pooling import halves, n_pooled, neighbour_pools
from histoscribe.genome.profile import window_places
from histoscribe.genome.segments import SegmentSettings, cut, cut_genome, find_segments, mean_of

PLACES = made_up_places()
WINDOWS = window_matrix(PLACES, window_places(PLACES, 10, 1), 1)


def two_sides(change, seed, half=0, umi=30_000):
    """Summed counts of two groups of cells that differ by `change`; halves are other molecules."""
    rng = np.random.default_rng(seed)
    rate = rng.lognormal(0, 0.7, N_GENES)
    own = rng.lognormal(0, 0.2, N_GENES)  # genes differ for reasons of their own
    sides = rate * change * own, rate
    rng = np.random.default_rng([seed, half])
    return [rng.poisson(side / side.sum() * umi) for side in sides]


def two_halves(change, seed):
    return [contrast(*two_sides(change, seed, half)) for half in (0, 1)]


def test_pools_are_of_the_nearest_of_one_kind():
    rng = np.random.default_rng(0)
    xy_um, kind = rng.uniform(0, 100, (60, 2)), np.repeat(["a", "b", "rare"], [40, 17, 3])
    pools = neighbour_pools(xy_um, kind, 5).toarray()
    assert set(np.unique(pools)) == {0, 1} and (np.diag(pools) == 1).all()
    assert not pools[kind[:, None] != kind[None, :]].any()
    assert (pools[kind != "rare"].sum(axis=1) == 5).all()
    assert (pools[kind == "rare"].sum(axis=1) == 3).all()
    apart = np.linalg.norm(xy_um[:, None] - xy_um[None], axis=2)
    for unit in range(40):
        assert set(np.flatnonzero(pools[unit])) == set(np.argsort(apart[unit, :40])[:5])


def test_a_pool_of_one_is_the_unit_even_where_two_share_a_place():
    pools = neighbour_pools(np.zeros((6, 2)), np.array(["a"] * 4 + ["b"] * 2), 1)
    assert (pools != sparse.identity(6)).nnz == 0


@pytest.mark.parametrize(("umi", "n"), [([100] * 5, 20), ([9000] * 5, 1), ([2] * 5, 30)])
def test_so_many_are_pooled_that_they_hold_enough(umi, n):
    assert n_pooled(np.array(umi), 2000, 30) == n


def test_halves_sum_to_the_whole_and_are_independent():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(rng.lognormal(0, 1, (200, 40))))
    given = counts.copy()
    one, other = halves(counts, 3)
    assert (counts != given).nnz == 0
    assert (one + other != counts).nnz == 0
    assert min(one.data.min(), other.data.min()) >= 0
    again = halves(counts, 3)[0]
    assert (one != again).nnz == 0 and (one != halves(counts, 4)[0]).nnz > 0

    constant = sparse.csr_matrix(rng.poisson(4, (20_000, 1)))
    one, other = (half.toarray().ravel() for half in halves(constant, 0))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert one.mean() == pytest.approx(2, abs=0.05) and one.var() == pytest.approx(2, abs=0.1)


def test_summed_are_counts_of_the_masked_units():
    counts = sparse.csr_matrix(np.arange(12).reshape(4, 3))
    of = np.array([True, False, True, False])
    assert summed(counts, of).tolist() == [6, 8, 10]


def test_a_contrast_is_centred_on_the_usual_gene():
    one, other = two_sides(change_of_arms(PLACES), 0)
    of = contrast(one, 3 * other)
    assert weighted_median(of.log2_ratio, of.weight) == pytest.approx(0, abs=1e-9)
    for number, factor in ((2, 1.5), (5, 0.5), (1, 1.0)):
        genes = np.flatnonzero(PLACES["chromosome"] == f"chr{number}")
        mean, error = mean_of(of, genes)
        assert mean == pytest.approx(np.log2(factor), abs=max(4 * error, 0.15)), number
    # Rare genes say less.
    assert stats.spearmanr(of.weight, one + other).statistic > 0.9


def test_weighted_medians_lie_where_half_of_the_weight_does():
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1, 1])) == 3


def p_of_programs(seeds):
    """Of contrasts by a program of genes each, which is no change of copies."""
    of = [contrast(*two_sides(change_of_program(seed), seed)) for seed in seeds]
    return alignment(of, WINDOWS, 199, seeds[0])[1]


def test_arms_are_aligned_and_programs_are_not():
    arms = [
        alignment([contrast(*two_sides(change_of_arms(PLACES), seed))], WINDOWS, 199, seed)
        for seed in range(5)
    ]
    assert all(p == 1 / 200 and far > 5 for far, p in arms)
    programs = np.array([p_of_programs([seed])[0] for seed in range(150)])
    assert stats.kstest(programs, "uniform").pvalue > 0.01
    assert (programs < 0.05).mean() < 0.11  # a binomial of 150 at 0.05 is below in 99.9 %


def test_marker_genes_are_clipped():
    one, other = two_sides(np.ones(N_GENES), 0)
    one[7] *= 1000
    of = contrast(one, other)
    assert 1 <= of.log2_ratio[7] < 3


def test_windows_hold_neighbours_of_one_chromosome():
    places = made_up_places(3, 25)
    windows = window_places(places, 10, 3)
    matrix = window_matrix(places, windows, 3).toarray()
    assert matrix.shape == (3 * 6, 75) and (matrix.sum(axis=1) == 10).all()
    for row, window in zip(matrix, windows.itertuples(), strict=True):
        own = places[row == 1]
        assert own["chromosome"].unique().tolist() == [window.chromosome]
        assert (own["start"].min(), own["end"].max()) == (window.start, window.end)
    few = window_places(made_up_places(2, 6), 10, 1)
    assert few["n_genes"].tolist() == [6, 6]


def test_breakpoints_are_recovered():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = np.repeat([0.0, 0.8, 0.0, -0.7], [50, 20, 40, 30]) + rng.normal(0, 0.2, 140)
        ends = np.array([stop for _, stop in cut(values, np.full(140, 25.0), 8)])
        assert all(np.abs(ends - planted).min() <= 2 for planted in (50, 70, 110, 140))
        assert len(ends) <= 5
        assert len(cut(rng.normal(0, 0.2, 140), np.full(140, 25.0), 8)) <= 2


def test_a_cut_goes_by_weight():
    values = np.tile([0.0, 3.0], 20) * np.repeat([0, 1], 20)
    loose = cut(values, np.tile([16.0, 1e-4], 20), 5)  # what stands out weighs nothing
    assert loose == [(0, 40)]
    assert len(cut(values, np.full(40, 16.0), 5)) > 1


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_segments_cover_the_chromosome(data):
    n, least = data.draw(st.integers(0, 80)), data.draw(st.integers(1, 12))
    some = st.lists(st.floats(-3, 3), min_size=n, max_size=n)
    values = np.array(data.draw(some), dtype=float)
    weight = np.exp(np.array(data.draw(some), dtype=float))
    pieces = cut(values, weight, least)
    covered = [i for first, stop in pieces for i in range(first, stop)]
    assert covered == list(range(n))
    assert all(stop - first >= min(least, n) for first, stop in pieces)


def test_no_segment_crosses_a_chromosome():
    of = contrast(*two_sides(change_of_arms(PLACES), 1))
    by_chromosome = list(PLACES.groupby("chromosome", sort=False).indices.values())
    pieces = cut_genome(of, by_chromosome, 8)
    assert np.array_equal(np.concatenate(pieces), np.arange(N_GENES))
    assert all(piece[0] // GENES_OF_EACH == piece[-1] // GENES_OF_EACH for piece in pieces)


def called(found, held_out, seed=0):
    table = find_segments(found, held_out, PLACES, SegmentSettings(), seed)
    return table[table["call"] != ""].set_index("chromosome")["call"].to_dict()


def test_segments_are_called_where_both_halves_agree():
    planted = change_of_arms(PLACES)
    found, held_out = two_halves(planted, 0)
    assert called(found, held_out) == {"chr2": "gain", "chr5": "loss"}
    nothing = contrast(*two_sides(np.ones(N_GENES), 2))
    assert called(found, nothing) == {}
    assert called(nothing, found) == {}
    opposite = Contrast(-held_out.log2_ratio, held_out.weight)
    assert called(found, opposite) == {}


def test_a_table_of_segments_tells_where_they_lie():
    found, held_out = two_halves(change_of_arms(PLACES), 0)
    table = find_segments(found, held_out, PLACES, SegmentSettings(), 0)
    assert table["n_genes"].sum() == N_GENES
    gain = table[table["call"] == "gain"].iloc[0]
    assert (gain["start"], gain["end"]) == (1, 59_050_001)
    assert gain["log2_ratio"] == pytest.approx(np.log2(1.5), abs=0.2)
    assert gain["held_out_log2_ratio"] == pytest.approx(np.log2(1.5), abs=0.25)


def test_the_best_of_several_pays_for_those_that_differ():
    """As often as any single one by chance; and once for two of the same."""
    best = np.array([p_of_programs(range(3 * seed, 3 * seed + 3)).min() for seed in range(100)])
    assert stats.kstest(best, "uniform").pvalue > 0.01
    of = contrast(*two_sides(change_of_program(7), 7))
    alone, twice = (alignment([of] * n, WINDOWS, 199, 0)[1] for n in (1, 2))
    assert alone[0] == twice[0] == twice[1]


def test_few_shuffles_are_as_fair():
    """Of 400, p <= 0.05 in 35 at most 99.9 times of 100; scaled apart from shuffles in 52."""
    rng, weight = np.random.default_rng(0), np.ones(N_GENES)
    least = [
        alignment([Contrast(rng.normal(size=N_GENES), weight) for _ in range(5)], WINDOWS, 19, i)
        for i in range(400)
    ]
    assert sum(p.min() <= 0.05 for _, p in least) <= 35


def test_one_window_says_nothing_of_places():
    of = contrast(*two_sides(change_of_arms(PLACES), 0))
    _, p = alignment([of], sparse.csr_matrix(np.ones((1, N_GENES))), 199, 0)
    assert p == 1


def test_programs_are_seldom_called():
    """Of 8, each with 5 % for gains and for losses, more than 3 are called in 0.5 % of runs."""
    n_called = sum(bool(called(*two_halves(change_of_program(s), s), s)) for s in range(8))
    assert n_called <= 3


def test_genes_of_one_chromosome_in_another_order_are_another_genome():
    """Alignment is of places, not of genes."""
    of = contrast(*two_sides(change_of_arms(PLACES), 0))
    order = np.random.default_rng(0).permutation(N_GENES)
    assert alignment([of.at(order)], WINDOWS, 199, 0)[1] > 0.02
