"""The simulator: equal seeds give equal bytes, files are Space Ranger's, the truth can be found."""

import json
from dataclasses import replace
from pathlib import Path

import anndata
import geopandas as gpd
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import tifffile
from scipy import sparse
from skimage.draw import polygon

from histoscribe.platforms import measured_files
from histoscribe.readers import visium
from histoscribe.simulation import (
    SimulatedSection,
    SimulationSettings,
    simulate_section,
    write_section,
    write_visium,
)
from histoscribe.simulation.cell_types import TYPE_NAMES
from histoscribe.simulation.programs import make_programs

# Not square, so that exchanged axes cannot pass.
SETTINGS = SimulationSettings("small", seed=3, donor_seed=3, width_um=300, height_um=240)


@pytest.fixture(scope="module")
def section() -> SimulatedSection:
    return simulate_section(SETTINGS)


@pytest.fixture(scope="module")
def other() -> SimulatedSection:
    """Another section of another donor."""
    return simulate_section(replace(SETTINGS, seed=9, donor_seed=9))


@pytest.fixture(scope="module")
def folder(section: SimulatedSection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("section")
    write_section(section, path)
    return path


@pytest.fixture(scope="module")
def label(section: SimulatedSection) -> np.ndarray:
    """Nucleus number (1-based) of each pixel, rastered here rather than by the simulator."""
    image = np.zeros(section.image.shape[:2], dtype=int)
    for index, outline in enumerate(section.polygons_um / SETTINGS.um_per_px - 0.5):
        image[polygon(outline[:, 1], outline[:, 0], image.shape)] = index + 1
    return image


@pytest.fixture(scope="module")
def bin_label(section: SimulatedSection, label: np.ndarray) -> np.ndarray:
    """Nucleus number under the centre of each in-tissue bin, through the positions as written."""
    positions = section.positions[section.positions["in_tissue"] == 1]
    rows = np.floor(positions["pxl_row_in_fullres"].to_numpy()).astype(int)
    return label[rows, np.floor(positions["pxl_col_in_fullres"].to_numpy()).astype(int)]


def nucleus_counts(section: SimulatedSection, bin_label: np.ndarray) -> np.ndarray:
    hit = np.flatnonzero(bin_label)
    member = sparse.csr_matrix(
        (np.ones(len(hit)), (bin_label[hit] - 1, hit)), shape=(section.truth.n_obs, len(bin_label))
    )
    return (member @ section.bins).toarray()


def test_equal_settings_give_equal_sections(section: SimulatedSection) -> None:
    again = simulate_section(SETTINGS)
    assert np.array_equal(section.image, again.image)
    assert (section.bins != again.bins).nnz == 0
    assert section.positions.equals(again.positions)
    assert np.array_equal(section.polygons_um, again.polygons_um)
    assert np.array_equal(section.truth.X, again.truth.X)
    assert section.truth.obs.equals(again.truth.obs)


def test_another_seed_is_another_section(
    section: SimulatedSection, other: SimulatedSection
) -> None:
    assert not np.array_equal(section.image, other.image)
    assert other.truth.var_names.equals(section.truth.var_names)


def test_matrix_reads_as_10x_version_3(section: SimulatedSection, folder: Path) -> None:
    path = folder / "binned_outputs/square_002um/filtered_feature_bc_matrix.h5"
    with h5py.File(path) as file:
        assert {"data", "indices", "indptr", "shape", "barcodes", "features"} <= set(file["matrix"])
        assert {"id", "name", "feature_type", "genome"} <= set(file["matrix/features"])
        assert tuple(file["matrix/shape"]) == section.bins.shape[::-1]
        assert file["matrix/data"].compression == "gzip"
    read = sc.read_10x_h5(path)
    assert read.shape == section.bins.shape
    assert (read.X.astype(np.int32) != section.bins).nnz == 0
    assert read.var_names.is_unique and read.var["gene_ids"].is_unique
    assert read.var_names.equals(section.truth.var_names)
    assert sum(read.var_names.str.startswith("MT-")) == 13
    assert read.obs_names.str.fullmatch(r"s_002um_\d{5}_\d{5}-1").all()


def test_positions_and_scalefactors_are_space_rangers(
    section: SimulatedSection, folder: Path
) -> None:
    spatial = folder / "binned_outputs/square_002um/spatial"
    positions = pd.read_parquet(spatial / "tissue_positions.parquet")
    assert {name: str(kind) for name, kind in positions.dtypes.items()} == {
        "barcode": "object",
        "in_tissue": "int32",
        "array_row": "int32",
        "array_col": "int32",
        "pxl_row_in_fullres": "float64",
        "pxl_col_in_fullres": "float64",
    }
    assert positions["in_tissue"].sum() == section.bins.shape[0]
    assert 0 < (positions["in_tissue"] == 0).mean() < 0.3
    rows, columns = section.image.shape[:2]
    assert positions["pxl_row_in_fullres"].between(0, rows).all()
    assert positions["pxl_col_in_fullres"].between(0, columns).all()
    factors = json.loads((spatial / "scalefactors_json.json").read_text())
    assert factors["microns_per_pixel"] == SETTINGS.um_per_px
    # Neighbouring bins are 2 um apart, turned by a fraction of a degree, columns from right to
    # left.
    first, second = positions.iloc[0], positions.iloc[1]
    step = np.array([second[k] - first[k] for k in ("pxl_col_in_fullres", "pxl_row_in_fullres")])
    assert np.linalg.norm(step) * SETTINGS.um_per_px == pytest.approx(2.0)
    assert step[0] < 0 and abs(step[1] / step[0]) < np.tan(np.deg2rad(0.4))


def test_segmentation_image_and_truth_agree(section: SimulatedSection, folder: Path) -> None:
    collection = json.loads(
        (folder / "segmented_outputs/nucleus_segmentations.geojson").read_text()
    )
    truth = anndata.read_h5ad(folder / "truth.h5ad")
    nuclei = gpd.read_parquet(folder / "truth_nuclei.parquet")
    assert collection["type"] == "FeatureCollection"
    assert [str(f["properties"]["cell_id"]) for f in collection["features"]] == list(
        truth.obs_names
    )
    assert [str(cell_id) for cell_id in nuclei["cell_id"]] == list(truth.obs_names)
    for feature, shape in zip(collection["features"], nuclei.geometry, strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon" and ring[0] == ring[-1]
        centre = np.mean(ring[:-1], axis=0) * SETTINGS.um_per_px
        assert np.allclose(centre, np.mean(shape.exterior.coords[:-1], axis=0), atol=0.01)
    centroid = np.stack([nuclei.centroid.x, nuclei.centroid.y], axis=1)
    assert np.allclose(centroid, truth.obsm["spatial"])
    assert np.allclose(nuclei.area, truth.obs["area_um2"])
    assert np.array_equal(truth.X, section.truth.X)
    assert truth.uns["settings"]["donor_seed"] == SETTINGS.donor_seed
    with tifffile.TiffFile(folder / "image.tif") as tiff:
        page = tiff.pages[0]
        assert page.shape == section.image.shape == (480, 600, 3) and page.is_tiled
        assert (page.tilewidth, page.tilelength) == (256, 256)
        assert page.tags["ResolutionUnit"].value == 3
        assert np.divide(*page.tags["XResolution"].value) == pytest.approx(1e4 / SETTINGS.um_per_px)
        assert np.abs(page.asarray().astype(int) - section.image).mean() < 3


def test_nuclei_lie_in_tissue_and_apart(section: SimulatedSection, label: np.ndarray) -> None:
    x, y = section.truth.obsm["spatial"].T
    assert (
        x.min() > 0 and x.max() < SETTINGS.width_um and y.min() > 0 and y.max() < SETTINGS.height_um
    )
    assert (section.truth.obs["domain"] != "glass").all()
    drawn = (
        np.bincount(label.ravel(), minlength=section.truth.n_obs + 1)[1:] * SETTINGS.um_per_px**2
    )
    assert np.median(drawn / section.truth.obs["area_um2"]) == pytest.approx(1, abs=0.08)
    assert (drawn / section.truth.obs["area_um2"]).min() > 0.8


def test_nuclei_are_painted_where_they_lie(section: SimulatedSection, label: np.ndarray) -> None:
    """The stain at the outlines' last pixels is alike on opposite sides."""
    stained = 255 - section.image[..., 0].astype(float)
    inside = label > 0
    contrast = stained[inside].mean() - stained[~inside].mean()
    for axis in (0, 1):
        one, other = (
            stained[inside & (np.roll(label, step, axis) == 0)].mean() for step in (1, -1)
        )
        assert abs(one - other) < 0.03 * contrast


def test_many_types_and_all_domains(section: SimulatedSection) -> None:
    assert section.truth.n_obs > 200
    assert section.truth.obs["cell_type"].nunique() >= 10
    assert section.truth.obs["domain"].nunique() >= 5
    density = section.truth.n_obs / (SETTINGS.width_um * SETTINGS.height_um)
    assert density > 3000 / 1e6


def test_nuclei_are_darker_and_bluer_than_what_is_between_them(
    section: SimulatedSection, label: np.ndarray
) -> None:
    tissue = section.domain_map > 0
    inside = section.image[label > 0].astype(float)
    between = section.image[(label == 0) & tissue].astype(float)
    assert inside.mean() < between.mean() - 30
    assert (inside[:, 2] - inside[:, 0]).mean() > (between[:, 2] - between[:, 0]).mean() + 20
    assert section.image[~tissue].mean() > 220


def test_counts_are_denser_in_nuclei_and_near_their_expectation(
    section: SimulatedSection, bin_label: np.ndarray
) -> None:
    per_bin = np.asarray(section.bins.sum(1)).ravel()
    assert per_bin[bin_label > 0].mean() > 1.8 * per_bin[bin_label == 0].mean()
    total = nucleus_counts(section, bin_label).sum(1)
    assert 40 < np.median(total) < 200
    # Own molecules lost by diffusion and neighbours' gained roughly balance.
    assert 0.6 < np.median(total) / np.median(section.truth.X.sum(1)) < 1.3


def test_expected_expression_predicts_the_counts(
    section: SimulatedSection, bin_label: np.ndarray
) -> None:
    counts, expected = nucleus_counts(section, bin_label), section.truth.X
    use = counts.sum(1) > 20
    counts, expected = counts[use], expected[use]
    target = np.median(counts.sum(1))
    seen, planted = (np.log1p(m / m.sum(1, keepdims=True) * target) for m in (counts, expected))
    markers = section.truth.var["program"].str.startswith("type:").to_numpy()
    seen, planted = (
        seen[:, markers] - seen[:, markers].mean(0),
        planted[:, markers] - planted[:, markers].mean(0),
    )
    pcc = (seen * planted).sum(0) / np.sqrt((seen**2).sum(0) * (planted**2).sum(0))
    assert np.nanmean(pcc) > 0.25
    shuffled = np.random.default_rng(0).permutation(planted)
    null = (seen * shuffled).sum(0) / np.sqrt((seen**2).sum(0) * (shuffled**2).sum(0))
    assert abs(np.nanmean(null)) < 0.05


def test_most_but_not_all_nuclei_pass_the_papers_qc(
    section: SimulatedSection, bin_label: np.ndarray
) -> None:
    counts = nucleus_counts(section, bin_label)
    mitochondrial = counts[:, section.truth.var_names.str.startswith("MT-")].sum(1) / np.maximum(
        counts.sum(1), 1
    )
    assert 0.8 < (counts.sum(1) > 20).mean() < 1
    assert 0.8 < (mitochondrial < 0.15).mean() < 1


def test_donors_differ_in_colour(section: SimulatedSection) -> None:
    restained = simulate_section(replace(SETTINGS, donor_seed=11))
    tissue = section.domain_map > 0
    difference = section.image[tissue].mean(0, dtype=float) - restained.image[tissue].mean(
        0, dtype=float
    )
    assert np.abs(difference).max() > 3
    # The same tissue under another stain, with a small batch effect.
    assert np.array_equal(section.polygons_um, restained.polygons_um)
    ratio = np.log(restained.truth.X.sum(0) / section.truth.X.sum(0))
    assert 0.05 < ratio.std() < 0.3


def test_one_program_seed_is_one_biology(
    section: SimulatedSection, other: SimulatedSection
) -> None:
    assert other.truth.var.equals(section.truth.var)
    redrawn = make_programs(program_seed=1, n_genes=SETTINGS.n_genes)
    assert redrawn.genes.equals(section.truth.var)

    def profile(one: SimulatedSection, cell_type: str) -> np.ndarray:
        mine = one.truth[one.truth.obs["cell_type"] == cell_type]
        return np.log(mine.X.mean(0) / one.truth.X.mean(0))

    in_both = [
        name
        for name in TYPE_NAMES
        if all((one.truth.obs["cell_type"] == name).sum() >= 8 for one in (section, other))
    ]
    assert len(in_both) >= 6
    for cell_type in in_both:
        first, second = profile(section, cell_type), profile(other, cell_type)
        elsewhere = redrawn.by_type[TYPE_NAMES.index(cell_type)]
        assert np.corrcoef(first, second)[0, 1] > 0.85, cell_type
        assert np.corrcoef(first, second)[0, 1] > np.corrcoef(first, elsewhere)[0, 1], cell_type


@pytest.mark.parametrize("n_genes", [60, 600, 800])
def test_panel_has_the_size_asked_for(n_genes: int) -> None:
    programs = make_programs(0, n_genes)
    assert len(programs.genes) == n_genes and programs.genes.index.is_unique
    assert programs.is_mitochondrial.sum() == 13
    assert (programs.by_type.max(0)[programs.genes["program"].str.startswith("type:")] > 1).all()


def test_a_gene_is_the_same_in_every_panel() -> None:
    small, large = make_programs(0, 200), make_programs(0, 800)
    place = large.genes.index.get_indexer(small.genes.index)
    assert np.array_equal(small.base, large.base[place])
    assert np.array_equal(small.by_type, large.by_type[:, place])
    assert small.genes["gene_id"].equals(large.genes["gene_id"].iloc[place])


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="a panel needs"):
        make_programs(0, 20)
    with pytest.raises(ValueError, match="no nucleus finds room"):
        simulate_section(replace(SETTINGS, width_um=12, height_um=12))


@pytest.mark.parametrize("space_ranger", [1, 2])
def test_the_same_molecules_as_visium_spots(section, tmp_path, space_ranger):
    """Read back: each spot holds what the bins under its circle hold, in both dialects."""
    write_visium(section, tmp_path, space_ranger)
    files = measured_files("visium", tmp_path, "spot", 8)
    assert files["positions"].name.endswith("_list.csv") == (space_ranger == 1)
    assert visium.um_per_px(files) == pytest.approx(SETTINGS.um_per_px, rel=1e-3)
    spots, diameter_um = visium.read(files)
    centre_um = spots.obsm["spatial_px"] * SETTINGS.um_per_px
    bins = section.positions[section.positions["in_tissue"] == 1]
    bins_um = bins[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy() * SETTINGS.um_per_px
    inside = np.linalg.norm(centre_um[:, None] - bins_um, axis=2) < diameter_um / 2
    assert inside.any(axis=1).all()
    np.testing.assert_array_equal(spots.X.toarray(), (inside.astype(int) @ section.bins.toarray()))
    nearest = np.linalg.norm(centre_um[:, None] - centre_um, axis=2)
    assert nearest[nearest > 0].min() == pytest.approx(100, abs=0.1)
