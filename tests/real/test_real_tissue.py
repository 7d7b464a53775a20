"""Tissue on real sections, and normalisation of one real section to another."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from histoscribe.image import Slide, open_slide
from histoscribe.stain_normalisation import StainNormaliser, fit_reference, measure_stain
from histoscribe.tissue import find_tissue

HER2ST_UM_PER_PX = 0.694


def _overview(path, reduction) -> np.ndarray:
    slide = open_slide(path)
    size = (slide.width_px // reduction, slide.height_px // reduction)
    pixels = slide.read_region(0, 0, size[0] * reduction, size[1] * reduction)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _contains(tissue: gpd.GeoDataFrame, xy_um: np.ndarray) -> np.ndarray:
    return shapely.contains_xy(shapely.union_all(np.asarray(tissue.geometry)), *xy_um.T)


@pytest.mark.parametrize("sample", ["C2", "C3", "C4"])
def test_her2st_spots_lie_on_tissue_and_corners_do_not(real_data, sample):
    folder = real_data / "her2st" / sample
    um_per_px = 8 * HER2ST_UM_PER_PX
    overview = _overview(folder / f"{sample}_HE.jpg", 8)
    tissue = find_tissue(overview, um_per_px)
    spots = pd.read_csv(folder / f"{sample}_selection.tsv", sep="\t")
    spots = spots[spots["selected"] == 1] if "selected" in spots else spots
    xy_um = spots[["pixel_x", "pixel_y"]].to_numpy() * HER2ST_UM_PER_PX
    assert _contains(tissue, xy_um).mean() >= 0.98
    width_um, height_um = np.array(overview.shape[1::-1]) * um_per_px
    corners = np.array([(x, y) for x in (0.03, 0.97) for y in (0.03, 0.97)])
    assert not _contains(tissue, corners * (width_um, height_um)).any()
    # One triangular piece; glass with bled eosin, fiducial dots and dust is left out.
    assert 0.15 < tissue["area_um2"].sum() / (width_um * height_um) < 0.19


@pytest.mark.parametrize("region", "abcd")
def test_kidney_is_tissue_nearly_everywhere(real_data, region):
    name = f"kidney-{region}"
    path = real_data / "visium_hd_kidney" / name / f"{name}_tissue_image.tif"
    overview = _overview(path, 3)
    tissue = find_tissue(overview, 3 * 2.006)
    covered = tissue["area_um2"].sum() / (overview.shape[0] * overview.shape[1] * (3 * 2.006) ** 2)
    assert covered > 0.98


def test_aperio_slide_with_much_glass(real_data):
    overview = _overview(real_data / "wsi" / "CMU-1-Small-Region.svs", 12)
    tissue = find_tissue(overview, 12 * 0.499)
    covered = tissue["area_um2"].sum() / (overview.shape[0] * overview.shape[1] * (12 * 0.499) ** 2)
    assert 0.35 < covered < 0.5
    dark = overview[..., 1] < 150
    y, x = (np.argwhere(dark).T + 0.5) * 12 * 0.499
    assert _contains(tissue, np.column_stack([x, y])).mean() > 0.97


def test_a_real_section_takes_the_colours_of_another(real_data):
    found = {}
    paths = {
        "breast": (real_data / "her2st" / "C2" / "C2_HE.jpg", HER2ST_UM_PER_PX),
        "kidney": (
            real_data / "visium_hd_kidney" / "kidney-a" / "kidney-a_tissue_image.tif",
            2.006,
        ),
    }
    for name, (path, um_per_px) in paths.items():
        reduction = round(6 / um_per_px)
        tissue = find_tissue(_overview(path, reduction), um_per_px * reduction)
        slide = open_slide(path)
        found[name] = (slide, um_per_px, tissue, measure_stain(slide, um_per_px, tissue))
    slide, um_per_px, tissue, source = found["kidney"]
    target = found["breast"][3]
    pixels = slide.read_region(0, 0, slide.width_px, slide.height_px)
    gap = np.linalg.norm(source.lab_mean - target.lab_mean)
    for method in ("reinhard", "macenko", "histogram"):
        normaliser = StainNormaliser(source, fit_reference([target], method))
        after = measure_stain(Slide(slide.path, normaliser.apply(pixels), None), um_per_px, tissue)
        assert np.linalg.norm(after.lab_mean - target.lab_mean) < 0.5 * gap, method
