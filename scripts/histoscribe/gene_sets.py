"""Gene sets and marker tables, read as they are downloaded, in one form.

Dialects are told apart by the header, not by the name of the file; gzip is read as it is.
"""

import gzip
import io
import logging
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from histoscribe.errors import UserError, problem

log = logging.getLogger(__name__)

COLUMNS = ["set", "gene", "species", "organ", "weight", "broad_class"]
HUMAN, MOUSE = "human", "mouse"
SPECIES_WORDS = {HUMAN: ("human", "hs", "sapiens"), MOUSE: ("mouse", "mm", "musculus")}
DIALECTS = {
    "GMT": "no header; set, description and genes between tabs (MSigDB, Enrichr)",
    "PanglaoDB": "species, official gene symbol, cell type, organ",
    "CellMarker 1.0": "speciesType, tissueType, cellName, geneSymbol",
    "CellMarker 2.0": "species, tissue_class, cell_name, Symbol or marker",
    "condensed CellMarker": "Tissue, CT, Gene",
    "a table of your own": "set and gene (one, or several between commas); "
    "where you like species, organ, weight, class",
}
OWN_NAMES = {
    "set": ("set", "gene_set", "term", "type", "cell_type", "program", "pathway", "name"),
    "gene": ("gene", "genes", "symbol", "gene_symbol", "marker", "markers"),
    "species": ("species", "organism"),
    "organ": ("organ", "tissue"),
    "weight": ("weight", "score"),
    "broad_class": ("broad_class", "class"),
}
UNSTATED = ("na", "nan", "none", "undefined")
XLSX_START = b"PK\x03\x04"
GZIP_START = b"\x1f\x8b"


def read_gene_sets(path: str | Path, keep_empty: bool = False) -> pd.DataFrame:
    """Gene sets of a file, a row a set and gene, in the file's order, each gene once a set.

    Columns: set, gene (as written), species ("human", "mouse", "human mouse", another's name, or
    "" where the file does not say), organ ("" likewise), weight (1 unless the file has weights;
    PanglaoDB: 1 for canonical markers, 0.5 for others; the largest of doubled rows), broad_class
    ("" unless the table has one). In a CellMarker file the same cell stands in many organs. Sets
    without genes are left out with a warning, or are a row with gene "" where `keep_empty`.
    Raises UserError for a file that is no gene-set file or holds no gene.
    """
    path = Path(path)
    raw = _bytes(path)
    if raw.startswith(XLSX_START):
        rows = _from_table(_workbook(raw, path), path)
    else:
        text = _text(raw)
        rows = _from_gmt(text) if _is_gmt(text, path) else _from_table(_table(text), path)
    return _tidied(rows, path, keep_empty)


def named_species(written: object) -> str:
    """A species as files write it ("Hs", "Homo sapiens", "Mm Hs"), in our words; "" for none."""
    text = "" if pd.isna(written) else str(written).strip().lower()
    text = "" if text in UNSTATED else text
    words = set(re.split(r"[^a-z]+", text))
    known = [name for name, marks in SPECIES_WORDS.items() if words & set(marks)]
    return " ".join(known) or (text if re.search("[a-z]", text) else "")


def split_genes(cell: object) -> list[str]:
    """The genes of a cell such as "CD3D, [CD8A, CD8B], NA", whose brackets hold complexes."""
    text = "" if pd.isna(cell) else str(cell)
    genes = (part.strip() for part in re.split(r"[,;|\[\]]", text))
    return [gene for gene in genes if gene and gene.upper() not in ("NA", "NAN")]


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw.startswith(GZIP_START) else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            problem(str(path), f"no readable file ({error})", "gene sets", "Correct the path.")
        ) from error


def _workbook(raw: bytes, path: Path) -> pd.DataFrame:
    """The first sheet of an Excel file; CellMarker 2.0 is handed out so."""
    try:
        return pd.read_excel(io.BytesIO(raw), dtype=str, engine="openpyxl")
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UserError(
            problem(str(path), f"no Excel table ({error})", "gene sets", "Save it as .tsv.")
        ) from error


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")  # what Excel saves in the West


def _is_gmt(text: str, path: Path) -> bool:
    """Enrichr hands its libraries out as .txt: what tells them is an empty second field."""
    if any(suffix.lower() == ".gmt" for suffix in path.suffixes[-2:]):
        return True
    fields = _first_line(text).split("\t")
    is_described = len(fields) > 2 and re.match(r"(https?://|na$|$)", fields[1].strip())
    return bool(fields[0].strip()) and bool(is_described)


def _first_line(text: str) -> str:
    return next((s for s in text.splitlines() if s.strip() and not s.startswith("#")), "")


def _from_gmt(text: str) -> pd.DataFrame:
    rows = []
    for line in text.splitlines():
        name, *fields = line.rstrip("\r\n").split("\t")
        if not name.strip() or name.startswith("#"):
            continue
        # Some Enrichr libraries write "GENE,1.0".
        genes = [field.split(",")[0].strip() for field in fields[1:]]
        rows += [(name.strip(), gene) for gene in genes if gene] or [(name.strip(), "")]
    return pd.DataFrame(rows, columns=["set", "gene"])


def _table(text: str) -> pd.DataFrame:
    lines = [s for s in text.splitlines() if s.strip() and not s.startswith("#")]
    header = lines[0] if lines else ""
    if "\t" in header:  # quotes are Excel's, or part of a description
        cells = [[cell.strip().strip('"') for cell in line.split("\t")] for line in lines]
        width = len(cells[0])
        padded = [(row + [""] * width)[:width] for row in cells[1:]]
        return pd.DataFrame(padded, columns=cells[0], dtype=str)
    separator = ";" if header.count(";") > header.count(",") else ","
    try:
        return pd.read_csv(io.StringIO("\n".join(lines)), sep=separator, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        return pd.DataFrame(columns=[header[:80]])


def _from_table(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    table = table.fillna("")
    header = {str(name).strip().lower(): name for name in table.columns}
    for columns, read in _READERS:
        if all(any(name in header for name in either) for either in columns):
            picked = {
                either[0]: table[next(header[name] for name in either if name in header)]
                for either in columns
            }
            rest = {name: table[column] for name, column in header.items()}
            return read(pd.DataFrame({**rest, **picked}))
    own = {
        ours: table[next(header[name] for name in names if name in header)]
        for ours, names in OWN_NAMES.items()
        if any(name in header for name in names)
    }
    if {"set", "gene"} <= set(own):
        return pd.DataFrame(own)
    found = ", ".join(map(str, table.columns[:8])) or "nothing"
    raise UserError(
        problem(
            str(path),
            f"a header of {found[:200]}",
            "gene sets; " + "; ".join(f"{name}: {what}" for name, what in DIALECTS.items()),
            "Rename the columns, or give another file.",
        )
    )


def _from_panglaodb(table: pd.DataFrame) -> pd.DataFrame:
    canonical = table.get("canonical marker", pd.Series("1", index=table.index))
    return pd.DataFrame(
        {
            "set": table["cell type"],
            "gene": table["official gene symbol"],
            "species": table["species"],
            "organ": table["organ"],
            "weight": pd.to_numeric(canonical, errors="coerce").eq(1).map({True: 1.0, False: 0.5}),
        }
    )


def _from_cellmarker(table: pd.DataFrame) -> pd.DataFrame:
    renamed = {"cell_name": "set", "symbol": "gene", "tissue_class": "organ"}
    return table.rename(columns=renamed)[["set", "gene", "species", "organ"]]


def _from_condensed(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns={"ct": "set", "tissue": "organ"})[["set", "gene", "organ"]]


# What a header must hold, in lower case, each by any of its names; the first is what readers use.
_READERS: tuple[tuple[tuple[tuple[str, ...], ...], Callable[[pd.DataFrame], pd.DataFrame]], ...] = (
    ((("official gene symbol",), ("cell type",), ("species",), ("organ",)), _from_panglaodb),
    (
        (
            ("cell_name", "cellname"),
            ("symbol", "genesymbol", "marker", "cellmarker"),
            ("species", "speciestype"),
            ("tissue_class", "tissuetype", "tissue_type"),
        ),
        _from_cellmarker,
    ),
    ((("tissue",), ("ct",), ("gene",)), _from_condensed),
)


def _tidied(rows: pd.DataFrame, path: Path, keep_empty: bool) -> pd.DataFrame:
    """One gene a row, doubles gone, every column there. Raises UserError where no gene is left."""
    for name in ("species", "organ", "broad_class"):
        values = rows[name] if name in rows else pd.Series("", index=rows.index)
        values = values.fillna("").astype(str).str.strip()
        rows[name] = values.mask(values.str.lower().isin(UNSTATED), "")
    species = {written: named_species(written) for written in rows["species"].unique()}
    rows["species"] = rows["species"].map(species)
    weight = rows["weight"] if "weight" in rows else pd.Series(1.0, index=rows.index)
    rows["weight"] = pd.to_numeric(weight, errors="coerce").fillna(1.0)
    rows["set"] = rows["set"].astype(str).str.strip()
    rows = rows[rows["set"] != ""].assign(gene=lambda t: t["gene"].map(split_genes))
    rows = rows.explode("gene")[COLUMNS].fillna({"gene": ""})
    filled = rows[rows["gene"] != ""]
    if filled.empty:
        raise UserError(
            problem(str(path), "no gene in any set", "at least one set with genes", "Fill it in.")
        )
    filled = filled.astype({"weight": float}).assign(
        weight=lambda t: t.groupby(["set", "gene", "species", "organ"])["weight"].transform("max")
    )
    filled = filled.drop_duplicates(["set", "gene", "species", "organ"])
    empty = rows[~rows["set"].isin(filled["set"])].drop_duplicates("set")
    if len(empty):
        log.warning("%s: %d sets have no gene: %s", path, len(empty), ", ".join(empty["set"][:5]))
    both = pd.concat([filled, empty]) if keep_empty else filled
    return both.reset_index(drop=True)
