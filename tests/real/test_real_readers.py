"""The readers on real files."""

import numpy as np
import pandas as pd
import pytest
import shapely

from histoscribe.counting import count_transcripts
from histoscribe.image import Slide, open_slide
from histoscribe.platforms import measured_files, own_nuclei
from histoscribe.readers import (
    SectionSource,
    legacy_st,
    open_section,
    read_section,
    stereoseq,
    visium_hd,
    write_transcript_section,
)
from histoscribe.readers.transcript_table import open_transcripts


def test_visium_hd_2um_fixture(real_data):
    files = measured_files("visium_hd", real_data / "visium_hd_2um_fixture", "nucleus", 8)
    assert visium_hd.um_per_px(files) == pytest.approx(0.27382, abs=1e-4)
    adata, edge_um = visium_hd.read(files)
    assert (adata.shape, edge_um) == ((10, 10), 2.0)
    assert np.isfinite(adata.obsm["spatial_px"]).all()


def test_kidney_marker_genes_lie_where_the_positions_say(real_data):
    folder = real_data / "visium_hd_kidney" / "kidney-a"
    files = measured_files("visium_hd", folder, "bin", 8)
    image = folder / "kidney-a_tissue_image.tif"
    source = open_section("kidney-a", "visium_hd", image, files, None)
    assert source.um_per_px == pytest.approx(2.006)
    adata = read_section(source)
    assert adata.shape == (57579, 18084)
    # The podocyte genes mark the same glomeruli: neighbours in the read positions share them.
    podocyte = adata[:, ["NPHS2", "PODXL"]].X.sum(axis=1).A1 > 1
    from scipy.spatial import cKDTree

    xy = adata.obsm["spatial"]
    _, near = cKDTree(xy).query(xy[podocyte], k=9)
    assert podocyte[near[:, 1:]].mean() > 5 * podocyte.mean()


def test_her2st(real_data):
    folder = real_data / "her2st" / "C2"
    files = measured_files("legacy_st", folder, "spot", 8)
    assert legacy_st.um_per_px(files) == pytest.approx(0.694, abs=0.01)
    source = open_section("C2", "legacy_st", folder / "C2_HE.jpg", files, None)
    slide, adata = source.slide, read_section(source)
    assert 150 < adata.n_obs < 220
    # Spots lie on tissue: darker than the glass around them.
    px = adata.obsm["spatial"] / legacy_st.um_per_px(files)
    at_spots = [slide.read_region(int(x) - 20, int(y) - 20, 40, 40).mean() for x, y in px]
    corner = slide.read_region(50, 50, 200, 200).mean()
    assert np.median(at_spots) < corner - 20


def test_aperio_slide(real_data):
    slide = open_slide(real_data / "wsi" / "CMU-1-Small-Region.svs")
    assert (slide.width_px, slide.height_px) == (2220, 2967)
    assert slide.um_per_px == pytest.approx(0.499)


def test_xenium_cells_hold_the_transcripts_that_its_own_software_gave_them(real_data, tmp_path):
    folder = real_data / "xenium_mouse_ileum_tiny"
    files = measured_files("xenium", folder, "cell", 8)
    slide = Slide(folder, np.empty((4000, 5000, 3), dtype=np.uint8), None)
    source = SectionSource("ileum", "xenium", files, slide, 0.2125)
    write_transcript_section(source, tmp_path / "t.parquet")
    table = open_transcripts(tmp_path / "t.parquet")
    assert len(table.genes) == 5006
    assert table.var["gene_id"].str.startswith("ENSMUSG").all()
    theirs = pd.read_parquet(files["transcripts"])
    theirs = theirs[theirs["is_gene"] & (theirs["qv"] >= 20)]
    assert table.facts["accounting"]["transcripts_under_tissue"] == len(theirs)
    vertices = pd.read_parquet(own_nuclei("xenium", folder, "cell"))
    outlines = vertices.groupby("cell_id")[["vertex_x", "vertex_y"]].apply(shapely.Polygon)
    points, code = (np.concatenate(part) for part in zip(*table.pieces(), strict=True))
    counts = count_transcripts(*points.T, code, table.genes, outlines.to_numpy())
    given = theirs.groupby("cell_id").size().reindex(outlines.index, fill_value=0)
    # Their cells are masks of pixels, ours the polygons drawn around them.
    off = np.abs(np.asarray(counts.sum(axis=1)).ravel() - given.to_numpy()).sum()
    assert off <= 0.05 * given.sum()


@pytest.mark.parametrize(("bin_um", "size"), [(0.5, 1), (10, 20), (25, 50)])
def test_stereoseq_bins_hold_every_molecule(real_data, bin_um, size):
    folder = real_data / "stereoseq_gem"
    files = measured_files("stereoseq", folder, "bin", bin_um)
    slide = Slide(folder, np.empty((13_000, 10_000, 3), dtype=np.uint8), None)
    assert stereoseq.um_per_px(files) == 0.5
    bins = read_section(SectionSource("mouse", "stereoseq", files, slide, 0.5, bin_um))
    theirs = pd.read_csv(files["molecules"], sep="\t")
    assert len(theirs) == 77_634
    keys = {"array_row": theirs["y"] // size, "array_col": theirs["x"] // size}
    expected = theirs["MIDCounts"].groupby([*keys.values(), theirs["geneID"]]).sum()
    found = bins.X.tocoo()
    index = [bins.obs[name].to_numpy()[found.row] for name in keys]
    counts = pd.Series(found.data, [*index, bins.var_names.to_numpy()[found.col]]).sort_index()
    np.testing.assert_array_equal(counts.to_numpy(), expected.to_numpy())
    assert counts.index.equals(expected.index)
    centre_um = bins.obs[["array_col", "array_row"]].to_numpy() * bin_um + bin_um / 2
    np.testing.assert_allclose(bins.obsm["spatial"], centre_um)
    assert bins.n_vars == 10_631


def test_stereoseq_molecules(real_data, tmp_path):
    folder = real_data / "stereoseq_gem"
    files = measured_files("stereoseq", folder, "nucleus", 8)
    slide = Slide(folder, np.empty((13_000, 10_000, 3), dtype=np.uint8), None)
    source = SectionSource("mouse", "stereoseq", files, slide, 0.5)
    write_transcript_section(source, tmp_path / "t.parquet")
    table = open_transcripts(tmp_path / "t.parquet")
    assert table.facts["accounting"] == {"transcripts_under_tissue": 131_002}
    theirs = pd.read_csv(files["molecules"], sep="\t")
    _, code = next(table.pieces())
    per_gene = theirs.groupby("geneID")["MIDCounts"].sum()
    np.testing.assert_array_equal(np.bincount(code), per_gene[table.genes])
