"""Spatial splits: blocks of a section, held out with a buffer that no tile reaches across.

Neighbouring units share most of their tile, so random units of a section would be seen in
training. Whole blocks are held out instead, and units near them are left out of training.
"""

import anndata as ad
import numpy as np
from scipy.spatial import cKDTree

from histoscribe.block_split import BlockSplit
from histoscribe.errors import UserError, problem

TRAIN, TEST, BUFFER = "train", "test", "buffer"  # roles of units


def block_folds(
    xy_um: np.ndarray, section: np.ndarray, block_um: float, n_folds: int, seed: int
) -> np.ndarray:
    """Assign units to folds, (n_units,) in [0, n_folds), a square block of a section at a time.

    Blocks are dealt out from the fullest to the folds that hold fewest units, in seeded order
    among equals, so folds are of like size. `section` (n_units,) keeps blocks within a section.
    """
    corner = np.floor(xy_um / block_um).astype(np.int64)
    _, block, size = np.unique(
        np.column_stack([section, corner]), axis=0, return_inverse=True, return_counts=True
    )
    block = block.ravel()
    shuffled = np.random.default_rng(seed).permutation(len(size))
    order = shuffled[np.argsort(-size[shuffled], kind="stable")]
    fold_of_block = np.empty(len(size), dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    for b in order:
        fold_of_block[b] = np.argmin(filled)
        filled[fold_of_block[b]] += size[b]
    return fold_of_block[block]


def outside_buffer(
    xy_um: np.ndarray, section: np.ndarray, held_out: np.ndarray, buffer_um: float
) -> np.ndarray:
    """Units that may train beside the `held_out` ones, (n_units,) bool.

    A unit is left out when it lies within `buffer_um`, along both axes, of a held-out unit of the
    same section: square tiles of that width would overlap.
    """
    usable = ~held_out
    for name in np.unique(section):
        inside = section == name
        tested = np.flatnonzero(inside & held_out)
        others = np.flatnonzero(inside & ~held_out)
        if len(tested) and len(others):
            distance, _ = cKDTree(xy_um[tested]).query(
                xy_um[others], p=np.inf, distance_upper_bound=buffer_um
            )
            usable[others[distance < buffer_um]] = False
    return usable


def unit_roles(xy_um: np.ndarray, blocks: BlockSplit) -> np.ndarray:
    """The role of each unit of a section that is cut into blocks, (n_units,): train, test, buffer.

    Depends on nothing but the arguments. Raises UserError where nothing is left to train or test.
    """
    xy_um = np.asarray(xy_um, dtype=np.float64)
    section = np.zeros(len(xy_um), dtype=np.int64)
    fold = block_folds(xy_um, section, blocks.block_um, blocks.n_folds, blocks.seed)
    tested = fold == blocks.held_out
    trains = outside_buffer(xy_um, section, tested, blocks.buffer_um)
    if not tested.any() or not trains.any():
        raise UserError(
            problem(
                f"folds, blocks of {blocks.block_um:g} um and a buffer of {blocks.buffer_um:g} um",
                f"{tested.sum()} units to test and {trains.sum()} to train on among {len(xy_um)} "
                f"units of a section in block fold {blocks.held_out + 1} of {blocks.n_folds}",
                "both above zero in every section",
                "Change folds.block_um (several blocks a section, wider than the buffer), lower "
                "folds.n_folds, or use encoders that see less.",
            )
        )
    return np.where(tested, TEST, np.where(trains, TRAIN, BUFFER))


def units_in_role(units: ad.AnnData, blocks: dict | None, role: str) -> ad.AnnData:
    """The units of a section that have `role`; all where `blocks` (of a BlockSplit) is None."""
    if blocks is None:
        return units
    return units[unit_roles(units.obsm["spatial"], BlockSplit(**blocks)) == role].copy()


def unseen_units(units: ad.AnnData, kept: ad.AnnData, blocks: dict | None) -> np.ndarray | None:
    """Which `units`, (n_units,) bool, are kept by the filter but do not train; None if all do."""
    if blocks is None:
        return None
    roles = unit_roles(kept.obsm["spatial"], BlockSplit(**blocks))
    return np.asarray(units.obs_names.isin(kept.obs_names[roles != TRAIN]))
