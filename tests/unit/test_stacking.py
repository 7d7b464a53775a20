"""Adjacent sections brought into one frame: simulated tissue that was turned, flipped and bent."""

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter

from histoscribe.errors import UserError
from histoscribe.stacking.pair import align_pair
from histoscribe.stacking.rigid import RigidMotion
from histoscribe.stacking.settings import StackingSettings
from histoscribe.stacking.stack import align_stack, stacked_positions

EDGE_UM, WIDTH = 2000.0, 8
SETTINGS = StackingSettings()


def tissue(seed):
    """A smooth field of a latent space, as a function of position."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(0, EDGE_UM, 101)
    fields = [gaussian_filter(rng.standard_normal((101, 101)), 5) for _ in range(WIDTH)]
    values = np.stack([field / field.std() for field in fields], axis=-1)
    return RegularGridInterpolator((axis, axis), values)


def units(field, seed, n_units=3000):
    """Positions (n, 2) in the tissue and their noisy latents (n, WIDTH)."""
    rng = np.random.default_rng(seed)
    xy_um = rng.uniform(0, EDGE_UM, (n_units, 2))
    return xy_um, field(xy_um) + rng.standard_normal((n_units, WIDTH))


def bent(xy_um, most_um=50.0):
    """A mild warp over about 800 um."""
    x, y = (2 * np.pi * xy_um / 1600.0).T
    return xy_um + most_um * np.column_stack([np.sin(y), np.sin(x + 1)])


def median_error_um(alignment, given_um, true_um):
    return float(np.median(np.linalg.norm(alignment.apply(given_um) - true_um, axis=1)))


@pytest.mark.parametrize(
    ("angle_deg", "is_reflected", "is_bent"),
    [(170.0, False, False), (33.0, False, True), (-70.0, True, False)],
)
def test_a_known_motion_is_found(angle_deg, is_reflected, is_bent):
    field = tissue(1)
    fixed, moving = units(field, 2), units(field, 3)
    motion = RigidMotion(angle_deg, (5000.0, -700.0), is_reflected)
    given = motion.apply(bent(moving[0]) if is_bent else moving[0])
    found = align_pair(*fixed, given, moving[1], SETTINGS)
    assert found.is_trusted, found.doubt
    assert found.is_reflected == is_reflected
    assert median_error_um(found, given, moving[0]) < 20


def test_other_tissue_is_not_trusted():
    assert not align_pair(*units(tissue(1), 2), *units(tissue(7), 3), SETTINGS).is_trusted


def test_a_stack_comes_into_the_frame_of_its_first_section():
    field = tissue(4)
    sections, true, given = [], [], []
    for number in range(3):
        xy_um, latent = units(field, 10 + number)
        moved = RigidMotion(40.0 * number, (300.0 * number, 0.0), False).apply(xy_um)
        true.append(xy_um)
        given.append(moved)
        sections.append((moved, latent))
    found = align_stack(sections, SETTINGS)
    for alignment, moved, xy_um in zip(found, given, true, strict=True):
        assert median_error_um(alignment, moved, xy_um) < 20
    stacked = stacked_positions(given, found, spacing_um=10.0)
    assert [set(part[:, 2]) for part in stacked] == [{0.0}, {10.0}, {20.0}]


def test_sections_that_cannot_be_aligned_are_told():
    xy_um, latent = units(tissue(1), 2, 200)
    with pytest.raises(UserError, match="at least 20"):
        align_pair(xy_um, latent, xy_um[:5], latent[:5], SETTINGS)
    with pytest.raises(UserError, match="8 and 7 dimensions"):
        align_pair(xy_um, latent, xy_um, latent[:, :7], SETTINGS)
    with pytest.raises(UserError, match="pixels"):
        align_pair(xy_um, latent, 5 * xy_um, latent, SETTINGS)
    with pytest.raises(UserError, match="not finite"):
        align_pair(xy_um, latent, xy_um, latent * np.nan, SETTINGS)
