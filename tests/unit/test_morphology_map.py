"""The morphology-gene map: its null, quadrants, gains, genes, and what it is told."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score

from histoscribe.errors import UserError
from histoscribe.morphology_map.gains import answer, gain_table
from histoscribe.morphology_map.genes import (
    GENE_COLUMNS,
    read_gene_list,
    relate_genes,
)
from histoscribe.morphology_map.information import Part, blocked_parts
from histoscribe.morphology_map.inputs import Asked, ask, components_of_features, own_features
from histoscribe.morphology_map.kinds import (
    BOTH,
    CHOSEN,
    GENES,
    SETS,
    overestimation_share,
    shares_of_pcc,
)
from histoscribe.morphology_map.quadrants import (
    MapSettings,
    Question,
    p_values,
    plane_share,
    relate,
)
from histoscribe.morphology_map.surrogates import LEAST_SHIFT, moved_units
from histoscribe.simulation.plants import smooth_field
from histoscribe.simulation.settings import stream

EDGE, PITCH_UM = 40, 40.0
SETTINGS = MapSettings(n_moves=60, block_um=320, buffer_um=80)


@pytest.fixture(scope="module")
def xy_um():
    x, y = np.meshgrid(np.arange(EDGE), np.arange(EDGE))
    return PITCH_UM * np.column_stack([x.ravel(), y.ravel()]).astype(float)


@pytest.fixture(scope="module")
def parts(xy_um):
    return blocked_parts(xy_um, SETTINGS.block_um, SETTINGS.buffer_um, SETTINGS.n_folds, 0)


@pytest.fixture(scope="module")
def tissue(xy_um):
    """Three patchworks: expression follows two, the question asks for two, features show them."""
    rng = np.random.default_rng(0)
    stripe, check, other = (smooth_field(stream(0, name), xy_um) > 0 for name in "abc")
    n = len(xy_um)
    expression = rng.normal(size=(n, 5))
    expression[:, 0] += 2 * stripe
    expression[:, 1] += 2 * other
    features = pd.DataFrame(rng.normal(size=(n, 4)), columns=["both", "asked", "told", "neither"])
    features["both"] += 2 * stripe
    features["asked"] += 2 * check
    features["told"] += 2 * other
    value = np.char.add(np.where(stripe, "a", "b"), np.where(check, "1", "2"))
    return expression, features, Question("region", value)


def test_moved_units_keep_their_neighbours(xy_um):
    right = np.arange(len(xy_um)).reshape(EDGE, EDGE)
    for unit in moved_units(xy_um, 10, 0):
        assert len(np.unique(unit)) > 0.9 * len(unit)  # a lattice comes to lie on itself
        step = np.abs(xy_um[unit][right[:, 1:]] - xy_um[unit][right[:, :-1]]).max(axis=2)
        assert np.median(step) == PITCH_UM
        shift = np.abs(xy_um[unit] - xy_um).max(axis=1)
        assert np.median(shift) > LEAST_SHIFT * EDGE * PITCH_UM / 2


def test_chance_gives_even_p_values():
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.1, 10, 500)
    chance = rng.normal(size=(200, 500)) * scale
    p = p_values(rng.normal(size=500) * scale, chance)
    assert np.quantile(p, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.06)
    assert p_values(np.full(500, 100.0), chance).max() == pytest.approx(1 / 100_001)


def test_features_are_in_their_quadrants(tissue, xy_um, parts):
    expression, features, question = tissue
    table = relate(features, expression, question, xy_um, parts, SETTINGS, 0)
    found = table.set_index("feature")["quadrant"]
    assert found.to_dict() == {
        "both": "translation", "asked": "integration", "told": "overestimation", "neither": "noise",
    }  # fmt: skip
    checks = table.set_index("feature")[["overlap_check", "relevance_check"]]
    assert checks.loc["both"].min() > 0.15 > checks.loc["neither"].max()


def test_numbers_may_be_asked_for(tissue, xy_um, parts):
    expression, features, _ = tissue
    question = Question("depth", smooth_field(stream(0, "b"), xy_um))
    table = relate(features, expression, question, xy_um, parts, SETTINGS, 0)
    assert table.set_index("feature").loc["asked", "quadrant"] == "integration"


def test_planes_are_told_from_patches(xy_um):
    rng = np.random.default_rng(0)
    plane = xy_um @ [1.0, -2.0] / xy_um.max()
    values = np.column_stack([plane, plane + rng.normal(size=len(plane)), rng.random(len(plane))])
    share = plane_share(values, xy_um)
    assert share[0] == pytest.approx(1)
    assert share[1] == pytest.approx(plane.var() / (plane.var() + 1), abs=0.05)
    assert share[2] < 0.01


def test_constant_features_are_left_out(tissue, xy_um, parts):
    expression, features, question = tissue
    table = relate(
        features.assign(flat=1.0), expression, question, xy_um, parts, SETTINGS, 0, False
    )
    assert table["feature"].tolist() == list(features)
    assert "overlap_check" not in table


def test_the_image_adds_what_genes_lack(tissue, xy_um, parts):
    expression, features, question = tissue
    answers = answer(features, expression, question, xy_um, parts, SETTINGS, 0)
    assert set(answers.found) == set(SETS)
    assert answers.n_chosen.min() >= 1
    table = gain_table(answers, xy_um, 320, 0).set_index(["measure", "from"])
    row = table.loc[("balanced_accuracy", CHOSEN)]
    assert row["gain_low"] > 0.1
    assert row["gain_p"] == pytest.approx(1 / 60)
    chosen, genes = (answers.in_words(name).astype(str) for name in (CHOSEN, GENES))
    assert row["value"] == pytest.approx(balanced_accuracy_score(question.value, chosen))
    ari = adjusted_rand_score(question.value, genes)
    assert table.loc[("ari", GENES), "value"] == pytest.approx(ari)
    assert table.loc[("ari", GENES), "gain"] == 0


def test_noise_adds_nothing(tissue, xy_um, parts):
    expression, features, question = tissue
    nothing = features[["neither"]]
    answers = answer(nothing, expression, question, xy_um, parts, SETTINGS, 0)
    table = gain_table(answers, xy_um, 320, 0).set_index(["measure", "from"])
    assert answers.n_chosen.max() == 0
    assert table.loc[("balanced_accuracy", CHOSEN), "gain"] == 0
    assert table.loc[("balanced_accuracy", CHOSEN), "gain_p"] == 1
    assert table.loc[("balanced_accuracy", BOTH), "gain_p"] > 0.025


def test_numbers_are_scored_by_r2(tissue, xy_um, parts):
    expression, features, _ = tissue
    question = Question("depth", expression[:, 0].copy())
    answers = answer(features, expression, question, xy_um, parts, SETTINGS, 0)
    table = gain_table(answers, xy_um, 320, 0).set_index("from")
    assert table.loc[GENES, "value"] > 0.95
    assert (table["measure"] == "r2").all()


def test_a_class_in_one_place_alone_is_answered_wrongly_not_by_another(tissue, xy_um):
    """Tissue of the other class alone is learnt from, or none at all."""
    expression, features, _ = tissue
    value = np.where(xy_um[:, 0] < 400, "b", "a")
    left, right = np.flatnonzero(value == "b"), np.flatnonzero(value == "a")
    parts = [Part(right, left)]
    answers = answer(features, expression, Question("side", value), xy_um, parts, SETTINGS, 0)
    table = gain_table(answers, xy_um, 320, 0).set_index(["measure", "from"])
    assert table.loc[("balanced_accuracy", GENES), "value"] == 0
    assert answers.in_words(GENES)[right].tolist() == [None] * len(right)


def asked_of(tissue, xy_um):
    _, features, question = tissue
    names = ["ACTB", "FOLLOWS", "NOTHING"]
    rng = np.random.default_rng(3)
    values = rng.normal(size=(len(xy_um), 3))
    values[:, 1] += 2 * (question.value.astype("U1") == "a")
    units = ad.AnnData(sparse.csr_matrix(values), var=pd.DataFrame(index=names))
    return Asked(units, features, question, xy_um)


def test_genes_are_told_apart(tissue, xy_um, parts):
    scores = pd.DataFrame(
        {"gene": ["ACTB", "FOLLOWS", "NOTHING", "ABSENT"], "pcc": [0.3, 0.5, 0.2, 0.9],
         "pcc_low": [0.2, 0.4, -0.1, 0.8], "ceiling": [0.6, 0.8, 0.01, 0.9]}
    )  # fmt: skip
    asked = asked_of(tissue, xy_um)
    table = relate_genes(asked, scores, {"ACTB"}, parts, SETTINGS, 0).set_index("gene")
    assert list(table.index) == ["ACTB", "FOLLOWS", "NOTHING"]
    assert table["quadrant"].tolist() == ["overestimation", "translation", "noise"]
    assert table["is_housekeeping"].tolist() == [True, False, False]
    assert np.isnan(table.loc["NOTHING", "fraction_of_ceiling"])
    shares = shares_of_pcc(table)
    assert shares["overestimation"] == pytest.approx(0.3)
    assert shares["housekeeping"] == pytest.approx(0.3)
    none = relate_genes(asked, scores.iloc[:0], set(), parts, SETTINGS, 0)
    assert none.empty and list(none) == GENE_COLUMNS


def test_any_prediction_has_its_share_of_overestimation():
    genes = pd.DataFrame({"gene": ["A", "B", "C"], "is_relevant": [True, False, False]})
    scores = pd.DataFrame(
        {
            "gene": ["A", "B", "C", "D"],
            "pcc": [0.5, 0.3, 0.2, 0.9],
            "pcc_low": [0.4, 0.2, -0.1, 0.8],
        }
    )
    assert overestimation_share(scores, genes) == pytest.approx(
        0.3
    )  # C is not predicted, D unasked
    assert np.isnan(overestimation_share(scores.assign(pcc=-0.1), genes))


def test_a_gene_list_has_comments(tmp_path):
    path = tmp_path / "genes.txt"
    path.write_text("# ours\nActb\n\nGAPDH \n")
    assert read_gene_list(path) == {"ACTB", "GAPDH"}
    with pytest.raises(UserError, match="one gene a line"):
        read_gene_list(tmp_path / "absent.txt")


@pytest.fixture
def units(xy_um):
    rng = np.random.default_rng(0)
    found = ad.AnnData(sparse.csr_matrix(rng.poisson(2, (len(xy_um), 30)).astype(np.float32)))
    found.obsm["spatial"] = xy_um
    found.obsm["cnn"] = rng.normal(size=(len(xy_um), 3))
    found.obs["cell_area"] = rng.normal(size=len(xy_um))
    found.obs["site"] = "left"
    return found


def test_a_file_brings_features_of_its_own(units):
    features = own_features(units, ["cnn", "cell_*", "cell_area"], "here")
    assert list(features) == ["cnn_0", "cnn_1", "cnn_2", "cell_area"]
    units.obsm["sparse"] = sparse.csr_matrix(units.obsm["cnn"])
    found = own_features(units, ["sparse"], "here")
    assert np.array_equal(found.to_numpy(), features.iloc[:, :3].to_numpy())
    with pytest.raises(UserError, match=r"here: found site, no numbers; expected keys of obsm"):
        own_features(units, ["site"], "here")
    with pytest.raises(UserError, match="found shape; expected"):
        own_features(units, ["shape"], "here")
    units.obsm["words"] = np.full((units.n_obs, 2), "a")
    with pytest.raises(UserError, match="found words, no numbers"):
        own_features(units, ["words"], "here")


def test_features_without_names_become_components():
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 100))).add_prefix("global_")
    found = components_of_features(wide.assign(flat=1.0), 0)
    assert list(found) == [f"component_{i + 1}" for i in range(30)]
    assert (found.var().diff().dropna() < 0).all()
    assert components_of_features(wide.iloc[:, :10], 0).shape == (60, 10)


def test_units_without_an_answer_or_features_are_left_out(units):
    features = own_features(units, ["cnn"], "here").iloc[:1000]
    answer = pd.Series("a", index=units.obs_names, dtype=object)
    answer.iloc[:100], answer.iloc[100:105], answer.iloc[105:200] = "b", "rare", np.nan
    asked = ask(units, features, "site", answer, "median", 300, 0, "here")
    assert len(asked.question.value) == len(asked.features) == len(asked.xy_um) == 300
    assert set(asked.question.value) == {"a", "b"}
    assert asked.expression(20, 0).shape == (300, 20)
    assert asked.block_um(70.0, 10) == 70
    assert asked.block_um(None, 500) == 750


@pytest.mark.parametrize("answer", ["one", None])
def test_one_answer_is_no_question(units, answer):
    answers_given = pd.Series(answer, index=units.obs_names, dtype=object)
    features = own_features(units, ["cnn"], "here")
    with pytest.raises(UserError, match=r"here, question site: found .* two or more answers"):
        ask(units, features, "site", answers_given, "median", 300, 0, "here")


def test_units_without_a_value_are_left_out(units, caplog):
    features = own_features(units, ["cnn"], "here")
    features.iloc[:40, 1], features.iloc[40:50, 2] = np.nan, np.inf
    given = pd.Series(np.where(np.arange(len(features)) % 2, "a", "b"), index=features.index)
    asked = ask(units, features, "site", given, "median", 5000, 0, "here")
    assert len(asked.features) == len(features) - 50
    assert "50 of 1600 units left out" in caplog.text
    assert "mostly cnn_1" in caplog.text


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (lambda i: i % 2 == 0, ["False", "True"]),
        (lambda i: i % 3, ["0", "1", "2"]),
        (lambda i: pd.Categorical(np.where(i % 3, "a", "Unknown")), None),
    ],
)
def test_codes_are_classes(units, given, classes):
    answers = pd.Series(given(np.arange(units.n_obs)), index=units.obs_names)
    features = own_features(units, ["cnn"], "here")
    if classes is None:  # what is unknown is no class, so that one is left
        with pytest.raises(UserError, match="1 different: a"):
            ask(units, features, "q", answers, "median", 5000, 0, "here")
        return
    asked = ask(units, features, "q", answers, "median", 5000, 0, "here")
    assert asked.question.is_categorical
    assert sorted(set(asked.question.value)) == classes


def test_measures_are_numbers(units):
    given = pd.Series(np.arange(units.n_obs) / 7, index=units.obs_names)
    given.iloc[:5] = np.inf
    features = own_features(units, ["cnn"], "here")
    asked = ask(units, features, "q", given, "median", 5000, 0, "here")
    assert not asked.question.is_categorical
    assert len(asked.question.value) == units.n_obs - 5


def test_classes_are_counted_among_the_units_drawn(units):
    given = pd.Series("a", index=units.obs_names, dtype=object)
    given.iloc[:800], given.iloc[800:812] = "b", "few"
    features = own_features(units, ["cnn"], "here")
    asked = ask(units, features, "q", given, "median", 200, 0, "here")
    assert set(asked.question.value) == {"a", "b"}


def test_what_does_not_vary_says_nothing(units):
    features = own_features(units, ["cnn"], "here") * 0
    given = pd.Series(np.where(np.arange(units.n_obs) % 2, "a", "b"), index=units.obs_names)
    with pytest.raises(UserError, match="30 genes, and 0 features that vary"):
        ask(units, features, "q", given, "median", 200, 0, "here")
    with pytest.raises(UserError, match="none beside the question"):
        ask(units, features.iloc[:, :0], "q", given, "median", 200, 0, "here")
