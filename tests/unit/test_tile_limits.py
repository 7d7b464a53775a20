"""The least tile is one that the encoder takes."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from section_files import tissue_image

from histoscribe.features.morphology import _nuclear_reach, describe_units
from histoscribe.features.pixel_maps import Lengths
from histoscribe.image import Slide
from histoscribe.tile_limits import least_tile_um


@given(st.floats(0.05, 20))
def test_the_least_tile_is_one_that_morphology_takes(um_per_px):
    for unit in ("bin", "nucleus"):
        least_um = least_tile_um("morphology", um_per_px, unit, 0.0)
        for tile_um in (least_um, least_um + 0.5, least_um + 1):
            lengths = Lengths(um_per_px, tile_um)
            if unit == "nucleus":
                _nuclear_reach(lengths)
        with pytest.raises(ValueError, match="a tile of"):
            _nuclear_reach(Lengths(um_per_px, 0.95 * least_um - 1))


@pytest.mark.parametrize("um_per_px", [0.25, 0.5, 2.0])
@pytest.mark.parametrize("has_nuclei", [True, False])
def test_morphology_describes_the_least_tile(um_per_px, has_nuclei):
    slide = Slide("", tissue_image(300, 300), um_per_px)
    xy_um = np.array([[120.0, 130.0], [140.0, 150.0]]) * um_per_px
    tile_um = least_tile_um("morphology", um_per_px, "nucleus" if has_nuclei else "bin", 0.0)
    footprints = shapely.buffer(shapely.points(xy_um), 4.0)
    features = describe_units(slide, um_per_px, xy_um, footprints, has_nuclei, tile_um)
    assert np.isfinite(features.local).all()
    assert np.isfinite(features.context).all()
