"""A made-up genome: where genes lie on chromosomes of real lengths.

Lengths and centromeres are those of GRCh38, to 0.1 Mb and rounded down, so that every place exists
in the real assembly. The place of a gene is invented, as its effects are: it follows from the
symbol alone, by a hash, and so is the same in every panel and section, but it is not where the gene
of that name lies. Genes are spread evenly; arms that hold hardly any in reality (13p) have some.
"""

import bisect
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

# (length, centromere) in Mb
CHROMOSOME_MB = {
    "chr1": (248.9, 123.4), "chr2": (242.1, 93.9), "chr3": (198.2, 90.9), "chr4": (190.2, 50.0),
    "chr5": (181.5, 48.8), "chr6": (170.8, 59.8), "chr7": (159.3, 60.1), "chr8": (145.1, 45.2),
    "chr9": (138.3, 43.0), "chr10": (133.7, 39.8), "chr11": (135.0, 53.4), "chr12": (133.2, 35.5),
    "chr13": (114.3, 17.7), "chr14": (107.0, 17.2), "chr15": (101.9, 19.0), "chr16": (90.3, 36.8),
    "chr17": (83.2, 25.1), "chr18": (80.3, 18.5), "chr19": (58.6, 26.2), "chr20": (64.4, 28.1),
    "chr21": (46.7, 12.0), "chr22": (50.8, 15.0), "chrX": (156.0, 61.0),
}  # fmt: skip
MITOCHONDRIAL_BP = 16_569
CHROMOSOMES = (*CHROMOSOME_MB, "chrM")
# Shortest and longest gene; lengths are uniform in their logarithm.
GENE_BP = (2_000, 200_000)
MITOCHONDRIAL_GENE_BP = (200, 1_800)


def chromosome_arms() -> pd.DataFrame:
    """The arms of the nuclear genome in its order: chromosome, arm (p or q), start, end (bp).

    Places are 1-based, ends inclusive.
    """
    rows = []
    for chromosome, (length_mb, centromere_mb) in CHROMOSOME_MB.items():
        centromere, length = round(centromere_mb * 1e6), round(length_mb * 1e6)
        rows += [(chromosome, "p", 1, centromere), (chromosome, "q", centromere + 1, length)]
    return pd.DataFrame(rows, columns=["chromosome", "arm", "start", "end"])


def gene_positions(symbols: Iterable[str]) -> pd.DataFrame:
    """Place of each gene: index symbol; chromosome (categorical, in order), start, end (bp).

    Places are 1-based, ends inclusive, and uniform along the nuclear genome; no gene reaches over a
    centromere. Mitochondrial genes (MT-*) lie on chrM.
    """
    arms = chromosome_arms()
    ends = (arms["end"] - arms["start"] + 1).cumsum().tolist()
    symbols = list(symbols)
    rows = []
    for symbol in symbols:
        where, size = _uniform(symbol)
        if symbol.startswith("MT-"):
            n = _between(MITOCHONDRIAL_GENE_BP, size)
            start = 1 + int(where * (MITOCHONDRIAL_BP - n + 1))
            rows.append(("chrM", start, start + n - 1))
            continue
        n, place = _between(GENE_BP, size), int(where * ends[-1])
        index = bisect.bisect_right(ends, place)
        chromosome, last = arms["chromosome"].iloc[index], int(arms["end"].iloc[index])
        start = last + 1 - max(ends[index] - place, n)
        rows.append((chromosome, start, start + n - 1))
    positions = pd.DataFrame(rows, columns=["chromosome", "start", "end"], index=symbols)
    positions["chromosome"] = pd.Categorical(positions["chromosome"], CHROMOSOMES)
    return positions


def _uniform(symbol: str) -> tuple[float, float]:
    """Two numbers in [0, 1) that follow from a symbol, the same everywhere."""
    digest = hashlib.blake2b(symbol.encode(), digest_size=12).digest()
    return tuple(int.from_bytes(part, "big") / 2**48 for part in (digest[:6], digest[6:]))


def _between(limits: tuple[int, int], uniform: float) -> int:
    """A whole number between limits, uniform in its logarithm."""
    low, high = limits
    return round(low * math.exp(uniform * math.log(high / low)))


def write_gtf(genes: pd.DataFrame, path: Path) -> None:
    """Write the places of genes (index symbol, column `gene_id`) as GTF 2.2, sorted by place.

    Strands are all forward: none is modelled.
    """
    placed = gene_positions(genes.index).assign(gene_id=genes["gene_id"].to_numpy())
    placed = placed.sort_values(["chromosome", "start", "end"], kind="stable")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("#description: invented places of genes on chromosomes of GRCh38's lengths\n")
        for gene in placed.itertuples():
            fields = (gene.chromosome, "HistoScribe", "gene", gene.start, gene.end, ".", "+", ".")
            names = f'gene_id "{gene.gene_id}"; gene_name "{gene.Index}";'
            file.write("\t".join(map(str, (*fields, names))) + "\n")
