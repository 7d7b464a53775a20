from dataclasses import asdict

import anndata as ad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscribe.block_split import BlockSplit
from histoscribe.errors import UserError
from histoscribe.splits import (
    BUFFER,
    TEST,
    TRAIN,
    block_folds,
    outside_buffer,
    unit_roles,
    units_in_role,
    unseen_units,
)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n_folds=st.integers(2, 6),
    block_um=st.floats(50, 400),
    tile_um=st.floats(10, 200),
)
def test_no_tile_is_shared_and_blocks_stay_whole(seed, n_folds, block_um, tile_um):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1000, (400, 2))
    section = rng.integers(0, 2, 400)
    fold = block_folds(xy, section, block_um, n_folds, seed)
    blocks = {}
    for key, f in zip(
        np.column_stack([section, np.floor(xy / block_um)]).tolist(), fold, strict=True
    ):
        assert blocks.setdefault(tuple(key), f) == f
    held_out = fold == 0
    usable = outside_buffer(xy, section, held_out, tile_um)
    assert not (usable & held_out).any()
    for name in (0, 1):
        a = xy[held_out & (section == name)]
        b = xy[usable & (section == name)]
        if len(a) and len(b):
            apart = np.abs(a[:, None] - b[None]).max(axis=2)
            assert apart.min() >= tile_um
    # Nothing farther than the buffer is given up.
    for i in np.flatnonzero(~usable & ~held_out):
        same = held_out & (section == section[i])
        assert np.abs(xy[same] - xy[i]).max(axis=1).min() < tile_um


def test_folds_are_of_like_size_and_seeded():
    xy = np.random.default_rng(0).uniform(0, 2000, (4000, 2))
    section = np.zeros(4000, dtype=int)
    fold = block_folds(xy, section, 200, 5, seed=1)
    assert np.bincount(fold).min() > 600
    assert (fold == block_folds(xy, section, 200, 5, seed=1)).all()
    assert (fold != block_folds(xy, section, 200, 5, seed=2)).any()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n_folds=st.integers(2, 5),
    block_um=st.floats(150, 400),
    buffer_um=st.floats(0, 100),
)
def test_every_unit_is_tested_once_and_far_from_those_trained_on(
    seed, n_folds, block_um, buffer_um
):
    xy = np.random.default_rng(seed).uniform(0, 2000, (600, 2))
    splits = [BlockSplit(k, n_folds, block_um, buffer_um, seed) for k in range(n_folds)]
    roles = [unit_roles(xy, split) for split in splits]
    assert (sum(r == TEST for r in roles) == 1).all()
    for role, split in zip(roles, splits, strict=True):
        assert (role == unit_roles(xy, split)).all()
        assert set(role) <= {TRAIN, TEST, BUFFER}
        a, b = xy[role == TEST], xy[role == TRAIN]
        assert np.abs(a[:, None] - b[None]).max(axis=2).min() >= buffer_um
        edge = xy[role == BUFFER]
        if len(edge):  # nothing farther is given up
            assert np.abs(edge[:, None] - a[None]).max(axis=2).min(axis=1).max() < buffer_um


@pytest.mark.parametrize("split", [BlockSplit(3, 4, 900, 0, 0), BlockSplit(0, 2, 100, 900, 0)])
def test_a_section_too_small_for_its_blocks(split):
    xy = np.random.default_rng(0).uniform(0, 800, (300, 2))
    with pytest.raises(UserError, match="units to test and") as caught:
        unit_roles(xy, split)
    assert "folds.block_um" in str(caught.value)


def test_units_in_a_role():
    rng = np.random.default_rng(0)
    raw = ad.AnnData(np.ones((400, 1), np.float32))
    raw.obsm["spatial"] = rng.uniform(0, 800, (400, 2))
    kept = raw[rng.random(400) < 0.7].copy()
    blocks = asdict(BlockSplit(0, 2, 150, 40, 0))
    parts = [set(units_in_role(kept, blocks, role).obs_names) for role in (TRAIN, TEST, BUFFER)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == kept.n_obs
    assert units_in_role(kept, None, TRAIN) is kept
    assert set(raw.obs_names[unseen_units(raw, kept, blocks)]) == parts[1] | parts[2]
    assert unseen_units(raw, kept, None) is None
