"""Morphology-gene maps in plain words: which features tell what, and what the image adds."""

from dataclasses import dataclass

import pandas as pd

from histoscribe.morphology_map.kinds import (
    BOTH,
    CHOSEN,
    GENES,
    IMAGE,
    INTEGRATION,
    NOISE,
    OVERESTIMATION,
    TRANSLATION,
    shares_of_pcc,
)
from histoscribe.report.facts import RunFacts
from histoscribe.report.results import MapTables, Results
from histoscribe.report.wording import counted, number, percent, span

GAIN_P_BELOW = 0.025  # two sets are looked at
MEASURES = {"balanced_accuracy": "Balanced accuracy", "ari": "ARI", "r2": "R²"}
MEANING = {
    TRANSLATION: "tell of the question and are told by the genes (translation)",
    INTEGRATION: "tell of it though the genes were not shown to tell of them (integration)",
    OVERESTIMATION: "follow genes but not the question (overestimation)",
    NOISE: "do neither, as far as can be shown (noise)",
}


@dataclass(frozen=True)
class MapView:
    """One map: its sentences, and a row for each set of what the question was answered from."""

    name: str
    words: list[str]
    gains: list[dict[str, str]]


def map_views(facts: RunFacts, results: Results) -> list[MapView]:
    """Maps in the order of the config."""
    entries = facts.config.get("morphology_maps") or {}
    return [
        MapView(name, _words(entries[name], tables), _gain_rows(tables.gains))
        for name, tables in results.maps.items()
    ]


def _words(entry: dict, tables: MapTables) -> list[str]:
    n = tables.features["quadrant"].value_counts()
    asked = f"Asked of the units of {entry.get('sample') or entry['file']}: {entry['question']}."
    parts = "; ".join(f"{n.get(name, 0)} {words}" for name, words in MEANING.items())
    return [
        asked,
        f"Of {counted(len(tables.features), 'image feature')}, {parts}.",
        *_gain_words(tables.gains),
        *_gene_words(tables.genes),
    ]


def _gain_words(gains: pd.DataFrame) -> list[str]:
    rows = gains[gains["measure"] == gains["measure"].iloc[0]].set_index("from")
    measure = MEASURES[rows["measure"].iloc[0]].lower().replace("ari", "ARI").replace("r²", "R²")
    said = (
        f"In tissue that nothing was learnt from, it is answered with a {measure} of "
        f"{number(rows.loc[GENES, 'value'])} from genes, {number(rows.loc[IMAGE, 'value'])} from "
        f"the image and {number(rows.loc[BOTH, 'value'])} from both."
    )
    added = rows.loc[[BOTH, CHOSEN]]
    adds = added[(added["gain_low"] > 0) & (added["gain_p"] < GAIN_P_BELOW)]
    if added["gain_low"].isna().all():
        verdict = "The section is too small to say whether the image adds anything."
    elif len(adds):
        name, row = adds["gain"].idxmax(), adds.loc[adds["gain"].idxmax()]
        verdict = (
            f"The image adds to what the components of a unit's own expression tell: {name} gain "
            f"{number(row['gain'])} (95 % interval {span(row['gain_low'], row['gain_high'])}; as "
            f"much once moved over the section: p {number(row['gain_p'])})."
        )
    else:
        verdict = "That the image adds to the genes could not be shown."
    return [said, verdict]


def _gene_words(genes: pd.DataFrame) -> list[str]:
    if genes.empty:
        return []
    shares = shares_of_pcc(genes)
    return [
        f"{percent(shares[OVERESTIMATION])} of the mean PCC of the predictions comes from genes "
        "that are reliably predicted and were not shown to say anything of the question, "
        f"{percent(shares['housekeeping'])} from housekeeping genes."
    ]


def _gain_rows(gains: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "source": row["from"],
            "measure": MEASURES[row["measure"]],
            "value": number(row["value"]),
            "span": span(row["low"], row["high"]),
            "gain": "" if row["from"] == GENES else number(row["gain"]),
            "gain_span": "" if row["from"] == GENES else span(row["gain_low"], row["gain_high"]),
        }
        for row in gains.to_dict("records")
    ]
