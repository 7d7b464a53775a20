"""What a morphology-gene map is made of: units, their expression, image features and a question."""

import fnmatch
import logging
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import PCA

from histoscribe.annotation.labels import UNLABELLED
from histoscribe.annotation.naming import UNKNOWN
from histoscribe.errors import UserError, problem
from histoscribe.expression import log_normalised
from histoscribe.morphology_map.information import usual_block_um
from histoscribe.morphology_map.quadrants import Question

LOG = logging.getLogger(__name__)
LEAST_OF_A_CLASS = 10  # units; smaller classes are left out
LEAST_UNITS = 50
LEAST_GENES = 2
MAX_CODES = 20  # different whole numbers that are classes, not measures
NAMED = 5  # rare classes in a warning
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
        """Edge of blocks: as given, or as usual."""
        return given or usual_block_um(self.xy_um, buffer_um)


def own_features(units: ad.AnnData, chosen: list[str], where: str) -> pd.DataFrame:
    """Features that a file brings itself: keys of obsm, and columns of obs (patterns allowed).

    Each once. Raises UserError for a name that is neither, and for values that are no numbers.
    """
    blocks: dict[str, pd.Series] = {}
    for name in chosen:
        own = _of_obsm(units, name) if name in units.obsm else _of_obs(units, name)
        if own is None or not own.shape[1]:
            columns = [*units.obsm, *units.obs.select_dtypes("number").columns][:12]
            found = f"{name}, no numbers" if own is None or name in units.obs else name
            expected = f"keys of obsm or columns of obs with numbers: {', '.join(columns)}"
            raise UserError(problem(where, found, expected, "Correct features."))
        blocks |= dict(own.items())
    return pd.DataFrame(blocks, index=units.obs_names).astype(np.float64)


def _of_obsm(units: ad.AnnData, name: str) -> pd.DataFrame | None:
    """Columns of a key of obsm, named after it; None where they are no numbers."""
    values = units.obsm[name]
    if isinstance(values, pd.DataFrame):
        table = values.add_prefix(f"{name}_")
    else:
        dense = values.toarray() if sparse.issparse(values) else np.asarray(values)
        columns = [f"{name}_{i}" for i in range(dense.shape[1])]
        table = pd.DataFrame(dense, index=units.obs_names, columns=columns)
    is_number = all(pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes)
    return table if is_number else None


def _of_obs(units: ad.AnnData, pattern: str) -> pd.DataFrame:
    """Columns of obs that fit a pattern and hold numbers; maybe none."""
    columns = fnmatch.filter(units.obs.columns, pattern)
    return units.obs[[c for c in columns if pd.api.types.is_numeric_dtype(units.obs[c])]]


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
    given: pd.Series,
    target_sum: float | str,
    max_units: int,
    seed: int,
    where: str,
) -> Asked:
    """Units that have features and an answer; at most `max_units`, drawn at random.

    `given` answers by unit, text or numbers, missing where there is none; whole numbers of up to
    20 different values are classes. Classes of fewer than 10 units, and units of features without
    a value, are left out. Raises UserError where fewer than 50 units, but one class or value, no
    feature that varies, or but one gene are left.
    """
    if features.shape[1] == 0:
        raise UserError(
            problem(f"{where}/features", "none beside the question", "one or more", "Name others.")
        )
    answers = _as_asked(given, where)
    shared = units.obs_names[units.obs_names.isin(features.index)]
    answers = answers.reindex(shared).dropna()
    answers = answers[_has_all(features.loc[answers.index], where)]
    answers = _without_rare(answers, where)
    rows = np.random.default_rng(seed).permutation(len(answers))[:max_units]
    answers = _without_rare(answers.iloc[np.sort(rows)], where)
    is_text = not pd.api.types.is_numeric_dtype(answers)
    n_values = answers.nunique()
    if len(answers) < LEAST_UNITS or n_values < 2:
        values = ", ".join(map(str, answers.unique()[:3])) or "none"
        raise UserError(
            problem(
                f"{where}, question {name}",
                f"{len(answers)} units with features and an answer, {n_values} different: {values}",
                f"{LEAST_UNITS} or more units, and two or more answers of {LEAST_OF_A_CLASS} units",
                "Ask what differs within the section.",
            )
        )
    own, features = units[answers.index].copy(), features.loc[answers.index]
    n_varied = int((features.std() > 0).sum())
    if not n_varied or own.n_vars < LEAST_GENES:
        found = f"{own.n_vars} genes, and {n_varied} features that vary"
        expected = f"{LEAST_GENES} genes and 1 feature, or more"
        raise UserError(problem(where, found, expected, "Give others."))
    own.obs["umi"] = np.asarray(own.X.sum(axis=1), dtype=np.float64).ravel()
    value = answers.to_numpy(dtype=str if is_text else np.float64)
    xy_um = np.asarray(own.obsm["spatial"], dtype=np.float64)[:, :2]
    return Asked(log_normalised(own, target_sum), features, Question(name, value), xy_um)


def _without_rare(answers: pd.Series, where: str) -> pd.Series:
    """Answers without those of classes of fewer than 10 units; numbers as they are."""
    if pd.api.types.is_numeric_dtype(answers):
        return answers
    sizes = answers.value_counts()
    rare = sizes.index[sizes < LEAST_OF_A_CLASS]
    if len(rare):
        named = ", ".join(rare[:NAMED]) + (" and others" if len(rare) > NAMED else "")
        LOG.warning("%s: %s left out, of fewer than %d units", where, named, LEAST_OF_A_CLASS)
    return answers[~answers.isin(rare)]


def _has_all(features: pd.DataFrame, where: str) -> np.ndarray:
    """Which units have a finite value of every feature, (n_units,) bool."""
    is_finite = np.isfinite(features.to_numpy(dtype=np.float64))
    has_all = is_finite.all(axis=1)
    if not has_all.all():
        worst = features.columns[is_finite.mean(axis=0).argmin()]
        LOG.warning(
            "%s: %d of %d units left out, which lack a value of a feature, mostly %s",
            where, (~has_all).sum(), len(features), worst,
        )  # fmt: skip
    return has_all


def _as_asked(given: pd.Series, where: str) -> pd.Series:
    """Answers as text or numbers; what is no finite number, or no known type, is missing."""
    if pd.api.types.is_bool_dtype(given) or isinstance(given.dtype, pd.CategoricalDtype):
        given = given.astype(object)
    if pd.api.types.is_numeric_dtype(given):
        numbers = given.astype(np.float64).replace([np.inf, -np.inf], np.nan)
        values = numbers.dropna().unique()
        if len(values) > MAX_CODES or (values % 1).any():
            return numbers
        LOG.warning("%s: whole numbers of %d values are taken for classes", where, len(values))
        return numbers.map(lambda v: f"{v:.0f}", na_action="ignore").astype(object)
    text = given.map(str, na_action="ignore").astype(object)
    return text.mask(text.str.lower().isin((*UNLABELLED, UNKNOWN)))
