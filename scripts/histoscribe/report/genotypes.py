"""Genotypes in plain words: clones, and what goes with them in genes and in the image."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoscribe.genome.segments import BESIDE_OTHERS, ELSEWHERE, GAIN, LOSS
from histoscribe.genome.words import PREDICTED
from histoscribe.report.caution import NOTE, WARNING, Caution
from histoscribe.report.facts import RunFacts
from histoscribe.report.results import GenotypeTables, Results
from histoscribe.report.wording import NARROW, counted, listed, number, span, whole

IMAGE_P_BELOW = 0.05
BY_CHANCE = 0.5  # balanced accuracy
MOST_TOLD = 3  # genotypes that are told in sentences
MOST_ROWS = 25
N_GENES = 5
INFERENCE = (
    "This is an inference from expression: there are no alleles and no absolute copies in it, only "
    "stretches of many genes that shift together. Probe-based assays carry no SNPs, and a mutation "
    "can't be seen."
)
ONE_CLONE = "Expression does not show more than one clone"


@dataclass(frozen=True)
class GenotypeView:
    """One entry: how it was come by, and what goes with each genotype; a row for each of these.

    `n_left_out` rows are not shown.
    """

    name: str
    paragraphs: list[str]
    rows: list[dict[str, str]]
    n_left_out: int


def genotype_views(facts: RunFacts, results: Results) -> list[GenotypeView]:
    """Entries in the order of the config."""
    return [
        GenotypeView(
            name,
            _paragraphs(facts, name, tables),
            [_row(row) for row in _rows(tables.carriers.head(MOST_ROWS))],
            max(len(tables.carriers) - MOST_ROWS, 0),
        )
        for name, tables in results.genotypes.items()
    ]


def setting(facts: RunFacts, name: str, group: str, key: str) -> float:
    """A setting of copy_number or association, of its own where an entry has it."""
    own = facts.config["genotypes"][name].get(group) or {}
    return own.get(key, facts.config[group][key])


def _rows(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _paragraphs(facts: RunFacts, name: str, tables: GenotypeTables) -> list[str]:
    entry = facts.config["genotypes"][name]
    if tables.clones is None:
        n = counted(len(tables.carriers), "genotype")
        paragraphs = [f"{n} of {entry.get('sample') or entry['file']}, by DNA."]
        if len(tables.carriers) == setting(facts, name, "association", "max_genotypes"):
            paragraphs[0] += " No more are looked at (association.max_genotypes)."
    else:
        paragraphs = [" ".join(_clone_words(facts, name, tables))]
    for row in _rows(tables.carriers.head(MOST_TOLD)):
        words = (
            _compared(row),
            _gene_words(row, tables.genes, setting(facts, name, "association", "q_below")),
            _dosage_words(row, tables),
            _image_words(row, bool(entry.get("sample") or entry.get("features"))),
        )
        paragraphs.append(" ".join(words))
    return paragraphs


def _clone_words(facts: RunFacts, name: str, tables: GenotypeTables) -> Iterator[str]:
    clones, segments = tables.clones, tables.segments
    where = facts.config["genotypes"][name]
    n_units = counted(int(clones["n_units"].sum()), "unit")
    of = f"{n_units} of {where.get('sample') or where['file']}"
    if len(clones) == 1:
        yield f"{ONE_CLONE} in {of}."
    else:
        sizes = listed(whole(n) for n in clones["n_units"])
        yield (
            f"Expression shows {len(clones)} clones in {of}: {sizes} units. Neighbouring genes "
            "shift together between them in molecules that did not make them (p "
            f"{number(clones['p'].max(), 4)}{'' if len(clones) == 2 else ' or less'})."
        )
        if clones["found_again"].notna().all():
            again = [f"{100 * share:.0f}{NARROW}%" for share in clones["found_again"]]
            yield f"Other halvings of the molecules show them in {listed(again)} of cases."
        beside = segments[segments["beside"] == BESIDE_OTHERS]
        by_clone = beside.groupby("clone", sort=False)
        called = [f"{clone} has {_called_words(own)}" for clone, own in by_clone]
        yield (
            f"Beside the other clones {listed(called)}; a gain of one clone may be a loss of the "
            "others."
        )
    normal = segments[segments["beside"] != BESIDE_OTHERS]
    p = clones.set_index("clone")["p_beside_normal"]
    called = [
        f"{clone} has {_called_words(own)} (p {number(p[clone])})"
        for clone, own in normal.groupby("clone", sort=False)
    ]
    yield f"Beside normal cells {listed(called)}."
    yield INFERENCE


def _called_words(segments: pd.DataFrame) -> str:
    n = segments["call"].value_counts()
    gains = counted(int(n.get(GAIN, 0)), "gain")
    n_losses = int(n.get(LOSS, 0))
    return f"{gains} and {whole(n_losses)} {'loss' if n_losses == 1 else 'losses'}"


def _compared(row: dict) -> str:
    said = (
        f"{row['genotype']}: {whole(row['n_carriers'])} carriers were set beside "
        f"{whole(row['n_others'])} others of the same kind nearby ({row['kinds']})"
    )
    if row["n_unmatched"]:
        said += f"; {whole(row['n_unmatched'])} carriers have no such others in reach"
    also = f" The same units tell {row['also']}." if isinstance(row["also"], str) else ""
    return f"{said}.{also}"


def _gene_words(row: dict, genes: pd.DataFrame, q_below: float) -> str:
    own = genes[genes["genotype"] == row["genotype"]]
    sure = own[own["q"] < q_below]
    of = f"{whole(len(sure))} of {counted(len(own), 'gene')}"
    if sure.empty:
        return f"None of {counted(len(own), 'gene')} differs (q < {q_below:g})."
    inside = int((sure["segment"].notna() & (sure["segment"] != ELSEWHERE)).sum())
    verb = "differs" if len(sure) == 1 else "differ"
    places = f", {whole(inside)} of them in altered segments" if inside else ""
    return f"{of} {verb} (q < {q_below:g}): {listed(sure['gene'], N_GENES)}{places}."


def _dosage_words(row: dict, tables: GenotypeTables) -> str:
    if np.isfinite(row["slope"]):
        return (
            f"Expression follows copies with a slope of {number(row['slope'])} (95{NARROW}% "
            f"interval {span(row['slope_low'], row['slope_high'])}; 1 in proportion, 0 not at all) "
            f"over {counted(int(row['n_altered_genes']), 'gene')} in altered segments."
        )
    if tables.clones is not None:
        return "How many copies there are is not known: no dosage can be given."
    return "No segments are known whose copies differ: no dosage can be given."


def _image_words(row: dict, is_asked: bool) -> str:
    if not np.isfinite(row["image_accuracy"]):
        if not is_asked:
            return "The image was not asked: no features are known of these units."
        return "The units compared lie in too few blocks to say whether the image tells it."
    said = (
        f"balanced accuracy {number(row['image_accuracy'])}, 95{NARROW}% interval "
        f"{span(row['image_low'], row['image_high'])}; such territories by chance "
        f"{number(row['image_by_chance'])}, p {number(row['image_p'])}"
    )
    if is_told(row):
        return f"The image alone tells it in tissue unseen ({said})."
    return f"That the image alone tells it could not be shown ({said})."


def is_told(row: dict) -> bool:
    """Whether the image alone tells carriers from others, better than half and than chance."""
    return bool(row["image_p"] < IMAGE_P_BELOW and row["image_low"] > BY_CHANCE)


def _row(row: dict) -> dict[str, str]:
    return {
        "genotype": row["genotype"],
        "carriers": whole(row["n_carriers"]),
        "others": whole(row["n_others"]),
        "kinds": row["kinds"],
        "genes": f"{whole(row['n_genes'])} / {whole(row['n_genes_tested'])}",
        "slope": number(row["slope"]),
        "slope_span": span(row["slope_low"], row["slope_high"]),
        "image": number(row["image_accuracy"]),
        "image_span": span(row["image_low"], row["image_high"]),
        "image_p": number(row["image_p"]),
    }


def genotype_cautions(facts: RunFacts, results: Results) -> Iterator[Caution]:
    """What clones inferred from expression can't say."""
    inferred = {n: t for n, t in results.genotypes.items() if t.clones is not None}
    entries = facts.config["genotypes"]
    predicted = [name for name in inferred if entries[name].get("expression") == PREDICTED]
    if predicted:
        yield Caution(
            WARNING,
            "Clones from predicted expression",
            f"{listed(predicted)}: what the model makes of the image, not what was measured. On "
            "held-out sections it gave the measured clones; here nothing can tell.",
            "genotypes",
        )
    several = [name for name, tables in inferred.items() if len(tables.clones) > 1]
    if several:
        yield Caution(
            NOTE,
            "Clones are inferred from expression",
            f"{listed(several)}: relative to other clones, without alleles and without numbers of "
            "copies. Sequence DNA before calling them clones.",
            "genotypes",
        )
    for name, tables in inferred.items():
        least = setting(facts, name, "copy_number", "p_below")
        unsure = tables.clones[tables.clones["p_beside_normal"] >= least]
        if len(unsure):
            p = listed(number(value) for value in unsure["p_beside_normal"])
            yield Caution(
                NOTE,
                f"Alterations shared by all units of {name} could not be shown",
                f"Beside normal cells, neighbouring genes of {listed(unsure['clone'])} shift "
                f"together no more than chance gives (p {p}): gains and losses that all these "
                "units have may be missed, since kinds of cells differ in expression, too.",
                "genotypes",
            )
