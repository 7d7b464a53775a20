"""Polygons of real files."""

import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from histoscribe.expansion import expand_nuclei
from histoscribe.polygons import read_polygons
from histoscribe.polygons.labels import read_labels

XENIUM_SIZE_UM = (1000.0, 500.0)
XENIUM_UM_PER_PX = 0.2125


@pytest.mark.parametrize(
    ("name", "kind", "column"),
    [("nucleus_boundaries", "nucleus", "nucleus_area"), ("cell_boundaries", "cell", "cell_area")],
)
def test_xenium_outlines_have_the_areas_and_places_of_its_cell_table(real_data, name, kind, column):
    folder = real_data / "xenium_mouse_ileum_tiny"
    polygons, counts = read_polygons(
        folder / f"{name}.parquet", XENIUM_UM_PER_PX, XENIUM_SIZE_UM, kind=kind
    )
    cells = pd.read_parquet(folder / "cells.parquet").set_index("cell_id")
    stated = cells[column].dropna()
    assert set(polygons.index) == set(stated.index)
    assert counts["kept"] == counts["read"] == len(stated)
    # Xenium states the area of its mask's pixels; its outlines run through their centres.
    inset_um = (stated[polygons.index] - polygons["area_um2"]) / polygons.geometry.length
    assert inset_um.median() == pytest.approx(XENIUM_UM_PER_PX / 2, abs=0.02)
    assert inset_um.between(0.05, 0.15).all()
    if kind == "cell":
        centre = shapely.get_coordinates(shapely.centroid(np.asarray(polygons.geometry)))
        stated_um = cells.loc[polygons.index, ["x_centroid", "y_centroid"]]
        assert np.abs(centre - stated_um).to_numpy().max() < 1


def test_xenium_nuclei_grow_into_cells(real_data):
    path = real_data / "xenium_mouse_ileum_tiny" / "nucleus_boundaries.parquet"
    nuclei, _ = read_polygons(path, XENIUM_UM_PER_PX, XENIUM_SIZE_UM)
    cells = expand_nuclei(nuclei, 5)
    assert (cells["area_um2"] > cells["nucleus_area_um2"]).all()
    outlines, grown = np.asarray(nuclei.geometry), np.asarray(cells.geometry)
    assert shapely.area(shapely.difference(outlines, grown)).max() < 1e-6
    first, second = np.triu_indices(len(grown), 1)
    shared = shapely.area(shapely.intersection(grown[first], grown[second]))
    given = shapely.area(shapely.intersection(outlines[first], outlines[second]))
    assert (shared <= given + 1e-6).all()


def test_labels_of_a_real_image(real_data):
    path = sorted((real_data / "monuseg_test").glob("*_label.png"))[0]
    given = read_labels(path, (1000, 1000))
    labels = np.asarray(Image.open(path))
    assert set(given.ids) == {str(k) for k in np.unique(labels) if k}
    area_px = np.bincount(given.owner, shapely.area(given.parts))
    pixels = np.bincount(labels.ravel())[given.ids.astype(int)]
    assert area_px.sum() == pytest.approx(pixels.sum(), rel=0.005)  # but for holes, now filled
