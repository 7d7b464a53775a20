"""What a morphology-gene map is made of: units, their expression, image features and a question."""

import fnmatch
import logging
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from histoscribe.errors import UserError, problem
from histoscribe.expression import log_normalised
from histoscribe.morphology_map.quadrants import Question

LOG = logging.getLogger(__name__)
LEAST_OF_A_CLASS = 10  # units; smaller classes are left out
LEAST_UNITS = 50
N_BLOCKS = 36  # about so many, where their edge is not given
LEAST_BLOCK = 1.5  # of the buffer
UNNAMED_COMPONENTS = 30


@dataclass(frozen=True)
class Asked:
    """Units of one section that the question is answered for, all in one order.

    `values` log1p expression of all genes (AnnData, n_units x n_genes), `features` (n_units,
    n_features) named, `xy_um` (n_units, 2).
    """

    values: ad.AnnData
    features: pd.DataFrame
    question: Question
    xy_um: np.ndarray

    def expression(self, n_components: int, seed: int) -> np.ndarray:
        """Principal components of expression, (n_units, n_components or fewer)."""
        n_components = min(n_components, *(n - 1 for n in self.values.shape))
        pca = PCA(n_components, svd_solver="arpack", random_state=seed)
        return pca.fit_transform(self.values.X)

    def block_um(self, given: float | None, buffer_um: float) -> float:
        """Edge of blocks: as given, or such that the section has about 36."""
        edge = np.sqrt(np.ptp(self.xy_um, axis=0).prod() / N_BLOCKS)
        return given or max(float(edge), LEAST_BLOCK * buffer_um)


def own_features(units: ad.AnnData, chosen: list[str], where: str) -> pd.DataFrame:
    """Features that a file brings itself: keys of obsm, and columns of obs (patterns allowed).

    Raises UserError for a name that is neither, and for columns that hold no numbers.
    """
    blocks = []
    for name in chosen:
        if name in units.obsm:
            values = units.obsm[name]
            if not isinstance(values, pd.DataFrame):
                values = np.asarray(values)
                columns = [f"{name}_{i}" for i in range(values.shape[1])]
                values = pd.DataFrame(values, index=units.obs_names, columns=columns)
            blocks.append(values)
            continue
        columns = fnmatch.filter(units.obs.columns, name)
        numbers = [c for c in columns if pd.api.types.is_numeric_dtype(units.obs[c])]
        if not numbers:
            found = f"{name}, of type {units.obs[columns[0]].dtype}" if columns else name
            expected = "keys of obsm or columns of obs with numbers: " + ", ".join(
                [*units.obsm, *units.obs.select_dtypes("number").columns][:12]
            )
            raise UserError(problem(where, found, expected, "Correct features."))
        blocks.append(units.obs[numbers])
    return pd.concat(blocks, axis=1).astype(np.float64)


def components_of_features(features: pd.DataFrame, seed: int) -> pd.DataFrame:
    """At most 30 principal components of scaled features, for those whose names say nothing."""
    scaled = (features - features.mean()) / features.std().replace(0, np.inf)
    n = min(UNNAMED_COMPONENTS, *scaled.shape)
    values = PCA(n, random_state=seed).fit_transform(scaled)
    columns = [f"component_{i + 1}" for i in range(n)]
    return pd.DataFrame(values, index=features.index, columns=columns)


def ask(
    units: ad.AnnData,
    features: pd.DataFrame,
    name: str,
    answer: pd.Series,
    target_sum: float | str,
    max_units: int,
    seed: int,
    where: str,
) -> Asked:
    """Units that have features and an answer; at most `max_units`, drawn at random.

    `answer` by unit, text or numbers, NaN where there is none; classes of fewer than 10 units are
    left out. Raises UserError where fewer than 50 units, or but one class or value, are left.
    """
    shared = units.obs_names[units.obs_names.isin(features.index)]
    answer = answer.reindex(shared).dropna()
    if not pd.api.types.is_numeric_dtype(answer):
        answer = answer.astype(str)
        sizes = answer.value_counts()
        rare = sizes.index[sizes < LEAST_OF_A_CLASS]
        if len(rare):
            LOG.warning(
                "%s: %s left out, of fewer than %d units", where, ", ".join(rare), LEAST_OF_A_CLASS
            )
        answer = answer[~answer.isin(rare)]
    n_values = answer.nunique()
    if len(answer) < LEAST_UNITS or n_values < 2:
        values = ", ".join(map(str, answer.unique()[:3])) or "none"
        raise UserError(
            problem(
                f"{where}, question {name}",
                f"{len(answer)} units with features and an answer, {n_values} different ({values})",
                f"{LEAST_UNITS} or more units, and two or more answers of {LEAST_OF_A_CLASS} units",
                "Ask what differs within the section.",
            )
        )
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(answer))[:max_units])
    chosen = answer.index[rows]
    own = units[chosen].copy()
    if "umi" not in own.obs:
        own.obs["umi"] = np.asarray(own.X.sum(axis=1)).ravel()
    return Asked(
        log_normalised(own, target_sum),
        features.loc[chosen],
        Question(name, answer.iloc[rows].to_numpy()),
        np.asarray(own.obsm["spatial"], dtype=np.float64)[:, :2],
    )
