"""Integration: what is checked, how units are averaged and matched, and what training gives."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from histoscribe.errors import UserError
from histoscribe.integration import losses
from histoscribe.integration.domains import DomainSettings, find_domains
from histoscribe.integration.ensemble import checkpoints_in, consensus, integrate
from histoscribe.integration.genes import shared_genes
from histoscribe.integration.matching import matched_offsets, mutual_neighbours
from histoscribe.integration.mixing import lisi
from histoscribe.integration.neighbourhoods import Neighbourhoods, deal_out, part_of
from histoscribe.integration.neighbours import mean_over_neighbours, neighbour_graph
from histoscribe.integration.sections import Section
from histoscribe.integration.spatial_factors import fit_factors
from histoscribe.integration.together import gather
from histoscribe.integration.training import (
    Trainer,
    TrainingSettings,
    pairs_of,
    uses_attention,
)

N_GENES, EDGE = 40, 12
NEAREST = {"cell": 8, "spot": 4}
QUICK = TrainingSettings(n_networks=2, n_factors=4, latent_width=8, hidden_width=32, n_steps=60)


@pytest.fixture(autouse=True)
def few_steps_of_factors(monkeypatch):
    monkeypatch.setattr("histoscribe.integration.spatial_factors.N_STEPS", 50)


def section(name, seed, shift=0.0, n_genes=N_GENES, kind="cell", scale=1.0, is_flipped=False):
    """Cells on a grid in two domains, left and right, whose genes differ; `shift` is a batch's."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(EDGE), np.arange(EDGE))
    xy_um = 10.0 * scale * np.column_stack([x.ravel(), y.ravel()]).astype(float)
    domain = (x.ravel() < EDGE / 2).astype(int)
    domain = 1 - domain if is_flipped else domain
    rate = np.full((2, n_genes), 2.0)
    rate[0, : n_genes // 2] *= 3
    rate[1, n_genes // 2 :] *= 3
    batch = np.exp(shift * np.random.default_rng(99).standard_normal(n_genes))
    counts = rng.poisson(rate[domain] * batch).astype(np.float32)
    names = pd.Index([f"G{i}" for i in range(n_genes)])
    units = pd.Index([f"u{i}" for i in range(len(xy_um))])
    made = Section(name, sparse.csr_matrix(counts), names, units, xy_um, False, kind)
    return made, domain


def together(shift=0.7, **changes):
    one, first = section("one", 1, 0.0)
    other, second = section("other", 2, shift, is_flipped=True, **changes)
    genes = shared_genes([one, other], 100, 1000)
    return gather([one, other], genes, NEAREST, None), np.concatenate([first, second])


def trainer_of(units, **changes):
    return Trainer(units, units.offsets(0), replace(QUICK, **changes), seed=0)


def test_neighbours_are_symmetric_and_hold_the_unit_itself():
    xy_um = np.random.default_rng(0).uniform(0, 100, (50, 2))
    graph = neighbour_graph(xy_um, 4, None)
    assert (graph != graph.T).nnz == 0
    assert (graph.diagonal() == 1).all()
    assert (np.diff(graph.indptr) >= 5).all()
    near = neighbour_graph(xy_um, 4, 1e-6)
    assert near.nnz == 50
    grid_um = 8.0 * np.argwhere(np.ones((5, 5)))
    assert neighbour_graph(grid_um, 4, 8.0).nnz == 25 + 2 * 40  # those at 8 um, and none further
    assert neighbour_graph(xy_um, 0, None).nnz == 50


def test_means_over_neighbours_keep_what_is_the_same_everywhere():
    graph = neighbour_graph(np.random.default_rng(0).uniform(0, 100, (50, 2)), 4, None)
    for n_steps in (1, 3):
        reach = mean_over_neighbours(graph, n_steps)
        assert np.allclose(reach @ np.ones(50), 1)
    assert reach.nnz > graph.nnz


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(0, 100))
def test_neighbours_are_dealt_out_evenly(lengths, seed):
    ends = np.cumsum([0, *lengths])
    first, second = deal_out(ends, np.random.default_rng(seed))
    for start, end, length in zip(ends[:-1], ends[1:], lengths, strict=True):
        counts = first[start:end].sum(), second[start:end].sum()
        if length == 1:
            assert counts == (1, 1)
        else:
            assert sum(counts) == length
            assert abs(int(counts[0]) - int(counts[1])) <= 1


def test_part_of_weights_sums_to_one():
    reach = mean_over_neighbours(neighbour_graph(np.random.rand(30, 2), 4, None), 2)
    kept, _ = deal_out(reach.indptr, np.random.default_rng(0))
    part = part_of(reach, kept)
    assert np.allclose(np.asarray(part.sum(axis=1)).ravel(), 1, atol=1e-5)


def test_attention_and_dense_means_agree_where_attention_is_even():
    units, _ = together()
    trainer = trainer_of(units)
    with torch.no_grad():
        trainer.network.of_unit.zero_()
        trainer.network.of_neighbour.zero_()
        rows = np.array([5, 200, 17])
        found = trainer.features(rows).numpy()
    expected = trainer.neighbourhoods.means(rows, mean_over_neighbours(units.graph, 1)[rows])
    assert np.allclose(found, expected, atol=1e-4)


def test_gradients_of_attention_are_those_of_the_plain_formula():
    units, _ = together()
    trainer = trainer_of(units)
    neighbours = trainer.neighbourhoods.neighbours(np.array([3, 90]), units.graph, trainer.device)
    weights = torch.randn(2, N_GENES)
    gradients = []
    for is_plain in (False, True):
        trainer.network.zero_grad()
        if is_plain:
            w = trainer.network.gene_weights.weight
            query = neighbours.values[neighbours.own] @ (w.T @ trainer.network.of_unit)
            key = neighbours.values @ (w.T @ trainer.network.of_neighbour)
            logit = torch.sigmoid(query[neighbours.unit] + key[neighbours.neighbour]) - 0.5
            dense = torch.full((2, len(neighbours.values)), -torch.inf)
            dense = dense.index_put((neighbours.unit, neighbours.neighbour), logit)
            features = torch.softmax(dense, dim=1) @ neighbours.values
        else:
            features = trainer.network.attend(neighbours)
        (features * weights).sum().backward()
        gradients.append(trainer.network.of_neighbour.grad.clone())
    assert torch.allclose(*gradients, atol=1e-5)


def test_geometry_needs_no_matrix_of_all_pairs():
    rng = torch.Generator().manual_seed(0)
    for n_units in (7, 300):  # fewer than genes, and more
        latent = torch.randn(n_units, 5, generator=rng, dtype=torch.float64)
        features = torch.randn(n_units, 60, generator=rng, dtype=torch.float64)
        z, x = (v / v.norm(dim=1, keepdim=True) for v in (latent, features))
        expected = ((z @ z.T - x @ x.T) ** 2).sum() / n_units
        assert torch.allclose(losses.geometry(latent, features), expected)


def test_what_is_told_for_certain_has_no_gradient():
    first = torch.tensor([9.0, 1.0], requires_grad=True)
    losses.telling_apart(-first, torch.zeros(2), is_warm=True).backward()
    assert first.grad[0] == 0
    assert first.grad[1] != 0


def test_offsets_tell_a_batch_from_a_difference_in_composition():
    rng = np.random.default_rng(0)
    kinds = 3 * rng.standard_normal((2, 30))
    batch = rng.standard_normal(30)
    first = kinds[np.r_[np.zeros(180, int), np.ones(20, int)]] + rng.standard_normal((200, 30))
    second = kinds[np.r_[np.zeros(20, int), np.ones(180, int)]] + rng.standard_normal((200, 30))
    offset = matched_offsets([first, second + batch], seed=0)
    found = offset[1] - offset[0]
    by_means = (second + batch).mean(axis=0) - first.mean(axis=0)
    error, naive = np.abs(found - batch).mean(), np.abs(by_means - batch).mean()
    assert error < 0.4
    assert naive > 3 * error


def test_mutual_neighbours_are_mutual():
    rng = np.random.default_rng(0)
    one, other = rng.random((40, 3)), rng.random((30, 3))
    i, j = mutual_neighbours(one, other, 5)
    distance = np.linalg.norm(one[:, None] - other[None], axis=2)
    assert len(i)
    for a, b in zip(i, j, strict=True):
        assert (distance[a] < distance[a, b]).sum() < 5
        assert (distance[:, b] < distance[a, b]).sum() < 5


def test_the_start_has_what_neighbours_share_and_hardly_any_noise():
    units, domain = together(shift=0.0)
    latent = trainer_of(units).latent()
    spread = latent.std(axis=0)
    first, *others = np.argsort(-spread)
    assert abs(np.corrcoef(latent[:, first], domain)[0, 1]) > 0.9
    assert spread[others].max() < 0.25 * spread[first]


def test_few_units_are_not_drawn_over_and_over():
    units, _ = together()
    assert trainer_of(units, most_epochs=5).n_steps == 5  # all at a step
    assert trainer_of(units, units_a_section=48, most_epochs=5).n_steps == 15
    assert trainer_of(units).n_steps == QUICK.n_steps


@pytest.mark.parametrize("encoder", ["attention", "convolution"])
def test_sections_mix_and_domains_stay(encoder):
    units, domain = together(shift=0.75)
    settings = TrainingSettings(
        n_networks=1,
        n_factors=4,
        latent_width=8,
        hidden_width=64,
        n_steps=350,
        encoder=encoder,
    )
    made = integrate(units, settings, seed=0, threads=1)
    found = find_domains(made.latent, DomainSettings(n_domains=2), seed=0)
    assert adjusted_rand_score(domain, found) > 0.9
    before = units.components(8, 0)
    mixed = {name: lisi(p, units.section).mean() for name, p in
             {"before": before, "after": made.latent}.items()}  # fmt: skip
    assert mixed["before"] < 1.2
    assert mixed["after"] > 1.6
    assert made.history["poisson"].iloc[-1] < made.history["poisson"].iloc[0]


def test_training_is_repeated_by_its_seed_and_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    units, _ = together()
    monkeypatch.setattr("histoscribe.integration.training.CHECKPOINT_STEPS", 20)
    whole = integrate(units, QUICK, seed=0, threads=1)
    again = integrate(units, QUICK, seed=0, threads=1)
    assert np.array_equal(whole.latent, again.latent)
    assert not np.allclose(whole.latent, integrate(units, QUICK, seed=1, threads=1).latent)
    step = Trainer.step

    def killed(trainer, number):
        if number == 50 and trainer.seed % 2:
            raise KeyboardInterrupt
        return step(trainer, number)

    monkeypatch.setattr(Trainer, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        integrate(units, QUICK, seed=0, threads=1, kept_in=tmp_path)
    assert len(checkpoints_in(tmp_path)) == 2
    done = []
    monkeypatch.setattr(Trainer, "step", lambda t, n: done.append(n) or step(t, n))
    resumed = integrate(units, QUICK, seed=0, threads=1, kept_in=tmp_path)
    assert done[0] == 41  # of the second network; nothing is left to do of the first
    assert len(resumed.history) == 2 * QUICK.n_steps
    assert np.allclose(resumed.latent, whole.latent, atol=1e-5)
    done.clear()
    integrate(units, replace(QUICK, mixing_rounds=0), seed=0, threads=1, kept_in=tmp_path)
    assert not done  # networks don't hang on what follows
    integrate(units, QUICK, seed=3, threads=1, kept_in=tmp_path)
    assert done[0] == 1  # another training's state is not taken
    monkeypatch.setattr("histoscribe.integration.ensemble.files_digest", lambda files: "edited")
    done.clear()
    integrate(units, QUICK, seed=3, threads=1, kept_in=tmp_path)
    assert done[0] == 1  # nor that of other code


def test_training_that_diverges_is_told(monkeypatch):
    monkeypatch.setattr("histoscribe.integration.training.CHECKPOINT_STEPS", 5)
    units, _ = together()
    with pytest.raises(UserError, match=r"at step \d+: .*inf.*learning_rate"):
        integrate(units, replace(QUICK, learning_rate=1e6), seed=0, threads=1)


def test_a_consensus_keeps_what_networks_share():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((500, 3))
    latents = []
    for scale in (1.0, 100.0, 0.01, 1.0, 1.0):  # networks have no common scale, rotation or order
        turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        latents.append(scale * np.hstack([2 * shared, rng.standard_normal((500, 3))]) @ turn)
    found = consensus(latents)
    assert found.shape == (500, 6)
    assert found.var(axis=0).mean() == pytest.approx(1, rel=1e-3)

    def share_of_chance(space):
        space = space - space.mean(axis=0)
        left = np.linalg.lstsq(shared, space, rcond=None)[1]
        return left.sum() / (space**2).sum()

    assert share_of_chance(latents[0]) > 0.18
    assert share_of_chance(found) < 0.08


def test_factors_are_the_programs_that_units_were_made_of(monkeypatch):
    monkeypatch.setattr("histoscribe.integration.spatial_factors.N_STEPS", 1000)
    units, domain = together(shift=0.0)
    latent = (2.0 * domain[:, None] - 1).astype(np.float32)
    fitted = fit_factors(units, latent, 2, 5.0, seed=0)
    assert np.allclose(fitted.proportions.sum(axis=1), 1, atol=1e-4)
    assert np.allclose(fitted.loadings.sum(axis=1), 1, atol=1e-4)
    of_domain = np.array([fitted.proportions[domain == d].mean(axis=0) for d in (0, 1)])
    assert np.abs(of_domain[0] - of_domain[1]).min() > 0.6  # a domain has a factor to itself
    half = [int(name[1:]) < N_GENES / 2 for name in units.genes]
    found = of_domain @ fitted.loadings[:, half].sum(axis=1)
    assert np.allclose(found, [0.75, 0.25], atol=0.03)  # 3 to 1, as simulated


def test_a_gene_that_a_section_lacks_tells_nothing_there():
    one, _ = section("one", 1)
    other, _ = section("other", 2, n_genes=30)
    third, _ = section("third", 3)
    genes = shared_genes([one, other, third], 100, 1000)
    assert genes == [f"G{i}" for i in range(N_GENES)]
    units = gather([one, other, third], genes, NEAREST, None)
    assert units.measured.sum(axis=1).tolist() == [40, 30, 40]
    around = Neighbourhoods(
        units.log_values(), units.section, units.offsets(0), units.measured
    ).values(np.flatnonzero(units.section == 1))
    assert (around[:, 30:] == 0).all()
    assert (around[:, :30] != 0).any()
    made = integrate(units, QUICK, seed=0, threads=1)
    assert np.isfinite(made.latent).all()


def test_large_data_are_convolved_and_pairs_are_those_asked_for():
    settings = TrainingSettings(attention_up_to=100)
    assert uses_attention(100, settings)
    assert not uses_attention(101, settings)
    names = ["a", "b", "c"]
    assert pairs_of(names, settings) == [(0, 1), (1, 2)]
    assert len(pairs_of(names, TrainingSettings(pairs="all"))) == 3
    by_reference = TrainingSettings(pairs="reference", reference="b")
    assert pairs_of(names, by_reference) == [(1, 0), (1, 2)]
    with pytest.raises(UserError, match="one of a, b, c"):
        pairs_of(names, TrainingSettings(pairs="reference", reference="d"))
