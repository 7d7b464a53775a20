"""The marker genes that name clusters: tables of several dialects, in one, for one data set."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.gene_matching import match_genes
from histoscribe.gene_sets import read_gene_sets

ANY_ORGAN = ("", "any")


def read_markers(
    paths: list[Path], organs: list[str], broad_classes: dict[str, str], measured: Iterable[str]
) -> pd.DataFrame:
    """Markers of all tables, matched to the genes `measured`: set, measured, weight, broad_class.

    `organs` keeps the types of these organs, and those of any; empty keeps all. `broad_classes`
    (type -> class) goes before the tables' own; a type without either is its own class. Types are
    one across tables where their names differ only in case or by a final s. Raises UserError for
    tables of another species, organs that no table has, and tables without a gene of the data.
    """
    measured = list(measured)
    tables = [
        match_genes(read_gene_sets(path), measured, f"{path}, for the genes of the data")
        for path in paths
    ]
    table = pd.concat(tables, ignore_index=True)
    # PanglaoDB's are in the plural. Twice the same type would share all markers, and be ambiguous.
    table["set"] = table["set"].groupby(table["set"].str.lower().str.rstrip("s")).transform("first")
    if organs:
        table = _of_organs(table, organs, paths)
    if table["measured"].isna().all():
        raise UserError(
            problem(
                ", ".join(map(str, paths)),
                f"none of {table['gene'].nunique()} marker genes in the data, which begin with "
                f"{', '.join(measured[:3])}",
                "markers with the names of the data",
                "Mind symbols against ids; or give other annotation.markers.",
            )
        )
    own = {name.lower(): merged for name, merged in broad_classes.items()}
    told = table["set"].str.lower().map(own)
    written = table["broad_class"].where(table["broad_class"] != "")
    written = written.groupby(table["set"]).transform("first")
    table["broad_class"] = told.fillna(written).fillna(table["set"])
    return table[["set", "measured", "weight", "broad_class"]]


def _of_organs(table: pd.DataFrame, organs: list[str], paths: list[Path]) -> pd.DataFrame:
    wanted = {organ.lower() for organ in organs}
    named = table["organ"].str.lower()
    # "skin breast" is two organs, "adipose tissue" one: as a whole, or word by word.
    words = named.str.split().map(set)
    hit = named.isin(wanted) | words.map(lambda w: bool(w & wanted))
    met = set(named).union(*words)
    absent = [organ for organ in organs if organ.lower() not in met]
    if absent:
        known = sorted(set(table["organ"]) - set(ANY_ORGAN))
        raise UserError(
            problem(
                ", ".join(map(str, paths)),
                f"no cell type of {', '.join(absent)}",
                f"organs that the tables name ({', '.join(known[:30])})",
                "Correct annotation.organs.",
            )
        )
    return table[hit | named.isin(ANY_ORGAN)]
