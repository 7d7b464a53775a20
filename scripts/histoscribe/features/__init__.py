"""Image features of units: what an encoder gives for every unit of a section."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UnitFeatures:
    """Features of n units, in the order of the units.

    `local` (n, n_local) describes the unit's own footprint, `context` (n, n_global) the tile
    around it; of networks that have a class token, which `context` is then, `mean` (n, n_local) is
    the mean of all other tokens. All are float32 and finite. In files they are `obsm["local"]`,
    `obsm["global"]` and `obsm["mean"]`.
    """

    local: np.ndarray
    context: np.ndarray
    local_names: tuple[str, ...]
    context_names: tuple[str, ...]
    mean: np.ndarray | None = None

    @property
    def blocks(self) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
        """Values and names of features by the name of their block."""
        blocks = {
            "local": (self.local, self.local_names),
            "global": (self.context, self.context_names),
        }
        if self.mean is not None:
            names = tuple(f"mean_{k}" for k in range(self.mean.shape[1]))
            blocks["mean"] = (self.mean, names)
        return blocks
