"""The public marker tables and gene sets themselves, against the kidney's real genes."""

import pytest

from histoscribe.errors import UserError
from histoscribe.gene_matching import match_genes, species_of
from histoscribe.gene_sets import read_gene_sets
from histoscribe.readers.hdf5_10x import read_10x_panel


@pytest.fixture(scope="module")
def kidney_genes(real_data):
    folder = real_data / "visium_hd_kidney/kidney-a/binned_outputs/square_008um"
    return list(read_10x_panel(folder / "filtered_feature_bc_matrix.h5").index)


def test_every_public_table_is_read(real_data, kidney_genes):
    assert species_of(kidney_genes) == "human"
    folder = real_data / "gene_sets"
    for name, n_sets, known in (
        ("PanglaoDB_markers_27_Mar_2020.tsv", 178, ("Podocytes", "NPHS1")),
        ("CellMarker2_Human.csv", 918, ("Podocyte", "NPHS1")),
        ("h.all.v7.0.symbols.gmt", 50, ("HALLMARK_HYPOXIA", "VEGFA")),
        (
            "GO_Biological_Process_2021.gmt",
            6036,
            ("glomerular epithelial cell development (GO:0072310)", "NPHS1"),
        ),
    ):
        sets = read_gene_sets(folder / name)
        assert sets["set"].nunique() == n_sets, name
        assert ((sets["set"] == known[0]) & (sets["gene"] == known[1])).any(), name
        matched = match_genes(sets, kidney_genes, name)
        assert matched["measured"].notna().mean() > 0.75, name


def test_the_table_of_another_species_is_refused(real_data, kidney_genes):
    sets = read_gene_sets(real_data / "gene_sets/CellMarker2_Mouse.csv")
    with pytest.raises(UserError, match="looks like mouse symbols against human data"):
        match_genes(sets, kidney_genes, "CellMarker2_Mouse.csv")
    mouse = [gene.capitalize() for gene in kidney_genes]
    panglaodb = read_gene_sets(real_data / "gene_sets/PanglaoDB_markers_27_Mar_2020.tsv")
    matched = match_genes(panglaodb, mouse, "PanglaoDB")
    assert set(matched["measured"].dropna()) >= {"Nphs1", "Umod"}
    assert not (matched["species"] == "human").any()
