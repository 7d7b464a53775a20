"""How a section is cut into training and test. Light: the Snakefile imports it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockSplit:
    """How a section is cut: blocks of `block_um` are dealt out to `n_folds` block folds by `seed`.

    Units of block fold `held_out` (from 0) are tested; units of the others train, unless they lie
    within `buffer_um` of a tested one.
    """

    held_out: int
    n_folds: int
    block_um: float
    buffer_um: float
    seed: int
