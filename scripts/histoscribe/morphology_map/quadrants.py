"""Overlap with the genes and relevance to the question of each image feature, and its quadrant."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from histoscribe.morphology_map.information import (
    Part,
    Target,
    normal_scores,
    predicted_values,
    predictive_information,
)
from histoscribe.morphology_map.kinds import quadrant
from histoscribe.morphology_map.surrogates import moved_units

LEAST_SPREAD = 1e-9
CHECKED_UNITS = 3000  # of the estimate by nearest neighbours, which is slow
NEAREST = 5


@dataclass(frozen=True)
class Question:
    """What is asked of units: `value` (n_units,), text or numbers, none missing; its `name`."""

    name: str
    value: np.ndarray

    @property
    def is_categorical(self) -> bool:
        return self.value.dtype.kind not in "fiu"

    def design(self) -> np.ndarray:
        """Columns that information is told from, (n_units, k): classes, or tenths and the rank."""
        if self.is_categorical:
            return pd.get_dummies(pd.Series(self.value)).to_numpy(dtype=np.float64)
        score = normal_scores(self.value[:, None].astype(np.float64))
        tenth = pd.qcut(self.value, 10, labels=False, duplicates="drop")
        return np.column_stack([score, pd.get_dummies(pd.Series(tenth)).to_numpy(np.float64)])


@dataclass(frozen=True)
class MapSettings:
    """`least_nats` and `q_below`: what information must reach to count, beside its spatial null.

    `n_moves` maps of chance; `block_um`, `buffer_um` and `n_folds` of what is predicted unseen.
    """

    n_components: int = 20
    n_moves: int = 200
    q_below: float = 0.05
    least_nats: float = 0.005
    block_um: float = 200.0
    buffer_um: float = 64.0
    n_folds: int = 5


def relate(
    features: pd.DataFrame,
    expression: np.ndarray,
    question: Question,
    xy_um: np.ndarray,
    parts: list[Part],
    settings: MapSettings,
    seed: int,
    with_checks: bool = True,
) -> pd.DataFrame:
    """A row a feature: overlap and relevance in nats, p and q of each, and the quadrant.

    `features` (n_units, n_features), `expression` components (n_units, k), `xy_um` (n_units, 2).
    Both are the information that genes (as many components as say most of it), or the question,
    give of the feature's normal scores in blocks unseen; p is the share of maps moved over the
    section (moved_units), all features' taken together once each is scaled by its own chance, that
    tell as much. `_check` columns are the mutual information by nearest neighbours (Kraskov et al.,
    Phys Rev E 2004; Ross, PLoS ONE 2014), of a feature and what the genes predict of it, and of a
    feature and the question; without `with_checks` there are none. `trend` is the share of variance
    that a plane explains. Features that are constant are left out.
    """
    values = features.to_numpy(dtype=np.float64)
    varies = values.std(axis=0) > LEAST_SPREAD
    names, values = features.columns[varies], normal_scores(values[:, varies])
    moves = list(moved_units(xy_um, settings.n_moves, seed))
    beside = (Target.of(values, parts), settings)
    widths = nested_widths(expression.shape[1])
    design = question.design()
    table = pd.DataFrame({"feature": names, "trend": plane_share(values, xy_um)})
    table = table.join(
        beside_chance("overlap", expression, moved(expression, moves), *beside, widths)
    )
    table = table.join(beside_chance("relevance", design, moved(design, moves), *beside))
    if with_checks:
        checks = nearest_neighbour_information(expression, values, question, parts, seed)
        table["overlap_check"], table["relevance_check"] = checks
    table["quadrant"] = quadrant(table["overlap_counts"], table["relevance_counts"])
    return table


def beside_chance(
    axis: str,
    design: np.ndarray,
    by_chance: Iterable[np.ndarray],
    target: Target,
    settings: MapSettings,
    widths: tuple[int, ...] = (),
) -> pd.DataFrame:
    """What `design` (n_units, k) tells of the columns of the `target`, a row a column.

    Columns are called after `axis`: information in nats, its mean, p and q of designs
    `by_chance`, and whether it counts.
    """
    found = predictive_information(design, target, widths)
    chance = np.array([predictive_information(d, target, widths) for d in by_chance])
    usual, p = chance.mean(axis=0), p_values(found, chance)
    q = false_discovery_control(p)
    counts = (q < settings.q_below) & (found - usual.clip(min=0) >= settings.least_nats)
    columns = {"": found, "_by_chance": usual, "_p": p, "_q": q, "_counts": counts}
    return pd.DataFrame({f"{axis}{name}": column for name, column in columns.items()})


def moved(design: np.ndarray, moves: list[np.ndarray]) -> Iterator[np.ndarray]:
    """A design (n_units, k) as it comes to lie in each of the `moves` (moved_units)."""
    return (design[move] for move in moves)


def plane_share(values: np.ndarray, xy_um: np.ndarray) -> np.ndarray:
    """Share of the variance of columns (n_units, p) that a plane in x and y explains, (p,)."""
    plane = np.column_stack([np.ones(len(xy_um)), (xy_um - xy_um.mean(axis=0)) / np.ptp(xy_um)])
    _, left, *_ = np.linalg.lstsq(plane, values, rcond=None)
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return 1 - left / total if len(left) else np.zeros(values.shape[1])


def nested_widths(n_components: int) -> tuple[int, ...]:
    """How many components are tried: all, a half, a quarter and an eighth of them."""
    return tuple(dict.fromkeys(max(n_components // part, 1) for part in (1, 2, 4, 8)))


def p_values(found: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Share of `chance` (n_moves, p) that reaches `found` (p,), all columns' together, each scaled.

    Columns are centred and scaled by their own chance, so that the tail of all serves each.
    """
    centre, spread = chance.mean(axis=0), np.maximum(chance.std(axis=0), LEAST_SPREAD)
    pooled = np.sort(((chance - centre) / spread).ravel())
    at_least = len(pooled) - np.searchsorted(pooled, (found - centre) / spread)
    return (1 + at_least) / (1 + len(pooled))


def nearest_neighbour_information(
    expression: np.ndarray,
    values: np.ndarray,
    question: Question,
    parts: list[Part],
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Overlap and relevance (p,) by nearest neighbours, in nats; of at most 3,000 units."""
    predicted = predicted_values(expression, values, parts)
    seen = np.flatnonzero(np.isfinite(predicted).all(axis=1))
    some = np.random.default_rng(seed).permutation(seen)[:CHECKED_UNITS]
    shared = [
        mutual_info_regression(
            predicted[some, i][:, None], values[some, i], n_neighbors=NEAREST, random_state=seed
        )[0]
        for i in range(values.shape[1])
    ]
    estimate = mutual_info_classif if question.is_categorical else mutual_info_regression
    asked = question.value[some]
    relevance = estimate(values[some], asked, n_neighbors=NEAREST, random_state=seed)
    return np.array(shared), relevance
