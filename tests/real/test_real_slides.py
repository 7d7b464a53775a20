"""Slides as scanners and public data sets hold them."""

import numpy as np
import pytest

from histoscribe.errors import UserError
from histoscribe.image import open_slide
from histoscribe.image.tiff import open_tiff
from histoscribe.image.vendor import VendorPixels


@pytest.mark.parametrize("box", [(0, 0, 300, 400), (1000, 900, 777, 555), (2000, 2800, 400, 300)])
def test_openslide_and_tifffile_read_an_aperio_slide_alike(real_data, box):
    path = real_data / "wsi" / "CMU-1-Small-Region.svs"
    one, other = open_slide(path), open_tiff(path)
    assert isinstance(one.pixels, VendorPixels)
    assert one.um_per_px == other.um_per_px == pytest.approx(0.499)
    np.testing.assert_array_equal(one.read_region(*box), other.read_region(*box))


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_truncated_aperio_slide_is_refused_at_once(real_data, tmp_path, share):
    content = (real_data / "wsi" / "CMU-1-Small-Region.svs").read_bytes()
    path = tmp_path / "a.svs"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"a\.svs: found .*(truncated|unreadable|before its last)"):
        open_slide(path)


def test_a_label_image_is_no_section(real_data):
    label = next((real_data / "monuseg_test").glob("*_label.png"))
    with pytest.raises(UserError, match="a greyscale image"):
        open_slide(label)
    pixels = open_slide(str(label).replace("_label", ""))
    assert pixels.read_region(0, 0, 50, 50).shape == (50, 50, 3)
