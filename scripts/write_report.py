"""Gather what a run did and found into one page that opens from disk."""

from datetime import date
from pathlib import Path

import yaml

from histoscribe.joblog import job_log
from histoscribe.report.facts import RunFacts
from histoscribe.report.page import Link, Material, render
from histoscribe.report.pictures import embed, figures_of, read_captions
from histoscribe.report.references import read_references
from histoscribe.report.results import Results, recorded_versions
from histoscribe.storage import written_whole

PICTURES_BYTES = 20_000_000  # leaves 5 MB of 25 to the tables


def main(
    facts: RunFacts,
    results: Results,
    figures: list[Path],
    links: list[Link],
    viewers: dict[str, str],
    defaults: Path,
    software: dict[str, str],
    templates: Path,
    output: Path,
) -> None:
    only_fold = [fold.name for fold in facts.folds] if len(facts.folds) == 1 else []
    tested = [sample for _, sample in facts.tested]
    drawn = figures_of(figures, output.parent / "figures", unnamed=only_fold, tested=tested)
    material = Material(
        facts=facts,
        results=results,
        pictures=embed(drawn, PICTURES_BYTES),
        captions=read_captions(templates / "captions.yaml"),
        references=read_references(templates / "references.bib"),
        defaults=yaml.safe_load(defaults.read_text()),
        versions={**recorded_versions(results), **software},
        links=links,
        viewers=viewers,
        written=date.today(),
    )
    with written_whole(output) as partial:
        partial.write_text(render(material, templates), encoding="utf-8")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs, params = snakemake.input, snakemake.params
        main(
            facts=RunFacts.of(params.facts),
            results=Results.read(
                summary=inputs.get("summary"),
                comparisons=inputs.get("comparisons"),
                scores=dict(zip(map(tuple, params.scored), inputs.scores, strict=True)),
                units=dict(zip(params.counted, inputs.units, strict=True)),
                accounting=dict(zip(params.counted, inputs.accounting, strict=True)),
                alignment=dict(zip(params.aligned, inputs.alignments, strict=True)),
                leakage=dict(zip(params.checked, inputs.leakage, strict=True)),
                predicted=dict(zip(map(tuple, params.predicted), inputs.predicted, strict=True)),
                clusters=dict(zip(map(tuple, params.annotated), inputs.clusters, strict=True)),
                agreement=dict(zip(map(tuple, params.compared), inputs.agreement, strict=True)),
                maps={
                    name: tuple(inputs.maps[3 * i : 3 * i + 3])
                    for i, name in enumerate(params.maps)
                },
                genotypes=list(inputs.genotypes),
                benchmarks=params.benchmarks,
            ),
            figures=[Path(path) for path in inputs.figures],
            links=[Link(**link) for link in params.links],
            viewers=params.viewers,
            defaults=Path(inputs.defaults),
            software=params.software,
            templates=Path(inputs.templates[0]).parent,
            output=Path(snakemake.output[0]),
        )
