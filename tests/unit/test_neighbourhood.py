from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from histoscribe.errors import UserError
from histoscribe.features.nuclear_neighbourhood import describe_neighbourhoods
from histoscribe.image import Slide
from histoscribe.neighbourhood import within

SIDE_PX = 600


@given(st.integers(0, 1000), st.integers(0, 40), st.integers(0, 60), st.floats(1, 80))
def test_within_agrees_with_all_distances(seed, n_places, n_points, radius_um):
    rng = np.random.default_rng(seed)
    places, points = rng.uniform(0, 100, (n_places, 2)), rng.uniform(0, 100, (n_points, 2))
    distance = np.linalg.norm(places[:, None] - points[None], axis=2)
    np.testing.assert_array_equal(
        within(places, points, radius_um).toarray(), distance <= radius_um
    )


def test_a_place_is_near_itself():
    xy_um = np.array([[0.0, 0.0], [5.0, 0.0], [50.0, 0.0]])
    np.testing.assert_array_equal(
        within(xy_um, xy_um, 5).toarray(), [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    )


@pytest.fixture(scope="module")
def painted():
    """Nuclei of 8 um on a lattice of 20 um: dark ones left, light ones right."""
    pixels = np.full((SIDE_PX, SIDE_PX, 3), (235, 190, 215), dtype=np.uint8)
    centre_px = np.stack(np.meshgrid(*[np.arange(20, SIDE_PX, 40)] * 2), axis=-1).reshape(-1, 2)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    for x, y in centre_px:
        inside = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < 64
        pixels[inside] = (60, 40, 120) if x < SIDE_PX / 2 else (130, 90, 170)
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    nuclei = shapely.buffer(shapely.points(centre_px / 2), 4.0)
    return Slide(Path("painted"), pixels, 0.5), nuclei


def test_units_are_described_by_the_nuclei_around_them(painted):
    slide, nuclei = painted
    xy_um = np.array([[50.0, 150.0], [250.0, 150.0], [150.0, 150.0], [900.0, 900.0]])
    found = describe_neighbourhoods(slide, 0.5, xy_um, nuclei, 60.0, 45.0)
    assert found.local.shape == (4, len(found.local_names))
    assert found.context_names[0] == "nuclei_45um_log_count"
    centre_um = shapely.get_coordinates(shapely.centroid(nuclei))
    n = (np.linalg.norm(xy_um[:, None] - centre_um[None], axis=2) <= 45).sum(axis=1)
    np.testing.assert_allclose(found.context[:, 0], np.log1p(n), rtol=1e-6)
    mean, spread = (
        found.context[:, found.context_names.index(f"nuclei_45um_footprint_hematoxylin_mean_{s}")]
        for s in ("mean", "std")
    )
    assert mean[0] > 0.8  # in SDs of the section's nuclei
    assert mean[1] < -0.8
    assert spread[2] > 3 * max(spread[0], spread[1])  # both kinds stand there
    assert not found.context[3].any()  # none around
    assert np.isfinite(found.local).all()


def test_a_section_without_nuclei_is_said(painted):
    with pytest.raises(UserError, match="the nuclei of painted: found none"):
        describe_neighbourhoods(painted[0], 0.5, np.zeros((1, 2)), painted[1][:0], 60.0, 45.0)
