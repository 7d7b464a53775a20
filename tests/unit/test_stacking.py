"""Sections of one simulated tissue find their place again; what shares nothing is not trusted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from histoscribe.errors import UserError
from histoscribe.stacking.agreement import alignment_table, alike_by_chance, domains_alike
from histoscribe.stacking.alignment import IN_REFERENCE
from histoscribe.stacking.channels import structured_channels, unit_spacing
from histoscribe.stacking.field import latent_field
from histoscribe.stacking.pair import align_pair
from histoscribe.stacking.rigid import RigidMotion, about
from histoscribe.stacking.settings import StackingSettings
from histoscribe.stacking.splines import cubic_weights
from histoscribe.stacking.stack import align_stack, anchors, middle_of, stacked_positions
from histoscribe.stacking.warp import Warp, no_warp

EDGE_UM = 1600.0
PIXEL_UM = 20.0
N_DIMENSIONS = 12
RIGID = StackingSettings(warp=False)
DEFAULT = StackingSettings()
UNMOVED = RigidMotion(0.0, (0.0, 0.0), False)


class Tissue:
    """Domains with means in the latent space, and a smooth field on top of them."""

    def __init__(self, seed, edge_um=2600.0):
        rng = np.random.default_rng(seed)
        n = int(edge_um / PIXEL_UM)

        def blurred(k, um):
            return np.stack(
                [ndimage.gaussian_filter(m, um / PIXEL_UM) for m in rng.normal(size=(k, n, n))]
            )

        smooth, domain = blurred(4, 100.0), blurred(8, 130.0).argmax(axis=0)
        smooth /= smooth.std()
        field = np.moveaxis(rng.normal(size=(8, N_DIMENSIONS))[domain], -1, 0)
        field += np.einsum("kyx,kd->dyx", smooth, 0.3 * rng.normal(size=(4, N_DIMENSIONS)))
        self.field = (field / field.std()).astype(np.float32)

    def section(self, seed, n_units=2000, noise=1.0, corner_um=(0.0, 0.0), bin_um=None, bend=None):
        """Positions in the section, where in the tissue these are, and noisy latents.

        With noise 1 the latents of neighbours correlate by about 0.5.
        """
        rng = np.random.default_rng(seed)
        if bin_um is None:
            xy_um = rng.uniform(0, EDGE_UM, (n_units, 2)) + corner_um
        else:
            axis = np.arange(bin_um / 2, EDGE_UM, bin_um)
            xy_um = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2) + corner_um
        place_um = xy_um if bend is None else xy_um + bend(xy_um)
        at = (place_um / PIXEL_UM).T[::-1]
        latent = np.stack(
            [ndimage.map_coordinates(f, at, order=1, mode="nearest") for f in self.field], axis=1
        )
        return xy_um, place_um, latent + noise * rng.normal(size=latent.shape)


def bent(seed, most_um=50.0, over_um=800.0):
    """A smooth displacement of up to `most_um` that goes from one extreme to the other."""
    a, b, c, d = np.random.default_rng(seed).uniform(0, 2 * np.pi, 4)

    def displacement(xy_um):
        x, y = np.pi * np.asarray(xy_um).T / over_um
        return most_um * np.column_stack([np.sin(x + a) * np.cos(y + b), np.sin(y + c + d)])

    return displacement


def median_error_um(placed_um, place_um):
    return float(np.median(np.linalg.norm(placed_um - place_um, axis=1)))


@pytest.fixture(scope="module")
def tissue():
    return Tissue(1)


@pytest.fixture(scope="module")
def fixed(tissue):
    xy_um, _, latent = tissue.section(10)
    return xy_um, latent


def aligned(fixed, section, motion, config=DEFAULT):
    """The alignment of a section that was moved away, and its median error."""
    xy_um, place_um, latent = section
    moved_um = motion.apply(xy_um)
    found = align_pair(*fixed, moved_um, latent, config)
    return found, median_error_um(found.apply(moved_um), place_um)


# The extent of a turned square along x and y differs from the square's: its field must not.
def test_a_turned_and_shifted_section_finds_its_place(tissue, fixed):
    motion = RigidMotion(-37.0, (9000.0, -700.0), False)
    found, error_um = aligned(fixed, tissue.section(11), motion)
    assert error_um < 10
    assert found.is_trusted and not found.is_reflected and not found.doubt
    assert found.warp is None  # none was there, and none made up
    assert found.rotation_deg == pytest.approx(37, abs=1)
    assert found.score > found.score_before + 0.3
    assert found.overlap > 0.9


def test_a_reflected_and_bent_section_finds_its_place(tissue, fixed):
    motion = RigidMotion(163.0, (-400.0, 12000.0), True)
    section = tissue.section(12, bend=bent(2))
    found, error_um = aligned(fixed, section, motion)
    assert found.is_trusted and found.is_reflected
    assert error_um < 20
    assert found.evidence > 1.5 * found.evidence_mirrored
    assert found.score > found.score_rigid
    assert found.warp.smallest_stretch() > 0.25
    rigid_um = found.motion.apply(motion.apply(section[0]))
    assert error_um < 0.7 * median_error_um(rigid_um, section[1])
    row = found.to_dict()
    assert all(isinstance(value, float | bool | str) for value in row.values())


@pytest.mark.parametrize(
    ("bin_um", "noise", "bend"),
    [(25.0, 2.0, bent(3)), (100.0, 0.7, None)],
    ids=["bins", "spots"],
)
def test_units_of_another_kind_lie_on_cells(tissue, fixed, bin_um, noise, bend):
    section = tissue.section(13, noise=noise, bin_um=bin_um, bend=bend)
    found, error_um = aligned(fixed, section, RigidMotion(120.0, (300.0, 0.0), False))
    assert found.is_trusted
    assert error_um < 20


def test_part_of_a_section_finds_its_place(tissue, fixed):
    section = tissue.section(15, corner_um=(0.4 * EDGE_UM, 0.0))
    found, error_um = aligned(fixed, section, RigidMotion(-100.0, (0.0, 5000.0), False), RIGID)
    assert found.is_trusted
    assert error_um < 20
    assert found.overlap == pytest.approx(0.6, abs=0.06)


def test_other_tissue_of_the_same_kind_is_not_trusted():
    tissue = Tissue(3, edge_um=3800.0)
    xy_um, _, latent = tissue.section(17)
    elsewhere = tissue.section(18, corner_um=(2000.0, 2000.0))
    found, _ = aligned((xy_um, latent), elsewhere, RigidMotion(30.0, (0.0, 0.0), False))
    assert not found.is_trusted
    assert found.doubt
    assert found.warp is None


def test_layers_that_look_the_same_further_along_are_not_trusted():
    rng = np.random.default_rng(4)
    means = rng.normal(size=(6, 8))
    sections = []
    for n_units in (900, 1000):
        xy_um = rng.uniform(0, EDGE_UM, (n_units, 2))
        layer = (xy_um[:, 1] // 270).astype(int)
        sections.append((xy_um, means[layer] + 0.7 * rng.normal(size=(n_units, 8))))
    found = align_pair(*sections[0], *sections[1], RIGID)
    assert not found.is_trusted
    assert "looks the same" in found.doubt or "mirror image" in found.doubt


def test_a_reflection_that_is_ruled_out_is_named(tissue, fixed):
    config = StackingSettings(warp=False, allow_reflection=False)
    found, _ = aligned(fixed, tissue.section(19), RigidMotion(0.0, (0.0, 0.0), True), config)
    assert not found.is_reflected and not found.is_trusted
    assert "mirror image fits better" in found.doubt


@pytest.fixture(scope="module")
def stack(tissue):
    """A stack with a stray section in it: where each lies in the tissue, sections, alignments."""
    motions = {
        "a": RigidMotion(100.0, (1e4, -50.0), False),
        "stray": UNMOVED,
        "c": RigidMotion(-20.0, (-800.0, 0.0), False),
        "d": RigidMotion(170.0, (400.0, 3000.0), True),
    }
    true_um, sections = {}, {}
    for number, (name, motion) in enumerate(motions.items()):
        source = Tissue(5) if name == "stray" else tissue
        xy_um, _, latent = source.section(20 + number)
        true_um[name] = motions["c"].apply(xy_um)
        sections[name] = motion.apply(xy_um), latent
    return true_um, sections, align_stack(sections, RIGID, "c")


def test_a_stack_lies_in_the_frame_of_its_reference(stack):
    true_um, sections, found = stack
    assert list(found) == list(sections)
    assert found["c"] == IN_REFERENCE
    assert found["d"].is_reflected and not found["a"].is_reflected
    placed_um = stacked_positions({name: s[0] for name, s in sections.items()}, found, 12.0)
    for name in ("a", "c", "d"):
        assert found[name].is_trusted
        assert median_error_um(placed_um[name][:, :2], true_um[name]) < 20
    assert [set(xyz_um[:, 2]) for xyz_um in placed_um.values()] == [{0.0}, {12.0}, {24.0}, {36.0}]


def test_a_section_that_fits_nothing_is_not_placed_and_does_not_break_the_stack(stack):
    _, sections, found = stack
    assert not found["stray"].is_trusted
    assert anchors(found, "c") == {"d": "c", "stray": "c", "a": "c"}
    placed_um = stacked_positions({name: s[0] for name, s in sections.items()}, found, 12.0)
    assert np.isnan(placed_um["stray"][:, :2]).all()
    assert (placed_um["stray"][:, 2] == 12.0).all()


def test_sections_that_lay_on_each_other_are_seen_to_as_they_were_given(tissue, fixed):
    """Whatever was done to the first of them since."""
    motion = RigidMotion(70.0, (500.0, 2000.0), False)
    others = {name: tissue.section(seed) for name, seed in (("b", 16), ("c", 17))}
    sections = {name: (motion.apply(xy_um), latent) for name, (xy_um, _, latent) in others.items()}
    found = align_stack({"a": fixed, **sections}, DEFAULT, "a")
    assert found["b"].score_before < 0.3
    assert found["c"].score_before == pytest.approx(found["c"].score, abs=0.05)


def test_the_table_of_a_stack_says_how_neighbours_agree(stack, tissue):
    true_um, sections, found = stack
    domains = {name: (xy_um[:, 0] // 100 % 2) for name, xy_um in true_um.items()}
    given_um = {name: s[0] for name, s in sections.items()}
    table = alignment_table(given_um, domains, found, "c", 12.0).set_index("section")
    assert list(table.index) == ["a", "stray", "c", "d"]
    assert list(table["depth_um"]) == [0.0, 12.0, 24.0, 36.0]
    assert table["aligned_to"].isna().tolist() == [False, False, True, False]
    assert table.loc["a", "domains_after"] > 0.7
    assert np.isnan(table.loc["a", "domains_before"])  # it lies 10 mm away
    assert table.loc["a", "domains_by_chance"] == pytest.approx(0.5, abs=0.05)
    assert table.loc["c", ["score", "domains_after"]].isna().all()
    assert table["is_trusted"].tolist() == [True, False, True, True]


def test_agreement_counts_units_that_lie_on_the_other_section():
    axis = 10.0 * np.arange(8)
    grid_um = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    left = grid_um[:, 0] < 40
    assert domains_alike(grid_um, left, grid_um, left) == 1
    assert domains_alike(grid_um, left, grid_um, ~left) == 0
    assert domains_alike(grid_um, left, grid_um + np.array([40.0, 0.0]), left) == pytest.approx(
        0.2, abs=0.05
    )
    assert np.isnan(domains_alike(grid_um, left, grid_um + 500, left))
    assert (
        alike_by_chance(np.array([1, 1, 2, 3]), np.array([1, 2, 2, 4])) == 0.5 * 0.25 + 0.25 * 0.5
    )


def test_the_middle_of_a_stack_is_the_earlier_of_two():
    assert middle_of(["a", "b", "c"]) == middle_of(["a", "b", "c", "d"]) == "b"


def units(n_units=100, n_dimensions=4, scale=1.0):
    rng = np.random.default_rng(n_units)
    return scale * rng.uniform(0, 1000, (n_units, 2)), rng.normal(size=(n_units, n_dimensions))


def with_nan():
    xy_um, latent = units()
    latent[3, 1] = np.nan
    return xy_um, latent


def on_a_line():
    xy_um, latent = units()
    return xy_um * [1.0, 0.0], latent


@pytest.mark.parametrize(
    ("moving", "message"),
    [
        (units(12), "the moving section: found 12 units; expected at least 20"),
        (with_nan(), "the moving section: found 1 units whose latents are not finite"),
        (units(n_dimensions=3), "found latents of 4 and 3 dimensions"),
        (units(scale=0.2), "expected coordinates in um in both. One may be in pixels"),
        (units(scale=5.0), "expected coordinates in um in both. One may be in pixels"),
        (on_a_line(), "the moving section: found units on one line"),
        ((units()[0], units(99)[1]), "the moving section: found positions (100, 2) and latents"),
    ],
)
def test_unusable_sections_are_named(moving, message):
    with pytest.raises(UserError) as error:
        align_pair(*units(), *moving, DEFAULT)
    assert message in str(error.value)


def test_a_stack_says_which_sections_are_unusable():
    with pytest.raises(UserError, match=r"one \(fixed\) and two \(moving\): .* 12 units"):
        align_stack({"one": units(), "two": units(12)}, DEFAULT, "one")
    with pytest.raises(UserError, match="reference: found three"):
        align_stack({"one": units(), "two": units()}, DEFAULT, "three")


def test_latents_without_structure_are_not_trusted():
    (xy_um, latent), (other_um, _) = units(200), units(150)
    assert not align_pair(xy_um, latent, other_um, latent[:150], RIGID).is_trusted
    assert not align_pair(xy_um, 0 * latent, other_um, 0 * latent[:150], RIGID).is_trusted


finite = st.floats(-1e4, 1e4)


@settings(max_examples=60, deadline=None)
@given(st.floats(-720, 720), st.tuples(finite, finite), st.booleans())
def test_rigid_motions_keep_distances_and_can_be_undone(rotation_deg, shift_um, is_reflected):
    xy_um = np.random.default_rng(0).uniform(-5000, 5000, (20, 2))
    motion = RigidMotion(rotation_deg, shift_um, is_reflected)
    moved = motion.apply(xy_um)
    before, after = (np.linalg.norm(p[:, None] - p, axis=2) for p in (xy_um, moved))
    assert after == pytest.approx(before, abs=1e-7)
    assert motion.invert(moved) == pytest.approx(xy_um, abs=1e-7)
    assert np.linalg.det(motion.matrix) == pytest.approx(-1 if is_reflected else 1)


@settings(max_examples=30, deadline=None)
@given(st.floats(-180, 179), st.tuples(finite, finite), st.booleans())
def test_a_motion_about_a_place_brings_it_where_it_should(rotation_deg, to_um, is_reflected):
    centre = np.array([120.0, -3000.0])
    motion = about(centre, np.array(to_um), rotation_deg, is_reflected)
    assert motion.apply(centre[None])[0] == pytest.approx(to_um, abs=1e-7)


def test_splines_reproduce_cubic_surfaces_and_their_slopes():
    y, x = np.mgrid[:12, :15].astype(float)
    control = ndimage.spline_filter(0.02 * x**3 - x * y + y**2, mode="mirror")
    rng = np.random.default_rng(0)
    place = np.column_stack([rng.uniform(5, 9, 50), rng.uniform(4, 7, 50)])
    seen = cubic_weights(place, 12, 15) @ control.ravel()
    expected = ndimage.map_coordinates(control, place.T[::-1], prefilter=False)
    assert seen == pytest.approx(expected, abs=1e-4)
    for axis in (0, 1):
        step = 1e-3 * np.eye(2)[axis]
        either = [
            ndimage.map_coordinates(control, (place + s).T[::-1], prefilter=False)
            for s in (-step, step)
        ]
        slope = cubic_weights(place, 12, 15, axis) @ control.ravel()
        assert slope == pytest.approx((either[1] - either[0]) / 2e-3, abs=1e-3)


def test_a_fold_is_seen_and_a_shift_is_none():
    flat = no_warp(np.array([[0.0, 0.0], [1200.0, 900.0]]), 300.0)
    assert flat.smallest_stretch() == pytest.approx(1.0)
    assert flat.largest_um() == 0
    shifted = Warp(flat.control_um + np.array([30.0, -40.0]), flat.corner_um, flat.spacing_um)
    assert shifted.displacement(np.array([[100.0, 700.0], [9e4, -9e4]])) == pytest.approx(
        np.array([[30.0, -40.0]] * 2), abs=1e-4
    )
    assert shifted.smallest_stretch() == pytest.approx(1.0, abs=1e-5)
    control = flat.control_um.copy()
    control[:, ::2, 0] += 1000.0
    assert Warp(control, flat.corner_um, flat.spacing_um).smallest_stretch() < 0


def test_fields_hold_the_means_of_their_units():
    xy_um = np.stack(np.meshgrid(np.arange(0, 1000.0, 20), np.arange(0, 600.0, 20)), -1)
    xy_um = xy_um.reshape(-1, 2)
    field = latent_field(xy_um, np.column_stack([xy_um[:, 0], np.ones(len(xy_um))]), 25.0, 20.0)
    inner = xy_um[(xy_um > 200).all(axis=1) & (xy_um < [800, 400]).all(axis=1)]
    assert field.sample(inner) == pytest.approx(
        np.column_stack([inner[:, 0], 0 * inner[:, 0] + 1]), abs=2
    )
    assert field.is_tissue(xy_um).all()
    assert not field.is_tissue(np.array([[-100.0, 300.0], [500.0, 5000.0]])).any()
    assert field.area_um2 == pytest.approx(1000 * 600, rel=0.15)


def test_spacing_is_the_pitch_of_a_grid_and_nearly_that_of_scattered_units():
    axis = np.arange(0, 2000, 50.0)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    assert unit_spacing(grid) == pytest.approx(50.0)
    scattered = np.random.default_rng(0).uniform(0, 2000, grid.shape)
    assert unit_spacing(scattered) == pytest.approx(50.0, rel=0.15)


def test_channels_vary_with_place_and_not_with_the_section(tissue):
    (one, _, z_one), (two, _, z_two) = (tissue.section(seed) for seed in (50, 51))
    first, second = structured_channels([(one, z_one), (two, 1.0 + z_two)], 6)
    assert first.shape == (2000, 6)
    assert abs(first.mean(axis=0)).max() < 1e-4
    assert abs(second.mean(axis=0)).max() < 1e-4
    spread = first.std(axis=0)
    assert (spread[:-1] >= 0.9 * spread[1:]).all()
    assert spread.max() <= 1.1
