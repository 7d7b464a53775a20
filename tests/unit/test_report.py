import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import yaml
from report_run import (
    CONFIG,
    PCC,
    TEMPLATES,
    accounting,
    alignment,
    clusters,
    leakage,
    page_of,
    pictures_of,
    results_of,
    run_of,
    section_facts,
    write_figures,
)

from histoscribe.experiments import BASELINES as ALL_BASELINES
from histoscribe.experiments import merge
from histoscribe.folds import resolve_folds
from histoscribe.report.account import accounts, alignments
from histoscribe.report.accuracy import (
    BASELINE_WORDS,
    charts,
    experiments_explained,
    lines,
    smoothed,
)
from histoscribe.report.cautions import NOTE, WARNING, cautions
from histoscribe.report.facts import FoldFacts, RunFacts
from histoscribe.report.gene_table import (
    MAX_VALUES,
    POOLED,
    gene_views,
    payload,
    training_grades_kept,
)
from histoscribe.report.links import run_links
from histoscribe.report.methods import CITED_BY, ENCODERS, MODELS, methods
from histoscribe.report.overview import lead, tiles
from histoscribe.report.page import with_citations
from histoscribe.report.pictures import embed, figures_of, read_captions
from histoscribe.report.references import read_references
from histoscribe.report.results import (
    PredictionNumbers,
    Results,
    read_jobs,
    read_table,
    recorded_versions,
)
from histoscribe.report.run_facts import run_facts
from histoscribe.report.settings import own_settings
from histoscribe.report.wording import NOTHING, counted, duration, listed, number, percent, whole
from histoscribe.run import load_run

EVIL = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script><b>", "{{ 7*7 }}")


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
        "of the genes can't be trusted",
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
    results = changed(results_of(facts), "alignment", {"s1": alignment("unrelated")})
    levels = [caution.level for caution in cautions(facts, results)]
    assert levels == sorted(levels, reverse=True) == [WARNING, NOTE]


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
        "50\u202f% of the genes can't be trusted",
    ]
    (view,) = gene_views(facts, results)
    assert view.table["gene"].tolist() == ["ACTB", "NA"]
    assert view.table["share"].round(3).tolist()[0] == 0.833
    assert np.isnan(view.table["share"][1])  # its ceiling is none
    page = page_of(facts, results)
    assert "Nothing in this run was scored" in page and "slide-9" in page
    assert recorded_versions(results) == {"numpy": "2.0"}


def test_a_run_that_only_prepares_has_a_report():
    facts = run_of(
        sections=[section_facts("s1", "d1", "none")],
        experiments=[],
        folds=[FoldFacts("holdout", [], [], [], False)],
        first=None,
    )
    page = page_of(facts, Results(accounting={"s1": accounting()}))
    assert "Nothing was trained or predicted" in page
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
    explained = dict(experiments_explained(facts))
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


# Methods.


def test_every_citation_is_in_the_references():
    references = read_references(TEMPLATES / "references.bib")
    cited = {key for keys in CITED_BY.values() for key in keys}
    assert cited <= set(references)
    assert all(r.bibtex.count("{") == r.bibtex.count("}") for r in references.values())
    assert references["prts"].short == "Wen et al. 2025"
    assert references["prts"].doi == "10.34133/research.0961"
    assert references["snakemake"].line.startswith("Mölder et al. Sustainable data analysis")


def experiment(**changes):
    return replace(run_of().experiments[0], **changes)


def test_methods_follow_the_settings():
    facts = run_of()
    found = methods(facts, results_of(facts), {"histoscribe": "0.2.0"})
    text = "\n".join(found.paragraphs)
    for words in (
        "Four H&E-stained sections of 3 donors",
        "segmented with StarDist [@stardist] (model histoscribe_he",
        "more than 20 molecules",
        "40 genes were chosen on training units alone",
        "fitted to the counts (Poisson likelihood; 3 members averaged)",
        "trained on s1 and s2 and tested on s3 and s4",
        "HistoScribe 0.2.0",
    ):
        assert words in text, words
    assert found.cited[:2] == ["snakemake", "prts"]
    references = read_references(TEMPLATES / "references.bib")
    assert "(Schmidt et al. 2018)" in with_citations(text, references)
    assert "[@" not in with_citations(text, references)
    assert "of itself and a tile of 128 µm around it" in text
    local = run_of(experiments=[experiment(use=["local"])])
    assert "stains [@macenko], of itself." in "\n".join(methods(local, Results(), {}).paragraphs)
    named = methods(facts, results_of(facts, clusters={("measured", "s3"): clusters()}), {})
    assert "umap" in named.cited
    panel = {**CONFIG, "genes": {**CONFIG["genes"], "panel": "genes.txt"}}
    assert "given panel" in "\n".join(
        methods(run_of(config=panel), results_of(facts), {}).paragraphs
    )


@pytest.mark.parametrize("kind", [*MODELS, "stacked"])
def test_every_model_has_its_words(kind):
    members = ["multitask", "kernel"] if kind == "stacked" else []
    settings = {"members": {name: CONFIG["model"][name] for name in members}}
    first = experiment(kind=kind, members=members, settings=settings if members else {})
    facts = run_of(experiments=[first])
    assert "The model (full) was" in "\n".join(methods(facts, Results(), {}).paragraphs)


@pytest.mark.parametrize("name", list(CONFIG["features"]["encoders"]))
def test_every_encoder_has_its_words(name):
    assert CONFIG["features"]["encoders"][name]["kind"] in ENCODERS
    facts = run_of(experiments=[experiment(encoders=[name])])
    text = "\n".join(methods(facts, Results(), {}).paragraphs)
    assert "was described from the image by" in text


@pytest.mark.parametrize("unit", ["cell", "bin", "spot"])
def test_every_unit_has_its_words(unit):
    sections = [replace(s, unit=unit, outlines="grown") for s in run_of().sections]
    facts = run_of(sections=sections)
    text = "\n".join(methods(facts, results_of(facts), {}).paragraphs)
    assert f"{unit}s".capitalize() in text and "nucleuss" not in text
    page_of(facts, results_of(facts))


def test_settings_that_differ_are_listed():
    config = {**CONFIG, "run": "x", "seed": 4, "simulation": {"a": {"seed": 1}}}
    config["model"] = {**CONFIG["model"], "kind": "prts"}
    config["features"] = {**CONFIG["features"], "encoder": ["a", "b"]}
    found = {s.key: (s.value, s.default) for s in own_settings(config, CONFIG)}
    assert found == {
        "seed": ("4", "0"),
        "model.kind": ("prts", "multitask"),
        "features.encoder": ("[a, b]", "morphology"),
    }


# Files.


def test_tables_keep_genes_that_are_called_na(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("gene\tpcc\ttrust\nNA\t\tA\nNAN\t0.5\t\n1\t0.2\tB\n")
    table = read_table(path)
    assert table["gene"].tolist() == ["NA", "NAN", "1"]
    assert np.isnan(table["pcc"][0]) and pd.isna(table["trust"][1])


def test_time_and_memory_by_rule(tmp_path):
    assert read_jobs(tmp_path) is None
    for name, seconds, mb in (("train/a", 10, 500), ("train/b", 20, 900), ("plot", 5, "-")):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:10\t{mb}\n")
    jobs = read_jobs(tmp_path)
    assert jobs["rule"].tolist() == ["train", "plot"]
    assert jobs.iloc[0].tolist() == ["train", 2, 30.0, 900.0]


def test_figures_shrink_until_they_fit_and_the_rest_are_linked(tmp_path):
    names = [f"gene_maps/full/holdout/s{i}" for i in range(4)]
    files = write_figures(tmp_path / "figures", names, (2000, 500))
    figures = figures_of(files, tmp_path / "figures", unnamed=["holdout"])
    assert figures[0].kind == "gene_maps" and figures[0].name == "s0 (full)"
    assert figures[0].hrefs[0] == ("figures/gene_maps/full/holdout/s0.pdf", "PDF")
    large = embed(figures, 10**9)
    assert {picture.width for picture in large} == {1800}
    full_size = sum(len(picture.uri) for picture in large)
    small = embed(figures, full_size * 2 // 3)
    assert {picture.width for picture in small} == {1300}
    assert sum(len(picture.uri) for picture in small) <= full_size * 2 // 3
    few = embed(figures, full_size // 8)
    shown = [picture for picture in few if picture.uri]
    assert 0 < len(shown) < 4 == len(few)
    assert sum(len(picture.uri) for picture in shown) <= full_size // 8
    facts = run_of()
    page = page_of(facts, results_of(facts), pictures=few)
    assert "did not fit" in page and "figures/gene_maps/full/holdout/s3.pdf" in page


def test_drawings_are_kept_without_loss(tmp_path):
    from PIL import Image

    path = tmp_path / "figures/ablation.png"
    path.parent.mkdir()
    Image.new("RGBA", (100, 50), (0, 0, 0, 0)).save(path)
    (picture,) = embed(figures_of([path], path.parent, unnamed=[]), 10**6)
    assert picture.uri.startswith("data:image/png")
    assert (picture.figure.kind, picture.figure.name) == ("ablation", "")


# The page.


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of scripts."""

    def __init__(self):
        super().__init__()
        self.found, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def elements_of(page):
    parser = Elements()
    parser.feed(page)
    return parser


def test_names_from_sheets_and_genes_are_escaped(tmp_path):
    tested = ("s3",)
    plain = run_of(tested=tested)
    sections = [replace(s, donor=EVIL[0], group=EVIL[1]) for s in plain.sections]
    sections[-1] = replace(sections[-1], sample=EVIL[1])
    facts = run_of(
        name=EVIL[0],
        sections=sections,
        folds=[FoldFacts("holdout", ["s1", "s2"], [], [EVIL[1]], False)],
    )
    genes = [*EVIL, "ACTB"]
    results = results_of(facts, genes, clusters={("measured", EVIL[1]): clusters(EVIL[0])})
    page = page_of(facts, results, viewers={EVIL[1]: "viewer/x/index.html"})
    parser = elements_of(page)
    scripts = [a for tag, a in parser.found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "gene-data"}, {}]
    assert not [a for _, a in parser.found if any(name.startswith("on") for name in a)]
    assert "img" not in {tag for tag, a in parser.found if a.get("src") == "x"}
    assert "49" not in page.split("<h1>")[1].split("</h1>")[0]
    block = re.search(r'id="gene-data">(.*?)</script>', page, flags=re.DOTALL)[1]
    assert "<" not in block
    assert set(json.loads(block)[0]["values"][0]) == set(genes)
    assert EVIL[0] in "".join(parser.text)  # shown as it is written


def test_the_page_loads_nothing(tmp_path):
    facts = run_of()
    pictures = pictures_of(tmp_path, ["ablation", "gene_maps/full/holdout/s3"])
    parser = elements_of(page_of(facts, results_of(facts), pictures=pictures))
    for tag, attributes in parser.found:
        for name in ("src", "srcset", "poster", "data", "background"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        href = attributes.get("href", "#")
        if tag != "a":
            assert href in ("#", "data:,")
        elif ":" in href:
            assert href.startswith("https://doi.org/")
    policy = next(a["content"] for t, a in parser.found if "http-equiv" in a)
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    ids = [a["id"] for _, a in parser.found if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for t, a in parser.found if t == "a" and a["href"].startswith("#")}
    assert targets <= set(ids)


def test_the_page_stays_small_with_many_genes_and_sections():
    facts = run_of(tested=tuple(f"t{i}" for i in range(12)))
    page = page_of(facts, results_of(facts, [f"GENE{i}" for i in range(2000)]))
    assert len(page.encode()) < 5_000_000  # what figures leave of 25 MB


def test_cell_types_show_names_and_runners_up():
    facts = run_of(tested=("s3",))
    tables = {("full/holdout", "s3"): clusters(), ("measured", "s3"): clusters()}
    results = results_of(facts, clusters=tables)
    page = page_of(facts, results)
    assert page.index("s3, measured") < page.index("s3, predicted (full)")
    assert "endothelial (1.00)" in page and "too small, left out" in page


def test_with_several_folds_each_number_says_which(tmp_path):
    folds = [
        FoldFacts("donor-d1", ["s2"], [], ["s1", "s3"], False),
        FoldFacts("donor-d2", ["s1"], [], ["s2", "s3"], False),
    ]
    facts = run_of(tested=("s3",), folds=folds)
    results = results_of(facts, leakage={fold.name: leakage("fine") for fold in folds})
    assert [view.name for view in gene_views(facts, results)[1:]] == [
        "s1 (fold donor-d1)",
        "s3 (fold donor-d1)",
        "s2 (fold donor-d2)",
        "s3 (fold donor-d2)",
    ]
    assert [chart.title for chart in charts(facts, results)][-1] == "s3 (fold donor-d2)"
    files = write_figures(tmp_path / "figures", ["gene_maps/full/donor-d1/s3"], (30, 20))
    (figure,) = figures_of(files, tmp_path / "figures", unnamed=[])
    assert figure.name == "s3 (full, donor-d1)"
    page = page_of(facts, results)
    assert "2 folds: who was tested when" in page
    assert "in each of 2 folds" in page and "take turns at being tested" in page


def test_every_kind_of_figure_has_a_caption(repository):
    captions = read_captions(TEMPLATES / "captions.yaml")
    rules = "\n".join(p.read_text() for p in (repository / "workflow/rules").glob("*.smk"))
    kinds = set(re.findall(r"<results>/figures/([a-z_]+)", rules))
    assert kinds and kinds <= set(captions)


def test_facts_of_a_checked_run_are_plain_values(repository, monkeypatch):
    monkeypatch.chdir(repository)
    demo = yaml.safe_load((repository / "config/demo/config.yaml").read_text())
    config = merge(CONFIG, demo)
    run = load_run(config, repository / "workflow/schemas")
    plain = run_facts(run, resolve_folds(run, config), config, given={})
    facts = RunFacts.of(yaml.safe_load(yaml.safe_dump(plain)))  # as Snakemake hands it over
    assert facts.first == "full" and facts.unit == "nucleus"
    assert facts.tested == [("holdout", "section-3")]
    assert facts.learnt_from == ["section-1", "section-2"]
    assert all(section.is_simulated for section in facts.sections)
    assert {section.outlines for section in facts.sections} == {"segmented"}
    assert {e.name for e in facts.experiments if e.is_baseline} == set(ALL_BASELINES)
    assert set(ALL_BASELINES) == set(BASELINE_WORDS)
    given = {("section-1", "nuclei"): "nuclei.geojson"}
    outlines = run_facts(run, resolve_folds(run, config), config, given)["sections"]
    assert [section["outlines"] for section in outlines] == ["given", "segmented", "segmented"]


def test_links_start_from_the_results_folder():
    links = run_links(
        is_scored=True,
        predictions=[("full", "holdout", "s 1")],
        models=[("full", "holdout")],
        sections=["s 1"],
        exported={"spatialdata/s1.zarr": "for napari"},
    )
    hrefs = [link["href"] for link in links]
    assert hrefs[0] == "summary.tsv" and "full/holdout/predicted/s%201.h5ad" in hrefs
    assert not any(href.startswith(("/", "http")) for href in hrefs)
