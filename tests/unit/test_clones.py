"""Clones inferred from made-up counts: where copies differ, and not where programs do."""

import builtins
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_cells import (
    N_GENES,
    change_of_arms,
    change_of_program,
    made_up_cells,
    made_up_places,
)
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from histoscribe.errors import UserError
from histoscribe.genome.cells import DRAWN_UMI, drawn_counts
from histoscribe.genome.clones import CloneSettings, Genome, _best_split, found_again
from histoscribe.genome.contrast import window_matrix
from histoscribe.genome.copy_number import (
    CopyNumberSettings,
    genome_order,
    infer_copy_number,
)
from histoscribe.genome.profile import copy_profile, infercnv, window_places
from histoscribe.genome.segments import SEGMENT_COLUMNS

PLACES = made_up_places()
ARMS = change_of_arms(PLACES)
SETTINGS = CopyNumberSettings(n_halvings=0, clones=CloneSettings(n_shuffles=999))


def inferred(cells, seed=0, settings=SETTINGS, among=("tumour",), reference=("T", "B")):
    places = cells.var[["chromosome", "start", "end"]]
    return infer_copy_number(cells, places, list(reference), list(among), settings, seed, "here")


@pytest.fixture(scope="module")
def two():
    """Cells of two clones and what is inferred of them."""
    cells = made_up_cells(ARMS)
    return cells, inferred(cells, settings=replace(SETTINGS, n_halvings=2))


def test_two_clones_are_told_apart(two):
    cells, found = two
    assert set(cells.kind[found.units]) == {"tumour"} and len(found.units) == 300
    true = cells.facts["is_changed"][found.units]
    assert len(found.clones.p) == 2 and (found.clones.p < 0.01).all()
    assert adjusted_rand_score(true, found.clones.clone) > 0.9
    assert adjusted_rand_score(true, found.clones.of_half) > 0.85
    assert found.clones.posterior.min() >= 0.5
    assert found.profile.values.shape == (300, len(found.profile.windows))


def test_the_table_of_clones_counts_what_normal_cells_have_not(two):
    cells, found = two
    size = np.bincount(found.clones.clone)
    assert found.table["n_units"].tolist() == size.tolist() and size[0] >= size[1]
    true = cells.facts["is_changed"][found.units]
    share = [true[found.clones.clone == number].mean() for number in (0, 1)]
    changed = found.table.iloc[int(np.argmax(share))]
    other = found.table.iloc[int(np.argmin(share))]
    assert (changed["n_gains"], changed["n_losses"]) == (1, 1)
    assert (other["n_gains"], other["n_losses"]) == (0, 0)
    assert (found.table["found_again"] == 1).all()
    assert changed["p_beside_normal"] < 0.01 < other["p_beside_normal"]


def test_segments_are_of_the_changed_arms(two):
    cells, found = two
    segments = found.segments
    assert list(segments.columns) == ["clone", "beside", *SEGMENT_COLUMNS]
    true = cells.facts["is_changed"][found.units]
    changed = f"clone {np.argmax([true[found.clones.clone == i].mean() for i in (0, 1)]) + 1}"
    called = segments[segments["call"] != ""]
    for beside in ("normal cells", "other clones"):
        own = called[(called["clone"] == changed) & (called["beside"] == beside)]
        assert own.set_index("chromosome")["call"].to_dict() == {"chr2": "gain", "chr5": "loss"}
        ratio = own.set_index("chromosome")["log2_ratio"]
        assert ratio["chr2"] == pytest.approx(np.log2(1.5), abs=0.25)
        assert ratio["chr5"] == pytest.approx(-1, abs=0.3)


def test_what_is_found_does_not_hang_on_the_order_of_genes(two):
    cells, found = two
    order = np.random.default_rng(1).permutation(N_GENES)
    counts = cells.counts[:, order].sorted_indices()
    again = inferred(replace(cells, counts=counts, var=cells.var.iloc[order]))
    one, other = (f.clones.clone for f in (found, again))
    assert adjusted_rand_score(one, other) > 0.85  # but halves are drawn anew
    assert again.profile.windows.equals(found.profile.windows)


@pytest.mark.parametrize("seed", range(3))
def test_without_a_difference_there_is_one_clone(seed):
    found = inferred(made_up_cells(np.ones(N_GENES), seed), seed)
    assert len(found.clones.p) == 1 and found.clones.p[0] == 1
    assert set(found.segments["beside"]) == {"normal cells"}


@pytest.mark.parametrize("seed", range(3))
def test_a_program_of_scattered_genes_makes_no_clones(seed):
    """As large a change, of as many genes, that the profile itself would split by."""
    cells = made_up_cells(change_of_program(seed), seed)
    assert len(inferred(cells, seed).clones.p) == 1


def test_clones_that_others_show_too_are_found_again():
    clone = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    same, merged = np.array([2, 2, 2, 2, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    split = np.array([0, 0, 1, 1, 2, 2, 3, 4])
    assert found_again(clone, [same]).tolist() == [1, 1, 1]
    assert found_again(clone, [same, merged]).tolist() == [1, 0.5, 0.5]  # half of both is not most
    assert found_again(clone, [same, split]).tolist() == [0.5, 1, 0.5]
    assert found_again(np.zeros(8, dtype=int), [same, np.zeros(8, dtype=int)]).tolist() == [0.5]
    assert np.isnan(found_again(clone, [])).all()


@pytest.mark.parametrize(("able", "chosen"), [([0, 1, 1, 0, 0], 2), ([0] * 5, None)])
def test_the_furthest_split_with_a_segment_is_taken(able, chosen, monkeypatch):
    """Splits are five; the furthest of them, the first, has no segment."""
    n_units, size = 60, iter(range(10, 15))
    masks = [np.arange(n_units) < n for n in range(10, 15)]
    has, far = iter(able), np.array([9.0, 1.0, 4.0, 3.0, 2.0])
    asked = "histoscribe.genome.clones."
    monkeypatch.setattr(asked + "_in_two", lambda *_: masks[next(size) - 10])
    monkeypatch.setattr(asked + "_has_segment", lambda *_: bool(next(has)))
    monkeypatch.setattr(asked + "alignment", lambda of, *_: (far, far / 100))
    counts = sparse.csr_matrix(np.ones((n_units, 20)))
    genome = Genome([], sparse.identity(20, format="csr"), np.zeros((20, 1)), None)
    profile = np.random.default_rng(0).normal(size=(n_units, 20))
    mask, p = _best_split(profile, counts, counts, genome, 5, 99, 0)
    if chosen is None:
        assert mask is None and p == 1
    else:
        assert mask is masks[chosen] and p == 0.04


def test_sex_and_mitochondria_make_no_clones():
    places = PLACES.replace({"chromosome": {"chr2": "chrX", "chr5": "chrM"}})
    found = inferred(made_up_cells(ARMS, places=places))
    assert len(found.clones.p) == 1
    assert not found.profile.windows["chromosome"].isin(["chrX", "chrM"]).any()


def test_genes_without_a_place_are_left_out():
    cells = made_up_cells(ARMS)
    places = cells.var.copy()
    places.loc[places.index[::3], ["chromosome", "start", "end"]] = None, np.nan, np.nan
    places["chromosome"] = places["chromosome"].astype(object)
    found = inferred(replace(cells, var=places))
    assert found.n_genes <= 400 and len(found.clones.p) == 2
    assert found.other_half.shape == (300, N_GENES)


def test_odd_cells_are_borne():
    """Cells at one place, and some with a thousand times the molecules."""
    cells = made_up_cells(ARMS)
    xy_um = cells.xy_um.copy()
    xy_um[:40] = xy_um[0]
    counts = cells.counts.copy()
    counts.data[counts.indptr[50] : counts.indptr[55]] *= 1000
    found = inferred(replace(cells, counts=counts, xy_um=xy_um))
    assert np.isfinite(found.profile.values).all() and np.isfinite(found.clones.posterior).all()


def test_one_chromosome_is_borne():
    places = made_up_places(1, 150)
    cells = made_up_cells(np.ones(150), places=places)
    assert len(inferred(cells).clones.p) == 1
    one_window = replace(SETTINGS, window_genes=1000)
    found = inferred(cells, settings=one_window)
    assert len(found.profile.windows) == 1 and len(found.clones.p) == 1


def test_more_units_are_thinned_out():
    found = inferred(made_up_cells(ARMS), settings=replace(SETTINGS, max_units=100))
    assert len(found.units) == 100 and (np.diff(found.units) > 0).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reference": ["fibroblast"]}, "here/reference: found 0 units of fibroblast"),
        ({"among": ["carcinoma"]}, r"here/among: found 0 units of carcinoma.* tumour \(300\)"),
        ({"among": []}, "here/among: found 0 units of no kind"),
    ],
)
def test_kinds_that_are_not_there_are_named(changes, words):
    with pytest.raises(UserError, match=words):
        inferred(made_up_cells(ARMS), **changes)


def test_too_few_genes_are_refused():
    cells = made_up_cells(np.ones(60), places=made_up_places(2, 30))
    with pytest.raises(UserError, match=r"here: found 60 of 60 genes with a place .* 100 or more"):
        inferred(cells)


def test_genes_are_ordered_as_on_the_genome():
    places = pd.DataFrame(
        {
            "chromosome": ["chr10", "chr2", "chrX", None, "chr1", "chr2", "chrM", "chr2L"],
            "start": [5.0, 9.0, 1.0, np.nan, 3.0, 2.0, 1.0, 1.0],
            "end": [6.0, 10.0, 2.0, np.nan, 4.0, 3.0, 2.0, 2.0],
        },
        index=list("abcdefgh"),
    )
    assert "".join(genome_order(places).index) == "efbha"
    assert "".join(genome_order(places.astype({"chromosome": "category"})).index) == "efbha"


@pytest.mark.parametrize("window_genes", [7, 10, 25, 100])
def test_windows_are_those_of_infercnvpy(window_genes):
    """Chromosomes of many sizes, one as long as a window; a peak where it is planted."""
    sizes = {"chr1": 40, "chr2": 10, "chr3": 25, "chr10": 31, "chr11": 7}
    places = pd.concat(
        [made_up_places(1, n).assign(chromosome=name) for name, n in sizes.items()]
    ).set_axis([f"GENE{i}" for i in range(sum(sizes.values()))])
    kind = np.repeat(["a", "b"], 30)
    planted = (places["chromosome"] == "chr3").to_numpy()
    rate = np.full((60, len(places)), 20.0)
    rate[:30, planted] *= 4
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(rate).astype(np.float32))
    found = copy_profile(counts, kind, ["b"], places, window_genes, 1e4)
    step = max(window_genes // 10, 1)
    assert found.windows.equals(window_places(places, window_genes, step))
    assert found.values.shape == (60, len(found.windows))
    of_chr3 = (found.windows["chromosome"] == "chr3").to_numpy()
    mean = found.values[:30].mean(axis=0)
    assert mean[of_chr3].min() > 0.5 > mean[~of_chr3].max()
    matrix = window_matrix(places, found.windows, step)
    assert matrix.shape == (len(found.windows), len(places))
    starts = ["chr1", "chr2", "chr3", "chr10", "chr11"]
    assert found.windows["chromosome"].drop_duplicates().tolist() == starts


def test_a_rare_normal_kind_does_not_widen_what_is_normal():
    places = made_up_places(3, 40)
    rng = np.random.default_rng(0)
    rate = np.full((93, len(places)), 20.0)
    rate[:30, 40:80] *= 3
    rate[90:, 40:80] *= 3  # three odd cells, beside which the gain would be none
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    kind = np.repeat(["a", "b", "c"], [30, 60, 3])

    def values(kind, reference):
        return copy_profile(counts, kind, reference, places, 10, 1e4).values

    alone = values(kind, ["b"])
    assert np.array_equal(values(kind, ["b", "c"]), alone) and alone[:30].max() > 1
    # Where all are rare they are one kind.
    few = np.repeat(["a", "b", "c"], [60, 15, 18])
    one = np.repeat(["a", "b"], [60, 33])
    assert np.array_equal(values(few, ["b", "c"]), values(one, ["b"]))


def test_drawn_counts_are_whole_and_of_one_total():
    rng = np.random.default_rng(0)
    values = sparse.random(300, 80, 0.5, random_state=0, format="csr") * 5
    values.data[:3] = -1.0
    before = values.copy()
    drawn = drawn_counts(values, 1)
    assert (values != before).nnz == 0
    assert (drawn.data % 1 == 0).all() and drawn.data.min() > 0
    total = np.asarray(drawn.sum(axis=1)).ravel()
    assert total[5:].mean() == pytest.approx(DRAWN_UMI, rel=0.01)
    assert total[5:].var() == pytest.approx(DRAWN_UMI, rel=0.35)  # Poisson's
    expected = values.multiply(1000 / values.sum(axis=1)).toarray()[5:]
    assert np.corrcoef(drawn.toarray()[5:].ravel(), expected.ravel())[0, 1] > 0.95
    empty = sparse.csr_matrix((20, 80))
    assert drawn_counts(empty, int(rng.integers(9))).nnz == 0


def test_a_missing_infercnvpy_is_said(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("infercnvpy"):
            raise ImportError("No module named infercnvpy")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"infercnvpy: found it can't be imported.*pip install"):
        infercnv()
    assert "pyreadr" not in sys.modules
