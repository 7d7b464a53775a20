"""Genes of gene sets found among the genes of a data set, and other species told apart by it.

Symbols of human genes are written in capitals, those of mouse genes with one capital.
"""

import logging
import re
from collections.abc import Iterable

import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.gene_sets import HUMAN, MOUSE

log = logging.getLogger(__name__)

DECIDED_FROM = 0.7  # share of symbols in one species' case
OTHER_CASE_FROM = 3  # genes found in another case alone, from which a file looks foreign
AS_WRITTEN_BELOW = 0.1  # of these, at most so many as written
ENSEMBL = re.compile(r"ENS[A-Z]*[GT]\d{6,}")


def species_of(genes: Iterable[str]) -> str:
    """The species that gene symbols are written for, "human" or "mouse"; "" where unclear."""
    genes = [gene for gene in map(str, genes) if not ENSEMBL.match(gene)]
    worded = [gene for gene in genes if len(re.findall("[A-Za-z]", gene)) > 1]
    if not worded:
        return ""
    capital = sum(_is_capital(gene) for gene in worded) / len(worded)
    if capital >= DECIDED_FROM:
        return HUMAN
    return MOUSE if 1 - capital >= DECIDED_FROM else ""


def match_genes(
    sets: pd.DataFrame, measured: Iterable[str], where: str, ignore_case: bool = False
) -> pd.DataFrame:
    """`sets` (of read_gene_sets) with the column `measured`: the gene as the data spell it.

    NaN where the data lack the gene. The data's species is read off their symbols. Rows stated to
    be of other species alone are left out. Rows stated to be of the data's species match in any
    case (PanglaoDB writes mouse genes in capitals, too); others match as written, or in any case
    where `ignore_case`. `where` names the file and the data in errors. Raises UserError where all
    sets are of another species, by statement or by their case, or of Ensembl ids.
    """
    measured = list(dict.fromkeys(map(str, measured)))
    species = species_of(measured)
    stated = sets["species"].str.split()
    is_other = stated.map(bool) & ~stated.map(lambda named: species in named)
    if species and is_other.all():
        found = ", ".join(sorted(set(sets["species"])))
        raise UserError(
            problem(
                where,
                f"sets of {found} genes alone against {species} data",
                f"sets of {species} genes",
                f"Give the file for {species} genes.",
            )
        )
    if species:
        sets, is_stated = sets[~is_other], stated.map(bool)[~is_other]
    else:
        is_stated = pd.Series(False, index=sets.index)
    genes = sets["gene"].astype(str)
    as_written = genes.where(genes.isin(measured))
    any_case = genes.str.upper().map(_by_capitals(measured)).astype(object)
    found = as_written.mask((is_stated | ignore_case) & as_written.isna(), any_case)
    _check_case(genes, found, any_case, measured, where)
    return sets.assign(measured=found)


def _is_capital(gene: str) -> bool:
    return re.sub(r"(?<=\d)orf(?=\d)", "", gene).isupper()  # C1orf43 is a human gene


def _by_capitals(measured: list[str]) -> dict[str, str]:
    """Genes by their name in capitals; of several the first."""
    found: dict[str, str] = {}
    for gene in measured:
        found.setdefault(gene.upper(), gene)
    return found


def _check_case(
    genes: pd.Series, found: pd.Series, any_case: pd.Series, measured: list[str], where: str
) -> None:
    n_found, n_any_case = found.dropna().nunique(), any_case.dropna().nunique()
    if n_any_case >= OTHER_CASE_FROM and n_found < AS_WRITTEN_BELOW * n_any_case:
        theirs = species_of(genes) or "another species'"
        ours = species_of(measured) or "other"
        raise UserError(
            problem(
                where,
                f"what looks like {theirs} symbols against {ours} data ({n_found} genes match as "
                f"written, {n_any_case} in another case, such as {genes[any_case.notna()].iloc[0]}"
                ")",
                "symbols as the data write them",
                f"Give the file for {ours} genes (MSigDB and CellMarker have both), or set "
                "ignore_case to take genes of like name for the same.",
            )
        )
    if not measured or not len(genes) or n_any_case:
        return
    data_ids, set_ids = (
        bool(pd.Series(names).str.match(ENSEMBL).mean() > 0.5) for names in (measured, genes)
    )
    if data_ids != set_ids:
        kinds = {False: "gene symbols", True: "Ensembl ids"}
        raise UserError(
            problem(
                where,
                f"{kinds[set_ids]} in the sets and {kinds[data_ids]} in the data",
                "the same kind of names in both",
                "Give a file with the names of the data.",
            )
        )
