"""Positions of genes: from GTF and tables, and looked up for a section's genes."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscribe.errors import UserError
from histoscribe.genome.positions import COLUMNS, place_genes, read_positions

GENCODE = """##description: evidence-based annotation
chr17\tHAVANA\tgene\t7661779\t7687546\t.\t-\t.\tgene_id "ENSG00000141510.18"; gene_name "TP53";
chr17\tHAVANA\texon\t1\t9\t.\t-\t.\tgene_id "ENSG00000141510.18"; gene_name "TP53";
chrX\tHAVANA\tgene\t1190490\t1212723\t.\t-\t.\tgene_id "ENSG00000205755.12"; gene_name "CRLF2";
chrY\tx\tgene\t1190490\t1212723\t.\t-\t.\tgene_id "ENSG00000205755.12_PAR_Y"; gene_name "CRLF2";
KI270728.1\tHAVANA\tgene\t1\t90\t.\t-\t.\tgene_id "ENSG00000000001.1"; gene_name "TP53";
chrM\tENSEMBL\tgene\t3307\t4262\t.\t+\t.\tgene_id "ENSG00000198888.2"; gene_name "MT-ND1";
"""
EXONS = """1\tx\texon\t500\t600\t.\t+\t.\ttranscript_id "t1"; gene_id "A";
1\tx\ttranscript\t100\t600\t.\t+\t.\tgene_id "A"; ref_gene_id "no";
1\tx\texon\t900\t950\t.\t+\t.\tgene_id "A";
1\tx\tCDS\t1\t2000\t.\t+\t.\tgene_id "A";
MT\tx\texon\t5\t9\t.\t+\t.\tgene_id "B"; gene_name "MT-B";
"""


def saved(folder, text, name="genes.gtf"):
    path = folder / name
    opened = gzip.open if name.endswith(".gz") else open
    with opened(path, "wt") as file:
        file.write(text)
    return path


@pytest.fixture(scope="module")
def human(repository):
    return read_positions(repository / "resources" / "human_genes.tsv.gz")


@pytest.mark.parametrize("name", ["genes.gtf", "genes.gtf.gz"])
def test_rows_of_genes_of_a_gtf(tmp_path, name):
    found = read_positions(saved(tmp_path, GENCODE, name))
    assert list(found.columns) == COLUMNS
    assert list(found["gene"]) == ["TP53", "CRLF2", "CRLF2", "MT-ND1"]
    assert list(found["gene_id"])[:3] == [
        "ENSG00000141510", "ENSG00000205755", "ENSG00000205755_PAR_Y",
    ]  # fmt: skip
    assert list(found["chromosome"]) == ["chr17", "chrX", "chrY", "chrM"]
    assert tuple(found.loc[0, ["start", "end"]]) == (7661779, 7687546)


def test_without_rows_of_genes_their_parts_tell(tmp_path):
    found = read_positions(saved(tmp_path, EXONS))
    assert found.to_numpy().tolist() == [
        ["A", "A", "chr1", 100, 950],
        ["MT-B", "B", "chrM", 5, 9],
    ]


@pytest.mark.parametrize(
    "text",
    [
        "symbol\tchr\tstart\tend\nA\t1\t10\t20\nNA\tMT\t1\t2\n",
        "# where from\nstart,end,gene_name,seqname\n10,20,A,chr1\n\n1,2,NA,chrM\n3,4,B,\n",
        "Gene\tGene_ID\tChromosome\tStart\tEnd\nA\t\t1\t10\t20\nNA\t\tM\t1\t2\n",
    ],
)
@pytest.mark.parametrize("ending", ["tsv", "csv.gz"])
def test_tables(tmp_path, text, ending):
    found = read_positions(saved(tmp_path, text, f"genes.{ending}"))
    assert found.to_numpy().tolist() == [["A", "", "chr1", 10, 20], ["NA", "", "chrM", 1, 2]]


@pytest.mark.parametrize(
    "scaffold",
    ["KI270728.1", "GL000220v1", "chrUn_KI270302v1", "chr1_KI270706v1_random",
     "chr6_GL000250v2_alt", "CHR_HSCHR6_MHC_COX", "JH584304.1"],
)  # fmt: skip
def test_scaffolds_are_left_out(tmp_path, scaffold):
    rows = f"gene,chr,start,end\nA,{scaffold},1,2\n"
    with pytest.raises(UserError, match=f"no gene on a chromosome, but on {scaffold}"):
        read_positions(saved(tmp_path, rows, "genes.csv"))
    found = read_positions(saved(tmp_path, rows + "A,2L,5,6\n", "genes.csv"))
    assert found.to_numpy().tolist() == [["A", "", "chr2L", 5, 6]]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.tsv", "gene\tstart\nA\t1\n", "columns gene, start, and none of chromosome/chr/seqname"),
        ("a.tsv", "# only this\n", "no line with text"),
        ("a.csv", "gene,chr,start,end\n", "no row of a gene"),
        ("a.csv", "#\ngene,chr,start,end\n\nA,1,x,2\n", r"csv line 4: found start 'x' and end '2'"),
        ("a.csv", "gene,chr,start,end\nA,1,9,2\n", "the end not before the start"),
        ("a.gtf", "chr1\tx\tCDS\t1\t2\t.\t.\t.\tgene_id \"A\";\n", "no row of a gene"),
        ("a.gtf", "#\nchr1\tx\tgene\t1\t\t.\t.\t.\tgene_id \"A\";\n", "line 2: found start '1'"),
        ("a.gtf", "chr1\tgene\t1\t2\n", "4 fields between tabs; expected the 9 of a GTF"),
        ("a.gtf", "chr1\tx\tgene\t1\t2\t.\t.\t.\tID=gene:A;Name=A\n", "GFF3 is not read"),
    ],
)  # fmt: skip
def test_files_that_are_no_positions(tmp_path, name, text, words):
    with pytest.raises(UserError, match=words):
        read_positions(saved(tmp_path, text, name))


@pytest.mark.parametrize("name", ["genes.gtf.gz", "genes.tsv.gz"])
def test_a_cut_gzip_is_said(tmp_path, name):
    text = GENCODE if "gtf" in name else "gene\tchr\tstart\tend\n" + "A\t1\t1\t2\n" * 9
    path = saved(tmp_path, text, name)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"unreadable file .*Download or write it again"):
        read_positions(path)


def test_the_shipped_genes(human):
    assert len(human) > 30_000 and human["gene_id"].is_unique
    assert human["chromosome"].nunique() == 25
    known = human.set_index("gene")
    # Positions that anyone can look up; the last is the revised Cambridge reference sequence's.
    assert list(known.loc["EGFR"]) == ["ENSG00000146648", "chr7", 55019017, 55211628]
    assert list(known.loc["ERBB2"])[1:] == ["chr17", 39687914, 39730426]
    assert list(known.loc["MT-ND1"])[1:] == ["chrM", 3307, 4262]
    order = human["chromosome"].map({c: i for i, c in enumerate(human["chromosome"].unique())})
    assert (
        human.assign(order=order)
        .sort_values(["order", "start"], kind="stable")
        .equals(human.assign(order=order))
    )


def test_genes_are_found_by_id_or_by_symbol(human):
    var = pd.DataFrame({"gene_id": ["ENSG00000146648.19", "ENSG00000141736", "x"]},
                       index=["old name", "ERBB2", "TP53"])  # fmt: skip
    found = place_genes(var, human, "a.h5ad")
    assert list(found.index) == list(var.index)
    assert list(found["chromosome"]) == ["chr7", "chr17", None]
    assert found["start"].iloc[0] == 55019017 and np.isnan(found["end"].iloc[2])
    var["gene_id"] = var.index  # as platforms without ids have it
    assert list(place_genes(var, human, "")["chromosome"]) == [None, "chr17", "chr17"]
    ids = pd.DataFrame(index=["ENSG00000146648.19"])
    assert list(place_genes(ids, human, "")["chromosome"]) == ["chr7"]


def test_a_symbol_of_two_chromosomes_is_placed_by_id_alone(human):
    var = pd.DataFrame({"gene_id": ["ENSG00000292363", "ENSG00000141736"]}, ["CRLF2", "ERBB2"])
    assert list(place_genes(var, human, "")["chromosome"]) == ["chrY", "chr17"]
    assert list(place_genes(var[[]], human, "")["chromosome"]) == [None, "chr17"]
    twice = human[human["gene"] == "ELFN2"]  # both on chr22
    assert len(twice) == 2
    var = pd.DataFrame(index=["ELFN2"])
    assert place_genes(var, human, "")["start"].iloc[0] == twice["start"].iloc[0]


def test_mouse_genes_are_not_human_genes(human):
    var = pd.DataFrame(index=["Erbb2", "Trp53", "Egfr", "Actb"])
    found = "b.h5ad: found positions of 0.0% of 4 genes such as Erbb2, Trp53, Egfr, among 32,057"
    with pytest.raises(UserError, match=found + r" .* DDX11L2.*another species or another naming"):
        place_genes(var, human, "b.h5ad")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 40))
def test_places_hang_on_names_and_not_on_order(human, seed, n):
    rng = np.random.default_rng(seed)
    some = human.drop_duplicates("gene").sample(n, random_state=seed)
    var = some.set_index("gene")[["gene_id"]]
    straight = place_genes(var, some, "")
    shuffled = place_genes(var.iloc[rng.permutation(n)], some.iloc[rng.permutation(n)], "")
    pd.testing.assert_frame_equal(shuffled.loc[var.index], straight)
    assert (straight["start"].to_numpy() == some["start"].to_numpy()).all()
