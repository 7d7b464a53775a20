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
from histoscribe.morphology_map.information import Part, normal_scores
from histoscribe.morphology_map.quadrants import LEAST_SPREAD, MapSettings, beside_chance
from histoscribe.morphology_map.surrogates import moved_units

N_MOVES = 99  # of features over the section: the least p is 1/100
FEATURE_COLUMNS = [
    "feature", "difference", "told", "told_by_chance", "told_p", "told_q", "told_counts",
]  # fmt: skip
MEASURE = "balanced_accuracy"


def features_told(
    features: pd.DataFrame,
    carrier: np.ndarray,
    xy_um: np.ndarray,
    parts: list[Part],
    settings: MapSettings,
    seed: int,
) -> pd.DataFrame:
    """A row a feature: FEATURE_COLUMNS, the most telling first.

    `features` (n_units, n_features), `within_kinds`, and `carrier` (n_units,) bool of comparable
    units. `difference` is of carriers' mean to others', in standard deviations; `told` the
    information in nats that the genotype gives of a feature in blocks unseen, beside moved maps.
    """
    values = features.to_numpy(dtype=np.float64)
    moves = list(moved_units(xy_um, settings.n_moves, seed))
    design = np.column_stack([carrier, ~carrier]).astype(np.float64)
    told = beside_chance("told", design, normal_scores(values), parts, moves, settings)
    told.insert(0, "difference", values[carrier].mean(axis=0) - values[~carrier].mean(axis=0))
    told.insert(0, "feature", features.columns)
    return told[FEATURE_COLUMNS].sort_values("told", ascending=False, ignore_index=True)


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
    xy_um: np.ndarray,
    parts: list[Part],
    block_um: float,
    seed: int,
) -> tuple[dict[str, float], np.ndarray]:
    """How well the image alone tells carriers in blocks unseen, and what it says of each unit.

    Keys image_accuracy (balanced), image_low and image_high (95 %, by resampled blocks),
    image_by_chance and image_p (features moved over the section). Answers (n_units,) are 1, 0, or
    -1 for units that no part tests.
    """
    truth, classes = carrier.astype(np.int64), np.array([False, True])
    values = features.to_numpy(dtype=np.float64)
    moves = list(moved_units(xy_um, N_MOVES, seed))
    found = np.full(len(truth), -1)
    moved = np.full((len(moves), len(truth)), -1)
    for part in parts:
        image = image_components(values, part.learnt)
        found[part.tested] = answered(image, truth, classes, part)
        for number, move in enumerate(moves):
            moved[number, part.tested] = answered(image[move], truth, classes, part)
    seen = found >= 0
    block, draws = resample_blocks(xy_um[seen], block_um, N_REPLICATES, seed)
    n_blocks = draws.shape[1]
    whole = np.ones((1, n_blocks))

    def scorer(answers: np.ndarray):
        return score_of_classes(MEASURE, truth[seen], answers[seen], 2, block, n_blocks)

    score = scorer(found)
    value = float(score(whole)[0])
    chance = np.array([scorer(answers)(whole)[0] for answers in moved])
    low, high = interval(score(draws), value) if n_blocks >= MIN_BLOCKS else (np.nan, np.nan)
    return {
        "image_accuracy": value,
        "image_low": float(low),
        "image_high": float(high),
        "image_by_chance": float(chance.mean()),
        "image_p": float((1 + (chance >= value).sum()) / (1 + len(chance))),
    }, found
