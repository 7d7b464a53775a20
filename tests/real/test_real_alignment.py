"""The alignment check on real regions: 8 um bins, H&E at 2 um/px, no nuclei."""

from types import SimpleNamespace

import numpy as np
import pytest

from histoscribe.alignment import (
    ORIENTATIONS,
    AlignmentSettings,
    check_alignment,
    orient,
    without_nuclear_stain,
)
from histoscribe.density import Molecules, nuclear_detail, stain_density, tissue_tiles
from histoscribe.features.stain import estimate_stain
from histoscribe.image import open_slide, write_rescaled
from histoscribe.platforms import measured_files
from histoscribe.readers import open_section, read_section

LETTERS = "abcd"


@pytest.fixture(scope="module")
def regions(real_data, tmp_path_factory):
    found = {}
    for letter in LETTERS:
        name = f"kidney-{letter}"
        folder = real_data / "visium_hd_kidney" / name
        files = measured_files("visium_hd", folder, "bin", 8)
        source = open_section(name, "visium_hd", folder / f"{name}_tissue_image.tif", files, None)
        um_per_px = source.um_per_px
        bins = read_section(source)
        image = tmp_path_factory.mktemp(name) / "image.ome.tif"
        write_rescaled(source.slide, um_per_px, um_per_px, image)
        found[letter] = SimpleNamespace(
            image=image,
            um_per_px=um_per_px,
            size_um=np.array(source.size_um),
            stain=estimate_stain(open_slide(image), um_per_px),
            xy_um=np.asarray(bins.obsm["spatial"]),
            umi=np.asarray(bins.X.sum(axis=1)).ravel(),
        )
    return found


def check(region, xy_um, umi):
    settings = AlignmentSettings()
    report = check_alignment(
        stain_density(region.image, region.um_per_px, region.stain),
        Molecules(xy_um, umi, 8.0),
        settings,
    )
    tiles = tissue_tiles(region.image, region.um_per_px, region.xy_um)
    detail = nuclear_detail(tiles, region.um_per_px, region.stain.white)
    return without_nuclear_stain(report, detail, settings)


@pytest.mark.parametrize("letter", LETTERS)
def test_real_regions_pass(regions, letter):
    region = regions[letter]
    report = check(region, region.xy_um, region.umi)
    assert report.verdict == "aligned", report.detail


@pytest.mark.parametrize("letter", LETTERS)
def test_turned_regions_are_named(regions, letter):
    region = regions[letter]
    for name in ("mirrored in x", "mirrored in y", "rotated by 180", "swapped in x and y"):
        turned = orient(region.xy_um, region.size_um, *ORIENTATIONS[name])
        assert check(region, turned, region.umi).verdict == name


@pytest.mark.parametrize("letter", LETTERS)
def test_a_shift_is_measured(regions, letter):
    region = regions[letter]
    right = np.array(check(region, region.xy_um, region.umi).shift_um)
    report = check(region, region.xy_um + np.array([40.0, -24.0]), region.umi)
    assert report.verdict == "shifted"
    np.testing.assert_allclose(np.array(report.shift_um) - right, [-40, 24], atol=4)


@pytest.mark.slow
def test_the_image_of_another_region_is_caught(regions):
    for image, molecules in (("a", "b"), ("c", "d")):
        other = regions[molecules]
        assert check(regions[image], other.xy_um, other.umi).verdict == "unrelated"


@pytest.mark.slow
def test_another_resolution_is_named(regions):
    region = regions["c"]
    assert check(region, region.xy_um * 0.9, region.umi).verdict == "scaled"
