"""The file of a section's features, the same from every encoder."""

import hashlib
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.features import UnitFeatures
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.storage import read_h5ad, write_h5ad


def columns_digest(features: UnitFeatures) -> str:
    """Digest of the names of local and context features, in order."""
    columns = "\n".join((*features.local_names, "", *features.context_names))
    return hashlib.sha256(columns.encode()).hexdigest()


def write_features(units: ad.AnnData, features: UnitFeatures, identity: dict, output: Path) -> None:
    """Write features of `units`, an obsm for each block, with the identity of the encoder."""
    result = ad.AnnData(obs=pd.DataFrame(index=units.obs_names))
    result.obsm = {"spatial": units.obsm["spatial"]}
    names = {}
    for block, (values, columns) in features.blocks.items():
        result.obsm[block] = values
        names[f"{block}_names"] = list(columns)
    result.uns[RECORD_KEY] = record(encoder=identity, **names)
    write_h5ad(result, output)


def named_features(path: Path) -> pd.DataFrame:
    """Features of a section under their names, (n_units, n_features), from such a file.

    Where an encoder has no names for them they are named by block and number.
    """
    features = read_h5ad(path)
    names = recall(features.uns)
    blocks = []
    for block in ("local", "global", "mean"):
        if block in features.obsm:
            values = np.asarray(features.obsm[block])
            own = names.get(f"{block}_names") or range(values.shape[1])
            columns = [n if isinstance(n, str) else f"{block}_{n}" for n in own]
            blocks.append(pd.DataFrame(values, index=features.obs_names, columns=columns))
    return pd.concat(blocks, axis=1)
