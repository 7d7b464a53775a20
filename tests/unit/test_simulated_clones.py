"""Clones of a simulated tumour: what they change is what they should, and nothing else."""

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import ndimage, stats
from scipy.spatial import cKDTree

from histoscribe.simulation import (
    SimulatedSection,
    SimulationSettings,
    simulate_section,
    write_section,
)
from histoscribe.simulation.cell_types import Domain, Zone
from histoscribe.simulation.clones import draw_copy_numbers, give_clones, map_clones
from histoscribe.simulation.genome import (
    CHROMOSOME_MB,
    CHROMOSOMES,
    MITOCHONDRIAL_BP,
    chromosome_arms,
    gene_positions,
)
from histoscribe.simulation.layout import make_layout
from histoscribe.simulation.nuclei import make_nuclei, pixel_of
from histoscribe.simulation.programs import make_programs
from histoscribe.simulation.settings import stream

# Not square, so that exchanged axes cannot pass; with a dosage that is not 1.
SETTINGS = SimulationSettings(
    "clones", seed=3, donor_seed=3, width_um=560, height_um=500, n_clones=2, dosage=0.8
)
SYMBOLS = make_programs(0, 600).genes.index


@pytest.fixture(scope="module")
def section() -> SimulatedSection:
    return simulate_section(SETTINGS)


@pytest.fixture(scope="module")
def diploid() -> SimulatedSection:
    """The same section without clones."""
    return simulate_section(replace(SETTINGS, n_clones=0))


@pytest.fixture(scope="module")
def folder(section: SimulatedSection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clones")
    write_section(section, path)
    return path


def read_gtf(path: Path) -> pd.DataFrame:
    """Index gene_name; the nine columns and gene_id."""
    names = ["chromosome", "source", "feature", "start", "end"]
    names += ["score", "strand", "frame", "attributes"]
    gtf = pd.read_csv(path, sep="\t", comment="#", names=names, quoting=3)
    return gtf.assign(
        gene_id=gtf["attributes"].str.extract(r'gene_id "([^"]+)";')[0],
        gene_name=gtf["attributes"].str.extract(r'gene_name "([^"]+)";')[0],
    ).set_index("gene_name")


def test_other_cells_are_as_without_clones(
    section: SimulatedSection, diploid: SimulatedSection
) -> None:
    clone = section.truth.obs["clone"].to_numpy()
    assert np.array_equal(section.domain_map, diploid.domain_map)
    assert np.array_equal(clone != "none", section.truth.obs["cell_type"] == "tumour")
    rest = section.truth.obs.drop(columns=["clone", "area_um2"])
    assert rest.equals(diploid.truth.obs.drop(columns="area_um2"))
    same = clone != "clone 2"
    assert np.array_equal(section.polygons_um[same], diploid.polygons_um[same])
    assert np.array_equal(section.truth.X[clone == "none"], diploid.truth.X[clone == "none"])
    # The image differs at and around the cells of clone 2 only.
    far = np.ones(section.image.shape[:2], dtype=bool)
    xy = np.floor(section.truth.obsm["spatial"][~same] / SETTINGS.um_per_px).astype(int)
    far[xy[:, 1], xy[:, 0]] = False
    far = ndimage.distance_transform_edt(far) * SETTINGS.um_per_px > 25
    assert 0.3 < far.mean() < 0.95
    assert np.array_equal(section.image[far], diploid.image[far])
    assert not np.array_equal(section.image, diploid.image)


def test_expression_follows_copies(section: SimulatedSection, diploid: SimulatedSection) -> None:
    copies = section.truth.varm["copies"]
    for number, name in enumerate(("clone 1", "clone 2")):
        mine = (section.truth.obs["clone"] == name).to_numpy()
        change = np.log2(section.truth.X[mine] / diploid.truth.X[mine])
        unaltered = copies[:, number] == 2
        # Shares sum to 1, so what is unaltered loses or gains what the rest takes or leaves.
        change -= change[:, unaltered].mean(1, keepdims=True)
        expected = SETTINGS.dosage * np.log2(copies[:, number] / 2)
        assert set(copies[:, number]) == {1, 2, 3, 4}
        np.testing.assert_allclose(change, np.tile(expected, (mine.sum(), 1)), atol=1e-4)


def test_counts_around_nuclei_follow_copies(section: SimulatedSection) -> None:
    positions = section.positions[section.positions["in_tissue"] == 1]
    places = ["pxl_col_in_fullres", "pxl_row_in_fullres"]
    gap, nearest = cKDTree(section.truth.obsm["spatial"]).query(
        positions[places].to_numpy() * SETTINGS.um_per_px
    )
    clone = section.truth.obs["clone"].to_numpy()[nearest]
    total = [
        1 + np.asarray(section.bins[(clone == name) & (gap < 5)].sum(0)).ravel()
        for name in ("clone 1", "clone 2")
    ]
    often = sum(total) > 40
    ratio = np.log2(total[1] / total[0])[often]
    copies = section.truth.varm["copies"][often]
    fit = stats.linregress(np.log2(copies[:, 1] / copies[:, 0]), ratio)
    assert fit.pvalue < 1e-6
    # RNA between cells is diploid and weakens the dosage.
    assert 0.4 * SETTINGS.dosage < fit.slope < 1.2 * SETTINGS.dosage


def test_nuclei_of_clone_2_are_a_little_larger_and_darker(
    section: SimulatedSection, diploid: SimulatedSection
) -> None:
    ratio = section.truth.obs["area_um2"] / diploid.truth.obs["area_um2"]
    clone = section.truth.obs["clone"]
    assert np.allclose(ratio[clone == "clone 2"], 1.12)
    assert (ratio[clone != "clone 2"] == 1).all()
    shapes = shapely.polygons(section.polygons_um)
    area = shapely.area(shapes)
    assert np.allclose(area, section.truth.obs["area_um2"])
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    first, second = first[first < second], second[first < second]
    shared = shapely.area(shapely.intersection(shapes[first], shapes[second]))
    assert (shared < 0.1 * np.minimum(area[first], area[second])).all()

    centres = np.floor(section.truth.obsm["spatial"] / SETTINGS.um_per_px).astype(int)
    column, row = centres[(clone == "clone 2").to_numpy()].T
    light = [
        ndimage.uniform_filter(one.image[..., 0].astype(float), 9)[row, column]
        for one in (section, diploid)
    ]
    darker = np.log(light[0] / 243) / np.log(light[1] / 243)
    assert 1.03 < np.median(darker) < 1.12


@pytest.mark.parametrize("seed", [0, 3, 8, 9])
def test_each_patch_holds_both_clones_in_one_piece_each(seed: int) -> None:
    layout = make_layout(stream(seed, "layout"), (1200, 1240), 0.5)
    clone_map = map_clones(stream(seed, "clones"), layout)
    assert set(np.unique(clone_map)) == {1, 2}
    nests = layout.zone == Zone.NEST
    # Patches that only a neck joins are two.
    depth_um = ndimage.distance_transform_edt(layout.domain == Domain.TUMOUR) * 0.5
    label, n = ndimage.label(depth_um > 20)
    large = [k for k in range(1, n + 1) if (label[nests] == k).mean() > 0.15]
    assert large
    for number in large:
        patch = label == number
        assert 0.35 < (clone_map[patch & nests] == 2).mean() < 0.65
        for clone in (1, 2):
            pieces = ndimage.label(patch & (clone_map == clone))[0]
            size = np.bincount(pieces.ravel())[1:]
            assert size.max() > 0.9 * size.sum()

    nuclei = make_nuclei(stream(seed, "nuclei"), layout)
    given = give_clones(nuclei, layout, clone_map)
    assert not nuclei.clone.any()
    assert 0.35 < (given.clone[given.clone > 0] == 2).mean() < 0.65
    own = clone_map[pixel_of(given.centre_um, layout)]
    assert np.array_equal(given.clone[given.clone > 0], own[given.clone > 0])


@pytest.mark.parametrize("donor", range(4))
def test_events_are_arms_of_autosomes(donor: int) -> None:
    drawn = draw_copy_numbers(donor, SYMBOLS, 2)
    again = draw_copy_numbers(donor, SYMBOLS, 2)
    assert np.array_equal(drawn.copies, again.copies) and drawn.events.equals(again.events)
    arms = chromosome_arms().assign(chromosome=lambda t: t["chromosome"].astype(str))
    place = ["chromosome", "start", "end"]
    events = drawn.events.assign(chromosome=drawn.events["chromosome"].astype(str))
    assert len(events.merge(arms, on=place)) == len(events) == 12
    assert not events["chromosome"].isin(["chrX", "chrM"]).any()
    per_arm = events.groupby(place)
    assert len(per_arm) == 9 and (per_arm["copies"].nunique() == 1).all()
    shared = per_arm["copies"].first()[per_arm["clone"].nunique() == 2]
    assert sorted(shared) == [1, 3, 4]
    for clone, mine in events.groupby("clone"):
        assert sorted(mine["copies"]) == [1, 1, 3, 3, 3, 4], clone

    positions = gene_positions(SYMBOLS)
    expected = np.full((len(SYMBOLS), 2), 2)
    for event in events.itertuples():
        inside = positions["start"].ge(event.start) & positions["end"].le(event.end)
        inside &= positions["chromosome"] == event.chromosome
        assert inside.sum() >= 8
        expected[inside, event.clone - 1] = event.copies
    assert np.array_equal(drawn.copies, expected)
    assert 0.05 < (drawn.copies != 2).any(axis=1).mean() <= 0.5


def test_tumours_of_two_donors_differ() -> None:
    one, other = (draw_copy_numbers(donor, SYMBOLS, 2).events for donor in (1, 2))
    assert not one.equals(other)


def test_places_of_genes_follow_from_symbols() -> None:
    positions = gene_positions(SYMBOLS)
    assert positions.loc["PLIN1"].tolist() == ["chr1", 11_978_482, 12_102_996]
    assert gene_positions(SYMBOLS[::-1]).loc[SYMBOLS].equals(positions)
    is_mitochondrial = SYMBOLS.str.startswith("MT-")
    assert np.array_equal(positions["chromosome"] == "chrM", is_mitochondrial)
    assert positions["end"][is_mitochondrial].max() <= MITOCHONDRIAL_BP


def test_genes_spread_evenly_and_within_arms() -> None:
    positions = gene_positions(f"GENE{i}" for i in range(4000))
    arms = chromosome_arms()
    held = [
        (
            (positions["chromosome"] == arm.chromosome)
            & (positions["start"] >= arm.start)
            & (positions["end"] <= arm.end)
        ).sum()
        for arm in arms.itertuples()
    ]
    assert sum(held) == len(positions)
    length = arms["end"] - arms["start"] + 1
    assert length.sum() == round(sum(mb for mb, _ in CHROMOSOME_MB.values()) * 1e6)
    assert stats.chisquare(held, len(positions) * length / length.sum()).pvalue > 0.01
    size = positions["end"] - positions["start"] + 1
    assert size.between(2_000, 200_000).all() and size.nunique() > 3000


def test_truth_and_files_tell_clones_and_places(section: SimulatedSection, folder: Path) -> None:
    truth = anndata.read_h5ad(folder / "truth.h5ad")
    assert list(truth.obs["clone"].cat.categories) == ["none", "clone 1", "clone 2"]
    assert truth.varm["copies"].shape == (SETTINGS.n_genes, 2)
    assert truth.uns["settings"]["n_clones"] == 2 and truth.uns["settings"]["dosage"] == 0.8

    gtf = read_gtf(folder / "genes.gtf")
    assert (gtf["feature"] == "gene").all() and set(gtf["strand"]) == {"+"}
    assert gtf.index.is_unique and set(gtf.index) == set(truth.var_names)
    columns = ["gene_id", "chromosome", "start", "end"]
    assert (gtf.loc[truth.var_names, columns] == truth.var[columns].astype(object)).all(axis=None)
    order = pd.Categorical(gtf["chromosome"], CHROMOSOMES).codes
    assert np.array_equal(np.lexsort([gtf["start"], order]), np.arange(len(gtf)))

    dna = pd.read_csv(folder / "truth_dna.tsv", sep="\t")
    assert list(dna.columns[:3]) == ["x_um", "y_um", "clone"] and len(dna.columns) == 3 + 9
    assert np.allclose(dna[["x_um", "y_um"]], truth.obsm["spatial"], atol=1e-3)
    assert dna["clone"].tolist() == truth.obs["clone"].astype(str).replace(
        "none", "normal"
    ).tolist()  # fmt: skip
    for segment in dna.columns[3:]:
        chromosome, start, end = segment.replace(":", "-").split("-")
        inside = truth.var["start"].ge(int(start)) & truth.var["end"].le(int(end))
        inside &= truth.var["chromosome"] == chromosome
        assert (dna.loc[dna["clone"] == "normal", segment] == 2).all()
        assert (dna[segment] != 2).any()
        for number in (1, 2):
            (copies,) = set(dna.loc[dna["clone"] == f"clone {number}", segment])
            assert (truth.varm["copies"][inside, number - 1] == copies).all()


def test_a_section_without_clones_tells_of_none(diploid: SimulatedSection, tmp_path: Path) -> None:
    write_section(diploid, tmp_path)
    dna = pd.read_csv(tmp_path / "truth_dna.tsv", sep="\t")
    assert list(dna.columns) == ["x_um", "y_um", "clone"] and set(dna["clone"]) == {"normal"}
    assert len(read_gtf(tmp_path / "genes.gtf")) == SETTINGS.n_genes
    assert "clone" not in diploid.truth.obs and "chromosome" not in diploid.truth.var
    assert "n_clones" not in diploid.truth.uns["settings"]


@pytest.mark.parametrize("n_clones", [-1, 1, 3])
def test_other_numbers_of_clones_are_refused(n_clones: int) -> None:
    with pytest.raises(ValueError, match=f"n_clones is {n_clones}; 0 or 2"):
        replace(SETTINGS, n_clones=n_clones)


def test_a_panel_too_small_for_clones_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n_genes is 120; .* 400 genes are enough"):
        draw_copy_numbers(0, make_programs(0, 120).genes.index, 2)
