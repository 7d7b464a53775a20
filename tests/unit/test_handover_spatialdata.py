"""The SpatialData store, read back as a user reads it. Skipped where spatialdata is missing."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import shapely
import zarr
from handover_section import (
    EDGE_PX,
    GENES,
    IMAGE_UM_PER_PX,
    PALETTE,
    SLIDE_UM_PER_PX,
    TYPES,
    write_section,
)
from scipy import sparse
from zarr.storage import ZipStore

from histoscribe.errors import UserError
from histoscribe.expression import targets
from histoscribe.handover import requirement
from histoscribe.storage import read_h5ad

HAS_SPATIALDATA = find_spec("spatialdata") is not None
needs_spatialdata = pytest.mark.skipif(not HAS_SPATIALDATA, reason="spatialdata is not installed")


def exported(files, image, path):
    from histoscribe.handover.store import build_spatialdata, write_store

    section, outlines, colours = files.read()
    data = build_spatialdata(section, outlines, image, IMAGE_UM_PER_PX, colours)
    write_store(data, path, threads=1)
    return section


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with its section, files and image."""
    folder = tmp_path_factory.mktemp("store")
    files, image, _ = write_section(folder)
    return folder / "a.zarr", exported(files, image, folder / "a.zarr"), files, image


def opened(path):
    import spatialdata

    return spatialdata.read_zarr(path)


def test_missing_packages_are_said_so(monkeypatch):
    monkeypatch.setattr(requirement, "find_spec", lambda name: None if name == "sopa" else name)
    requirement.require_packages("spatialdata")
    with pytest.raises(UserError, match=r"but sopa not installed.*pip install spatialdata==0.7.3"):
        requirement.require_packages("xenium_explorer")


def test_versions_are_those_of_the_constraints(repository):
    lines = (repository / "envs/constraints.txt").read_text().splitlines()
    for packages in requirement.NEEDED.values():
        assert {f"{name}=={version}" for name, version in packages.items()} <= set(lines)


@pytest.mark.parametrize("unit", ["nucleus", "spot"])
def test_xenium_explorer_files_hold_the_section(tmp_path, unit):
    pytest.importorskip("sopa")
    import tifffile

    from histoscribe.handover.xenium_explorer import write_explorer

    files, image, _ = write_section(tmp_path, unit)
    section, outlines, _, _ = files.read()
    path = tmp_path / "section.xenium"
    write_explorer(section, outlines, image, IMAGE_UM_PER_PX, path)
    facts = json.loads((path / "experiment.xenium").read_text())
    assert facts["pixel_size"] == IMAGE_UM_PER_PX and facts["num_cells"] == section.units.n_obs
    assert facts["run_name"] == "section-1"

    def group(name):
        return zarr.open_group(ZipStore(path / f"{name}.zarr.zip", mode="r"), mode="r")

    vertices = group("cells")["polygon_vertices"][1].reshape(len(outlines), -1, 2)
    middle = shapely.get_coordinates(shapely.centroid(shapely.polygons(vertices)))
    assert np.abs(middle - section.predicted.obsm["spatial"]).max() < 0.05  # um
    matrix = group("cell_feature_matrix")["cell_features"]
    n_genes = len(GENES)
    assert matrix.attrs["feature_keys"][:n_genes] == GENES
    parts = (matrix["data"][:], matrix["indices"][:], matrix["indptr"][:])
    levels = sparse.csr_matrix(parts, shape=(n_genes + 1, len(outlines))).toarray()[:n_genes].T
    assert np.abs(levels / 100 - section.predicted.X).max() <= 0.005 + 1e-6
    groupings = group("analysis")["cell_groups"].attrs
    types = groupings["group_names"][groupings["grouping_names"].index("predicted_type")]
    assert set(types) == {*TYPES, "NA"}
    with tifffile.TiffFile(path / "morphology.ome.tif") as tiff:
        height, width = tifffile.imread(image).shape[:2]
        written = tiff.series[0].levels[0].asarray()
        planes = written if written.shape[0] == 3 else np.moveaxis(written, -1, 0)
        assert (planes[:, :height, :width] == np.moveaxis(tifffile.imread(image), -1, 0)).all()


@needs_spatialdata
def test_everything_lies_in_one_system(store):
    data = opened(store[0])
    assert data.coordinate_systems == ["global"]
    names = {name for _, name, _ in data.gen_elements()}
    assert names == {"he", "nuclei", "units", "measured"}
    assert data.attrs["sample"] == "section-1"


@needs_spatialdata
def test_nuclei_lie_on_their_pixels_at_full_resolution(store):
    """The squares of the slide are bright in the image exactly where the shapes say."""
    from spatialdata.transformations import get_transformation

    path, section, _, _ = store
    data = opened(path)
    to_um = get_transformation(data["he"], "global").to_affine_matrix(("x", "y"), ("x", "y"))
    assert np.allclose(to_um, np.diag([IMAGE_UM_PER_PX, IMAGE_UM_PER_PX, 1]))
    pixels = np.asarray(data["he"]["scale0"]["image"].transpose("y", "x", "c"))[..., 0]
    edge = int(EDGE_PX * SLIDE_UM_PER_PX / IMAGE_UM_PER_PX)
    bounds_px = shapely.bounds(np.asarray(data["nuclei"].geometry)) / IMAGE_UM_PER_PX
    assert len(bounds_px) == section.units.n_obs
    for left, top, right, bottom in bounds_px.astype(int):
        assert (right - left, bottom - top) == (edge, edge)
        inside = pixels[top:bottom, left:right]
        ring = pixels[top - 1 : bottom + 1, left - 1 : right + 1].astype(int)
        assert inside.min() > 200
        assert (ring.sum() - inside.sum()) / (ring.size - inside.size) < 100


@needs_spatialdata
def test_levels_lie_on_each_other(store):
    """The centre of mass of the bright squares is the same in um at every level, within a tenth of
    a pixel of the first, though the slide's sides do not halve evenly."""
    data = opened(store[0])
    assert len(data["he"]) > 1
    centres, left_edges = [], []
    for level in data["he"].values():
        image = level["image"].sel(c="r").compute()
        # The white that was added, and what it shows of the last row and column, is left out.
        bright = np.asarray(image, dtype=float) - 20
        y, x = np.asarray(image["y"]), np.asarray(image["x"])
        is_real = (y[:, None] < 1080) & (x[None, :] < 1220)
        bright = np.where(is_real, bright, 0)
        centres.append(
            [(bright * x).sum() / bright.sum(), (bright * y[:, None]).sum() / bright.sum()]
        )
        left_edges.append(x[0] - (x[1] - x[0]) / 2)
    assert np.ptp(centres, axis=0).max() < 0.1
    assert left_edges == [0] * len(left_edges)


@needs_spatialdata
def test_no_pixel_of_the_image_is_lost(store):
    import tifffile

    data = opened(store[0])
    with tifffile.TiffFile(store[3]) as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
    assert len(levels) == len(data["he"])
    for original, level in zip(levels, data["he"].values(), strict=True):
        written = np.asarray(level["image"].transpose("y", "x", "c"))
        height, width = original.shape[:2]
        assert (written[:height, :width] == original).all()
        assert (written[height:] == 255).all() and (written[:, width:] == 255).all()
        assert max(written.shape[0] - height, written.shape[1] - width) < 2 ** (len(levels) - 1)
    assert list(data["he"]["scale0"]["c"].values) == ["r", "g", "b"]


@needs_spatialdata
def test_tables_annotate_the_shapes(store):
    import spatialdata
    from spatialdata.models import TableModel

    path, section, _, _ = store
    data = opened(path)
    for name in ("units", "measured"):
        table = data[name]
        TableModel().validate(table)
        data.validate_table_in_spatialdata(table)
        elements, matched = spatialdata.join_spatialelement_table(
            sdata=data, spatial_element_names="nuclei", table_name=name, how="inner"
        )
        assert list(elements["nuclei"].index) == list(matched.obs["unit"])
        assert matched.n_obs == section.units.n_obs
        centre = shapely.get_coordinates(shapely.centroid(np.asarray(elements["nuclei"].geometry)))
        assert np.allclose(centre, matched.obsm["spatial"])
    inside = spatialdata.bounding_box_query(
        data,
        axes=("x", "y"),
        min_coordinate=[0, 0],
        max_coordinate=[200, 200],
        target_coordinate_system="global",
    )
    xy = section.units.obsm["spatial"]
    assert inside["units"].n_obs == (xy < 200).all(axis=1).sum() > 0


@needs_spatialdata
def test_layers_are_what_was_measured_and_predicted(store):
    path, _, files, _ = store
    table, units = opened(path)["units"], read_h5ad(files.units)
    predicted = read_h5ad(files.predictions[0])
    assert list(table.var_names) == GENES
    assert (table.X.toarray() == units[:, GENES].X.toarray()).all()
    assert np.allclose(table.layers["predicted"], predicted.X)
    assert np.allclose(table.layers["measured"].toarray(), targets(units, GENES, "median"))
    for name in ("probability", "lower", "upper"):
        assert np.allclose(table.layers[name], predicted.layers[name])
    assert list(table.var["trust"]) == ["D", "A", "B", "B", "A"]
    assert table.var["pcc"].tolist()[:3] == [0.1, 0.5, 0.3]
    assert (table.obs["out_of_domain"] == predicted.obs["out_of_domain"]).all()
    whole = opened(path)["measured"]
    assert sparse.issparse(whole.X) and (whole.X != units.X).nnz == 0
    assert list(whole.var_names) == list(units.var_names)
    assert np.issubdtype(whole.X.dtype, np.integer)


@needs_spatialdata
def test_types_have_the_colours_that_scanpy_looks_for(store):
    import pandas as pd

    table = opened(store[0])["units"]
    listed = {*pd.read_csv(PALETTE, sep="\t")["colour"], "#BDBDBD"}
    for source in ("measured", "predicted"):
        types = table.obs[f"{source}_type"]
        assert set(types.cat.categories) == set(TYPES)
        colours = table.uns[f"{source}_type_colors"]
        assert len(colours) == len(types.cat.categories) and set(colours) <= listed
        assert colours[list(types.cat.categories).index("unknown")] == "#BDBDBD"
        assert types.isna().sum() == 1
    colour_of = [
        dict(zip(table.obs[f"{s}_type"].cat.categories, table.uns[f"{s}_type_colors"], strict=True))
        for s in ("measured", "predicted")
    ]
    assert colour_of[0] == colour_of[1]


@needs_spatialdata
def test_squidpy_takes_the_table_as_it_is(store):
    squidpy = pytest.importorskip("squidpy")
    table = opened(store[0])["units"]
    squidpy.gr.spatial_neighbors(table, coord_type="generic", n_neighs=4)
    assert table.obsp["spatial_connectivities"].shape == (table.n_obs, table.n_obs)
    known = table[table.obs["predicted_type"].notna()].copy()
    squidpy.gr.spatial_neighbors(known, coord_type="generic", n_neighs=4)
    squidpy.gr.nhood_enrichment(known, "predicted_type", n_perms=10, show_progress_bar=False)
    assert "predicted_type_nhood_enrichment" in known.uns
    axes = squidpy.pl.spatial_scatter(
        table, color="PODXL", layer="predicted", shape=None, library_id="spatial", return_ax=True
    )
    assert axes is not None


@needs_spatialdata
def test_a_section_that_was_only_photographed(tmp_path):
    files, image, _ = write_section(tmp_path, platform="image", annotated=False)
    exported(files, image, tmp_path / "a.zarr")
    data = opened(tmp_path / "a.zarr")
    assert list(data.tables) == ["units"]
    table = data["units"]
    assert "measured" not in table.layers
    assert np.allclose(table.X, table.layers["predicted"])


@needs_spatialdata
def test_spots_are_circles_and_bins_squares(tmp_path):
    for unit, name in (("spot", "spots"), ("bin", "bins")):
        files, image, _ = write_section(tmp_path / unit, unit)
        section = exported(files, image, tmp_path / unit / "a.zarr")
        shapes = opened(tmp_path / unit / "a.zarr")[name]
        xy = shapely.get_coordinates(shapely.centroid(np.asarray(shapes.geometry)))
        assert np.allclose(xy, section.units.obsm["spatial"])
        if unit == "spot":
            assert (shapes.geometry.geom_type == "Point").all() and (shapes["radius"] == 1).all()
        else:
            assert np.allclose(shapes.area, 4)


@needs_spatialdata
def test_a_store_replaces_the_one_before_it_whole(tmp_path, monkeypatch):
    import spatialdata

    files, image, _ = write_section(tmp_path)
    path = tmp_path / "a.zarr"
    exported(files, image, path)
    (path / "stale").touch()
    exported(files, image, path)
    assert not (path / "stale").exists() and opened(path)["units"].n_obs == 40
    digest = sorted(p.name for p in path.rglob("*"))

    def fail(self, place):
        Path(place).mkdir()
        (Path(place) / "half").touch()
        raise OSError("disk full")

    monkeypatch.setattr(spatialdata.SpatialData, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        exported(files, image, path)
    assert sorted(p.name for p in path.rglob("*")) == digest
    assert not list(tmp_path.glob(".*"))


@needs_spatialdata
def test_nothing_of_the_image_is_read_before_it_is_written(tmp_path, monkeypatch):
    from histoscribe.handover import pyramid
    from histoscribe.image.slide import Slide

    _, image, _ = write_section(tmp_path)
    sizes = []
    original = Slide.read_region

    def noted(self, x, y, width, height):
        sizes.append(width * height)
        return original(self, x, y, width, height)

    monkeypatch.setattr(Slide, "read_region", noted)
    monkeypatch.setattr(pyramid, "CHUNK_PX", 256)
    lazy = pyramid.image_pyramid(image, IMAGE_UM_PER_PX)
    assert not sizes
    np.asarray(lazy["scale0"]["image"])
    assert len(sizes) > 16 and max(sizes) == 256 * 256


@needs_spatialdata
def test_the_store_is_plain_zarr(store):
    """Version 3, with the axes and um that the OME-NGFF metadata state."""
    group = zarr.open_group(store[0], mode="r")
    assert group.metadata.zarr_format == 3
    (multiscale,) = group["images/he"].attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    scales = [d["coordinateTransformations"][0]["scale"] for d in multiscale["datasets"]]
    assert scales == [[1.0, 2.0**level, 2.0**level] for level in range(len(scales))]
    assert "spatialdata" in sys.modules
