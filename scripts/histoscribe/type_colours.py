"""Colours of cell types, one list for the viewer, figures and exports."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

# Names that say that there is no answer, and their greys.
GREYS = {"ambiguous": "#7F7F7F", "unknown": "#BDBDBD"}


def read_type_colours(path: Path) -> list[str]:
    """The list of resources/type_colours.tsv: the first seven are the easiest to tell apart."""
    return pd.read_csv(path, sep="\t")["colour"].tolist()


def type_colours(names: Iterable[str], palette: list[str]) -> dict[str, str]:
    """A colour for each name, whatever their order; "ambiguous" and "unknown" are grey.

    Colours are dealt out by sorted name, so that all who give the same names get the same
    colours: give those of the whole run. After the last colour the first comes again.
    """
    sure = sorted(set(map(str, names)) - set(GREYS))
    return GREYS | {name: palette[i % len(palette)] for i, name in enumerate(sure)}
