"""Named clusters of measured and predicted expression, and how far the two agree."""

from dataclasses import dataclass

import pandas as pd

from histoscribe.report.facts import RunFacts
from histoscribe.report.results import Results
from histoscribe.report.wording import NOTHING, number, percent, whole

MEASURED = "measured"
N_MARKERS = 6
REFERENCES = {"measured": "types by measurement", "labels": "labels that were given"}
LEVELS = {"broad_class": "broad classes", "type": "types", "cluster": "clusters"}


@dataclass(frozen=True)
class TypeRow:
    """A cluster in words; `share` is for its bar."""

    cluster: str
    name: str
    broad_class: str
    n_units: str
    share: float
    share_words: str
    score: str
    runner_up: str
    markers: str
    is_ambiguous: bool
    is_dropped: bool


@dataclass(frozen=True)
class TypeTable:
    """Clusters of a section, largest first; `source` says by what expression."""

    sample: str
    source: str
    rows: list[TypeRow]


def type_tables(facts: RunFacts, results: Results) -> list[TypeTable]:
    """Tables in the order of the sheet, measured before predicted."""
    order = {section.sample: i for i, section in enumerate(facts.sections)}
    found = sorted(
        results.clusters.items(),
        key=lambda item: (order.get(item[0][1], len(order)), item[0][0] != MEASURED),
    )
    return [
        TypeTable(sample, _source_words(source, facts), [_row(row) for row in _ordered(table)])
        for (source, sample), table in found
    ]


def _source_words(source: str, facts: RunFacts) -> str:
    if source == MEASURED:
        return MEASURED
    experiment, _, fold = source.partition("/")
    several = len(facts.folds) > 1
    return f"predicted ({experiment}, fold {fold})" if several else f"predicted ({experiment})"


def _ordered(table: pd.DataFrame) -> list[dict]:
    ordered = table.sort_values(["is_dropped", "n_units"], ascending=[True, False], kind="stable")
    return ordered.to_dict("records")


def _row(row: dict) -> TypeRow:
    runner_up = row["runner_up"]
    has_second = isinstance(runner_up, str) and runner_up
    markers = row["markers"] if isinstance(row["markers"], str) else ""
    return TypeRow(
        cluster=str(row["cluster"]),
        name=str(row["type"]),
        broad_class=str(row["broad_class"]) if isinstance(row["broad_class"], str) else "",
        n_units=whole(row["n_units"]),
        share=float(row["share"]),
        share_words=percent(row["share"]),
        score=number(row["score"], 2),
        runner_up=f"{runner_up} ({number(row['runner_up_score'], 2)})" if has_second else NOTHING,
        markers=", ".join(markers.split(",")[:N_MARKERS]),
        is_ambiguous=bool(row["is_ambiguous"]),
        is_dropped=bool(row["is_dropped"]),
    )


@dataclass(frozen=True)
class AgreementRow:
    """One comparison of predicted types, in words."""

    sample: str
    reference: str
    level: str
    n_units: str
    compared: str
    accuracy: str
    by_chance: str
    kappa: str
    ari: str
    nmi: str


def agreement_rows(results: Results) -> list[AgreementRow]:
    """Predicted against measured types, and given labels, section by section."""
    several = len({fold for _, fold, _ in results.agreement}) > 1
    return [
        AgreementRow(
            sample=f"{sample} ({fold})" if several else sample,
            reference=REFERENCES.get(row["reference"], row["reference"]),
            level=LEVELS[row["level"]],
            n_units=whole(row["n_units"]),
            compared=percent(row["share_compared"]),
            accuracy=percent(row["accuracy"]),
            by_chance=percent(row["accuracy_by_chance"]),
            kappa=number(row["kappa"], 2),
            ari=number(row["ari"], 2),
            nmi=number(row["nmi"], 2),
        )
        for (_, fold, sample), table in results.agreement.items()
        for _, row in table.iterrows()
    ]
