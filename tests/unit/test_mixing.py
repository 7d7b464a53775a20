"""How well sections mix, and domains of a latent space."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from histoscribe.integration.domains import DomainSettings, by_size, find_domains, units_alike
from histoscribe.integration.mixing import lisi, mixing


def test_lisi_counts_the_sections_around():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 200)
    assert lisi(rng.random((600, 3)), label).mean() > 2.7
    apart = rng.random((600, 3)) + 10 * label[:, None]
    assert lisi(apart, label).mean() == pytest.approx(1, abs=0.01)
    row = mixing("latent", apart, label, pd.Series(label.astype(str)), seed=0)
    assert row["clisi"] == pytest.approx(1, abs=0.01)
    assert row["silhouette_section"] > 0.8
    alone = mixing("latent", apart, label, None, seed=0)
    assert np.isnan(alone["clisi"])
    assert alone["n_labelled"] == 0


def test_a_small_section_counts_as_much_as_a_large_one():
    rng = np.random.default_rng(0)
    section = np.repeat([0, 1], [600, 30])
    mixed = mixing("latent", rng.random((630, 3)), section, None, seed=0)
    assert mixed["ilisi"] < 1.2
    assert mixed["ilisi_equal"] > 1.8
    apart = mixing("latent", rng.random((630, 3)) + 9 * section[:, None], section, None, seed=0)
    assert apart["ilisi_equal"] == pytest.approx(1, abs=0.05)


def test_many_units_find_nearly_all_of_their_nearest(monkeypatch):
    latent = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    exact = units_alike(latent, 15, seed=0).index
    monkeypatch.setattr("histoscribe.integration.domains.EXACT_UNITS", 1000)
    found = units_alike(latent, 15, seed=0).index
    assert (found[:, 0] == np.arange(2000)).all()
    assert np.mean([len(set(a) & set(b)) / 15 for a, b in zip(exact, found, strict=True)]) > 0.95


def test_domains_are_numbered_by_size():
    assert by_size(np.array([7, 7, 2, 9, 9, 9])).tolist() == [1, 1, 2, 0, 0, 0]
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1], [150, 50])
    latent = rng.standard_normal((200, 4)) + 12 * true[:, None]
    for settings in (DomainSettings(n_domains=2), DomainSettings(leiden_resolution=0.05)):
        assert adjusted_rand_score(true, find_domains(latent, settings, seed=0)) == 1
