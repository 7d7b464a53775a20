"""Names of clusters: the score by hand, when there is none, and marker tables of all kinds."""

import numpy as np
import pandas as pd
import pytest

from histoscribe.annotation.marker_table import read_markers
from histoscribe.annotation.naming import (
    NAMED_COLUMNS,
    NamingSettings,
    marker_weights,
    name_clusters,
    name_units,
    score_types,
)
from histoscribe.errors import UserError

GENES = [f"G{i}" for i in range(12)]
SETTINGS = NamingSettings()


def ranked_of(folds, p=0.001):
    """Marker tests with these fold changes, (clusters, genes)."""
    rows = [
        {
            "cluster": c,
            "gene": g,
            "log2_fold_change": f,
            "z": f,
            "adjusted_p": p,
            "share_in": 0.5,
            "share_out": 0.5,
        }
        for c, row in enumerate(folds)
        for g, f in zip(GENES, row, strict=True)
    ]
    return pd.DataFrame(rows)


def table_of(sets, weights=None, classes=None):
    rows = [
        {"set": name, "measured": gene, "weight": (weights or {}).get((name, gene), 1.0),
         "broad_class": (classes or {}).get(name, name)}
        for name, genes in sets.items()
        for gene in genes
    ]  # fmt: skip
    return pd.DataFrame(rows)


def folds_of(*standing):
    """One row of fold changes a cluster: 2 for the genes that stand out, 0 for others."""
    return [[2.0 if g in genes else 0.0 for g in GENES] for genes in standing]


def named_of(folds, table, settings=SETTINGS, sizes=None, kept=None):
    sizes = np.full(len(folds), 100) if sizes is None else np.array(sizes)
    kept = np.ones(len(sizes), dtype=bool) if kept is None else np.array(kept)
    ranked = ranked_of(folds) if folds else ranked_of([[0] * 12])[:0]
    return name_clusters(ranked, sizes, kept, table, settings)


def test_the_score_is_page_by_hand():
    folds = [[5.0, 1.0, 0.2, -1.0, 0.5, 0, 0, 0, 0, 0, 0, 0]]
    ranked = ranked_of(folds)
    ranked.loc[4, "adjusted_p"] = 0.5  # no evidence
    table = table_of({"a": ["G0", "G1", "G2"], "b": ["G1", "G3"]}, {("a", "G0"): 0.5})
    found = score_types(ranked, table, SETTINGS)
    evidence = np.array([3.0, 1.0, 0, -1.0] + 8 * [0.0])  # cut at 3; 0.2 is too little
    z = (evidence - evidence.mean()) / evidence.std()
    a = (0.5 * z[0] + 0.5 * z[1] + z[2]) / np.sqrt(0.25 + 0.25 + 1)  # G1 marks both: half
    b = (0.5 * z[1] + z[3]) / np.sqrt(0.25 + 1)
    assert found.loc[0].to_dict() == pytest.approx({"a": a, "b": b})


def test_equal_weights_give_the_plain_page():
    """Kim and Volsky: (mean of the set - mean of all) * sqrt(size) / deviation of all."""
    folds = np.random.default_rng(0).normal(0, 1, (3, 12)).clip(-3, 3)
    table = table_of({"a": GENES[:4], "b": GENES[4:7]})
    found = score_types(ranked_of(folds), table, NamingSettings(abs_log2fc_from=0.0))
    for name, size, start in (("a", 4, 0), ("b", 3, 4)):
        chosen = folds[:, start : start + size].mean(axis=1) - folds.mean(axis=1)
        assert found[name].to_numpy() == pytest.approx(chosen * size**0.5 / folds.std(axis=1))


def test_genes_without_evidence_score_nothing():
    table = table_of({"a": GENES[:3]})
    weak = ranked_of(folds_of(GENES[:3]), p=0.5)
    assert score_types(weak, table, SETTINGS).loc[0, "a"] == 0
    named = name_clusters(weak, np.array([9]), np.array([True]), table, SETTINGS)
    assert named.loc[0, "type"] == "unknown" and named.loc[0, "markers"] == ""


def test_genes_that_hardly_any_unit_has_are_no_evidence():
    table = table_of({"rare": GENES[:3], "common": GENES[3:6]})
    ranked = ranked_of(folds_of(GENES[:6]))
    ranked.loc[:2, ["log2_fold_change", "share_in"]] = [4.0, 0.005]
    assert score_types(ranked, table, NamingSettings(min_share=0.0)).loc[0].idxmax() == "rare"
    found = name_clusters(ranked, np.array([9]), np.array([True]), table, SETTINGS)
    assert found.loc[0, "type"] == "common" and found.loc[0, "runner_up"] == ""
    lost = ranked_of([[-2.0] * 3 + [0.0] * 9])
    lost["share_in"] = 0.0  # a gene that is lost was common elsewhere
    assert score_types(lost, table, SETTINGS).loc[0, "rare"] < -1


def test_weights_of_shared_and_of_absent_markers():
    table = table_of({"a": ["G0", "G1"], "b": ["G1", "G2"], "c": ["G5"], "d": ["G6", "ABSENT"]})
    weights = marker_weights(table, pd.Index(GENES), 2)
    assert list(weights.columns) == ["a", "b"]
    assert weights.loc["G1"].to_dict() == {"a": 0.5, "b": 0.5}
    assert weights.loc["G0"].to_dict() == {"a": 1.0, "b": 0.0}


def test_a_name_its_runner_up_and_its_markers():
    table = table_of(
        {"tubule": GENES[:4], "vessel": GENES[4:7], "other": GENES[7:9]},
        classes={"tubule": "epithelium", "vessel": ""},
    )
    folds = folds_of([*GENES[:4], "G4", "G5"], GENES[4:7])
    folds[0][2] = 2.5
    named = named_of(folds, table, sizes=[300, 100])
    assert list(named.columns) == NAMED_COLUMNS
    first, second = named.iloc[0], named.iloc[1]
    assert (first["type"], first["broad_class"], first["share"]) == ("tubule", "epithelium", 0.75)
    assert first["runner_up"] == "vessel" and first["runner_up_score"] < first["score"]
    assert first["markers"].split(",")[0] == "G2"
    assert set(first["markers"].split(",")) == set(GENES[:4])
    assert second["type"] == second["broad_class"] == "vessel"
    assert second["runner_up"] == ""  # no other has two markers that stand out
    scores = score_types(ranked_of(folds), table, SETTINGS)
    assert first["score"] == pytest.approx(scores.loc[0, "tubule"])
    assert first["runner_up_score"] == pytest.approx(scores.loc[0, "vessel"])


@pytest.mark.parametrize(("share", "ambiguous"), [(0.5, True), (0.999, False)])
def test_a_close_runner_up_makes_a_name_ambiguous(share, ambiguous):
    table = table_of({"a": GENES[:3], "b": GENES[3:6]})
    folds = folds_of(GENES[:6])
    folds[0][0] = 2.6
    named = named_of(folds, table, NamingSettings(ambiguous_from=share, min_score=0.1))
    ratio = named.loc[0, "runner_up_score"] / named.loc[0, "score"]
    assert 0.5 < ratio < 0.999
    assert bool(named.loc[0, "is_ambiguous"]) is ambiguous and named.loc[0, "type"] == "a"


def test_one_marker_alone_names_nothing():
    table = table_of({"a": GENES[:4], "b": GENES[5:7]})
    named = named_of(folds_of(["G0"], ["G5", "G6"]), table)
    assert list(named["type"]) == ["unknown", "b"]
    assert np.isnan(named.loc[0, "score"])


def test_a_low_score_is_unknown_and_kept():
    table = table_of({"a": GENES[:8]})
    named = named_of(folds_of(["G0", "G1", "G10", "G11"]), table)
    assert named.loc[0, "type"] == named.loc[0, "broad_class"] == "unknown"
    assert named.loc[0, "score"] < SETTINGS.min_score and not named.loc[0, "is_ambiguous"]


def test_types_without_enough_markers_in_the_data():
    named = named_of(folds_of(GENES[:3]), table_of({"a": ["G0"], "b": ["ABSENT"]}))
    assert named.loc[0, "type"] == "unknown"


def test_one_cluster_only_is_unknown():
    named = named_of([], table_of({"a": GENES[:3]}), sizes=[500])
    assert list(named["type"]) == ["unknown"] and not named.loc[0, "is_dropped"]
    units = name_units(np.zeros(500, dtype=int), named, pd.RangeIndex(500).astype(str))
    assert (units["type"] == "unknown").all() and units["type_score"].isna().all()


def test_dropped_clusters_have_no_name():
    table = table_of({"a": GENES[:3], "b": GENES[4:7]})
    named = named_of(
        folds_of(GENES[:3], GENES[4:7]), table, sizes=[60, 50, 3], kept=[True, True, False]
    )
    assert list(named["is_dropped"]) == [False, False, True]
    cluster = np.array([0, 1, -1, 0])
    units = name_units(cluster, named, pd.Index(["w", "x", "y", "z"]))
    assert list(units["type"].iloc[[0, 1, 3]]) == ["a", "b", "a"]
    assert units.loc["y"].drop("is_ambiguous").isna().all()
    assert not units.loc["y", "is_ambiguous"]
    assert units.loc["w", "is_ambiguous"] == named.loc[0, "is_ambiguous"]
    assert list(units["cluster"].cat.categories) == ["0", "1"]
    assert units.loc["x", "type_score"] == pytest.approx(named.loc[1, "score"], rel=1e-5)


def test_all_clusters_dropped():
    named = named_of([], table_of({"a": GENES[:3]}), sizes=[3, 2], kept=[False, False])
    units = name_units(np.full(5, -1), named, pd.RangeIndex(5).astype(str))
    assert units.drop(columns="is_ambiguous").isna().all(axis=None)
    assert not units["is_ambiguous"].any()


HUMAN = ["NPHS1", "NPHS2", "PODXL", "UMOD", "SLC12A1", "AQP2", "AQP3", "CD3D", "CD3E", "ACTB"]
MOUSE = [gene.capitalize() for gene in HUMAN]
OWN = (
    "type\tclass\torgan\tspecies\tmarkers\n"
    "podocyte\tglomerulus\tkidney\thuman\tNPHS1,NPHS2\n"
    "T cell\timmune\tany\thuman\tCD3D,CD3E\n"
    "neuron\tneuron\tbrain\thuman\tACTB,RBFOX3\n"
)
PANGLAODB = (
    "species\tofficial gene symbol\tcell type\tcanonical marker\torgan\n"
    "Mm Hs\tNPHS1\tPodocytes\tNA\tKidney\n"
    "Mm Hs\tPODXL\tPodocytes\t1\tKidney\n"
    "Mm Hs\tCD3D\tT cells\t1\tImmune system\n"
    "Hs\tUMOD\tLoop of Henle cells\t1\tKidney\n"
    "Hs\tSLC12A1\tLoop of Henle cells\tNA\tKidney\n"
)


def written(folder, text, name="markers.tsv"):
    path = folder / name
    path.write_text(text)
    return path


def test_markers_of_our_own_kind(tmp_path):
    table = read_markers([written(tmp_path, OWN)], [], {}, HUMAN)
    assert list(table.columns) == ["set", "measured", "weight", "broad_class"]
    assert dict(zip(table["set"], table["broad_class"], strict=True)) == {
        "podocyte": "glomerulus", "T cell": "immune", "neuron": "neuron",
    }  # fmt: skip
    assert table["measured"].isna().sum() == 1


def test_a_table_of_another_species_says_so(tmp_path):
    stated = written(tmp_path, OWN.replace("human", "mouse"))
    with pytest.raises(UserError, match=r"sets of mouse genes alone against human data"):
        read_markers([stated], [], {}, HUMAN)
    unstated = written(tmp_path, "type\tmarkers\na\tNphs1,Nphs2,Podxl\nb\tAqp2,Aqp3\n", "m.tsv")
    with pytest.raises(UserError, match=r"looks like mouse symbols against human data"):
        read_markers([unstated], [], {}, HUMAN)
    both = written(tmp_path, OWN.replace("human", "human mouse"))
    assert read_markers([both], [], {}, MOUSE)["measured"].iloc[0] == "Nphs1"


@pytest.mark.parametrize("text", ["", "type\tmarkers\n", "type\tmarkers\na\t\n"])
def test_an_empty_table_says_so(tmp_path, text):
    with pytest.raises(UserError, match=r"markers.tsv"):
        read_markers([written(tmp_path, text)], [], {}, HUMAN)


def test_markers_that_the_data_lack(tmp_path):
    with pytest.raises(UserError, match=r"none of 2 marker genes .* NPHS1, NPHS2, PODXL"):
        read_markers([written(tmp_path, "type\tmarkers\na\tXYZ1,XYZ2\n")], [], {}, HUMAN)


def test_organs_keep_their_types_and_those_of_any(tmp_path):
    path = written(tmp_path, OWN)
    assert set(read_markers([path], ["Kidney"], {}, HUMAN)["set"]) == {"podocyte", "T cell"}
    with pytest.raises(UserError, match=r"liver.*brain, kidney"):
        read_markers([path], ["liver"], {}, HUMAN)
    with pytest.raises(UserError, match=r"kidny"):
        read_markers([path], ["kidny", "brain"], {}, HUMAN)


def test_organs_of_two_words(tmp_path):
    text = OWN.replace("kidney", "skin breast").replace("brain", "adipose tissue")
    path = written(tmp_path, text)
    assert set(read_markers([path], ["breast"], {}, HUMAN)["set"]) == {"podocyte", "T cell"}
    assert set(read_markers([path], ["Adipose tissue"], {}, HUMAN)["set"]) == {"neuron", "T cell"}


def test_own_merges_go_before_the_table(tmp_path):
    table = read_markers([written(tmp_path, OWN)], [], {"Podocyte": "filter"}, HUMAN)
    classes = table.drop_duplicates("set").set_index("set")["broad_class"]
    assert classes["podocyte"] == "filter" and classes["T cell"] == "immune"


def test_panglaodb_and_our_own_are_one_where_names_are_alike(tmp_path):
    paths = [written(tmp_path, OWN), written(tmp_path, PANGLAODB, "panglao.tsv")]
    table = read_markers(paths, [], {}, HUMAN)
    assert set(table["set"]) == {"podocyte", "T cell", "neuron", "Loop of Henle cells"}
    podocyte = table[table["set"] == "podocyte"]
    assert set(podocyte["measured"]) == {"NPHS1", "NPHS2", "PODXL"}
    assert set(podocyte["broad_class"]) == {"glomerulus"}  # PanglaoDB has no classes
    assert set(table.loc[table["set"].str.startswith("Loop"), "broad_class"]) == {
        "Loop of Henle cells"
    }
    weights = marker_weights(table, pd.Index(HUMAN), 2)
    assert weights.loc[["NPHS1", "PODXL", "CD3D"]].max(axis=1).to_list() == [1, 1, 1]
    assert weights.loc["SLC12A1", "Loop of Henle cells"] == 0.5


def test_the_table_that_ships_knows_its_species_and_organs(repository):
    path = repository / "resources" / "markers.tsv"
    for genes in (HUMAN, MOUSE):
        table = read_markers([path], ["kidney"], {}, genes)
        assert {"podocyte", "T cell"} <= set(table["set"])
        assert "excitatory neuron" not in set(table["set"])
    whole = pd.read_csv(path, sep="\t", comment="#")
    assert whole["type"].is_unique and whole["class"].notna().all()
    for genes in whole["markers"].str.split(","):
        assert len(genes) == len(set(genes)) >= 5
