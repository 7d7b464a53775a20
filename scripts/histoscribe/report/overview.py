"""The run in one plain paragraph, and the few numbers that matter most."""

from dataclasses import dataclass

import pandas as pd

from histoscribe.experiments import BASELINE
from histoscribe.report.facts import RunFacts
from histoscribe.report.results import Results
from histoscribe.report.wording import counted, listed, number, percent, plural, whole

SEES_THE_MEASUREMENT = "total-counts"  # the baseline that reads depth from the measurement


@dataclass(frozen=True)
class Tile:
    """One number large, with what it is, and how to read it."""

    value: str
    label: str
    note: str


def learnt_before(results: Results) -> list[str]:
    """Samples that the models of the predictions were trained on, by their own account."""
    records = [p.facts.get("trained_on", {}) for p in results.predicted.values()]
    return list(dict.fromkeys(sample for r in records for sample in r.get("sections", {})))


def first_rows(facts: RunFacts, results: Results) -> pd.DataFrame:
    """Rows of the summary that tell of the first experiment; empty where nothing was scored."""
    if results.summary is None:
        return pd.DataFrame()
    return results.summary[results.summary["experiment"] == facts.first]


def best_baseline(summary: pd.DataFrame, baselines: list[str]) -> tuple[str, float] | None:
    """The baseline with the highest mean PCC over tested sections, that an image could give.

    Total counts are left out: no image tells them.
    """
    among = [b for b in baselines if b not in (BASELINE, SEES_THE_MEASUREMENT)]
    rows = summary[summary["experiment"].isin(among)]
    means = rows.groupby("experiment")["pcc_mean"].mean().dropna()
    return None if means.empty else (str(means.idxmax()), float(means.max()))


def grade_counts(facts: RunFacts, results: Results) -> dict[str, int]:
    """How many genes have each grade, over all tested sections taken together.

    Where nothing was tested, these are the grades that the model gave itself in training.
    """
    tables = [table for key, table in results.scores.items() if key[0] == facts.first]
    if not tables:
        tables = [p.genes.rename_axis("gene").reset_index() for p in results.predicted.values()]
    found = [table[["gene", "trust"]].dropna() for table in tables if "trust" in table]
    if not found:
        return {}
    # The letters are in order: the worst grade of a gene is the last.
    worst = pd.concat(found).astype(str).groupby("gene")["trust"].max()
    return {letter: int((worst == letter).sum()) for letter in "ABCD"}


def lead(facts: RunFacts, results: Results) -> list[str]:
    """Sentences that say what was done and what came out."""
    unit = plural(facts.unit)
    if facts.first is None:
        n = len(facts.sections)
        n_units = sum(units.n_units for units in results.units.values())
        kept = f", with {whole(n_units)} {unit} in all" if n_units else ""
        prepared = f"{counted(n, 'section')} {'was' if n == 1 else 'were'} prepared{kept}."
        return [
            *([prepared] if n else []),
            *_integrated(facts),
            "No expression was predicted in this run.",
        ]
    sentences = [_learning(facts, results)]
    rows = first_rows(facts, results)
    if rows.empty:
        predicted = {key[2]: p.n_units for key, p in results.predicted.items()}
        sentences.append(
            f"It was used on {counted(len(predicted), 'section')} "
            f"({whole(sum(predicted.values()))} {unit}) where there is no measurement to compare "
            "with, so this run can't say how good the predictions are."
        )
    else:
        sentences += _reached(facts, results, rows)
    grades = grade_counts(facts, results)
    if grades:
        sentences.append(_trust_words(grades, judged="tested" if len(rows) else "training"))
    return sentences + _integrated(facts)


def _integrated(facts: RunFacts) -> list[str]:
    names = list(facts.config.get("integrations") or {})
    if not names:
        return []
    return [f"Sections were brought into one latent space with shared domains: {listed(names, 4)}."]


def _learning(facts: RunFacts, results: Results) -> str:
    n_genes = next((len(p.genes) for p in results.predicted.values()), None)
    what = "gene expression" if n_genes is None else f"the expression of {counted(n_genes, 'gene')}"
    if facts.bundle:
        known = learnt_before(results)
        where = f" (on {listed(known, 4)})" if known else ""
        return f"A model trained in an earlier run{where} predicts {what} from the H&E image alone."
    seen = facts.learnt_from
    donors = {facts.section(sample).donor for sample in seen}
    n_units = sum(results.units[s].n_units for s in seen if s in results.units)
    simulated = "simulated " if all(facts.section(s).is_simulated for s in seen) else ""
    return (
        f"A model learnt from {whole(n_units)} {plural(facts.unit)} in "
        f"{counted(len(seen), f'{simulated}section')} of {counted(len(donors), 'donor')} "
        f"to predict {what} from the H&E image alone."
    )


def _reached(facts: RunFacts, results: Results, rows: pd.DataFrame) -> list[str]:
    n = rows["sample"].nunique()
    where = f"{counted(n, 'section')} it had not seen ({listed(rows['sample'].unique(), 4)})"
    if any(fold.is_cut for fold in facts.folds):
        where = f"parts of {counted(n, 'section')} that it had not seen"
    share = rows["fraction_of_ceiling_median"].mean()
    sentences = [
        f"It was tested on {where}: there, the correlation (PCC) of predicted with measured "
        f"expression is {number(rows['pcc_mean'].mean())} on average over genes; a perfect "
        f"predictor would reach about {number(rows['ceiling_mean'].mean())} with noise as in these "
        "counts. "
        f"The median gene reaches {percent(share)} of what it can reach."
    ]
    best = best_baseline(results.summary, [e.name for e in facts.experiments if e.is_baseline])
    if best:
        sentences.append(f"The best of the simple baselines ({best[0]}) reaches {number(best[1])}.")
    return sentences


def _trust_words(grades: dict[str, int], judged: str) -> str:
    n = sum(grades.values())
    good = grades["A"] + grades["B"]
    by = "" if judged == "tested" else ", by training tissue that was held out"
    earn, were = ("earns" if good == 1 else "earn"), ("was" if grades["D"] == 1 else "were")
    lost = f"{whole(grades['D'])} {were} not shown to be better than a constant (D)"
    if not grades["D"]:
        lost = "all were shown to be better than a constant"
    of_all = f"{whole(good)} of {counted(n, 'gene')}"
    return f"{of_all} {earn} grade A or B and can be read as maps; {lost}{by}."


def tiles(facts: RunFacts, results: Results) -> list[Tile]:
    """The numbers shown large, at most five."""
    unit = plural(facts.unit)
    rows = first_rows(facts, results)
    found = []
    if len(rows):
        best = best_baseline(results.summary, [e.name for e in facts.experiments if e.is_baseline])
        found += [
            Tile(
                number(rows["pcc_mean"].mean()),
                "mean PCC",
                "correlation of predicted with measured, mean over genes"
                + (f"; best baseline {number(best[1])}" if best else ""),
            ),
            Tile(
                number(rows["ceiling_mean"].mean()),
                "noise ceiling",
                "what a perfect predictor would score against these counts",
            ),
            Tile(
                percent(rows["fraction_of_ceiling_median"].mean()),
                "of the ceiling",
                "reached by the median gene",
            ),
        ]
    grades = grade_counts(facts, results)
    if grades:
        found.append(
            Tile(
                f"{whole(grades['A'] + grades['B'])} / {whole(sum(grades.values()))}",
                "genes graded A or B",
                f"{whole(grades['C'])} are C, {whole(grades['D'])} are D",
            )
        )
    predicted = {key[2]: p.n_units for key, p in results.predicted.items()}
    if predicted:
        found.append(
            Tile(
                whole(sum(predicted.values())),
                f"{unit} predicted",
                f"in {counted(len(predicted), 'section')}",
            )
        )
    elif results.units:
        n_units = sum(units.n_units for units in results.units.values())
        found.append(
            Tile(whole(n_units), f"{unit} kept", f"in {counted(len(results.units), 'section')}")
        )
    return found
