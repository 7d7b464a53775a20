"""The tables of a SpatialData store: expression and annotation of units, tied to their shapes."""

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.handover.section import MEASURED, PREDICTED, Section
from histoscribe.provenance import RECORD_KEY

SHAPES = {"nucleus": "nuclei", "cell": "cells", "bin": "bins", "spot": "spots"}
REGION_KEY, INSTANCE_KEY = "region", "unit"


def units_table(section: Section, colours: dict[str, str]) -> ad.AnnData:
    """The predicted genes: `X` raw counts, layers measured and predicted (log1p), lower, upper
    and probability; the annotation with its colours; trust and scores of the genes.

    Without a measurement, `X` is predicted too and there is no layer measured. `colours`
    are those of all names of the run.
    """
    predicted = section.predicted
    layers = {PREDICTED: predicted.X, **predicted.layers}
    x = predicted.X
    if section.is_measured:
        layers[MEASURED] = sparse.csr_matrix(predicted.layers[MEASURED])
        x = sparse.csr_matrix(section.units[predicted.obs_names, predicted.var_names].X)
    table = ad.AnnData(
        x,
        obs=_of_shapes(predicted.obs, section.unit),
        var=_plain(predicted.var),
        layers=layers,
        obsm={"spatial": np.asarray(predicted.obsm["spatial"])},
        uns={RECORD_KEY: predicted.uns[RECORD_KEY]},
    )
    for column, values in table.obs.items():
        if isinstance(values.dtype, pd.CategoricalDtype) and column != REGION_KEY:
            names = values.cat.categories
            # What scanpy, squidpy and napari-spatialdata look for.
            table.uns[f"{column}_colors"] = np.array([colours[str(name)] for name in names])
    return table


def measured_table(section: Section) -> ad.AnnData:
    """All measured genes of all kept units: raw counts."""
    units = section.units
    return ad.AnnData(
        sparse.csr_matrix(units.X),
        obs=_of_shapes(units.obs, section.unit),
        var=_plain(units.var),
        obsm={"spatial": np.asarray(units.obsm["spatial"], dtype=np.float64)},
        uns={RECORD_KEY: units.uns[RECORD_KEY]},
    )


def _of_shapes(obs: pd.DataFrame, unit: str) -> pd.DataFrame:
    """`obs` with the columns that name each unit's shape."""
    obs = obs.rename_axis(None)
    obs[REGION_KEY] = pd.Categorical([SHAPES[unit]] * len(obs), categories=[SHAPES[unit]])
    obs[INSTANCE_KEY] = obs.index.to_numpy(dtype=object)
    return obs


def _plain(var: pd.DataFrame) -> pd.DataFrame:
    return var.rename_axis(None)
