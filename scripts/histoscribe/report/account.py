"""What was lost between the tissue and the kept units, and whether image and molecules agree."""

import re
from dataclasses import dataclass

import pandas as pd

from histoscribe.report.cautions import kept_share
from histoscribe.report.facts import RunFacts
from histoscribe.report.results import Results
from histoscribe.report.wording import number, percent, plural, whole
from histoscribe.verdicts import ALIGNED, NOT_CHECKED

CUTS = {
    "area_um2 >": "area above {bound} µm²",
    "area_um2 <": "area below {bound} µm²",
    "area_px2 <": "area below {bound} px² of the full image",
    "umi >": "more than {bound} molecules",
    "n_genes >": "more than {bound} genes",
    "mito_fraction <": "mitochondrial share below {bound}",
}
INSIDE = {
    "umi_in_nuclei": "in nuclei",
    "umi_in_cells": "in cells",
    "umi_in_touched_bins": "in bins that a unit touches",
}


UM = re.compile(r"\bum\b")


@dataclass(frozen=True)
class Bar:
    """A part of a whole, as a bar with its words."""

    label: str
    share: float
    words: str


@dataclass(frozen=True)
class Account:
    """A section's two accounts: of molecules, and of units with what each cut removed."""

    sample: str
    molecules: list[Bar]
    units: list[Bar]
    cuts: list[tuple[str, str]]


@dataclass(frozen=True)
class Alignment:
    """A section's verdict: what was found, in words, and how far molecules and image are apart."""

    sample: str
    verdict: str
    is_fine: bool
    is_checked: bool
    shift_um: str
    detail: str


def accounts(facts: RunFacts, results: Results) -> list[Account]:
    return [
        _account(sample, table, plural(facts.unit)) for sample, table in results.accounting.items()
    ]


def _account(sample: str, table: pd.DataFrame, unit: str) -> Account:
    left = dict(zip(table["rule"], table["left"], strict=True))
    molecules = []
    under_tissue = left.get("umi_under_tissue")
    if under_tissue:
        steps = {"umi_under_tissue": "under tissue", **INSIDE, "umi_assigned": "counted for a unit"}
        steps["umi_kept"] = f"in {unit} kept"
        molecules = [
            Bar(words, left[rule] / under_tissue, _of(left[rule], under_tissue))
            for rule, words in steps.items()
            if rule in left
        ]
    filtered = table[table["stage"] == "filter"]
    units = []
    share = kept_share(table)
    if share is not None:
        total, kept = filtered["left"].iloc[0], filtered["left"].iloc[-1]
        units = [
            Bar(f"{unit} found", 1.0, whole(total)),
            Bar(f"{unit} kept", share, _of(kept, total)),
        ]
    cuts = [
        (cut_words(rule), whole(removed))
        for rule, removed in zip(filtered["rule"], filtered["removed"], strict=True)
        if rule != "all"
    ]
    return Account(sample, molecules, units, cuts)


def _of(part: float, total: float) -> str:
    return whole(part) if part == total else f"{whole(part)} ({percent(part / total)})"


def cut_words(rule: str) -> str:
    """A cut such as "umi > 20" as a reader would say it."""
    if rule == "umi > 0":
        return "at least one molecule"
    start, _, bound = rule.rpartition(" ")
    return CUTS[start].format(bound=bound) if start in CUTS else rule


def alignments(facts: RunFacts, results: Results) -> list[Alignment]:
    """Verdicts in the order of the sheet."""
    found = []
    for section in facts.sections:
        table = results.alignment.get(section.sample)
        if table is None:
            continue
        first = table.iloc[0]
        verdict = str(first["verdict"])
        is_checked = verdict != NOT_CHECKED
        found.append(
            Alignment(
                sample=section.sample,
                verdict=verdict,
                is_fine=verdict in (ALIGNED, NOT_CHECKED),
                is_checked=is_checked,
                shift_um=f"{number(first['shift_um'], 1)} µm" if is_checked else number(None),
                detail="" if pd.isna(first["detail"]) else UM.sub("µm", str(first["detail"])),
            )
        )
    return found
