"""Sections to integrate: how they are read, and what is told of bad ones."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from test_integration import N_GENES, NEAREST, section

from histoscribe.errors import UserError
from histoscribe.integration.genes import most_variable, shared_genes
from histoscribe.integration.sections import (
    Section,
    _check_positions,
    check_together,
    read_section,
)
from histoscribe.integration.together import gather


def write(path, made, **obs):
    units = ad.AnnData(
        made.counts, pd.DataFrame(obs, index=made.units), pd.DataFrame(index=made.genes)
    )
    units.obsm["spatial"] = made.xy_um
    units.write_h5ad(path)
    return path


def test_predicted_values_are_taken_back_to_linear(tmp_path):
    made, _ = section("one", 1)
    logged = made.counts.copy()
    logged.data = np.log1p(logged.data)
    path = write(
        tmp_path / "a.h5ad", Section("a", logged, made.genes, made.units, made.xy_um, True)
    )
    read = read_section("a", path, is_predicted=True, kind="cell")
    assert np.allclose(read.counts.toarray(), made.counts.toarray(), atol=1e-3)


def renamed(made, **changes):
    return Section(**{**made.__dict__, **changes})


def test_bad_sections_are_told(tmp_path):
    made, _ = section("one", 1)
    few = ad.AnnData(made.counts[:3], pd.DataFrame(index=made.units[:3]))
    few.obsm["spatial"] = made.xy_um[:3]
    few.write_h5ad(tmp_path / "few.h5ad")
    with pytest.raises(UserError, match="3 units; expected 20 or more"):
        read_section("few", tmp_path / "few.h5ad", False)
    twice = write(tmp_path / "twice.h5ad", renamed(made, units=made.units[[0, 0, *range(2, 144)]]))
    with pytest.raises(UserError, match=r"1 unit ids that occur more than once \(such as u0\)"):
        read_section("twice", twice, False)
    negative = renamed(made, counts=made.counts * -1)
    with pytest.raises(UserError, match="expected counts"):
        read_section("bad", write(tmp_path / "bad.h5ad", negative), False)
    nowhere = ad.AnnData(made.counts, pd.DataFrame(index=made.units))
    nowhere.write_h5ad(tmp_path / "nowhere.h5ad")
    with pytest.raises(UserError, match="no coordinates"):
        read_section("nowhere", tmp_path / "nowhere.h5ad", False)
    bare = ad.AnnData(obs=pd.DataFrame(index=made.units), var=pd.DataFrame(index=made.genes))
    bare.obsm["spatial"] = made.xy_um
    bare.write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(UserError, match="found no X; expected counts of molecules"):
        read_section("bare", tmp_path / "bare.h5ad", False)
    for spatial in (made.xy_um[:, :1], made.xy_um.astype("U8")):
        odd = ad.AnnData(made.counts, pd.DataFrame(index=made.units))
        odd.obsm["spatial"] = spatial
        with pytest.raises(UserError, match="found coordinates of type"):
            _check_positions(odd, "section odd")
    logged = ad.AnnData(made.counts.copy())
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    logged = write(tmp_path / "logged.h5ad", renamed(made, counts=logged.X))
    with pytest.raises(UserError, match="found X is log1p of counts scaled to 10000; expected"):
        read_section("logged", logged, False)
    read_section("logged", logged, True)
    with pytest.raises(UserError, match="1 section"):
        check_together([made])
    other, _ = section("other", 2)
    foreign = renamed(other, genes=pd.Index([f"g{i}" for i in range(N_GENES)]))
    with pytest.raises(UserError, match="section one: found 0 of its 40 genes"):
        shared_genes([made, foreign], 100, 1000)


@pytest.mark.parametrize("kind", ["cell", None])
def test_one_section_in_pixels_is_told(kind):
    sections = [section(name, 1, kind=kind)[0] for name in ("a", "b")]
    odd, _ = section("odd", 3, kind=kind, scale=4.0)
    with pytest.raises(UserError, match="section odd"):
        check_together([*sections, odd])
    check_together(sections)


def test_spots_beside_cells_are_no_mistake():
    cells, _ = section("cells", 1)
    spots, _ = section("spots", 2, kind="spot", scale=10.0)
    check_together([cells, spots])


def test_values_that_may_be_no_counts_are_doubted(tmp_path, caplog):
    made, _ = section("one", 1)
    read_section("one", write(tmp_path / "one.h5ad", made), False)
    assert not caplog.records
    weighted = renamed(made, counts=made.counts * 0.7)
    read_section("one", write(tmp_path / "weighted.h5ad", weighted), False)
    assert "of the values in X are no whole numbers" in caplog.text


def test_a_radius_without_neighbours_is_told(caplog):
    made, _ = section("one", 1)
    with caplog.at_level(logging.WARNING):
        gather([made], list(made.genes), NEAREST, 10.0)
        assert not caplog.records
        gather([made], list(made.genes), NEAREST, 9.0)
    assert "one: most units have no neighbour" in caplog.text


def test_variable_genes_of_a_sparse_section_are_found(caplog):
    """Where many genes are found equally often, scanpy's curve can't be solved at its own span."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.03, (200, 300))
    counts[:, :5] = 0
    counts[:3, :5] = 2  # as often as the others, but together
    made = Section(
        "thin", sparse.csr_matrix(counts.astype(np.float32)),
        pd.Index([f"G{i}" for i in range(300)]), pd.Index([f"u{i}" for i in range(200)]),
        np.zeros((200, 2)), False, "bin",
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        found = most_variable([made], list(made.genes), 5)
    assert "no curve of variances over a span of 0.3" in caplog.text
    assert sorted(found) == [f"G{i}" for i in range(5)]
