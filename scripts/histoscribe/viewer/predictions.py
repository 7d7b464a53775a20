"""Predicted and measured expression of a section, read a few genes at a time.

Where folds cut a section into blocks, each unit is taken from the fold that tested it, so that
what is shown was never seen in training.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.block_split import BlockSplit
from histoscribe.errors import UserError, problem
from histoscribe.evaluation.stored import open_h5ad, read_columns
from histoscribe.expression import target_total, targets
from histoscribe.provenance import recall
from histoscribe.splits import TEST, unit_roles

COLUMNS_AT_ONCE = 64  # of the file, whichever of them are shown


@dataclass(frozen=True)
class FoldPrediction:
    """A prediction in its file, and which rows of it are shown."""

    stored: ad.AnnData
    rows: np.ndarray

    def values(self, layer: str | None, genes: list[str]) -> np.ndarray:
        """Of the shown rows, (n_rows, n_genes); `layer` None is the prediction itself."""
        matrix = self.stored.X if layer is None else self.stored.layers[layer]
        columns = self.stored.var_names.get_indexer(genes)
        order = np.argsort(columns)
        block = read_columns(matrix, columns[order])[self.rows]
        return block[:, np.argsort(order)]


@dataclass(frozen=True)
class SectionPrediction:
    """All folds' parts of a section, one after the other, with the units that they show.

    Counts are scaled to `total`, one for the whole section, so that no seam shows between parts;
    None where nothing was measured.
    """

    folds: list[FoldPrediction]
    units: ad.AnnData
    total: float | None

    @property
    def obs(self) -> pd.DataFrame:
        """What predictions say of the shown units, in the order of `units`."""
        return pd.concat([fold.stored.obs.iloc[fold.rows] for fold in self.folds])

    def has_layer(self, name: str) -> bool:
        return all(name in fold.stored.layers for fold in self.folds)

    def predicted(self, genes: list[str], layer: str | None = None) -> np.ndarray:
        """(n_units, n_genes) of `layer`, or of the prediction itself."""
        return np.concatenate([fold.values(layer, genes) for fold in self.folds])

    def measured(self, genes: list[str]) -> np.ndarray:
        """log1p of the measured counts, scaled to a common total."""
        return targets(self.units, genes, self.total)

    def blocks_of_genes(self, genes: list[str]) -> Iterator[list[str]]:
        """The genes in groups that lie near each other in the files."""
        columns = self.folds[0].stored.var_names.get_indexer(genes)
        for number in np.unique(columns // COLUMNS_AT_ONCE):
            yield [genes[i] for i in np.flatnonzero(columns // COLUMNS_AT_ONCE == number)]


@contextmanager
def open_predictions(
    paths: list[Path], blocks: list[dict | None], units: ad.AnnData
) -> Iterator[SectionPrediction]:
    """The predictions of a section, a fold each; `blocks` says how a fold cuts the section.

    Raises UserError where a prediction is not of `units`.
    """
    with ExitStack() as stack:
        folds = []
        for path, cut in zip(paths, blocks, strict=True):
            stored = stack.enter_context(open_h5ad(path))
            if not stored.obs_names.equals(units.obs_names):
                raise UserError(
                    problem(
                        str(path),
                        f"{stored.n_obs} units that are not those of units.h5ad ({units.n_obs})",
                        "a prediction of the same units",
                        "Delete it and run again.",
                    )
                )
            is_shown = np.ones(units.n_obs, dtype=bool)
            if cut is not None:
                is_shown = unit_roles(units.obsm["spatial"], BlockSplit(**cut)) == TEST
            folds.append(FoldPrediction(stored, np.flatnonzero(is_shown)))
        shown = np.concatenate([fold.rows for fold in folds])
        target_sum = recall(folds[0].stored.uns)["target_sum"]
        umi = units.obs["umi"].to_numpy() if "umi" in units.obs else np.zeros(1)
        total = target_total(umi, target_sum) if (umi > 0).any() else None
        is_whole = len(folds) == 1 and len(shown) == units.n_obs
        yield SectionPrediction(folds, units if is_whole else units[shown].copy(), total)
