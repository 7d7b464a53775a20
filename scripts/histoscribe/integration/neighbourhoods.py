"""What a unit's neighbourhood expresses, made for a batch of units at once.

Nothing dense of all units is held where there are many: log values and graphs stay sparse, so
memory grows with the molecules and with the units, never with their square.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse

LENGTH = 4.0
CUT = 10.0  # log units, beyond which values are cut
DENSE_VALUES = 1 << 25  # 128 MB; so many are kept as they are, being asked for at every step


@dataclass(frozen=True)
class Neighbours:
    """Units of a batch and their neighbours, themselves among these, on one device.

    `values` (n_involved, n_genes) of all units involved; `own` (n_batch,) the batch's own rows of
    these; `unit` and `neighbour` (n_pairs,) rows of the batch, rising, and of `values`.
    """

    values: torch.Tensor
    own: torch.Tensor
    unit: torch.Tensor
    neighbour: torch.Tensor

    def parts(self, masks: tuple[np.ndarray, np.ndarray]) -> tuple["Neighbours", "Neighbours"]:
        """The same units with a part of their neighbours each; masks (n_pairs,) bool."""
        kept = (torch.from_numpy(mask).to(self.unit.device) for mask in masks)
        return tuple(replace(self, unit=self.unit[m], neighbour=self.neighbour[m]) for m in kept)


class Neighbourhoods:
    """Log values less the offsets of their sections, 0 where a section measures no such gene.

    They are scaled alike, so that the mean of a unit's neighbourhood has a length of 4 (typically):
    the terms of the loss then weigh the same in sparse data as in rich ones.

    `log_values` sparse (n_units, n_genes); `section` (n_units,) numbers from 0; `offset` and
    `measured` (n_sections, n_genes).
    """

    def __init__(
        self,
        log_values: sparse.csr_matrix,
        section: np.ndarray,
        offset: np.ndarray,
        measured: np.ndarray,
    ) -> None:
        self.log_values, self.section = log_values, section
        self.offset = offset.astype(np.float32)
        self.measured = measured.astype(np.float32)
        self._dense, self.scale = None, np.float32(1.0)
        if log_values.shape[0] * log_values.shape[1] <= DENSE_VALUES:
            self._dense = self._corrected(log_values.toarray(), section)

    def scale_to_length(self, rows: np.ndarray, weights: sparse.csr_matrix) -> None:
        """Scale by what the means of some units, as in `means`, measure in length."""
        length = np.linalg.norm(self.means(rows, weights), axis=1).mean()
        self.scale = np.float32(LENGTH / max(float(length), 1e-6))
        if self._dense is not None:
            self._dense *= self.scale

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Values of some units, dense float32 (n_rows, n_genes)."""
        if self._dense is not None:
            return self._dense[rows]
        return self._corrected(self.log_values[rows].toarray(), self.section[rows])

    def neighbours(self, rows: np.ndarray, graph: sparse.csr_matrix, device: torch.device):
        """Neighbours of some units in `graph` (n_units, n_units), for attention."""
        some = graph[rows]
        involved, neighbour = np.unique(some.indices, return_inverse=True)
        own = np.searchsorted(involved, rows)
        unit = np.repeat(np.arange(len(rows)), np.diff(some.indptr))
        return Neighbours(
            torch.from_numpy(self.values(involved)).to(device),
            *(torch.from_numpy(np.ascontiguousarray(i)).to(device) for i in (own, unit, neighbour)),
        )

    def means(self, rows: np.ndarray, weights: sparse.csr_matrix) -> np.ndarray:
        """Weighted means of units' values, dense float32 (n_rows, n_genes).

        `weights` (n_rows, n_units) sum to 1 over units of one section, that of `rows`.
        """
        return self._corrected((weights @ self.log_values).toarray(), self.section[rows])

    def _corrected(self, dense: np.ndarray, section: np.ndarray) -> np.ndarray:
        dense -= self.offset[section]
        np.clip(dense, -CUT, CUT, out=dense)
        dense *= self.scale * self.measured[section]
        return dense


def deal_out(row_ends: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Entries of each row of a sparse matrix dealt out into two parts, masks (n_entries,) each.

    `row_ends` (n_rows + 1,) as in CSR. Parts are as even as the number allows; the only entry of a
    row is in both.
    """
    length = np.diff(row_ends)
    row = np.repeat(np.arange(len(length)), length)
    order = np.lexsort((rng.random(len(row)), row))
    place = np.empty(len(row), dtype=np.int64)
    place[order] = np.arange(len(row)) - row_ends[row]
    is_first = (place + rng.integers(0, 2, len(length))[row]) % 2 == 0
    is_only = (length == 1)[row]
    return is_first | is_only, ~is_first | is_only


def part_of(weights: sparse.csr_matrix, kept: np.ndarray) -> sparse.csr_matrix:
    """Weights with entries `kept` alone, rows summing to 1 again."""
    data = weights.data * kept
    row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    total = np.bincount(row, weights=data, minlength=weights.shape[0])
    scaled = (data / np.maximum(total, 1e-12)[row]).astype(np.float32)
    return sparse.csr_matrix((scaled, weights.indices, weights.indptr), weights.shape)
