import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from section_files import tissue_image, write_tiff, write_visium_hd

import count_units
from histoscribe.counting import assign_bins, bins_of, count_nuclei, grid_units, sum_bins
from histoscribe.errors import UserError
from histoscribe.platforms import measured_files
from histoscribe.provenance import recall
from histoscribe.readers import open_section, read_section
from histoscribe.storage import read_h5ad, write_h5ad


def bins_of_frame(n_rows, n_cols, bin_um, origin_um, angle):
    """Centres of a rotated grid of bins, (n, 2) um, and their rows and columns."""
    row, col = (a.ravel() for a in np.indices((n_rows, n_cols)))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = np.column_stack([col + 0.5, row + 0.5]) * bin_um @ turn + origin_um
    return centre, row, col


def star(rng, centre, radius):
    angle = np.sort(rng.uniform(0, 2 * np.pi, 14))
    reach = radius * rng.uniform(0.6, 1.2, 14)
    return shapely.Polygon(
        centre + np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]
    )


def by_spatial_join(outlines, centre):
    """The 10x guide's way: a bin counts where its centre lies within exactly one nucleus."""
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*centre.T))
    joined = gpd.sjoin(points, gpd.GeoDataFrame(geometry=outlines), predicate="within")
    once = joined[~joined.index.duplicated(keep=False)]
    nucleus = np.full(len(centre), -1)
    nucleus[once.index] = once["index_right"]
    return nucleus


def alone(nucleus):
    """Bins of no nucleus and bins of several, which the join does not tell apart."""
    return np.maximum(nucleus, -1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), angle=st.floats(-3.1, 3.1), bin_um=st.floats(0.5, 8))
def test_label_raster_equals_spatial_join(seed, angle, bin_um):
    rng = np.random.default_rng(seed)
    centre, row, col = bins_of_frame(40, 60, bin_um, (70.0, 90.0), angle)
    # Some nuclei overlap, some reach beyond the bins.
    picks = centre[rng.choice(len(centre), 12)]
    outlines = np.array([star(rng, p, 6 * bin_um) for p in picks])
    outlines = shapely.make_valid(outlines)
    outlines = outlines[shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON]
    present = rng.random(len(centre)) < 0.8
    nucleus = assign_bins(outlines, centre[present], row[present], col[present])
    np.testing.assert_array_equal(alone(nucleus), by_spatial_join(outlines, centre[present]))


def test_warped_positions_fall_back_to_the_exact_search():
    rng = np.random.default_rng(3)
    centre, row, col = bins_of_frame(30, 30, 2, (0, 0), 0.0)
    centre = centre + np.column_stack([np.sin(row / 4), np.cos(col / 4)])
    outlines = np.array([star(rng, p, 9) for p in centre[[100, 500, 700]]])
    nucleus = assign_bins(outlines, centre, row, col)
    np.testing.assert_array_equal(alone(nucleus), by_spatial_join(outlines, centre))


def test_sum_bins_counts_each_bin_once():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(1, (50, 7)))
    nucleus = rng.integers(-1, 4, 50)
    summed = sum_bins(counts, nucleus, 4)
    dense = counts.toarray()
    for i in range(4):
        np.testing.assert_array_equal(summed[i].toarray().ravel(), dense[nucleus == i].sum(axis=0))


def test_count_nuclei_from_a_space_ranger_folder(tmp_path):
    image = write_tiff(tmp_path / "image.tif", tissue_image(400, 600), 0.5)
    files = measured_files("visium_hd", write_visium_hd(tmp_path / "outs", bin_um=2), "nucleus", 8)
    bins = read_section(open_section("s", "visium_hd", image, files, 0.5))
    # Bins start at (20, 10) um. The box holds the centres of columns 3-5 of rows 0 and 1.
    box = shapely.box(20 + 6.1, 10.1, 20 + 12, 14)
    other = shapely.box(20 + 30, 20, 20 + 40, 30)
    nuclei = gpd.GeoDataFrame(
        {"area_um2": shapely.area([box, other])},
        geometry=[box, other],
        index=pd.Index(["n1", "n2"], name="nucleus"),
    )
    units, accounting = count_nuclei(bins_of(bins), nuclei)
    assert list(units.obs["n_bins"]) == [6, 25]
    assert units["n1", "ROW0"].X.toarray().item() == 3 * 5
    assert accounting["bins_in_one_nucleus"] == 31
    assert accounting["umi_assigned"] == units.X.sum()


def test_no_bin_in_any_nucleus_is_an_error(tmp_path):
    image = write_tiff(tmp_path / "image.tif", tissue_image(400, 600), 0.5)
    files = measured_files("visium_hd", write_visium_hd(tmp_path / "outs", bin_um=2), "nucleus", 8)
    bins = read_section(open_section("s", "visium_hd", image, files, 0.5))
    far = shapely.box(250, 150, 260, 160)
    nuclei = gpd.GeoDataFrame({"area_um2": [100.0]}, geometry=[far], index=["n1"])
    with pytest.raises(UserError, match="none of 600 bins inside any of 1 nuclei"):
        count_nuclei(bins_of(bins), nuclei)


def test_grid_units_tile_the_image():
    units = grid_units(100, 50, 8)
    assert units.shape == (12 * 6, 0)
    assert units.obsm["spatial"].max(axis=0).tolist() == [92.0, 44.0]


@pytest.mark.parametrize("unit", ["nucleus", "cell"])
@pytest.mark.parametrize("strategy", ["nucleus", "expanded", "area"])
def test_the_entry_counts_a_measured_file(tmp_path, strategy, unit):
    """Cells are grown already: `expanded` counts in them as they are."""
    image = write_tiff(tmp_path / "image.tif", tissue_image(400, 600), 0.5)
    files = measured_files("visium_hd", write_visium_hd(tmp_path / "outs", bin_um=2), "cell", 8)
    measured = read_section(open_section("s", "visium_hd", image, files, 0.5))
    write_h5ad(measured, tmp_path / "measured.h5ad")
    boxes = shapely.box([26.1, 50.1], [10.1, 20.1], [32, 60], [14, 30])
    nuclei = gpd.GeoDataFrame({"area_um2": shapely.area(boxes)}, geometry=boxes, index=["a", "b"])
    nuclei.rename_axis("nucleus").to_parquet(tmp_path / "nuclei.parquet")
    count_units.main(
        section={},
        image=image,
        measured=tmp_path / "measured.h5ad",
        transcripts=None,
        nuclei=tmp_path / "nuclei.parquet",
        sample="s",
        unit=unit,
        own_counts=False,
        bin_um=8,
        working_um_per_px=0.5,
        strategy=strategy,
        expand_um=2.0,
        seed=1,
        output=tmp_path / "units.h5ad",
    )
    units = read_h5ad(tmp_path / "units.h5ad")
    facts = recall(units.uns)
    assert facts["unit"] == unit
    if unit == "cell" and strategy == "expanded":
        strategy = "nucleus"
    assert facts["counting"]["strategy"] == strategy
    assert facts["accounting"]["bins_under_tissue"] == 600
    assert facts["accounting"]["umi_assigned"] == units.obs["umi"].sum() > 0
    assert ("counted_area_um2" in units.obs) == (strategy == "expanded")
    if strategy == "nucleus":
        expected, _ = count_nuclei(bins_of(measured), nuclei)
        assert (units.X != expected.X).nnz == 0
