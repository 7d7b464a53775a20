"""What a genotype looks like: features of the image that tell it, and how well these alone do."""

import numpy as np
import pandas as pd

from histoscribe.block_bootstrap import MIN_BLOCKS, interval, resample_blocks
from histoscribe.morphology_map.gains import (
    N_REPLICATES,
    answered,
    image_components,
    score_of_classes,
)
from histoscribe.morphology_map.information import Part, Target, normal_scores
from histoscribe.morphology_map.quadrants import LEAST_SPREAD, MapSettings, beside_chance

N_ANSWERED = 99  # genotypes of chance that the image is asked for: the least p is 1/100
NO_ANSWER = -1
CLASSES = np.array([False, True])
MEASURE = "balanced_accuracy"
FEATURE_COLUMNS = [
    "feature", "difference", "told", "told_by_chance", "told_p", "told_q", "told_counts",
]  # fmt: skip


def features_told(
    features: pd.DataFrame,
    carrier: np.ndarray,
    others: list[np.ndarray],
    parts: list[Part],
    settings: MapSettings,
) -> pd.DataFrame:
    """A row a feature: FEATURE_COLUMNS, the most telling first.

    `features` (n_units, n_features), `within_kinds`; `carrier` (n_units,) bool of comparable units,
    `others` genotypes of chance. `difference` is of carriers' mean to others', in standard
    deviations; `told` the information in nats that the genotype gives of a feature in blocks
    unseen, beside what genotypes of chance give.
    """
    values = features.to_numpy(dtype=np.float64)
    by_chance = (_design(other) for other in others)
    beside = Target.of(normal_scores(values), parts), settings
    told = beside_chance("told", _design(carrier), by_chance, *beside)
    told.insert(0, "difference", values[carrier].mean(axis=0) - values[~carrier].mean(axis=0))
    told.insert(0, "feature", features.columns)
    return told[FEATURE_COLUMNS].sort_values("told", ascending=False, ignore_index=True)


def _design(carrier: np.ndarray) -> np.ndarray:
    return np.column_stack([carrier, ~carrier]).astype(np.float64)


def within_kinds(features: pd.DataFrame, kind: np.ndarray) -> pd.DataFrame:
    """Features (n_units, n_features) less the mean of each `kind`, in standard deviations.

    So that which kinds carry a genotype is not what tells it. Constant features are left out.
    """
    centred = features - features.groupby(kind).transform("mean")
    spread = centred.std()
    return (centred / spread).loc[:, spread > LEAST_SPREAD]


def told_by_image(
    features: pd.DataFrame,
    carrier: np.ndarray,
    others: list[np.ndarray],
    xy_um: np.ndarray,
    parts: list[Part],
    block_um: float,
    seed: int,
) -> tuple[dict[str, float], np.ndarray]:
    """How well the image alone tells carriers in blocks unseen, and what it says of each unit.

    Keys image_accuracy (balanced), image_low and image_high (95 %, by resampled blocks), and beside
    up to 99 genotypes of chance, `others`, image_by_chance and image_p. Answers (n_units,) are 1,
    0, or -1 for units that no part tests.
    """
    values = features.to_numpy(dtype=np.float64)
    looks = [image_components(values, part.learnt) for part in parts]
    block, draws = resample_blocks(xy_um, block_um, N_REPLICATES, seed)
    n_blocks = draws.shape[1]
    whole = np.ones((1, n_blocks))

    def asked(genotype: np.ndarray):
        truth = genotype.astype(np.int64)
        found = np.full(len(truth), NO_ANSWER)
        for look, part in zip(looks, parts, strict=True):
            found[part.tested] = answered(look, truth, CLASSES, part)
        seen = found != NO_ANSWER
        score = score_of_classes(MEASURE, truth[seen], found[seen], 2, block[seen], n_blocks)
        return found, score

    found, score = asked(carrier)
    value = float(score(whole)[0])
    chance = np.array([asked(other)[1](whole)[0] for other in others[:N_ANSWERED]])
    low, high = interval(score(draws), value) if n_blocks >= MIN_BLOCKS else (np.nan, np.nan)
    return {
        "image_accuracy": value,
        "image_low": float(low),
        "image_high": float(high),
        "image_by_chance": float(chance.mean()),
        "image_p": float((1 + (chance >= value).sum()) / (1 + len(chance))),
    }, found
