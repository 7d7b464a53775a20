"""The report's methods, citations and settings follow from what was run."""

from dataclasses import replace

import pytest
import yaml
from report_run import (
    CONFIG,
    TEMPLATES,
    clusters,
    page_of,
    results_of,
    run_of,
)

from histoscribe.experiments import BASELINES as ALL_BASELINES
from histoscribe.experiments import merge
from histoscribe.folds import resolve_folds
from histoscribe.report.accuracy import (
    BASELINE_WORDS,
)
from histoscribe.report.facts import RunFacts
from histoscribe.report.methods import CITED_BY, ENCODERS, MODELS, methods
from histoscribe.report.page import with_citations
from histoscribe.report.references import read_references
from histoscribe.report.results import (
    Results,
)
from histoscribe.report.run_facts import run_facts
from histoscribe.report.settings import own_settings
from histoscribe.run import load_run


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


def test_integration_has_its_words():
    config = {**CONFIG, "integrations": {"mice": {"stack": {}}}}
    found = methods(run_of(config=config), Results(), {})
    text = "\n".join(found.paragraphs)
    assert "integrated (mice) into one latent space with 20 spatial factors after INSPIRE" in text
    assert "Domains are Leiden clusters [@leiden]" in text and "Adjacent sections" in text
    assert (
        {"inspire", "harmony", "scib"}
        <= set(found.cited)
        <= set(read_references(TEMPLATES / "references.bib"))
    )
    assert "inspire" not in methods(run_of(), Results(), {}).cited


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
