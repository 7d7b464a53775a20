import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscribe.errors import UserError
from histoscribe.units import px_to_um, settle_um_per_px, square_um_per_px, um_to_px


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    st.floats(0.05, 20),
)
def test_px_um_round_trip(positions, um_per_px):
    there = um_to_px(np.array(positions), um_per_px)
    np.testing.assert_allclose(px_to_um(there, um_per_px), positions, rtol=1e-12, atol=1e-9)


def test_first_source_wins_within_tolerance():
    assert settle_um_per_px({"sheet": None, "platform": 0.5, "image": 0.505}, "s") == 0.5


@pytest.mark.parametrize("other", [0.5 * 1.03, 0.5 * 0.97])
def test_conflict_names_both_sources(other):
    with pytest.raises(UserError, match=r"0\.5 um/px in the sheet but .* in the image"):
        settle_um_per_px({"the sheet": 0.5, "the image": other}, "sample a")


@pytest.mark.parametrize("value", [800.0, 0.01, 0.0, float("nan"), float("inf")])
def test_an_impossible_resolution_names_its_source(value):
    with pytest.raises(UserError, match=r"um/px in the platform; expected 0\.05 to 20"):
        settle_um_per_px({"the sheet": None, "the platform": value, "the image": None}, "sample a")


def test_the_winner_is_used_with_a_warning_where_another_differs(caplog):
    assert settle_um_per_px({"the sheet": 0.5, "the image": 0.5004}, "sample a") == 0.5
    assert not caplog.records
    assert settle_um_per_px({"the sheet": 0.5, "the image": 0.505}, "sample a") == 0.5
    assert "0.5 um/px in the sheet is used, though the image says 0.505" in caplog.text


def test_a_conflict_between_later_sources_counts():
    sources = {"the sheet": 0.5, "the platform": 0.492, "the image": 0.508}
    with pytest.raises(UserError, match="in the platform but"):
        settle_um_per_px(sources, "sample a")


def test_a_later_source_must_be_a_resolution_too():
    with pytest.raises(UserError, match="nan um/px in the image"):
        settle_um_per_px({"the sheet": 0.5, "the image": float("nan")}, "sample a")


def test_pixels_must_be_square():
    assert square_um_per_px(None, None, "a.svs") is None
    assert square_um_per_px(0.25, None, "a.svs") == 0.25
    assert square_um_per_px(0.25, 0.2505, "a.svs") == 0.25
    assert square_um_per_px(0.0, 0.25, "a.svs") == 0.25
    assert square_um_per_px(0.0, 0.0, "a.svs") is None
    with pytest.raises(UserError, match=r"a\.svs: found pixels of 0\.25 x 0\.5 um"):
        square_um_per_px(0.25, 0.5, "a.svs")


def test_silence_is_an_error():
    with pytest.raises(UserError, match="no resolution"):
        settle_um_per_px({"the sheet": None}, "sample a")


def test_a_conflict_without_the_sheet_blames_no_cell_of_it():
    sources = {"the sheet": None, "the platform": 0.25, "the image": 0.5}
    with pytest.raises(UserError, match=r"where the image is wrong, correct .* there") as caught:
        settle_um_per_px(sources, "sample a")
    assert "sample sheet" not in str(caught.value)
    with pytest.raises(UserError, match="clear um_per_px in the sample sheet"):
        settle_um_per_px({**sources, "the sheet": 0.25}, "sample a")
