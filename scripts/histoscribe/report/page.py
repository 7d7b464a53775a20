"""The page itself: what the templates are given, and how they become one file."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from histoscribe.report import (
    account,
    accuracy,
    cell_types,
    gene_table,
    genotypes,
    morphology,
    sections,
    wording,
)
from histoscribe.report.cautions import WARNING, cautions
from histoscribe.report.facts import RunFacts
from histoscribe.report.methods import methods
from histoscribe.report.overview import grade_counts, lead, tiles
from histoscribe.report.pictures import Caption, Picture, caption_of
from histoscribe.report.references import Reference
from histoscribe.report.results import Results
from histoscribe.report.settings import own_settings

TEMPLATE = "page.html.jinja"
FIRST_GENES = 25  # in the page as it is printed, or read without scripts
CITATION = re.compile(r"\[(@[\w-]+(?:; @[\w-]+)*)\]")


@dataclass(frozen=True)
class Link:
    """A file of the run that the page leads to: `href` starts from the page's own folder."""

    group: str
    label: str
    href: str
    text: str = ""


@dataclass(frozen=True)
class Material:
    """All that a page is made of.

    `defaults` is the config that ships, `versions` are of the packages, `viewers` the hrefs of
    viewers by sample.
    """

    facts: RunFacts
    results: Results
    pictures: list[Picture]
    captions: dict[str, Caption]
    references: dict[str, Reference]
    defaults: dict
    versions: dict[str, str]
    links: list[Link]
    viewers: dict[str, str]
    written: date


def render(material: Material, templates: Path) -> str:
    """The page as HTML that needs nothing beside it.

    Its security policy forbids the network, and every script but its own by digest, so that a name
    that slipped through unescaped could not run.
    """
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "whole": wording.whole,
        "percent": wording.percent,
        "counted": lambda n, noun: wording.counted(n, noun),
        "listed": wording.listed,
        "plural": wording.plural,
        "duration": wording.duration,
    }
    script = (templates / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(TEMPLATE).render(
        script=script,
        script_digest=digest,
        style=(templates / "report.css").read_text(encoding="utf-8"),
        **context(material),
    )


def context(material: Material) -> dict:
    """What the templates are given."""
    facts, results = material.facts, material.results
    found = cautions(facts, results)
    views = gene_table.gene_views(facts, results)
    text = methods(facts, results, material.versions)
    cited = [material.references[key] for key in text.cited]
    grades = grade_counts(facts, results)
    radii, smoothed = accuracy.smoothed(facts, results)
    return {
        "facts": facts,
        "written": material.written.isoformat(),
        "lead": lead(facts, results),
        "tiles": tiles(facts, results),
        "warnings": [c for c in found if c.level == WARNING],
        "notes": [c for c in found if c.level != WARNING],
        "sections": sections.section_rows(facts, results, material.viewers),
        "section_columns": sections.section_columns(facts, results),
        "splits": {section.split for section in facts.sections},
        "several_folds": len(facts.folds) > 1,
        "checks": sections.leakage_checks(results),
        "charts": accuracy.charts(facts, results),
        "accuracy_headings": accuracy.HEADINGS,
        "accuracy_lines": accuracy.lines(facts, results),
        "radii": radii,
        "smoothed": smoothed,
        "explained": accuracy.experiments_explained(facts, material.defaults),
        "views": views,
        "genes_json": _json(gene_table.payload(views)),
        "gene_columns": gene_table.columns_of(views[0]) if views else [],
        "first_genes": views[0].table.head(FIRST_GENES).to_dict("records") if views else [],
        "grades": grades,
        "n_graded": sum(grades.values()),
        "kept_grades": gene_table.training_grades_kept(facts, results),
        "types": cell_types.type_tables(facts, results),
        "agreement": cell_types.agreement_rows(results),
        "maps": morphology.map_views(facts, results),
        "genotypes": genotypes.genotype_views(facts, results),
        "figures": _figures(material.pictures, material.captions),
        "n_unshown": sum(picture.uri is None for picture in material.pictures),
        "accounts": account.accounts(facts, results),
        "alignments": account.alignments(facts, results),
        "methods": [with_citations(p, material.references) for p in text.paragraphs],
        "cited": cited,
        "bibtex": "\n\n".join(reference.bibtex for reference in cited),
        "versions": material.versions,
        "settings": own_settings(facts.config, material.defaults),
        "all_settings": yaml.safe_dump(facts.config, sort_keys=False, allow_unicode=True),
        "jobs": None if results.jobs is None else results.jobs.to_dict("records"),
        "links": [
            (group, list(links))
            for group, links in groupby(material.links, key=lambda link: link.group)
        ],
        "viewers": material.viewers,
    }


def with_citations(text: str, references: dict[str, Reference]) -> str:
    """`text` with each [@key] as (who year)."""

    def short(match: re.Match) -> str:
        keys = match[1].replace("@", "").split("; ")
        return "(" + "; ".join(references[key].short for key in keys) + ")"

    return CITATION.sub(short, text)


def _json(values: object) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or opens a tag."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@dataclass(frozen=True)
class FigureGroup:
    """Figures of one kind with their caption."""

    kind: str
    caption: Caption
    pictures: list[Picture]


def _figures(pictures: list[Picture], captions: dict[str, Caption]) -> list[FigureGroup]:
    """Kinds in the order of their captions, those without one last."""
    order = {kind: i for i, kind in enumerate(captions)}
    kinds = dict.fromkeys(picture.figure.kind for picture in pictures)
    return [
        FigureGroup(
            kind, caption_of(kind, captions), [p for p in pictures if p.figure.kind == kind]
        )
        for kind in sorted(kinds, key=lambda kind: order.get(kind, len(order)))
    ]
