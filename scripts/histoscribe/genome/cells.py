"""Units of one section with what they are, as copy number and genotypes are looked at in."""

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.annotation.labels import UNLABELLED, read_labels
from histoscribe.annotation.naming import UNKNOWN
from histoscribe.errors import UserError, problem
from histoscribe.genome.words import LABELS
from histoscribe.integration.sections import read_section
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad

DRAWN_UMI = 1000.0  # molecules that a unit's prediction stands for


@dataclass(frozen=True)
class Cells:
    """Units of a section that are known to be something.

    `counts` (n_units, n_genes) whole numbers, `var` of the genes, `kind` (n_units,) text, `xy_um`
    (n_units, 2); `facts` of the file, as it was written.
    """

    counts: sparse.csr_matrix
    var: pd.DataFrame
    names: pd.Index
    kind: np.ndarray
    xy_um: np.ndarray
    facts: dict

    def bare(self) -> ad.AnnData:
        """The units without counts, as readers of labels and DNA need them."""
        return ad.AnnData(obs=pd.DataFrame(index=self.names), obsm={"spatial": self.xy_um})


def read_cells(
    units: Path, cells: str, answers: Path | None, is_predicted: bool, seed: int, where: str
) -> Cells:
    """Units of an .h5ad with counts, and what `cells` says they are; those unknown are left out.

    `cells` is types or labels of the file `answers`, or a column of obs where there is none. A
    prediction's values become counts drawn at 1,000 molecules a unit, as if it were measured.
    """
    section = read_section(where, units, is_predicted)
    read = ad.read_h5ad(units, backed="r")  # the section has its counts already
    facts = recall(read.uns)
    if answers is None:
        if cells not in read.obs:
            expected = "a column of obs: " + ", ".join(map(str, read.obs.columns[:12]))
            raise UserError(problem(f"{where}/cells", cells, expected, "Correct it."))
        kind = read.obs[cells].astype(object)
    elif cells == LABELS:
        kind = read_labels(answers, read, facts["unit_size_um"], facts["um_per_px"])
    else:
        kind = read_h5ad(answers).obs["type"].astype(object)
    read.file.close()
    kind = kind.reindex(section.units)
    text = kind.astype(str)
    known = (kind.notna() & ~text.str.lower().isin((*UNLABELLED, UNKNOWN))).to_numpy()
    counts = section.counts
    if is_predicted:
        counts = drawn_counts(counts, seed)
    known &= np.asarray(counts.sum(axis=1)).ravel() > 0
    return Cells(
        counts[known],
        read.var.loc[section.genes],
        section.units[known],
        text.to_numpy(dtype=str)[known],
        np.asarray(section.xy_um)[known],
        facts,
    )


def drawn_counts(values: sparse.csr_matrix, seed: int) -> sparse.csr_matrix:
    """Poisson counts (n_units, n_genes) of predicted linear values, 1,000 molecules a unit."""
    total = np.asarray(values.sum(axis=1)).ravel()
    scaled = sparse.csr_matrix(sparse.diags(DRAWN_UMI / np.maximum(total, 1e-9)) @ values)
    # Another stream than that of the coin by which molecules are halved.
    drawn = np.random.default_rng([seed, 1, 1]).poisson(np.maximum(scaled.data, 0))
    scaled.data = drawn.astype(np.float32)
    scaled.eliminate_zeros()
    return scaled
