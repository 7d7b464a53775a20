"""Image features of known kind, planted on a simulated section, with the genes that they follow.

One of each quadrant of the morphology-gene map: a nucleus that tells its type (translation), a
region that looks altered and expresses what it always did (integration), a texture that follows
housekeeping genes alone (overestimation) and an artefact of the stain (noise).
"""

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from .fields import smooth_noise
from .settings import stream

FIELD_UM_PER_PX = 5.0
REACH_UM = 130.0  # over which planted fields vary
HOUSEKEEPING_EFFECT = 0.35  # log units of expression for a standard deviation of the field
ALTERED_FROM = 0.45  # of the field, in standard deviations: about a third of the section
DISPERSION = 0.15
NOISE = 0.7  # of a nucleus alone, in standard deviations of what a feature follows
NUCLEUS, REGION, TEXTURE, ARTEFACT = (
    "type_nucleus", "altered_region", "housekeeping_texture", "stain_artefact",
)  # fmt: skip
PLANTED = {
    NUCLEUS: "translation",
    REGION: "integration",
    TEXTURE: "overestimation",
    ARTEFACT: "noise",
}
SMOOTH = {NUCLEUS: 0.0, REGION: 0.5, TEXTURE: 0.5, ARTEFACT: 1.0}  # fields that follow nothing


@dataclass(frozen=True)
class Planted:
    """`counts` of the section's nuclei, planted `features`, and `region`, what a pathologist sees.

    A region is the nucleus's domain, and whether it looks altered.
    """

    counts: sparse.csr_matrix
    features: pd.DataFrame
    region: np.ndarray


def plant_features(truth: ad.AnnData, seed: int) -> Planted:
    """Draw counts from the expected ones of `truth`, and features of the four kinds beside them."""
    xy_um = np.asarray(truth.obsm["spatial"])
    altered = smooth_field(stream(seed, "altered region"), xy_um) > ALTERED_FROM
    housekeeping = smooth_field(stream(seed, "housekeeping"), xy_um)
    rng = stream(seed, "planted")
    n = len(xy_um)
    usual = np.log(truth.obs.groupby("cell_type", observed=True)["area_um2"].transform("median"))
    follows = {
        NUCLEUS: _scaled(usual.to_numpy(dtype=np.float64)),
        REGION: _scaled(altered),
        TEXTURE: housekeeping,
        ARTEFACT: np.zeros(n),
    }
    own = {name: smooth_field(stream(seed, name), xy_um) for name in follows}
    features = pd.DataFrame(
        {
            name: shown + SMOOTH[name] * own[name] + NOISE * rng.standard_normal(n)
            for name, shown in follows.items()
        },
        index=truth.obs_names,
    )
    expected = np.asarray(truth.X, dtype=np.float64)
    is_housekeeping = (truth.var["program"] == "housekeeping").to_numpy()
    expected = expected * np.exp(HOUSEKEEPING_EFFECT * np.outer(housekeeping, is_housekeeping))
    counts = rng.poisson(expected * rng.gamma(1 / DISPERSION, DISPERSION, expected.shape))
    domain = truth.obs["domain"].astype(str).to_numpy()
    region = np.where(altered, np.char.add(domain.astype(str), ", altered"), domain)
    return Planted(sparse.csr_matrix(counts.astype(np.float32)), features, region)


def smooth_field(rng: np.random.Generator, xy_um: np.ndarray) -> np.ndarray:
    """A smooth field at positions in um, (n,), of mean 0 and variance 1 there."""
    pixel = np.floor(xy_um / FIELD_UM_PER_PX).astype(np.int64)
    columns, rows = pixel.max(axis=0) + 1
    field = smooth_noise(rng, (int(rows), int(columns)), REACH_UM / FIELD_UM_PER_PX)
    return _scaled(field[pixel[:, 1], pixel[:, 0]])


def _scaled(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return (values - values.mean()) / max(values.std(), 1e-9)
