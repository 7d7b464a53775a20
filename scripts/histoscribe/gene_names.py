"""Names of genes that a run knows before any job, to check those that a user asks for.

Light: the Snakefile imports it, and files are opened only where there is a gene to look for.
"""

import gzip
import json
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from histoscribe.errors import problem

N_MATCHES = 3


def unknown_gene(gene: str, known: Iterable[str], where: str) -> str:
    """The problem of a gene that nothing knows, with names that are like it."""
    known = list(known)
    like = close_matches(gene, known)
    remedy = f"Close to it: {', '.join(like)}." if like else "Correct its name."
    return problem(
        where,
        f"no gene {gene} among {len(known):,} that are measured or predicted",
        "the name of one of these",
        remedy,
    )


def close_matches(gene: str, known: Iterable[str]) -> list[str]:
    """Names like `gene`, best first; letters' case does not count."""
    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(name.casefold(), name)
    found = get_close_matches(gene.casefold(), by_folded, N_MATCHES, 0.6)
    return [by_folded[name] for name in found]


def overlay_problems(
    genes: list[str], measured: list[dict[str, Path]], bundle: Path | None
) -> list[str]:
    """Problems of genes to overlay that no file of the run names.

    `measured` holds the files of each section, by role. Nothing is said where some of them can't be
    read yet, since a rule makes them; the figure's own job tells then.
    """
    if not genes:
        return []
    found = [stored_gene_names(files) for files in measured if files]
    if bundle is not None:
        found.append(bundle_gene_names(bundle))
    if not found or None in found:
        return []
    known = sorted(set().union(*found))
    return [
        unknown_gene(gene, known, "config, figures/overlay_genes")
        for gene in genes
        if gene not in known
    ]


def stored_gene_names(files: dict[str, Path]) -> set[str] | None:
    """Genes that a section's files name, by role; None where that can't be told from them."""
    for role in ("matrix", "panel"):  # 10x HDF5
        if role in files:
            return _names_of_10x(files[role])
    if "counts" in files:
        return _names_of_table(files["counts"])
    return None


def bundle_gene_names(path: Path) -> set[str] | None:
    """Genes of a trained model, from the header of its file; None where it has no such header."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, path.stat().st_size)))
        return set(json.loads(header["__metadata__"]["genes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _names_of_10x(path: Path) -> set[str] | None:
    import h5py

    try:
        with h5py.File(path) as file:
            group = file["matrix/features"] if "matrix" in file else next(iter(file.values()))
            names = group["name" if "name" in group else "gene_names"][:]
        return {name.decode() for name in names}
    except (OSError, KeyError, StopIteration, UnicodeDecodeError):
        return None  # the reader says what is wrong with it


def _names_of_table(path: Path) -> set[str] | None:
    """The header of a table of counts, plain or gzipped."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt") as file:
            return set(file.readline().rstrip("\n").split("\t")) - {""}
    except (OSError, ValueError):
        return None
