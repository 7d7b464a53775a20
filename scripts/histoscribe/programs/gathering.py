"""The gene sets that are scored: of all files, each by one name, with the genes that the data have.

What is left out stays in the table, with the reason.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.gene_matching import match_genes, species_of
from histoscribe.gene_sets import read_gene_sets

SCORED, SKIPPED = "scored", "skipped"
TABLE_COLUMNS = [
    "set", "file", "species", "organ", "n_genes", "n_present", "genes_present", "status", "reason",
]  # fmt: skip
SEPARATOR = ","


def gather_programs(paths: Iterable[Path], organs: list[str] | None) -> pd.DataFrame:
    """The sets of all files, rows as of read_gene_sets with the column `file`.

    A name that stands for several organs in a file, or in several files, gets these in brackets.
    Of sets that name an organ only those of `organs` are kept (a gene that leads a neuron's markers
    may be any tubule's), all where it is None. Raises UserError where nothing is left of a file.
    """
    frames = []
    for path in map(Path, paths):
        sets = read_gene_sets(path, keep_empty=True)
        if organs is not None:
            wanted = {"", *(organ.lower() for organ in organs)}
            known = sorted(set(sets["organ"]) - {""})
            sets = sets[sets["organ"].str.lower().isin(wanted)]
            if sets.empty:
                raise UserError(
                    problem(
                        f"config, programs/organs, for {path}",
                        ", ".join(organs) or "no organ",
                        "some of " + ", ".join(known[:40]),
                        "All sets of the file name one: name organs as it does, or null for all.",
                    )
                )
        organs_of = sets.groupby("set")["organ"].transform("nunique")
        label = sets["set"] + " (" + sets["organ"].replace("", "any organ") + ")"
        sets["set"] = sets["set"].where(organs_of == 1, label)
        frames.append(sets.assign(file=path.name))
    both = pd.concat(frames, ignore_index=True)
    files_of = both.groupby("set")["file"].transform("nunique")
    both["set"] = both["set"].where(files_of == 1, both["set"] + " [" + both["file"] + "]")
    return both


def programs_in_data(
    sets: pd.DataFrame, genes: Iterable[str], where: str, min_genes: int, ignore_case: bool = False
) -> pd.DataFrame:
    """A row a set, in the files' order: which of its genes the data have, and whether it is scored.

    `sets` of gather_programs, `genes` those of the data, which `where` names in errors. Sets of
    another species, without genes, or with fewer than `min_genes` in the data are skipped, and
    `reason` says so. Raises UserError for a file all of whose sets are of another species.
    """
    genes = list(genes)
    matched = pd.concat(
        match_genes(of_file, genes, f"{name} against {where}", ignore_case)
        for name, of_file in sets.groupby("file", sort=False)
    )
    ours = dict(tuple(matched.groupby("set", sort=False)))
    rows = []
    for name, rows_of_set in sets.groupby("set", sort=False):
        its = ours.get(name)
        stated = rows_of_set if its is None else its
        n_genes = stated["gene"][stated["gene"] != ""].nunique()
        present = [] if its is None else list(dict.fromkeys(its["measured"].dropna()))
        if its is None:
            reason = f"of {stated['species'].iloc[0]} genes; the data are {species_of(genes)}"
        elif n_genes == 0:
            reason = "no gene in the set"
        elif len(present) < min_genes:
            reason = f"{len(present)} of {n_genes} genes in the data, fewer than {min_genes}"
        else:
            reason = ""
        rows.append(
            (
                name,
                stated["file"].iloc[0],
                stated["species"].iloc[0],
                stated["organ"].iloc[0],
                n_genes,
                len(present),
                SEPARATOR.join(present),
                SKIPPED if reason else SCORED,
                reason,
            )
        )
    return pd.DataFrame(rows, columns=TABLE_COLUMNS)


def genes_of_scored(table: pd.DataFrame) -> dict[str, list[str]]:
    """The genes of each scored set, by its name; `table` of programs_in_data, or read back."""
    scored = table[table["status"] == SCORED]
    return {
        name: genes.split(SEPARATOR)
        for name, genes in zip(scored["set"], scored["genes_present"], strict=True)
    }
