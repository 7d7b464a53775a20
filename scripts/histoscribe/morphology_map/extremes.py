"""What is shown of features: both kinds of information above chance, and those of most of it."""

import pandas as pd

from histoscribe.morphology_map.kinds import INTEGRATION, OVERESTIMATION, TRANSLATION

FEATURE = "feature "  # before names of features in the table of units
SHOWN = (TRANSLATION, INTEGRATION, OVERESTIMATION)


def shown_features(table: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows of features: both kinds of information above chance, at least 0."""
    shown = table[["feature", "quadrant"]].copy()
    for axis in ("overlap", "relevance"):
        shown[axis] = (table[axis] - table[f"{axis}_by_chance"].clip(lower=0)).clip(lower=0)
        shown[f"{axis}_q"] = table[f"{axis}_q"]
    return shown


def most_extreme(shown: pd.DataFrame) -> dict[str, str]:
    """The feature of most information in each quadrant but noise, by quadrant.

    Of translation that of most of both, of the others of what makes them so.
    """
    extreme = {}
    for name in SHOWN:
        own = shown[shown["quadrant"] == name]
        if len(own):
            weight = {
                TRANSLATION: own[["overlap", "relevance"]].min(axis=1),
                INTEGRATION: own["relevance"] - own["overlap"],
                OVERESTIMATION: own["overlap"] - own["relevance"],
            }[name]
            extreme[name] = own.loc[weight.idxmax(), "feature"]
    return extreme
