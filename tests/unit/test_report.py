"""What the report says of a run: numbers, warnings, accuracy and genes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_run import (
    PCC,
    accounting,
    alignment,
    clusters,
    leakage,
    page_of,
    results_of,
    run_of,
    section_facts,
)

from histoscribe.report.account import accounts, alignments
from histoscribe.report.accuracy import (
    charts,
    experiments_explained,
    lines,
    smoothed,
)
from histoscribe.report.cautions import NOTE, WARNING, cautions
from histoscribe.report.facts import FoldFacts
from histoscribe.report.gene_table import (
    MAX_VALUES,
    POOLED,
    gene_views,
    payload,
    training_grades_kept,
)
from histoscribe.report.overview import lead, tiles
from histoscribe.report.results import (
    PredictionNumbers,
    Results,
    recorded_versions,
)
from histoscribe.report.wording import NOTHING, counted, duration, listed, number, percent, whole


# Words.
def test_numbers_have_one_format():
    assert [number(v) for v in (0.1234, -0.5, -0.0001, None, np.nan, np.inf)] == [
        "0.123",
        "−0.500",
        "0.000",
        NOTHING,
        NOTHING,
        NOTHING,
    ]
    assert [percent(v).replace("\u202f", " ") for v in (0.5, 0.004, 0.00001, 0, 1, 0.999)] == [
        "50 %",
        "0.4 %",
        "< 0.1 %",
        "0 %",
        "100 %",
        "99.9 %",
    ]
    assert (whole(57600.2), whole(np.nan)) == ("57,600", NOTHING)
    assert [counted(n, "nucleus") for n in (1, 2000)] == ["1 nucleus", "2,000 nuclei"]
    assert [listed(x) for x in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]
    assert listed("abcdef", 2) == "a, b and 4 others"
    assert [duration(s).replace("\u202f", " ") for s in (4.4, 400, 11_000)] == [
        "4 s",
        "7 min",
        "3 h 03 min",
    ]


# Warnings.
def titles(facts, results, level=None):
    return [c.title for c in cautions(facts, results) if level in (None, c.level)]


def test_a_run_without_faults_has_no_warning():
    facts = run_of()
    assert titles(facts, results_of(facts)) == []


def changed(results, name, value):
    """The results with one entry of one table of dicts changed."""
    return replace(results, **{name: {**getattr(results, name), **value}})


FAULTS = {
    "alignment": (
        lambda f, r: changed(r, "alignment", {"s1": alignment("mirrored in x")}),
        "Image and molecules of s1: mirrored in x",
    ),
    "leak": (
        lambda f, r: changed(r, "leakage", {"holdout": leakage("LEAK")}),
        "Training and test share something",
    ),
    "strange section": (
        lambda f, r: changed(
            r,
            "predicted",
            {("full", "holdout", "s3"): PredictionNumbers(9, 0.3, 0.5, pd.DataFrame(), {})},
        ),
        "s3 is unlike the training sections",
    ),
    "strange median": (
        lambda f, r: changed(
            r,
            "predicted",
            {("full", "holdout", "s3"): PredictionNumbers(9, 0.0, 0.95, pd.DataFrame(), {})},
        ),
        "s3 is unlike the training sections",
    ),
    "few units": (
        lambda f, r: changed(r, "units", {"s4": replace(r.units["s4"], n_units=180)}),
        "s4 has few nuclei",
    ),
    "cuts": (
        lambda f, r: changed(r, "accounting", {"s2": accounting(kept=900)}),
        "Quality cuts removed most nuclei of s2",
    ),
    "ceiling": (
        lambda f, r: replace(r, summary=r.summary.assign(ceiling_mean=0.1)),
        "The counts of s3 are too sparse to judge most genes",
    ),
    "levels": (
        lambda f, r: replace(r, summary=r.summary.assign(skill_mean=-0.6)),
        "Levels predicted for s3 are off",
    ),
    "grades": (
        lambda f, r: replace(r, scores={k: t.assign(trust="D") for k, t in r.scores.items()}),
        "of the genes have grade D",
    ),
    "depth": (
        lambda f, r: replace(
            r,
            summary=r.summary.assign(
                pcc_mean=r.summary["pcc_mean"].mask(r.summary["experiment"] == "total-counts", 0.32)
            ),
        ),
        "total-counts does as well as full",
    ),
    "shuffled": (
        lambda f, r: replace(
            r,
            summary=r.summary.assign(
                pcc_mean=r.summary["pcc_mean"].mask(
                    r.summary["experiment"] == "shuffled-image", 0.2
                )
            ),
        ),
        "Features of other units predict s3",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_brings_its_own_warning(fault):
    facts = run_of()
    break_it, title = FAULTS[fault]
    found = titles(facts, break_it(facts, results_of(facts)), WARNING)
    assert len(found) >= 1
    assert all(title in words or "s4" in words for words in found), found


def test_warnings_stand_before_notes():
    facts = run_of(sections=[replace(s, is_simulated=True) for s in run_of().sections])
    found = {"s1": alignment("unrelated"), "s2": alignment("not checked")}
    results = changed(results_of(facts), "alignment", found)
    levels = [caution.level for caution in cautions(facts, results)]
    assert levels == sorted(levels, reverse=True) == [WARNING, WARNING, NOTE]
    assert cautions(facts, results)[0].title == "Simulated tissue"
    assert "simulated sections" in lead(facts, results)[0]


def test_notes_say_what_the_design_cannot_tell():
    one = run_of(sections=[replace(s, donor="d1") for s in run_of().sections])
    assert "One donor" in titles(one, results_of(one), NOTE)
    cut = run_of(folds=[FoldFacts("blocks-1", ["s3"], [], ["s3"], True)])
    assert "Tested within the sections that were trained on" in titles(cut, results_of(cut), NOTE)
    facts = run_of()
    results = results_of(facts)
    unchecked = changed(results, "alignment", {"s1": alignment("not checked")})
    assert titles(facts, unchecked) == ["Alignment not checked"]
    wide = {k: t.assign(coverage_randomised=0.97) for k, t in results.scores.items()}
    assert "Intervals of s3 are too wide" in titles(facts, replace(results, scores=wide), NOTE)
    unsure = results.comparisons.assign(high=0.01)
    found = titles(facts, replace(results, comparisons=unsure), NOTE)
    assert found == [
        f"The lead over {b} may be chance" for b in ("block-ridge", "total-counts")
    ] + ["The lead over shuffled-image may be chance"]
    ambiguous = clusters().assign(is_ambiguous=True)
    found = titles(facts, replace(results, clusters={("measured", "s3"): ambiguous}))
    assert found == ["Most cell types of s3 (measured) are ambiguous"]


# What is said in words.
def test_the_lead_says_what_was_reached():
    facts = run_of()
    words = " ".join(lead(facts, results_of(facts)))
    assert "8,000 nuclei in 2 sections of 2 donors" in words
    assert "2 sections it had not seen (s3 and s4)" in words
    assert "0.300 on average" in words and "about 0.400" in words
    # total-counts sees the measurement: the best baseline is one of the image.
    assert "(block-ridge) reaches 0.200" in words
    values = {tile.label: tile.value for tile in tiles(facts, results_of(facts))}
    assert values["mean PCC"] == "0.300" and values["nuclei predicted"] == "8,000"


def predict_only():
    """A run that applies a model of before to one slide where nothing was measured."""
    facts = run_of(
        sections=[section_facts("slide-9", "d9", "predict", platform="image")],
        experiments=[replace(run_of().experiments[0], name="pretrained")],
        folds=[FoldFacts("holdout", [], [], [], False)],
        first="pretrained",
        bundle="model.safetensors",
    )
    genes = pd.DataFrame({"trust": ["A", "D"], "unseen_pcc": [0.5, 0.0]}, index=["ACTB", "NA"])
    genes["unseen_ceiling"] = [0.6, 0.01]
    numbers = PredictionNumbers(1234, 0.02, 0.5, genes, {"versions": {"numpy": "2.0"}})
    return facts, Results(predicted={("pretrained", "holdout", "slide-9"): numbers})


def test_a_run_that_only_predicts_says_what_it_cannot_say():
    facts, results = predict_only()
    assert "can't say how good" in " ".join(lead(facts, results))
    assert titles(facts, results, WARNING) == [
        "Nothing was tested",
        "50\u202f% of the genes have grade D",
    ]
    (view,) = gene_views(facts, results)
    assert view.table["gene"].tolist() == ["ACTB", "NA"]
    assert view.table["share"].round(3).tolist()[0] == 0.833
    assert np.isnan(view.table["share"][1])  # its ceiling is none
    page = page_of(facts, results)
    assert "Nothing in this run was scored" in page and "slide-9" in page
    assert recorded_versions(results) == {"numpy": "2.0"}


def test_a_run_that_only_integrates_files_says_so():
    facts = run_of(sections=[], experiments=[], folds=[], first=None)
    facts = replace(facts, config=facts.config | {"integrations": {"kidney": {}, "liver": {}}})
    page = page_of(facts, Results())
    assert "brought into one latent space with shared domains: kidney and liver." in page
    assert "0 sections" not in page
    assert "The sheet names no section" in page and ">Platform<" not in page


def test_a_run_that_only_prepares_has_a_report():
    facts = run_of(
        sections=[section_facts("s1", "d1", "none")],
        experiments=[],
        folds=[FoldFacts("holdout", [], [], [], False)],
        first=None,
    )
    page = page_of(facts, Results(accounting={"s1": accounting()}))
    assert "No expression was predicted in this run" in page
    assert 'id="genes"' not in page and 'id="accuracy"' not in page


# Genes.
def test_over_several_sections_a_gene_has_its_lowest_grade():
    facts = run_of()
    results = results_of(facts)
    key = ("full", "holdout", "s4")
    scores = {**results.scores, key: results.scores[key].assign(trust="D")}
    pooled, *others = gene_views(facts, replace(results, scores=scores))
    assert pooled.name == POOLED and [v.name for v in others] == ["s3", "s4"]
    assert set(pooled.table["trust"]) == {"D"}
    both = [scores["full", "holdout", s].set_index("gene")["pcc"] for s in ("s3", "s4")]
    shown = pooled.table.set_index("gene")
    expected = sum(both) / 2
    pd.testing.assert_series_equal(
        shown["pcc"].sort_index(), expected.sort_index(), check_names=False
    )
    assert (shown["high"] == pd.concat(both, axis=1).max(axis=1)[shown.index]).all()
    assert shown["pcc"].is_monotonic_decreasing


def test_the_baseline_of_a_gene_is_that_of_the_best_baseline_of_the_image():
    facts = run_of(tested=("s3",))
    results = results_of(facts)
    (view,) = gene_views(facts, results)
    theirs = results.scores["block-ridge", "holdout", "s3"].set_index("gene")["pcc"]
    assert (view.table.set_index("gene")["baseline"] == theirs[view.table["gene"]]).all()


def test_what_a_model_of_before_grades_did_not_say_is_left_out():
    facts = run_of(tested=("s3",))
    results = results_of(facts)
    scores = {k: t.assign(trust=None, skill=np.nan) for k, t in results.scores.items()}
    (view,) = gene_views(facts, replace(results, scores=scores))
    assert not {"trust", "skill"} & set(view.table)
    page_of(facts, replace(results, scores=scores))


def test_many_sections_are_shown_together_only():
    tested = tuple(f"t{i}" for i in range(60))
    facts = run_of(tested=tested)
    genes = [f"G{i}" for i in range(1000)]
    results = results_of(facts, genes)
    assert MAX_VALUES < 60 * 1000 * 11
    (view,) = gene_views(facts, results)
    assert view.is_pooled
    assert len(json.dumps(payload([view]))) < 200_000
    assert len(charts(facts, results)) == 1
    assert {len(row.dots) for row in charts(facts, results)[0].rows} == {60}


def test_grades_of_training_are_held_against_the_test():
    facts = run_of(tested=("s3",))
    results = results_of(facts)
    earned = results.scores["full", "holdout", "s3"]["trust"]
    kept = training_grades_kept(facts, results)
    assert kept == [("s3", 40, int(earned.isin(["A", "B"]).sum()), 0)]


# Accuracy.
def test_the_chart_places_numbers_in_their_order():
    facts = run_of(tested=("s3",))
    (chart,) = charts(facts, results_of(facts))
    baselines = ["block-ridge", "total-counts", "shuffled-image", "training-mean"]
    assert [row.name for row in chart.rows] == ["full", "ridge-like", *baselines]
    x = {row.name: row.dots[0].x for row in chart.rows}
    by_x = sorted(x, key=x.get)
    assert by_x == sorted(PCC, key=PCC.get)
    assert chart.ceiling > x["full"]
    scale = (x["full"] - x["training-mean"]) / 0.3
    assert chart.ceiling - x["training-mean"] == pytest.approx(0.4 * scale, abs=0.3)
    dot = chart.rows[0].dots[0]
    assert dot.low < dot.x < dot.high
    assert all(0 <= tick <= chart.width for tick, _ in chart.ticks)


def test_a_chart_without_intervals_has_dots_alone():
    facts = run_of(tested=("s3",))
    results = results_of(facts)
    blank = results.summary.assign(pcc_mean_low=np.nan, pcc_mean_high=np.nan)
    (chart,) = charts(facts, replace(results, summary=blank))
    assert all(dot.low is None for row in chart.rows for dot in row.dots)
    page_of(facts, replace(results, summary=blank))


def test_the_table_of_accuracy_holds_every_experiment_and_its_difference():
    facts = run_of(tested=("s3",))
    rows = {line.experiment: line.cells for line in lines(facts, results_of(facts))}
    assert list(rows) == list(PCC)
    assert rows["block-ridge"][0] == "0.200" and rows["full"][4] == ""
    assert rows["block-ridge"][4] == "−0.100 (−0.110 to −0.090)"
    radii, pooled = smoothed(facts, results_of(facts))
    assert radii == ["16"] and pooled == [("s3", ["0.300 of 0.400", "0.400 of 0.500"])]
    kind = facts.experiment("full").kind
    defaults = {"model": {kind: {**facts.config["model"].get(kind, {}), "hidden": [7]}}}
    facts.config["model"].setdefault(kind, {})["hidden"] = [9]
    explained = dict(experiments_explained(facts, defaults))
    assert "hidden [9] (default [7])" in explained["full"]
    assert set(explained) == set(PCC)
    assert "the tile around it" in explained["full"]


def test_accounts_and_alignment_in_words():
    facts = run_of(tested=("s3",))
    results = changed(results_of(facts), "alignment", {"s1": alignment("shifted")})
    account = accounts(facts, results)[0]
    assert [round(bar.share, 2) for bar in account.molecules] == [1, 0.4, 0.39, 0.38]
    assert account.units[1].words.replace("\u202f", " ") == "3,600 (90 %)"
    assert account.cuts == [("more than 20 molecules", "400")]
    first = alignments(facts, results)[0]
    assert (first.sample, first.is_fine, first.shift_um) == ("s1", False, "0.2 µm")
    assert "0.2 µm (medians" in first.detail
