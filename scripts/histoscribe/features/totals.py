"""A unit's measured molecules as its only feature: what a baseline of depth alone may know."""

import anndata as ad
import numpy as np

from histoscribe.features import UnitFeatures


def describe_totals(units: ad.AnnData) -> UnitFeatures:
    """log1p of the molecules of each unit, as a local feature."""
    total = np.log1p(units.obs["umi"].to_numpy(dtype=np.float32))[:, None]
    return UnitFeatures(total, np.zeros((units.n_obs, 0), dtype=np.float32), ("log_total",), ())
