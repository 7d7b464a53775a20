"""Gene sets: every dialect read into one form, and another species told apart."""

import gzip

import numpy as np
import pandas as pd
import pytest

from histoscribe.errors import UserError
from histoscribe.gene_matching import match_genes, species_of
from histoscribe.gene_sets import COLUMNS, named_species, read_gene_sets, split_genes

HUMAN_GENES = ["UMOD", "SLC12A1", "NPHS1", "NPHS2", "PODXL", "AQP2", "C1orf43", "MT-CO1"]
MOUSE_GENES = ["Umod", "Slc12a1", "Nphs1", "Nphs2", "Podxl", "Aqp2", "mt-Co1", "Gm1234"]
PANGLAODB = (
    "species\tofficial gene symbol\tcell type\tnicknames\tubiquitousness index\t"
    "product description\tgene type\tcanonical marker\tgerm layer\torgan\tsensitivity_human\n"
    'Mm Hs\tNPHS1\tPodocytes\tCNF|"x"\t0.01\tnephrin, "slit"\tcoding\t1\tMesoderm\tKidney\t1.0\n'
    "Mm Hs\tNPHS1\tPodocytes\t\t0.01\tdoubled\tcoding\tNA\tMesoderm\tKidney\t1.0\n"
    "Mm Hs\tPODXL\tPodocytes\t\t0.01\t\tcoding\tNA\tMesoderm\tKidney\t1.0\n"
    "Hs\tUMOD\tLoop of Henle cells\t\t0.01\t\tcoding\t1\tMesoderm\tKidney\t0.5\n"
    "Mm\tAQP2\tPrincipal cells\t\t0.01\t\tcoding\t1\tMesoderm\tNA\t0.5\n"
)
CELLMARKER_1 = (
    "speciesType\ttissueType\tUberonOntologyID\tcancerType\tcellType\tcellName\t"
    "CellOntologyID\tcellMarker\tgeneSymbol\tgeneID\n"
    "Human\tKidney\tU\tNormal\tNormal cell\tPodocyte\tCL\tNephrin\t"
    "NPHS1, [PODXL, NPHS2], NA\t1\n"
    "Human\tLung\tU\tNormal\tNormal cell\tT cell\tCL\tCD3\tNA\t1\n"
)
CELLMARKER_2 = (
    "species,tissue_class,tissue_type,cell_type,cell_name,marker,Symbol\n"
    "Human,Kidney,Renal cortex,Normal cell,Podocyte,Nephrin,NPHS1\n"
    "Human,Kidney,Glomerulus,Normal cell,Podocyte,nephrin,NPHS1\n"
    'Human,Kidney,Kidney,Normal cell,Podocyte,"PCLP1",PODXL\n'
    "Human,Kidney,Kidney,Normal cell,Podocyte,unknown,\n"
)


def written(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def genes_by_set(sets):
    return sets.groupby("set", sort=False)["gene"].agg(list).to_dict()


def test_gmt_of_msigdb_and_of_enrichr(tmp_path):
    msigdb = "HALLMARK_A\thttps://x/y\tUMOD\tAQP2\nHALLMARK_B\tna\tNPHS1\tNPHS1\n"
    enrichr = "term (GO:1)\t\tUMOD,1.0\tAQP2,0.5\t\n\n"
    expected = {"HALLMARK_A": ["UMOD", "AQP2"], "HALLMARK_B": ["NPHS1"]}
    for name, text in (
        ("h.gmt", msigdb),
        ("h.symbols.gmt.gz", gzip.compress(msigdb.encode())),
        ("h.txt", "# from MSigDB\n" + msigdb.replace("\n", "\r\n")),
    ):
        sets = read_gene_sets(written(tmp_path, name, text))
        assert list(sets.columns) == COLUMNS
        assert genes_by_set(sets) == expected, name
        assert (sets["species"] == "").all() and (sets["weight"] == 1).all()
    sets = read_gene_sets(written(tmp_path, "GO_Biological_Process_2021.txt", enrichr))
    assert genes_by_set(sets) == {"term (GO:1)": ["UMOD", "AQP2"]}


def test_panglaodb(tmp_path):
    for name, text in (("p.tsv", PANGLAODB), ("p.tsv.gz", gzip.compress(PANGLAODB.encode()))):
        sets = read_gene_sets(written(tmp_path, name, text))
        assert genes_by_set(sets)["Podocytes"] == ["NPHS1", "PODXL"]
        assert sets["species"].tolist() == ["human mouse", "human mouse", "human", "mouse"]
        assert sets["organ"].tolist() == ["Kidney"] * 3 + [""]
        assert sets["weight"].tolist() == [1.0, 0.5, 1.0, 1.0]


def test_cellmarker_of_both_releases(tmp_path, caplog):
    sets = read_gene_sets(written(tmp_path, "Human_cell_markers.txt", CELLMARKER_1))
    assert genes_by_set(sets) == {"Podocyte": ["NPHS1", "PODXL", "NPHS2"]}
    assert sets["organ"].unique() == ["Kidney"] and sets["species"].unique() == ["human"]
    assert "1 sets have no gene: T cell" in caplog.text

    csv = written(tmp_path, "Cell_marker_Human.csv", CELLMARKER_2)
    excel = tmp_path / "Cell_marker_Human.xlsx"
    pd.read_csv(csv).to_excel(excel, index=False)
    for path in (csv, excel):
        sets = read_gene_sets(path)
        assert genes_by_set(sets) == {"Podocyte": ["NPHS1", "PODXL"]}, path
        assert sets["organ"].unique() == ["Kidney"]


def test_condensed_table_and_tables_of_ones_own(tmp_path):
    condensed = 'Tissue,CT,Gene\nKidney,Podocyte,"NPHS1,PODXL"\nLung,Podocyte,NPHS1\n'
    sets = read_gene_sets(written(tmp_path, "c.csv", condensed))
    assert sets["gene"].tolist() == ["NPHS1", "PODXL", "NPHS1"]  # an organ is a set of its own
    assert sets["organ"].tolist() == ["Kidney", "Kidney", "Lung"]

    own = "# ours\ntype\tgene\tspecies\torgan\tweight\tclass\na\tUMOD\tHomo sapiens\tKidney\t2\tx\n"
    row = read_gene_sets(written(tmp_path, "own.tsv", own)).iloc[0]
    assert row.tolist() == ["a", "UMOD", "human", "Kidney", 2.0, "x"]

    wide = b"\xef\xbb\xbfset;genes\nA;UMOD, AQP2\nB;NPHS1\n"  # Excel's UTF-8, semicolons
    assert genes_by_set(read_gene_sets(written(tmp_path, "w.csv", wide))) == {
        "A": ["UMOD", "AQP2"],
        "B": ["NPHS1"],
    }


def test_empty_sets_are_said_or_kept(tmp_path, caplog):
    path = written(tmp_path, "x.gmt", "A\tna\tUMOD\nB\tna\n")
    assert read_gene_sets(path)["set"].tolist() == ["A"]
    assert "1 sets have no gene: B" in caplog.text
    kept = read_gene_sets(path, keep_empty=True)
    assert kept[["set", "gene"]].to_numpy().tolist() == [["A", "UMOD"], ["B", ""]]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "Ensembl,Gene,CCDS\nx,ARF5,y\n", "a header of Ensembl, Gene, CCDS"),
        ("b.tsv", "", "a header of nothing"),
        ("c.gmt", "A\tna\nB\t\n", "no gene in any set"),
        ("d.tsv", "set\tgene\nA\t\n", "no gene in any set"),
        ("e.xlsx", b"PK\x03\x04 cut short", "no Excel table"),
        ("f.gmt.gz", b"\x1f\x8b\x08 cut short", "no readable file"),
    ],
)
def test_what_is_no_gene_set_file_is_refused(tmp_path, name, text, words):
    with pytest.raises(UserError, match=words) as error:
        read_gene_sets(written(tmp_path, name, text))
    assert name in str(error.value)
    if "header" in words:
        assert "PanglaoDB" in str(error.value) and "GMT" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.gmt"):
        read_gene_sets(tmp_path / "nowhere.gmt")


def test_species_names_and_cells_of_genes():
    names = {
        "Mm Hs": "human mouse",
        "Homo sapiens": "human",
        "Mouse": "mouse",
        "M. musculus": "mouse",
        "Rattus norvegicus": "rattus norvegicus",
        np.nan: "",
        "None": "",
    }
    assert {name: named_species(name) for name in names} == names
    assert split_genes("CD3D, [CD8A, CD8B], NA; HLA-DRB1") == ["CD3D", "CD8A", "CD8B", "HLA-DRB1"]


def test_species_of_symbols():
    assert species_of(HUMAN_GENES) == "human"
    assert species_of(MOUSE_GENES) == "mouse"
    assert species_of(HUMAN_GENES + MOUSE_GENES) == ""
    assert species_of([f"ENSG{i:011d}" for i in range(9)]) == ""


def test_panglaodb_matches_mouse_genes_by_their_own_spelling(tmp_path):
    sets = read_gene_sets(written(tmp_path, "p.tsv", PANGLAODB))
    mouse = match_genes(sets, MOUSE_GENES, "p.tsv")
    assert mouse["measured"].tolist() == ["Nphs1", "Podxl", "Aqp2"]  # the human one is left out
    human = match_genes(sets, HUMAN_GENES, "p.tsv")
    assert human["measured"].tolist() == ["NPHS1", "PODXL", "UMOD"]


def frame(genes, species=""):
    return pd.DataFrame({"set": "a", "gene": genes, "species": species, "organ": "", "weight": 1.0})


def test_unstated_symbols_match_as_written():
    matched = match_genes(frame(["UMOD", "NPHS1", "aqp2", "ABSENT"]), HUMAN_GENES, "x")
    assert matched["measured"].fillna("-").tolist() == ["UMOD", "NPHS1", "-", "-"]


def test_another_species_is_an_error():
    with pytest.raises(UserError, match="looks like mouse symbols against human data"):
        match_genes(frame(MOUSE_GENES), HUMAN_GENES, "x.gmt and kidney")
    with pytest.raises(UserError, match="looks like human symbols against mouse data"):
        match_genes(frame(HUMAN_GENES), MOUSE_GENES, "x.gmt and brain")
    with pytest.raises(UserError, match="sets of mouse genes alone against human data"):
        match_genes(frame(MOUSE_GENES, "mouse"), HUMAN_GENES, "x")
    ids = [f"ENSG{i:011d}" for i in range(9)]
    with pytest.raises(UserError, match="Ensembl ids in the sets and gene symbols in the data"):
        match_genes(frame(ids), HUMAN_GENES, "x")
    with pytest.raises(UserError, match="gene symbols in the sets and Ensembl ids in the data"):
        match_genes(frame(HUMAN_GENES), ids, "x")
    matched = match_genes(frame(MOUSE_GENES), HUMAN_GENES, "x", ignore_case=True)
    assert matched["measured"].notna().sum() == 7


def test_sets_of_a_small_panel_are_not_taken_for_another_species():
    genes = ["UMOD", *(f"GENE{i}" for i in range(200))]
    matched = match_genes(frame(genes), HUMAN_GENES, "x")
    assert matched["measured"].dropna().tolist() == ["UMOD"]
    assert match_genes(frame(["GENE1"]), HUMAN_GENES, "x")["measured"].isna().all()
