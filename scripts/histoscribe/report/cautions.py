"""What a reader must know before believing a number: warnings, then notes."""

from collections.abc import Iterator

import pandas as pd

from histoscribe.experiments import BASELINE
from histoscribe.leakage import LEAK
from histoscribe.report.caution import NOTE, WARNING, Caution
from histoscribe.report.facts import RunFacts
from histoscribe.report.genotypes import genotype_cautions
from histoscribe.report.overview import (
    SEES_THE_MEASUREMENT,
    first_rows,
    grade_counts,
    learnt_before,
)
from histoscribe.report.results import Results
from histoscribe.report.wording import (
    NARROW,
    counted,
    is_or_are,
    listed,
    number,
    percent,
    plural,
    whole,
)
from histoscribe.uncertainty.domain import WARN_MEDIAN, WARN_SHARE
from histoscribe.verdicts import ALIGNED, NOT_CHECKED, REMEDY, TURNED

FEW_UNITS = 500  # of a tested section: a gene's PCC is uncertain by about 0.1 then
FEW_TO_LEARN = 2000
LEAST_KEPT = 0.5  # share of units that quality cuts leave
LOW_CEILING = 0.15  # mean over genes
MANY_UNTRUSTED = 0.25  # share of genes graded D
SHUFFLED_LIMIT = 0.05  # mean PCC of features of other units
COVERAGE_LIMIT = 0.03  # distance from the nominal share of intervals that hold
SHUFFLED = "shuffled-image"


def cautions(facts: RunFacts, results: Results) -> list[Caution]:
    """Everything found, warnings first."""
    found = [
        *_simulated(facts),
        *_untested(facts),
        *_leaks(facts, results),
        *_alignment(facts, results),
        *_domain(results),
        *_baselines(facts, results),
        *_grades(facts, results),
        *_ceiling(facts, results),
        *_levels(facts, results),
        *_coverage(facts, results),
        *_sizes(facts, results),
        *_ambiguous(results),
        *genotype_cautions(facts, results),
        *_scope(facts, results),
    ]
    return sorted(found, key=lambda caution: caution.level != WARNING)  # stable


def _leaks(facts: RunFacts, results: Results) -> Iterator[Caution]:
    for fold, table in results.leakage.items():
        leaks = table[table["verdict"] == LEAK]
        if len(leaks):
            yield Caution(
                WARNING,
                f"Training and test share something (fold {fold})",
                f"{listed(leaks['what'])}: scores of this fold say nothing.",
                "accuracy",
            )
    if facts.bundle and facts.tested:
        known = learnt_before(results)
        shared = [sample for _, sample in facts.tested if sample in known]
        yield Caution(
            WARNING if shared else NOTE,
            "The model came from an earlier run",
            (
                f"It was trained on sections of the same name as {listed(shared)}: "
                "if these are the same sections, the scores are flattered."
                if shared
                else "Whether it has seen the tested sections can't be checked here, only that "
                f"their names are not among those it was trained on ({listed(known, 6)})."
            ),
            "accuracy",
        )
    for sample, score in _scores_of(results, SHUFFLED):
        if score > SHUFFLED_LIMIT:
            yield Caution(
                WARNING,
                f"Features of other units predict {sample}",
                f"The control {SHUFFLED} reaches a mean PCC of {number(score)}, where it must be "
                "near 0: something leaks from test to training.",
                "accuracy",
            )


def _scores_of(results: Results, experiment: str) -> list[tuple[str, float]]:
    if results.summary is None:
        return []
    rows = results.summary[results.summary["experiment"] == experiment]
    return list(zip(rows["sample"], rows["pcc_mean"], strict=True))


def _alignment(facts: RunFacts, results: Results) -> Iterator[Caution]:
    verdicts = {sample: str(t["verdict"].iloc[0]) for sample, t in results.alignment.items()}
    used = {sample for _, sample in facts.tested} | set(facts.learnt_from)
    for sample, verdict in verdicts.items():
        if verdict in (ALIGNED, NOT_CHECKED):
            continue
        use = "Scores and models that use it" if sample in used else "Its counts"
        yield Caution(
            WARNING,
            f"Image and molecules of {sample}: {verdict}",
            f"{use} can't be trusted. {REMEDY.get(verdict, TURNED)}",
            "alignment",
        )
    unchecked = [sample for sample, verdict in verdicts.items() if verdict == NOT_CHECKED]
    if unchecked:
        yield Caution(
            NOTE,
            "Alignment not checked",
            f"Whether the molecules of {listed(unchecked, 6)} lie on the image could not be told "
            "(large units or few molecules): look at the maps.",
            "alignment",
        )


def _domain(results: Results) -> Iterator[Caution]:
    for (_, _, sample), predicted in _one_fold(results).items():
        share, median = predicted.out_of_domain, predicted.median_percentile
        if share is None or median is None:
            continue
        if share > WARN_SHARE or median > WARN_MEDIAN:
            yield Caution(
                WARNING,
                f"{sample} is unlike the training sections",
                f"{percent(share)} of its units look stranger than 99{NARROW}% of the "
                f"training units, its median unit stranger than {percent(median)}. Are tissue, "
                "stain and resolution those of the training sections?",
                "sections",
            )


def _one_fold(results: Results) -> dict:
    """Predictions, of each sample that of the first fold alone."""
    seen: set[str] = set()
    return {
        key: predicted
        for key, predicted in results.predicted.items()
        if not (key[2] in seen or seen.add(key[2]))
    }


def _baselines(facts: RunFacts, results: Results) -> Iterator[Caution]:
    if results.summary is None or facts.first is None:
        return
    reached = results.summary.set_index(["experiment", "fold", "sample"])["pcc_mean"]
    for baseline in [e.name for e in facts.experiments if e.is_baseline and e.name != BASELINE]:
        better, unsure = [], []
        for fold, sample in facts.tested:
            key = (baseline, fold, sample)
            if key not in reached:
                continue
            if reached[key] >= reached[facts.first, fold, sample]:
                better.append(sample)
            elif _reaches_zero(results.comparisons, facts.first, *key):
                unsure.append(sample)
        if better:
            why = "the model adds nothing there."
            if baseline == SEES_THE_MEASUREMENT:
                why = "what is predicted may be the depth of units alone."
            yield Caution(
                WARNING,
                f"{baseline} does as well as {facts.first}",
                f"On {listed(dict.fromkeys(better), 4)} this baseline is no worse: {why}",
                "accuracy",
            )
        elif unsure:
            yield Caution(
                NOTE,
                f"The lead over {baseline} may be chance",
                f"On {listed(dict.fromkeys(unsure), 4)} the 95{NARROW}% interval of the "
                "difference reaches 0.",
                "accuracy",
            )


def _reaches_zero(
    comparisons: pd.DataFrame | None, first: str, baseline: str, fold: str, sample: str
) -> bool:
    """Whether the interval of a baseline's difference to the first experiment holds 0."""
    if comparisons is None:
        return False
    rows = comparisons.query(
        "experiment == @baseline and against == @first and fold == @fold and sample == @sample"
    )
    return bool((rows["high"] >= 0).any())


def _grades(facts: RunFacts, results: Results) -> Iterator[Caution]:
    grades = grade_counts(facts, results)
    n = sum(grades.values())
    where = "in at least one section" if len(facts.tested) > 1 else "in the tested section"
    if not facts.tested:
        where = "by held-out training tissue"
    if n and grades["D"] / n > MANY_UNTRUSTED:
        yield Caution(
            WARNING,
            f"{percent(grades['D'] / n)} of the genes have grade D",
            f"{whole(grades['D'])} of {counted(n, 'gene')}, {where}: their values were not shown "
            "to be nearer to the measured ones than a constant is.",
            "genes",
        )
    elif n and not grades["A"] + grades["B"]:
        yield Caution(WARNING, "No gene earns grade A or B", "Read no map of this run.", "genes")


def _ceiling(facts: RunFacts, results: Results) -> Iterator[Caution]:
    rows = first_rows(facts, results)
    for sample, ceiling in _means(rows, "ceiling_mean"):
        if ceiling < LOW_CEILING:
            yield Caution(
                WARNING,
                f"The counts of {sample} are too sparse to judge most genes",
                f"Even a perfect predictor would score {number(ceiling)} against them. Compare "
                "with pooled scores or the share of the ceiling, not with other data.",
                "accuracy",
            )


def _levels(facts: RunFacts, results: Results) -> Iterator[Caution]:
    for sample, skill in _means(first_rows(facts, results), "skill_mean"):
        if skill < 0:
            yield Caution(
                WARNING,
                f"Levels predicted for {sample} are off",
                f"The squared error is larger than that of the training mean (skill "
                f"{number(skill)}): patterns may be right, values are not.",
                "accuracy",
            )


def _means(rows: pd.DataFrame, column: str) -> list[tuple[str, float]]:
    """(sample, mean over folds) of a column."""
    if rows.empty:
        return []
    return list(rows.groupby("sample", sort=False)[column].mean().dropna().items())


def _coverage(facts: RunFacts, results: Results) -> Iterator[Caution]:
    nominal = 1 - facts.config["training"]["miscoverage"]
    for (experiment, _, sample), table in results.scores.items():
        if experiment != facts.first or "coverage_randomised" not in table:
            continue
        reached = table["coverage_randomised"].mean()
        if abs(reached - nominal) > COVERAGE_LIMIT:
            worse = "narrow" if reached < nominal else "wide"
            yield Caution(
                NOTE,
                f"Intervals of {sample} are too {worse}",
                f"They hold {percent(reached)} of the measured values instead of "
                f"{percent(nominal)}.",
                "accuracy",
            )


def _sizes(facts: RunFacts, results: Results) -> Iterator[Caution]:
    unit = plural(facts.unit)
    tested = {sample for _, sample in facts.tested}
    for sample, numbers in results.units.items():
        if sample in tested and numbers.n_units < FEW_UNITS:
            yield Caution(
                WARNING,
                f"{sample} has few {unit}",
                f"{whole(numbers.n_units)} {unit} are little to score a gene on: mind the "
                "intervals.",
                "sections",
            )
        kept = kept_share(results.accounting.get(sample))
        if kept is not None and kept < LEAST_KEPT:
            yield Caution(
                WARNING,
                f"Quality cuts removed most {unit} of {sample}",
                f"{percent(kept)} were kept. Are the cuts right for these data?",
                "accounting",
            )
    n_seen = sum(results.units[s].n_units for s in facts.learnt_from if s in results.units)
    if facts.learnt_from and not facts.bundle and n_seen < FEW_TO_LEARN:
        yield Caution(
            NOTE,
            f"Few {unit} to learn from",
            f"{whole(n_seen)} in {counted(len(facts.learnt_from), 'section')}.",
            "sections",
        )


def kept_share(accounting: pd.DataFrame | None) -> float | None:
    """Share of a section's units that its quality cuts left; None where none are counted."""
    if accounting is None:
        return None
    cuts = accounting[accounting["stage"] == "filter"]
    if cuts.empty or not cuts["left"].iloc[0]:
        return None
    return float(cuts["left"].iloc[-1] / cuts["left"].iloc[0])


def _ambiguous(results: Results) -> Iterator[Caution]:
    for (source, sample), table in results.clusters.items():
        kept = table[~table["is_dropped"].astype(bool)] if "is_dropped" in table else table
        unclear = kept[kept["is_ambiguous"].astype(bool)]
        if len(kept) and len(unclear) > len(kept) / 2:
            yield Caution(
                NOTE,
                f"Most cell types of {sample} ({source}) are ambiguous",
                f"{len(unclear)} of {counted(len(kept), 'cluster')} fit another type about as "
                "well.",
                "types",
            )


def _simulated(facts: RunFacts) -> Iterator[Caution]:
    simulated = [section.sample for section in facts.sections if section.is_simulated]
    if simulated:
        yield Caution(
            WARNING,
            "Simulated tissue",
            f"{listed(simulated, 6)} {is_or_are(simulated)} simulated: good for learning how to "
            "read this page; the scores say nothing about real tissue.",
            "sections",
        )


def _untested(facts: RunFacts) -> Iterator[Caution]:
    if facts.first is not None and not facts.tested:
        yield Caution(
            WARNING,
            "Nothing was tested",
            "No section of this run has a measurement to compare predictions with. How far they "
            "hold here is not known; grades are those of the model's own training.",
            "accuracy",
        )


def _scope(facts: RunFacts, results: Results) -> Iterator[Caution]:
    """What the run's design can't say, whatever its numbers are."""
    if facts.first is None or not facts.tested:
        return
    scored = {facts.section(s).donor for s in [*facts.learnt_from, *(s for _, s in facts.tested)]}
    if any(fold.is_cut for fold in facts.folds):
        yield Caution(
            NOTE,
            "Tested within the sections that were trained on",
            "Blocks say how well gaps in a section are filled, not how a new section or donor "
            "fares.",
            "sections",
        )
    elif len(scored) == 1 and not facts.bundle:
        yield Caution(
            NOTE,
            "One donor",
            f"All sections are of {scored.pop()}: the scores say nothing about the next donor.",
            "sections",
        )
    adapted = [
        name
        for name in facts.experiment(facts.first).encoders
        if facts.config["features"]["encoders"].get(name, {}).get("kind") == "adapted"
    ]
    if adapted:
        yield Caution(
            NOTE,
            "Strange units are found too rarely",
            f"With an adapted encoder ({listed(adapted)}) new sections look less strange than "
            "training units do.",
            "sections",
        )
