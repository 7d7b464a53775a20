"""Stain normalisation brings donors together, leaves glass alone and never sees test sections."""

import json
from dataclasses import fields, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import normalise_stain as entry
from histoscribe.errors import UserError
from histoscribe.image import Slide
from histoscribe.simulation import SimulationSettings, simulate_section
from histoscribe.simulation.cell_types import Domain
from histoscribe.stain_normalisation import (
    METHODS,
    SectionStain,
    StainNormaliser,
    StainReference,
    fit_reference,
    measure_stain,
    normalised_slide,
    read_reference,
)

UM_PER_PX = 0.5
SIDE_UM = 500.0  # enough for the section to show its glass
CHANGING = [method for method in METHODS if method != "none"]


def _tissue(side_um=SIDE_UM) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=[shapely.box(0, 0, side_um, side_um)])


def _slide(pixels) -> Slide:
    return Slide(Path("painted"), pixels, None)


def _measure(pixels) -> SectionStain:
    return measure_stain(_slide(pixels), UM_PER_PX, _tissue())


@pytest.fixture(scope="module")
def donors():
    """The same section as stained for three donors, and what of it is tissue."""
    sections = [
        simulate_section(SimulationSettings("x", 1, donor, 0, SIDE_UM, SIDE_UM))
        for donor in (1, 2, 3)
    ]
    return [s.image for s in sections], sections[0].domain_map != Domain.GLASS


@pytest.fixture(scope="module")
def stains(donors):
    return [_measure(image) for image in donors[0]]


def _difference(one, other) -> float:
    return np.abs(one.astype(float) - other.astype(float)).mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_section_normalised_to_itself_stays(donors, stains, method):
    image = donors[0][0]
    normaliser = StainNormaliser(stains[0], fit_reference(stains[:1], method))
    change = np.abs(normaliser.apply(image).astype(int) - image)
    assert change.mean() < 0.5 and np.percentile(change, 99.9) <= 2


@pytest.mark.parametrize("other", [1, 2])
@pytest.mark.parametrize(
    ("method", "share_left"), [("reinhard", 0.4), ("macenko", 0.2), ("histogram", 0.4)]
)
def test_donors_come_closer(donors, stains, method, share_left, other):
    images, tissue = donors
    normaliser = StainNormaliser(stains[other], fit_reference(stains[:1], method))
    before = _difference(images[other][tissue], images[0][tissue])
    after = _difference(normaliser.apply(images[other])[tissue], images[0][tissue])
    assert before > 5
    assert after < share_left * before


@pytest.mark.parametrize("method", CHANGING)
def test_glass_becomes_the_glass_of_the_reference(stains, method):
    reference = fit_reference(stains[:1], method)
    glass = np.rint(stains[1].white).astype(np.uint8)
    found = StainNormaliser(stains[1], reference).apply(np.tile(glass, (3, 4, 1)))
    assert np.abs(found - reference.white).max() <= 2
    white = StainNormaliser(stains[1], reference).apply(np.full((1, 1, 3), 255, dtype=np.uint8))
    assert white.min() >= 240 and np.ptp(white.astype(int)) <= 8


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=30)
@given(rgb=arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_any_colour_stays_in_range_and_pixels_are_independent(stains, method, rgb):
    normaliser = StainNormaliser(stains[1], fit_reference(stains[:1], method))
    found = normaliser.apply(rgb)
    assert found.dtype == np.uint8 and found.shape == rgb.shape
    apart = np.stack([normaliser.apply(pixel[None])[0] for pixel in rgb.reshape(-1, 3)])
    np.testing.assert_allclose(found.reshape(-1, 3), apart, atol=1)


@pytest.mark.parametrize("method", CHANGING)
def test_darker_stays_darker(stains, method):
    normaliser = StainNormaliser(stains[1], fit_reference(stains[:1], method))
    shades = np.exp(-np.linspace(0, 3, 60)[:, None] * np.array([0.5, 0.6, 0.3]))
    found = normaliser.apply((stains[1].white * shades).astype(np.uint8)).astype(int)
    assert (np.diff(found.sum(axis=1)) <= 3).all()


def test_every_training_section_weighs_the_same_in_any_order(stains):
    one, other = fit_reference(stains, "macenko"), fit_reference(stains[::-1], "macenko")
    heavy = replace(stains[0], n_px=100, histogram=stains[0].histogram * 7)
    weighted = fit_reference([heavy, *stains[1:]], "macenko")
    for each in fields(StainReference):
        if each.name != "method":
            value = getattr(one, each.name)
            np.testing.assert_allclose(value, getattr(other, each.name), rtol=1e-12)
            np.testing.assert_allclose(value, getattr(weighted, each.name), rtol=1e-9)
    np.testing.assert_allclose(one.white, np.mean([s.white for s in stains], axis=0))


def test_the_entry_reads_nothing_but_the_training_sections(stains, tmp_path):
    paths = []
    for number, stain in enumerate(stains):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps(stain.to_dict()))
    paths[2].write_text("no stain at all")  # the test section
    entry.main(paths[:2], None, "histogram", tmp_path / "reference.json")
    reference = read_reference(tmp_path / "reference.json")
    np.testing.assert_array_equal(reference.levels, fit_reference(stains[:2], "histogram").levels)
    assert (reference.method, reference.n_sections) == ("histogram", 2)
    with pytest.raises(UserError, match=r"2\.json: found no readable JSON"):
        entry.main(paths, None, "histogram", tmp_path / "reference.json")


@pytest.mark.parametrize("method", CHANGING)
def test_json_keeps_every_digit(donors, stains, method):
    reference = fit_reference(stains, method)
    again = StainReference.from_dict(json.loads(json.dumps(reference.to_dict())))
    source = SectionStain.from_dict(json.loads(json.dumps(stains[1].to_dict())))
    image = donors[0][1][:50, :50]
    np.testing.assert_array_equal(
        StainNormaliser(source, again).apply(image),
        StainNormaliser(stains[1], reference).apply(image),
    )


@pytest.mark.parametrize("change", [{"version": 0}, {"white": None}])
def test_other_content_is_a_user_error(stains, change):
    content = stains[0].to_dict() | change
    content = {key: value for key, value in content.items() if value is not None}
    with pytest.raises(UserError, match="expected version 1 with"):
        SectionStain.from_dict(content)


def test_a_slide_is_normalised_as_it_is_read(donors, stains):
    image = donors[0][1]
    normaliser = StainNormaliser(stains[1], fit_reference(stains[:1], "macenko"))
    slide = normalised_slide(_slide(image), normaliser)
    assert (slide.width_px, slide.height_px) == image.shape[1::-1]
    region = slide.read_region(-10, 20, 60, 40)
    np.testing.assert_array_equal(region[:, 10:], normaliser.apply(image[20:60, :50]))
    assert (region[:, :10] == 255).all()
    plain = StainNormaliser(stains[1], fit_reference(stains[:1], "none"))
    assert normalised_slide(slide, plain) is slide


def test_equal_seeds_measure_the_same(donors, stains):
    again = _measure(donors[0][0])
    assert again.to_dict() == stains[0].to_dict()


@pytest.mark.parametrize("level", [255, 245])
def test_glass_alone_is_a_user_error(level):
    with pytest.raises(UserError, match="0 stained pixels"):
        _measure(np.full((600, 600, 3), level, dtype=np.uint8))
    with pytest.raises(UserError, match="0 stained pixels"):
        measure_stain(
            _slide(np.zeros((9, 9, 3), dtype=np.uint8)), 1.0, gpd.GeoDataFrame(geometry=[])
        )


@pytest.mark.parametrize("method", CHANGING)
@pytest.mark.parametrize("colour", [(200, 120, 170), (236, 150, 190), (10, 10, 10)])
def test_one_colour_falls_back_and_stays_finite(donors, stains, method, colour):
    """No spread and no second stain: the textbook's vectors, and stretches of threefold at most."""
    stain = _measure(np.full((600, 600, 3), colour, dtype=np.uint8))
    assert all(np.isfinite(getattr(stain, each.name)).all() for each in fields(stain))
    forth = StainNormaliser(stain, fit_reference(stains[:1], method)).apply(donors[0][0])
    back = StainNormaliser(stains[0], fit_reference([stain], method)).apply(donors[0][0])
    assert forth.dtype == back.dtype == np.uint8
    assert forth.std() > 1


def test_unknown_methods_and_no_sections_are_user_errors(stains):
    with pytest.raises(UserError, match="one of none, reinhard, macenko, histogram"):
        fit_reference(stains, "vahadane")
    with pytest.raises(UserError, match="no training section"):
        fit_reference([], "macenko")
