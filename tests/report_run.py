"""A small run as the report sees it, from random numbers, for tests to bend."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from histoscribe.report.facts import ExperimentFacts, FoldFacts, RunFacts, SectionFacts
from histoscribe.report.page import Link, Material, render
from histoscribe.report.pictures import Picture, embed, figures_of, read_captions
from histoscribe.report.references import read_references
from histoscribe.report.results import PredictionNumbers, Results, UnitNumbers

REPOSITORY = Path(__file__).parent.parent
TEMPLATES = REPOSITORY / "resources/report"
CONFIG = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
PCC = {"full": 0.30, "ridge-like": 0.25, "block-ridge": 0.20, "total-counts": 0.10}
PCC |= {"training-mean": 0.0, "shuffled-image": 0.01}
BASELINES = ("block-ridge", "total-counts", "training-mean", "shuffled-image")


def section_facts(sample: str, donor: str, split: str, **changes: object) -> SectionFacts:
    facts = {
        "sample": sample,
        "donor": donor,
        "platform": "visium_hd",
        "unit": "nucleus",
        "split": split,
        "group": None,
        "image": f"{sample}.tif",
        "outlines": "segmented",
        "is_simulated": False,
    }
    return SectionFacts(**{**facts, **changes})


def run_of(tested: tuple[str, ...] = ("s3", "s4"), **changes: object) -> RunFacts:
    """Two sections trained on, of donors d1 and d2, and those tested, of d3."""
    sections = [section_facts("s1", "d1", "train"), section_facts("s2", "d2", "train")]
    sections += [section_facts(sample, "d3", "test") for sample in tested]
    experiments = [
        ExperimentFacts(
            name=name,
            kind="multitask" if name == "full" else "ridge",
            is_baseline=name in BASELINES,
            members=[],
            encoders=["morphology"],
            use=["local", "global"],
            columns=None,
            neighbours_um=[],
            shuffled=False,
            settings=CONFIG["model"]["multitask" if name == "full" else "ridge"],
        )
        for name in PCC
    ]
    facts = {
        "name": "run-1",
        "sections": sections,
        "experiments": experiments,
        "folds": [FoldFacts("holdout", ["s1", "s2"], [], list(tested), False)],
        "first": "full",
        "bundle": None,
        "config": CONFIG,
    }
    return RunFacts(**{**facts, **changes})


def gene_scores(genes: list[str], pcc: float, seed: int) -> pd.DataFrame:
    """A gene table as evaluated/{sample}.tsv is, as far as the report reads it."""
    rng = np.random.default_rng(seed)
    values = np.clip(pcc + rng.normal(0, 0.1, len(genes)), -1, 1)
    return pd.DataFrame(
        {
            "gene": genes,
            "pcc": values,
            "pcc_low": values - 0.03,
            "pcc_high": values + 0.03,
            "ceiling": np.clip(values + 0.1, 0.02, 1),
            "skill": values**2 * 0.9,
            "auroc": 0.7,
            "fraction_nonzero": rng.random(len(genes)),
            "coverage_randomised": 0.9,
            "trust": np.where(values > 0.35, "A", np.where(values > 0.2, "B", "C")),
        }
    )


def results_of(
    facts: RunFacts, genes: list[str] | None = None, n_units: int = 4000, **changes: object
) -> Results:
    """What the files of a run without faults would say."""
    genes = genes or [f"GENE{i}" for i in range(40)]
    scores = {
        (name, fold, sample): gene_scores(genes, PCC[name], seed=i + 10 * j)
        for i, name in enumerate(PCC)
        for j, (fold, sample) in enumerate(facts.tested)
    }
    summary = pd.DataFrame(
        [
            {
                "experiment": name,
                "fold": fold,
                "sample": sample,
                "n_units": n_units,
                "pcc_mean": PCC[name],
                "ceiling_mean": 0.4,
                "fraction_of_ceiling_median": PCC[name] / 0.4,
                "pcc_mean_low": PCC[name] - 0.01,
                "pcc_mean_high": PCC[name] + 0.01,
                "rmse_mean": 0.2,
                "skill_mean": 0.1,
                "auroc_mean": 0.7,
                "alignment": "aligned",
                "pcc_mean_16um": PCC[name] + 0.1,
                "ceiling_mean_16um": 0.5,
            }
            for fold, sample in facts.tested
            for name in PCC
        ]
    )
    comparisons = pd.DataFrame(
        [
            (name, "full", PCC[name] - PCC["full"], PCC[name] - 0.31, PCC[name] - 0.29, fold, s)
            for fold, s in facts.tested
            for name in PCC
            if name != "full"
        ],
        columns=["experiment", "against", "pcc_difference", "low", "high", "fold", "sample"],
    )
    var = pd.DataFrame({"trust": "A", "unseen_pcc": 0.3, "unseen_ceiling": 0.4}, index=genes)
    samples = [section.sample for section in facts.sections]
    found = {
        "summary": summary if len(summary) else None,
        "comparisons": comparisons if len(summary) else None,
        "scores": scores,
        "units": {sample: UnitNumbers(n_units, 70.0, 55.0, {}) for sample in samples},
        "accounting": {sample: accounting() for sample in samples},
        "alignment": {sample: alignment("aligned") for sample in samples},
        "leakage": {"holdout": leakage("fine")},
        "predicted": {
            ("full", fold, sample): PredictionNumbers(n_units, 0.01, 0.5, var, {})
            for fold, sample in facts.tested
        },
    }
    return Results(**{**found, **changes})


def accounting(kept: int = 3600) -> pd.DataFrame:
    rows = [
        ("counting", "umi_under_tissue", np.nan, 1_000_000),
        ("counting", "umi_in_nuclei", np.nan, 400_000),
        ("counting", "umi_assigned", np.nan, 390_000),
        ("filter", "all", 0, 4000),
        ("filter", "umi > 20", 4000 - kept, kept),
        ("kept", "umi_kept", np.nan, 380_000),
    ]
    return pd.DataFrame(rows, columns=["stage", "rule", "removed", "left"])


def alignment(verdict: str) -> pd.DataFrame:
    detail = "x +0.1, y -0.2 um (medians of 11 of 12 regions)"
    row = {"region": "all", "verdict": verdict, "shift_um": 0.22, "detail": detail}
    return pd.DataFrame([row, {"region": "1", "shift_um": 0.3}])


def leakage(verdict: str) -> pd.DataFrame:
    return pd.DataFrame([{"what": "donors", "found": "no donor on both sides", "verdict": verdict}])


def clusters(markers: str = "NPHS1,NPHS2") -> pd.DataFrame:
    """A table as annotated/{source}/{sample}.clusters.tsv is."""
    columns = [
        "cluster",
        "n_units",
        "share",
        "type",
        "broad_class",
        "score",
        "runner_up",
        "runner_up_score",
        "is_ambiguous",
        "is_dropped",
        "markers",
    ]
    rows = [
        ("0", 3000, 0.75, "podocyte", "glomerulus", 4.2, "endothelial", 1.0, False, False, markers),
        ("1", 900, 0.225, "ambiguous", "tubule", 1.1, "collecting duct", 1.0, True, False, "UMOD"),
        ("2", 100, 0.025, "unknown", np.nan, np.nan, np.nan, np.nan, False, True, np.nan),
    ]
    return pd.DataFrame(rows, columns=columns)


def write_figures(folder: Path, names: list[str], size_px: tuple[int, int]) -> list[Path]:
    """Noisy pictures, which no format makes small, as .png with a .pdf beside each."""
    rng = np.random.default_rng(0)
    for name in names:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size_px[::-1], 3), dtype=np.uint8)).save(path)
        path.with_suffix(".pdf").write_text("not read")
    return [folder / f"{name}{ending}" for name in names for ending in (".pdf", ".png")]


def material_of(facts: RunFacts, results: Results, **changes: object) -> Material:
    found = {
        "facts": facts,
        "results": results,
        "pictures": [],
        "captions": read_captions(TEMPLATES / "captions.yaml"),
        "references": read_references(TEMPLATES / "references.bib"),
        "defaults": CONFIG,
        "versions": {"histoscribe": "0.2.0", "snakemake": "9.27.1"},
        "links": [Link("Scores", "summary.tsv", "summary.tsv", "one row")],
        "viewers": {},
        "written": date(2026, 1, 2),
    }
    return Material(**{**found, **changes})


def page_of(facts: RunFacts, results: Results, **changes: object) -> str:
    return render(material_of(facts, results, **changes), TEMPLATES)


def pictures_of(folder: Path, names: list[str]) -> list[Picture]:
    files = write_figures(folder / "figures", names, (300, 200))
    return embed(figures_of(files, folder / "figures", unnamed=["holdout"], tested=[]), 10_000_000)
