"""The file of a section's features, the same from every encoder."""

import hashlib
from pathlib import Path

import anndata as ad
import pandas as pd

from histoscribe.features import UnitFeatures
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.storage import write_h5ad


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
