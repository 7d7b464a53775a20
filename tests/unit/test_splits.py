import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscribe.splits import block_folds, outside_buffer


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
