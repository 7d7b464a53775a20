"""Colours of cell types, one list for the viewer, figures and exports."""

from collections.abc import Iterable
from pathlib import Path

import h5py
import pandas as pd
from anndata.io import read_elem

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


def colours_of(types: Iterable[str], classes: Iterable[str], palette: list[str]) -> dict[str, str]:
    """Colours of a run's cell types and of its broad classes, of which some may bear one name.

    A class that is named as a type has that type's colour; the others get colours that none of
    these has.
    """
    by_type = type_colours(types, palette)
    own = set(map(str, classes)) - set(by_type)
    shared = {by_type[name] for name in set(map(str, classes)) & set(by_type)}
    free = [colour for colour in palette if colour not in shared] or palette
    return type_colours(own, free) | by_type


def run_colours(annotated: Iterable[Path], palette: list[str]) -> dict[str, str]:
    """The same from all files of annotated units of a run; reads no more than the names."""
    names: dict[str, set[str]] = {"type": set(), "broad_class": set()}
    for path in annotated:
        with h5py.File(path) as file:
            for column, found in names.items():
                found.update(
                    map(str, pd.unique(pd.Series(read_elem(file["obs"][column])).dropna()))
                )
    return colours_of(names["type"], names["broad_class"], palette)
