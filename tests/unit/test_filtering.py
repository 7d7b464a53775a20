import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoscribe.errors import UserError
from histoscribe.filtering import FilterSettings, add_quality, filter_units


@pytest.fixture
def units():
    counts = np.array([[30, 1, 0], [30, 10, 0], [10, 0, 1], [0, 0, 0], [30, 0, 2], [21, 0, 0]])
    adata = ad.AnnData(
        sparse.csr_matrix(counts, dtype=np.int32),
        obs=pd.DataFrame({"area_um2": [50, 50, 50, 50, 900.0, 50]}, index=list("abcdef")),
        var=pd.DataFrame(index=["GENE", "MT-CO1", "mt-Nd1"]),
    )
    add_quality(adata)
    return adata


PAPER = FilterSettings(area_px2_below=2000, umi_above=20, mito_fraction_below=0.15)


def test_quality_counts_human_and_mouse_mitochondria(units):
    assert units.obs["umi"].tolist() == [31, 40, 11, 0, 32, 21]
    np.testing.assert_allclose(units.obs["mito_fraction"], [1 / 31, 10 / 40, 1 / 11, 0, 2 / 32, 0])


def test_stored_zeros_are_no_genes():
    counts = sparse.csr_matrix((np.array([3, 0], dtype=np.int32), [0, 1], [0, 2]), shape=(1, 2))
    adata = ad.AnnData(counts, var=pd.DataFrame(index=["A", "B"]))
    add_quality(adata)
    assert adata.obs["n_genes"].tolist() == [1]


def test_no_rule_stands_twice_and_empty_units_go(units):
    kept, accounting = filter_units(units, FilterSettings(umi_above=0), 0.5, measured=True)
    assert accounting["rule"].tolist() == ["all", "umi > 0"]
    assert kept.n_obs == 5
    assert filter_units(units, FilterSettings(), 0.5, measured=True)[0].n_obs == 5


def test_the_papers_cuts_and_their_account(units):
    kept, accounting = filter_units(units, PAPER, um_per_px=0.5, measured=True)
    assert kept.obs_names.tolist() == ["a", "f"]
    assert accounting["left"].tolist() == [6, 5, 3, 2]
    assert accounting["removed"].sum() == 4
    by_rule = accounting.set_index("rule")
    assert by_rule.loc["area_px2 < 2000", "failing"] == 1
    assert by_rule.loc["umi > 20", ["failing", "removed"]].tolist() == [2, 2]


def test_area_in_px_depends_on_the_resolution(units):
    kept, _ = filter_units(units, FilterSettings(area_px2_below=2000), 1.0, measured=True)
    assert "e" in kept.obs_names


def test_nothing_measured_is_cut_by_area_only(units):
    kept, _ = filter_units(units, PAPER, 0.5, measured=False)
    assert kept.obs_names.tolist() == ["a", "b", "c", "d", "f"]


def test_nothing_left_is_an_error(units):
    with pytest.raises(UserError, match="umi > 99 removed"):
        filter_units(units, FilterSettings(umi_above=99), 0.5, measured=True)
