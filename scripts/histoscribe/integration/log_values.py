"""Log values of counts, scaled so that units of unlike depth compare."""

import numpy as np
from scipy import sparse


def usual_total(total: np.ndarray) -> float:
    """Median of the totals (n_units,) of units that have any molecules; 0 where none has."""
    some = total > 0
    return float(np.median(total[some])) if some.any() else 0.0


def log_values(counts: sparse.csr_matrix, total: np.ndarray, scaled_to: float) -> sparse.csr_matrix:
    """log1p of counts, each unit's scaled by `scaled_to` over its `total`; sparse float32.

    `counts` (n_units, n_genes), `total` (n_units,); units without molecules stay 0.
    """
    some = total > 0
    scale = np.zeros(len(total))
    scale[some] = scaled_to / total[some]
    values = sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    values.data *= np.repeat(scale, np.diff(values.indptr)).astype(np.float32)
    np.log1p(values.data, out=values.data)
    return values
