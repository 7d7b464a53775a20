"""The sections of a run: what each was used for, and whether the test was fair."""

from dataclasses import dataclass

from histoscribe.leakage import LEAK
from histoscribe.report.facts import RunFacts, SectionFacts
from histoscribe.report.methods import PLATFORMS
from histoscribe.report.results import Results
from histoscribe.report.wording import NOTHING, percent, plural, whole


@dataclass(frozen=True)
class Column:
    """A number that sections have, and what it means."""

    heading: str
    meaning: str


@dataclass(frozen=True)
class SectionRow:
    """A section in words; `numbers` are by the headings of its columns."""

    sample: str
    donor: str
    platform: str
    split: str
    group: str
    numbers: dict[str, str]
    viewer: str | None


def section_rows(facts: RunFacts, results: Results, viewers: dict[str, str]) -> list[SectionRow]:
    """Sections in the order of the sheet; `viewers` are hrefs by sample."""
    return [
        SectionRow(
            sample=section.sample,
            donor=section.donor,
            platform=PLATFORMS.get(section.platform, section.platform)
            + (" (simulated)" if section.is_simulated else ""),
            split=section.split,
            group=section.group or "",
            numbers=_numbers(section, facts, results),
            viewer=viewers.get(section.sample),
        )
        for section in facts.sections
    ]


def section_columns(facts: RunFacts, results: Results) -> list[Column]:
    """The columns in which any section has a number."""
    rows = [_numbers(section, facts, results) for section in facts.sections]
    return [
        Column(heading, meaning)
        for heading, meaning in _meanings(facts).items()
        if any(row[heading] != NOTHING for row in rows)
    ]


def _meanings(facts: RunFacts) -> dict[str, str]:
    return {
        f"{plural(facts.unit).capitalize()} kept": "units that passed the quality cuts",
        f"Molecules per {facts.unit}": "median over the units kept",
        f"Genes per {facts.unit}": "median over the units kept",
        "Unlike training": "share of units whose image looks stranger than 99 % of the training "
        "units; 1 % is expected",
    }


def _numbers(section: SectionFacts, facts: RunFacts, results: Results) -> dict[str, str]:
    units = results.units.get(section.sample)
    measured = units if section.is_measured else None
    # Of several folds the first one's.
    strange = {key[2]: p.out_of_domain for key, p in reversed(results.predicted.items())}
    values = (
        whole(units.n_units if units else None),
        whole(measured.median_umi if measured else None),
        whole(measured.median_genes if measured else None),
        percent(strange.get(section.sample)),
    )
    return dict(zip(_meanings(facts), values, strict=True))


@dataclass(frozen=True)
class Checks:
    """What was compared between training and test in a fold, and whether any of it leaks."""

    fold: str
    rows: list[dict]
    n_leaks: int


def leakage_checks(results: Results) -> list[Checks]:
    """What was compared in each fold."""
    return [
        Checks(fold, table.to_dict("records"), int((table["verdict"] == LEAK).sum()))
        for fold, table in results.leakage.items()
    ]
