"""Units of several sections on one list of genes, with their neighbours."""

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse

from histoscribe.integration.log_values import log_values, usual_total
from histoscribe.integration.matching import matched_offsets, n_drawn
from histoscribe.integration.neighbours import neighbour_graph
from histoscribe.integration.sections import Section

LOG = logging.getLogger(__name__)
CELL = "cell"
PSEUDO_COUNT = 0.25  # molecules, at the median library


@dataclass(frozen=True)
class Together:
    """Units of all sections, in their order.

    `counts` (n_units, n_genes) sparse float32, 0 where a section does not measure a gene; `section`
    (n_units,) its number in `names`; `measured` (n_sections, n_genes) bool; `graph` (n_units,
    n_units) 1 for neighbours and for a unit with itself; `units` (n_units,) ids within a section;
    `library` (n_units,) totals over all genes that every section measures, or, where these are few,
    over `genes`.
    """

    names: list[str]
    genes: list[str]
    counts: sparse.csr_matrix
    section: np.ndarray
    units: np.ndarray
    xy_um: np.ndarray
    library: np.ndarray
    measured: np.ndarray
    graph: sparse.csr_matrix

    @property
    def n_units(self) -> int:
        return len(self.section)

    def log_values(self, rows: np.ndarray | slice = slice(None)) -> sparse.csr_matrix:
        """log1p of counts scaled to four times the median library of all units, (n_rows, n_genes).

        That is a pseudo-count of 1/4 at the median library, which stabilises variances where genes
        are overdispersed by 1 (Ahlmann-Eltze & Huber, Nat Methods 2023).
        """
        scaled_to = usual_total(self.library) / PSEUDO_COUNT
        return log_values(self.counts[rows], self.library[rows], scaled_to)

    def offsets(self, seed: int) -> np.ndarray:
        """How far sections lie apart where their units match, in log values; (n_sections, n_genes).

        A gene that a section does not measure is taken for its mean over those that do.
        """
        rng = np.random.default_rng(seed)
        of_section = (np.flatnonzero(self.section == n) for n in range(len(self.names)))
        rows = [rng.permutation(own)[: n_drawn(len(self.names))] for own in of_section]
        drawn = [self.log_values(some).toarray() for some in rows]
        weight = self.measured / np.maximum(self.measured.sum(axis=0), 1)
        usual = (np.vstack([values.mean(axis=0) for values in drawn]) * weight).sum(axis=0)
        for values, is_measured in zip(drawn, self.measured, strict=True):
            values[:, ~is_measured] = usual[~is_measured]
        return matched_offsets(drawn, seed)

    def gene_totals(self) -> np.ndarray:
        """Sum of each gene in each section, (n_sections, n_genes)."""
        ones = np.ones(self.n_units)
        numbers = np.arange(self.n_units)
        shape = (len(self.names), self.n_units)
        return (sparse.csr_matrix((ones, (self.section, numbers)), shape) @ self.counts).toarray()

    def components(self, n_components: int, seed: int) -> np.ndarray:
        """Principal components of log values, sections as they are, (n_units, width) float32."""
        n_components = min(n_components, len(self.genes) - 1, self.n_units - 1)
        return sc.pp.pca(self.log_values(), n_comps=n_components, random_state=seed)

    def obs(self) -> pd.DataFrame:
        """A row a unit, named section/unit: section and unit."""
        section = pd.Categorical.from_codes(self.section, categories=self.names)
        table = pd.DataFrame({"section": section, "unit": self.units})
        table.index = [
            f"{self.names[s]}/{u}" for s, u in zip(self.section, self.units, strict=True)
        ]
        return table

    def digest(self) -> str:
        """Digest of the units, genes and counts, in 16 hex digits."""
        digest = hashlib.sha256("\n".join([*self.names, *self.genes, *self.units]).encode())
        for part in (self.counts.indptr, self.counts.indices, self.counts.data, self.graph.indices):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]


def gather(
    sections: list[Section],
    genes: list[str],
    n_neighbours: dict[str, int],
    radius_um: float | None,
) -> Together:
    """Sections on `genes`, each unit with its neighbours within its section.

    `n_neighbours` by what a unit is; units of no stated kind are taken for cells.
    """
    common = set.intersection(*(set(section.genes) for section in sections))
    common = common if len(common) > len(genes) / 2 else set(genes)
    counts, measured, graphs, library = [], [], [], []
    for section in sections:
        place = section.genes.get_indexer(genes)
        measured.append(place >= 0)
        chosen = sparse.csc_matrix(section.counts)[:, place[place >= 0]].tocoo()
        column = np.flatnonzero(place >= 0)[chosen.col]
        shape = (section.n_units, len(genes))
        counts.append(sparse.csr_matrix((chosen.data, (chosen.row, column)), shape, np.float32))
        of_all = section.counts @ section.genes.isin(common).astype(np.float32)
        library.append(np.asarray(of_all).ravel())
        graph = neighbour_graph(section.xy_um, n_neighbours[section.kind or CELL], radius_um)
        if np.median(graph.getnnz(axis=1)) < 2:  # a unit is its own
            LOG.warning("%s: most units have no neighbour; integration.neighbours.radius_um or "
                        "n_nearest is too small to average over any", section.name)  # fmt: skip
        graphs.append(graph)
    return Together(
        names=[section.name for section in sections],
        genes=genes,
        counts=sparse.vstack(counts, format="csr"),
        section=np.repeat(np.arange(len(sections)), [section.n_units for section in sections]),
        units=np.concatenate([section.units.to_numpy().astype(str) for section in sections]),
        xy_um=np.vstack([section.xy_um for section in sections]),
        library=np.concatenate(library),
        measured=np.vstack(measured),
        graph=sparse.block_diag(graphs, format="csr", dtype=np.float32),
    )
