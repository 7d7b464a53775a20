"""Image features of units: what an encoder gives for every unit of a section."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UnitFeatures:
    """Features of n units, in the order of the units.

    `local` (n, n_local) describes the unit's own footprint, `context` (n, n_global) the tile
    around it; both float32 and finite. In files they are `obsm["local"]` and `obsm["global"]`.
    """

    local: np.ndarray
    context: np.ndarray
    local_names: tuple[str, ...]
    context_names: tuple[str, ...]
