"""What a run's files say, as far as the report tells it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.provenance import recall, versions
from histoscribe.tables import read_table

Key = tuple[str, str, str]  # experiment, fold, sample


@dataclass(frozen=True)
class UnitNumbers:
    """The kept units of a section: how many, and the medians of what was counted in them."""

    n_units: int
    median_umi: float | None
    median_genes: float | None
    facts: dict


@dataclass(frozen=True)
class PredictionNumbers:
    """A predicted section. `genes` is its `var`; shares are None where no domain is known."""

    n_units: int
    out_of_domain: float | None
    median_percentile: float | None
    genes: pd.DataFrame
    facts: dict


@dataclass(frozen=True)
class MapTables:
    """Tables of a morphology-gene map, as relate_morphology writes them."""

    features: pd.DataFrame
    gains: pd.DataFrame
    genes: pd.DataFrame


@dataclass(frozen=True)
class GenotypeTables:
    """Tables of a genotype entry; `clones` and `segments` where these are inferred."""

    carriers: pd.DataFrame
    genes: pd.DataFrame
    dosage: pd.DataFrame
    image: pd.DataFrame
    clones: pd.DataFrame | None = None
    segments: pd.DataFrame | None = None


@dataclass(frozen=True)
class Results:
    """Tables of a run; what a run does not have is empty or None.

    `scores` are the gene tables of the first experiment and the baselines, `predicted` the sections
    of the first experiment, `clusters` the named clusters by source and sample, `agreement` the
    scores of predicted against measured annotation, `maps` those of morphology and genes and
    `genotypes` those of the genome, by name, `jobs` the time and memory of each job.
    """

    summary: pd.DataFrame | None = None
    comparisons: pd.DataFrame | None = None
    scores: dict[Key, pd.DataFrame] = field(default_factory=dict)
    units: dict[str, UnitNumbers] = field(default_factory=dict)
    accounting: dict[str, pd.DataFrame] = field(default_factory=dict)
    alignment: dict[str, pd.DataFrame] = field(default_factory=dict)
    leakage: dict[str, pd.DataFrame] = field(default_factory=dict)
    predicted: dict[Key, PredictionNumbers] = field(default_factory=dict)
    clusters: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    agreement: dict[Key, pd.DataFrame] = field(default_factory=dict)
    maps: dict[str, MapTables] = field(default_factory=dict)
    genotypes: dict[str, GenotypeTables] = field(default_factory=dict)
    jobs: pd.DataFrame | None = None

    @staticmethod
    def read(
        summary: str | None,
        comparisons: str | None,
        scores: dict[Key, str],
        units: dict[str, str],
        accounting: dict[str, str],
        alignment: dict[str, str],
        leakage: dict[str, str],
        predicted: dict[Key, str],
        clusters: dict[tuple[str, str], str],
        agreement: dict[Key, str],
        maps: dict[str, tuple[str, str, str]],
        genotypes: list[str],
        benchmarks: str,
    ) -> "Results":
        """What these files say; paths of what a run does not have are None or left out.

        `maps` are features, gains and genes of each; `genotypes` tables in a folder of each;
        `benchmarks` is the folder of the jobs' own
        records, as far as there are any.
        """

        def tables(paths: dict) -> dict:
            return {key: read_table(Path(path)) for key, path in paths.items()}

        return Results(
            summary=read_table(Path(summary)) if summary else None,
            comparisons=read_table(Path(comparisons)) if comparisons else None,
            scores=tables(scores),
            units={sample: read_units(Path(path)) for sample, path in units.items()},
            accounting=tables(accounting),
            alignment=tables(alignment),
            leakage=tables(leakage),
            predicted={key: read_prediction(Path(path)) for key, path in predicted.items()},
            clusters=tables(clusters),
            agreement=tables(agreement),
            maps={
                name: MapTables(*(read_table(Path(path)) for path in paths))
                for name, paths in maps.items()
            },
            genotypes=read_genotypes(map(Path, genotypes)),
            jobs=read_jobs(Path(benchmarks)),
        )


def read_genotypes(paths: Iterable[Path]) -> dict[str, GenotypeTables]:
    """Tables by the folder they lie in, which bears the entry's name."""
    tables: dict[str, dict[str, pd.DataFrame]] = {}
    for path in paths:
        tables.setdefault(path.parent.name, {})[path.stem] = read_table(path)
    return {name: GenotypeTables(**own) for name, own in tables.items()}


def read_units(path: Path) -> UnitNumbers:
    """Numbers of `units.h5ad`; the counts themselves stay on disk."""
    obs, _, facts = _annotation(path)
    medians = [
        float(obs[name].median()) if name in obs and len(obs) else None
        for name in ("umi", "n_genes")
    ]
    return UnitNumbers(len(obs), *medians, facts)


def read_prediction(path: Path) -> PredictionNumbers:
    """Numbers of a prediction; the expression itself stays on disk."""
    obs, var, facts = _annotation(path)
    strange = median = None
    if "domain_percentile" in obs and len(obs):
        strange = float(np.asarray(obs["out_of_domain"], dtype=bool).mean())
        median = float(obs["domain_percentile"].median())
    return PredictionNumbers(len(obs), strange, median, var, facts)


def _annotation(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    try:
        with h5py.File(path) as file:
            obs, var, uns = (ad.io.read_elem(file[name]) for name in ("obs", "var", "uns"))
    except (OSError, KeyError, ValueError) as error:
        said = problem(str(path), f"an unreadable file ({error})", "an .h5ad file", "Delete it.")
        raise UserError(said) from error
    return obs, var, recall(uns)


def read_jobs(folder: Path) -> pd.DataFrame | None:
    """Time and memory of the jobs that a run's `benchmarks` folder tells of, by rule.

    Columns rule, jobs, seconds, peak_mb; None where there are no such files. Rules are in the order
    of their time.
    """
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        table = pd.read_csv(path, sep="\t", na_values=["-"])
        if len(table) and {"s", "max_rss"} <= set(table):
            rows.append((rule, float(table["s"].iloc[-1]), float(table["max_rss"].iloc[-1])))
    if not rows:
        return None
    jobs = pd.DataFrame(rows, columns=["rule", "seconds", "peak_mb"])
    return (
        jobs.groupby("rule")
        .agg(jobs=("rule", "size"), seconds=("seconds", "sum"), peak_mb=("peak_mb", "max"))
        .reset_index()
        .sort_values("seconds", ascending=False, ignore_index=True)
    )


def recorded_versions(results: Results) -> dict[str, str]:
    """Versions of the packages that made the predictions, else the units, else this report."""
    made = [numbers.facts for numbers in (*results.predicted.values(), *results.units.values())]
    return next((facts["versions"] for facts in made if "versions" in facts), versions())
