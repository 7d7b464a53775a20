"""Cell types as the page colours them: one colour a name, the same in every section of a run."""

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from histoscribe.evaluation.stored import unreadable
from histoscribe.type_colours import GREYS, colours_of

NONE = 255  # code of a unit without a name
LEVELS = {"type": "Cell type", "broad_class": "Broad class"}


def read_annotation(path: Path) -> pd.DataFrame:
    """The names of annotated units, by unit: the columns type and broad_class as text, and
    is_ambiguous.

    Raises UserError where the file is damaged.
    """
    try:
        with h5py.File(path) as file:
            obs = ad.io.read_elem(file["obs"])
    except (OSError, KeyError, ValueError) as error:
        raise unreadable(path, error) from error
    names = obs[[level for level in LEVELS if level in obs]].astype("string")
    return names.assign(is_ambiguous=obs["is_ambiguous"].astype(bool))


def colours_by_level(annotations: list[pd.DataFrame], palette: list[str]) -> dict[str, dict]:
    """A colour for each name of each level; `annotations` are all of the run's."""
    names = {
        level: {name for table in annotations if level in table for name in table[level].dropna()}
        for level in LEVELS
    }
    colours = colours_of(names["type"], names["broad_class"], palette)
    return {level: {n: colours[n] for n in (*found, *GREYS)} for level, found in names.items()}


def coded(names: pd.Series, colours: dict[str, str], doubtful: set[str]) -> tuple[dict, np.ndarray]:
    """Names of units as codes (n_units,) uint8, with the names' colours and numbers of units.

    Names come in the order of how many units bear them, those that say nothing last; `NONE` is a
    unit without one. Beyond 255 names, the last ones share one code. Names in `doubtful`, of which
    a cluster had a close runner-up, are marked.
    """
    counts = names.value_counts()
    listed = sorted(counts.index, key=lambda name: (name in GREYS, -counts[name], name))
    shown, rest = listed[: NONE - 1], listed[NONE - 1 :]
    code_of = {name: code for code, name in enumerate(shown)} | dict.fromkeys(rest, NONE - 1)
    codes = names.map(code_of).astype("Float64").fillna(NONE).to_numpy(np.uint8)
    categories = [
        {
            "name": str(name),
            "colour": colours[name],
            "n_units": int(counts[name]),
            "isDoubtful": name in doubtful,
        }
        for name in shown
    ]
    if rest:
        n_units = int(counts[rest].sum())
        categories.append({"name": "all others", "colour": "#7F7F7F", "n_units": n_units})
    return {"categories": categories, "n_without": int(names.isna().sum())}, codes
