"""Cells grown from nuclei: nearest outline wins, nothing is shared."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import histoscribe.expansion as expansion
from histoscribe.errors import UserError
from histoscribe.expansion import expand_nuclei

TOLERANCE_UM = 0.15


def frame(outlines):
    outlines = np.asarray(outlines)
    names = [f"n{i}" for i in range(len(outlines))]
    return gpd.GeoDataFrame(
        {"area_um2": shapely.area(outlines), "probability": 0.5}, geometry=outlines, index=names
    )


def ellipses(seed, n, side_um, points=24):
    """Nuclei of many sizes; some overlap."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    turn = rng.uniform(0, np.pi, (n, 1))
    long, short = rng.uniform(2, 5, (n, 1)), rng.uniform(1, 3, (n, 1))
    x, y = long * np.cos(angle), short * np.sin(angle)
    xy = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], -1)
    return shapely.polygons(xy + rng.uniform(0, side_um, (n, 1, 2)))


def shared_um2(outlines):
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    first, second = first[first < second], second[first < second]
    return first, second, shapely.area(shapely.intersection(outlines[first], outlines[second]))


def require_cells(nuclei, cells, expand_um, points):
    outlines, grown = np.asarray(nuclei.geometry), np.asarray(cells.geometry)
    assert shapely.is_valid(grown).all()
    assert (shapely.get_type_id(grown) == shapely.GeometryType.POLYGON).all()
    assert cells.index.equals(nuclei.index)
    np.testing.assert_allclose(cells["area_um2"], shapely.area(grown))
    np.testing.assert_array_equal(cells["nucleus_area_um2"], nuclei["area_um2"])
    assert shapely.area(shapely.difference(outlines, grown)).max() < 1e-6
    whole = shapely.area(shapely.buffer(outlines, expand_um, quad_segs=64))
    assert (cells["area_um2"] <= whole + 1e-6).all()
    first, other, shared = shared_um2(grown)
    before = shapely.area(shapely.intersection(outlines[first], outlines[other]))
    assert (shared <= before + 1e-6).all()

    distance = shapely.distance(shapely.points(points)[:, None], outlines)  # (n_points, n_nuclei)
    point, cell = shapely.STRtree(grown).query(shapely.points(points), predicate="within")
    assert (distance[point, cell] <= expand_um + 1e-9).all()
    assert (distance[point, cell] <= distance.min(axis=1)[point] + TOLERANCE_UM).all()
    is_near = distance.min(axis=1) < expand_um - TOLERANCE_UM
    others = np.concatenate([distance, np.full((len(points), 1), np.inf)], axis=1)
    nearest, second = np.sort(others, axis=1)[:, :2].T
    contested = second - nearest < TOLERANCE_UM
    assert np.isin(np.flatnonzero(is_near & ~contested), point).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.3, 12), st.integers(3, 40))
def test_cells_are_what_is_nearest(seed, n, expand_um, a_block):
    nuclei = frame(ellipses(seed, n, 30))
    points = np.random.default_rng(seed).uniform(-8, 38, (400, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expansion, "NUCLEI_A_BLOCK", a_block)
        cells = expand_nuclei(nuclei, expand_um)
    require_cells(nuclei, cells, expand_um, points)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 5))
def test_pixel_outlines_that_share_walls(seed, expand_um):
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(0, 24, 4.0), np.arange(0, 24, 4.0))
    boxes = shapely.box(x, y, x + 4, y + 4).ravel()
    nuclei = frame(boxes[rng.random(len(boxes)) < 0.5][:20])
    if len(nuclei):
        points = rng.uniform(-5, 29, (300, 2))
        require_cells(nuclei, expand_nuclei(nuclei, expand_um), expand_um, points)


def test_a_lone_nucleus_becomes_its_buffer():
    cells = expand_nuclei(frame([shapely.box(0, 0, 10, 10)]), 5)
    assert cells["area_um2"].iloc[0] == pytest.approx(100 + 4 * 50 + np.pi * 25, rel=0.002)
    assert cells["probability"].tolist() == [0.5]


def test_two_nuclei_meet_in_the_middle():
    cells = expand_nuclei(frame([shapely.box(0, 0, 10, 10), shapely.box(14, 0, 24, 10)]), 5)
    wall = shapely.intersection(*cells.geometry)
    assert wall.area < 1e-9
    assert cells.geometry.iloc[0].bounds[2] == pytest.approx(12, abs=0.05)
    assert cells.geometry.iloc[1].bounds[0] == pytest.approx(12, abs=0.05)


def test_blocks_do_not_show():
    nuclei = frame(ellipses(3, 60, 60))
    whole = expand_nuclei(nuclei, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expansion, "NUCLEI_A_BLOCK", 7)
        blocks = expand_nuclei(nuclei, 4)
    differ = shapely.symmetric_difference(np.asarray(whole.geometry), np.asarray(blocks.geometry))
    assert shapely.area(differ).max() < 1e-6
    again = expand_nuclei(nuclei, 4)
    assert shapely.equals_exact(np.asarray(whole.geometry), np.asarray(again.geometry)).all()


def test_nothing_to_grow():
    nuclei = frame(ellipses(1, 5, 50))
    assert expand_nuclei(nuclei, 0).geometry.equals(nuclei.geometry)
    assert expand_nuclei(nuclei.iloc[:0], 3).empty
    with pytest.raises(UserError, match="expand_um: found -1"):
        expand_nuclei(nuclei, -1)
