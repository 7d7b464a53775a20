"""Where genes lie: read from a GTF or a table, and looked up for the genes of a section."""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.errors import UserError, problem

COLUMNS = ["gene", "gene_id", "chromosome", "start", "end"]
PLACE = COLUMNS[2:]
NAMES_IN_TABLES = {
    "gene": ("gene", "symbol", "gene_name"),
    "gene_id": ("gene_id",),
    "chromosome": ("chromosome", "chr", "seqname"),
    "start": ("start",),
    "end": ("end",),
}
PARTS_OF_GENES = ("transcript", "exon")
MIN_PLACED = 0.2  # of a section's genes; fewer, and the file is of another species or naming
VERSION = re.compile(r"\.\d+(?=$|_)")  # of ENSG00000141510.18, and of ENSG..._PAR_Y
ATTRIBUTE = re.compile(r'(?:^|[ ;])(gene_id|gene_name|gene) "([^"]*)"')
# Scaffolds: KI270728.1, GL000220v1, chr1_KI270706v1_random, chr6_GL000250v2_alt, chrUn_...
SCAFFOLD = re.compile(r"un|.*[._]|[a-z]{1,4}\d{5,}", re.IGNORECASE)
Row = tuple[str, str, str, int, int]


def read_positions(path: Path) -> pd.DataFrame:
    """Genes on chromosomes: gene (symbol), gene_id, chromosome, start and end in bp from 1.

    A GTF (.gtf, .gtf.gz), of which the rows of genes are taken, or the reach of the rows of
    transcripts and exons where it has none; or a table (.tsv, .csv, plain or .gz) with columns
    gene (or symbol, gene_name), chromosome (or chr, seqname), start, end, and perhaps gene_id. Ends
    are inclusive, chromosomes are named as chr1 and chrM, ids lose their version ("" where there is
    none), and a gene without a symbol takes its id. Genes on scaffolds are left out; a symbol may
    stand several times. Raises UserError for files that are neither or damaged.
    """
    path = Path(path)
    ending = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    try:
        if ending == "gtf":
            genes = pd.DataFrame(_rows_of_gtf(path), columns=COLUMNS)
        else:
            genes = _read_table(path)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, pd.errors.ParserError) as error:
        expected = "a whole GTF, or a table of genes' positions"
        remedy = "Download or write it again."
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", expected, remedy)
        ) from error
    if genes.empty:
        expected = "at least one gene with its position"
        raise UserError(problem(str(path), "no row of a gene", expected, "Is it the right file?"))
    bare = genes["chromosome"].str.replace(r"^chr(?:omosome)?", "", case=False, regex=True)
    is_scaffold = bare.str.match(SCAFFOLD)
    if is_scaffold.all():
        found = f"no gene on a chromosome, but on {', '.join(genes['chromosome'].unique()[:3])}"
        remedy = "Take the GTF of Ensembl or GENCODE, or rename the chromosomes."
        raise UserError(problem(str(path), found, "names such as 1 or chr1", remedy))
    genes["chromosome"] = "chr" + bare.replace({"MT": "M", "Mt": "M", "mt": "M"})
    genes["gene_id"] = without_version(genes["gene_id"])
    return genes[~is_scaffold].reset_index(drop=True)


def place_genes(var: pd.DataFrame, positions: pd.DataFrame, where: str) -> pd.DataFrame:
    """The chromosome, start and end (bp) of each gene of `var`; None and NaN where unknown.

    `positions` are those of `read_positions`. Genes are found by `var["gene_id"]` or by symbol, the
    index of `var`, whichever finds more; letters' case counts. What stands several times in
    `positions` is placed where it stands first if all are on one chromosome, else not at all.
    Raises UserError, naming `where`, if less than a fifth of the genes is found.
    """
    ids = var["gene_id"] if "gene_id" in var else pd.Series(var.index, index=var.index)
    keys = {"gene_id": without_version(ids), "gene": var.index.astype(str)}
    found = [
        _one_place_each(positions, column).reindex(np.asarray(names, dtype=object))
        for column, names in keys.items()
    ]
    # Of a draw, ids: a symbol may have been given to another gene since.
    best = max(found, key=lambda places: places["start"].notna().sum())
    share = best["start"].notna().mean() if len(best) else 0.0
    if share < MIN_PLACED:
        own, others = (", ".join(map(str, names[:3])) for names in (var.index, positions["gene"]))
        raise UserError(
            problem(
                where,
                f"positions of {share:.1%} of {len(var):,} genes such as {own}, among "
                f"{len(positions):,} positions of genes such as {others}",
                f"those of at least {MIN_PLACED:.0%}",
                "Is it the GTF of another species or another naming?",
            )
        )
    best.index = var.index
    best["chromosome"] = best["chromosome"].astype(object).where(best["start"].notna(), None)
    return best


def without_version(ids: pd.Series) -> pd.Series:
    """Ids as text without their version, such as ENSG00000141510 of ENSG00000141510.18."""
    return (
        ids.astype(object).where(ids.notna(), "").astype(str).str.replace(VERSION, "", regex=True)
    )


def _one_place_each(positions: pd.DataFrame, column: str) -> pd.DataFrame:
    """Chromosome, start and end (float) by the unique values of `column`."""
    named = positions[positions[column] != ""]
    is_clear = named.groupby(column)["chromosome"].transform("nunique") == 1
    clear = named[is_clear].drop_duplicates(column).set_index(column)[PLACE]
    return clear.astype({"start": np.float64, "end": np.float64})


def _opened(path: Path) -> Iterator[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        yield from file


def _rows_of_gtf(path: Path) -> list[Row]:
    """One row a gene, read line by line: a GTF of all transcripts takes 1.5 GB."""
    genes: list[Row] = []
    reach: dict[tuple[str, str], Row] = {}  # by id and chromosome, where genes have no row
    for number, line in enumerate(_opened(path), 1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.rstrip("\n").split("\t")
        if len(fields) < 9:
            found = f"{len(fields)} fields between tabs"
            raise UserError(
                problem(f"{path} line {number}", found, "the 9 of a GTF", "Is the file whole?")
            )
        is_gene = fields[2] == "gene"
        if is_gene:
            genes.append(_row_of_line(fields, f"{path} line {number}"))
        elif not genes and fields[2] in PARTS_OF_GENES:
            row = _row_of_line(fields, f"{path} line {number}")
            before = reach.get((row[1], row[2]), row)
            reach[row[1], row[2]] = (*before[:3], min(before[3], row[3]), max(before[4], row[4]))
    return genes or list(reach.values())


def _row_of_line(fields: list[str], where: str) -> Row:
    try:
        start, end = int(fields[3]), int(fields[4])
    except ValueError:
        start, end = 1, 0
    if not 0 <= start <= end:
        raise UserError(_no_range(where, fields[3], fields[4]))
    attributes = dict(ATTRIBUTE.findall(fields[8]))
    gene_id = attributes.get("gene_id", "")
    symbol = attributes.get("gene_name") or attributes.get("gene") or gene_id
    if not symbol:
        expected = 'attributes such as gene_id "ENSG00000141510"; gene_name "TP53"'
        found = f"no gene in {fields[8][:60]!r}"
        raise UserError(problem(where, found, expected, "GFF3 is not read: take the GTF."))
    return symbol, gene_id, fields[0], start, end


def _read_table(path: Path) -> pd.DataFrame:
    lines = _opened(path)
    n_comments = 0
    header = next(lines, "")
    while header.startswith("#"):
        n_comments += 1
        header = next(lines, "")
    lines.close()
    if not header.strip():
        raise UserError(
            problem(str(path), "no line with text", "a table of genes", "Is it the right file?")
        )
    separator = "\t" if "\t" in header else ","
    # As text, where nothing is missing: NA and nan may be names of genes. Empty lines count, too.
    how = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False}
    table = pd.read_csv(path, sep=separator, skiprows=n_comments, **how).fillna("")
    lower = {str(column).strip().lower(): column for column in table.columns}
    chosen = {
        name: next((lower[n] for n in names if n in lower), None)
        for name, names in NAMES_IN_TABLES.items()
    }
    missing = [n for n, column in chosen.items() if column is None and n != "gene_id"]
    if missing:
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(map(str, table.columns[:8]))}, and none of "
                + " and none of ".join("/".join(NAMES_IN_TABLES[n]) for n in missing),
                "gene, chromosome, start, end, and perhaps gene_id; or a file named .gtf or "
                ".gtf.gz",
                "Rename the columns, or take a GTF.",
            )
        )
    genes = pd.DataFrame(
        {n: table[c].str.strip() if c is not None else "" for n, c in chosen.items()},
        columns=COLUMNS,
    )
    genes["gene"] = genes["gene"].where(genes["gene"] != "", genes["gene_id"])
    genes = genes[(genes[["gene", *PLACE]] != "").all(axis=1)]
    return _with_numbers(genes, path, n_comments + 2)


def _with_numbers(genes: pd.DataFrame, path: Path, first_line: int) -> pd.DataFrame:
    """`start` and `end` as whole numbers; the index of `genes` counts lines from `first_line`."""
    start, end = (pd.to_numeric(genes[name], errors="coerce") for name in ("start", "end"))
    is_range = (start >= 0) & (start <= end) & (start % 1 == 0) & (end % 1 == 0)
    if not is_range.all():
        at = (~is_range).idxmax()
        raise UserError(_no_range(f"{path} line {at + first_line}", *genes.loc[at, PLACE[1:]]))
    return genes.assign(start=start.astype(np.int64), end=end.astype(np.int64))


def _no_range(where: str, start: str, end: str) -> str:
    expected = "whole numbers of bp, the end not before the start"
    return problem(where, f"start {start!r} and end {end!r}", expected, "Correct them.")


def natural_order(name: str) -> tuple:
    """A key by which chromosomes are sorted: chr2 before chr10, numbers before letters."""
    parts = (part for part in re.split(r"(\d+)", name) if part)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
