"""The genes of a run with what each is worth, as the page's own table reads them."""

import math
from dataclasses import dataclass

import pandas as pd

from histoscribe.experiments import BASELINE
from histoscribe.report.facts import RunFacts
from histoscribe.report.overview import SEES_THE_MEASUREMENT
from histoscribe.report.results import Key, Results

POOLED = "all tested sections"
MAX_VALUES = 600_000  # about 4 MB of text; beyond it only the pooled view is shown


@dataclass(frozen=True)
class Column:
    """A column of the table: its key, its heading, what it means, and its digits (None: text)."""

    key: str
    heading: str
    meaning: str
    digits: int | None


COLUMNS = (
    Column("gene", "Gene", "", None),
    Column(
        "trust",
        "Grade",
        "As above. Over several sections: the lowest.",
        None,
    ),
    Column(
        "pcc",
        "PCC",
        "Correlation of predicted with measured expression over units; 0 is chance.",
        3,
    ),
    Column("low", "from", "Lower end of the PCC's 95 % interval, from resampled blocks.", 3),
    Column("high", "to", "Upper end of the PCC's 95 % interval.", 3),
    Column(
        "ceiling",
        "Ceiling",
        "The PCC that a perfect predictor would reach against counts as noisy as these, estimated "
        "from halves of them: where a gene is rare it is rough, and can lie below the PCC.",
        3,
    ),
    Column("share", "Of ceiling", "PCC divided by the ceiling; – below a ceiling of 0.05.", 2),
    Column(
        "baseline",
        "Baseline",
        "PCC of this gene by the section's best simple baseline that only sees the image.",
        3,
    ),
    Column("skill", "Skill", "Share of the training mean's squared error that is gone.", 3),
    Column(
        "auroc",
        "AUROC",
        "Whether units with a molecule of the gene are told from those without; 0.5 is chance. "
        "Deep units have more of any gene, which a model of levels does not tell.",
        3,
    ),
    Column("detected", "Detected", "Share of units in which at least one molecule was counted.", 3),
)
EXTREMES = {
    "low": Column("low", "lowest", "The lowest PCC among the sections.", 3),
    "high": Column("high", "highest", "The highest PCC among the sections.", 3),
}
UNSEEN = {
    "trust": "trust",
    "pcc": "unseen_pcc",
    "low": "unseen_pcc_low",
    "high": "unseen_pcc_high",
    "ceiling": "unseen_ceiling",
    "skill": "unseen_skill",
}
MIN_CEILING = 0.05


@dataclass(frozen=True)
class GeneView:
    """Genes as one section, or all together, judge them; columns of `table` are of COLUMNS."""

    name: str
    note: str
    table: pd.DataFrame
    is_pooled: bool = False


def gene_views(facts: RunFacts, results: Results) -> list[GeneView]:
    """The views that a reader can choose from, the most telling one first.

    Where nothing was tested, genes are judged by training tissue that was held out.
    """
    tested = {key: table for key, table in results.scores.items() if key[0] == facts.first}
    if not tested:
        return _unseen_views(results)
    several_folds = len({fold for _, fold, _ in tested}) > 1
    views = []
    for key, table in tested.items():
        name = f"{key[2]} (fold {key[1]})" if several_folds else key[2]
        note = "judged by the measured counts of this section"
        views.append(GeneView(name, note, _judged(table, _baseline_scores(facts, results, key))))
    if len(views) > 1:
        pooled = GeneView(POOLED, "means; the grade is the lowest", _pooled(views), is_pooled=True)
        n_values = sum(view.table.size for view in views)
        views = [pooled, *(views if n_values <= MAX_VALUES else [])]
    return views


def _judged(scores: pd.DataFrame, baseline: pd.Series | None) -> pd.DataFrame:
    found = pd.DataFrame(
        {
            "gene": scores["gene"],
            "trust": _column(scores, "trust"),
            "pcc": scores["pcc"],
            "low": _column(scores, "pcc_low"),
            "high": _column(scores, "pcc_high"),
            "ceiling": scores["ceiling"],
            "share": _share(scores["pcc"], scores["ceiling"]),
            "skill": _column(scores, "skill"),
            "auroc": _column(scores, "auroc"),
            "detected": _column(scores, "fraction_nonzero"),
        }
    )
    if baseline is not None:
        found.insert(7, "baseline", scores["gene"].map(baseline))
    return _sorted(found)


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in table else pd.Series(math.nan, index=table.index)


def _share(pcc: pd.Series, ceiling: pd.Series) -> pd.Series:
    return pcc / ceiling.where(ceiling >= MIN_CEILING)


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """Without columns that hold nothing; the best gene first."""
    kept = table.dropna(axis=1, how="all")
    return kept.sort_values("pcc", ascending=False, ignore_index=True)


def _baseline_scores(facts: RunFacts, results: Results, key: Key) -> pd.Series | None:
    """PCC by gene of the baseline that does best in a section, among those that see the image."""
    _, fold, sample = key
    simple = {e.name for e in facts.experiments if e.is_baseline} - {BASELINE, SEES_THE_MEASUREMENT}
    among = {
        e: table
        for (e, f, s), table in results.scores.items()
        if (f, s) == (fold, sample) and e in simple
    }
    if not among:
        return None
    best = max(among, key=lambda e: among[e]["pcc"].mean())
    return among[best].drop_duplicates("gene").set_index("gene")["pcc"]


def _pooled(views: list[GeneView]) -> pd.DataFrame:
    """Means over sections; the grade is the lowest, and low and high are the extremes of PCC."""
    stacked = pd.concat([view.table for view in views])
    by_gene = stacked.groupby("gene", sort=False)
    pooled = by_gene.mean(numeric_only=True)
    pooled["low"], pooled["high"] = by_gene["pcc"].min(), by_gene["pcc"].max()
    pooled["share"] = _share(pooled["pcc"], pooled["ceiling"])
    if "trust" in stacked:
        graded = stacked.dropna(subset="trust").astype({"trust": str})
        pooled["trust"] = graded.groupby("gene")["trust"].max()
    order = [column.key for column in COLUMNS if column.key in pooled]
    return _sorted(pooled[order].reset_index())


def _unseen_views(results: Results) -> list[GeneView]:
    for predicted in results.predicted.values():
        if "unseen_pcc" not in predicted.genes:
            continue
        genes = predicted.genes
        table = pd.DataFrame({"gene": genes.index.astype(str)})
        for name, column in UNSEEN.items():
            table[name] = _column(genes, column).to_numpy()
        table["share"] = _share(table["pcc"], table["ceiling"])
        order = [column.key for column in COLUMNS if column.key in table]
        note = "judged by blocks of the training sections that the model had not seen"
        return [GeneView("held-out training tissue", note, _sorted(table[order]))]
    return []


def columns_of(view: GeneView) -> list[Column]:
    """The columns that a view has, in order, each with the meaning that it has there."""
    named = EXTREMES if view.is_pooled else {}
    return [named.get(c.key, c) for c in COLUMNS if c.key in view.table]


def payload(views: list[GeneView]) -> list[dict]:
    """The views as plain values for JSON: columns of rounded numbers, None for what is missing."""
    return [
        {
            "name": view.name,
            "note": view.note,
            "columns": [
                {"key": c.key, "heading": c.heading, "meaning": c.meaning, "digits": c.digits}
                for c in columns_of(view)
            ],
            "values": [_plain(view.table[c.key], c.digits) for c in columns_of(view)],
        }
        for view in views
    ]


def _plain(values: pd.Series, digits: int | None) -> list:
    if digits is None:
        return [None if pd.isna(value) else str(value) for value in values]
    return [None if pd.isna(value) else round(float(value), digits) for value in values]


def training_grades_kept(facts: RunFacts, results: Results) -> list[tuple[str, int, int, int]]:
    """How grades from training held on tested sections.

    For each view's name: genes that training graded A or B, how many of them are A or B by the
    measured section, and how many D.
    """
    found = []
    for (experiment, fold, sample), scores in results.scores.items():
        predicted = results.predicted.get((experiment, fold, sample))
        if predicted is None or "trust" not in predicted.genes or "trust" not in scores:
            continue
        given = predicted.genes["trust"].astype(str)
        good = set(given.index[given.isin(["A", "B"])].astype(str))
        earned = scores.loc[scores["gene"].isin(good), "trust"]
        if good and earned.notna().any():
            name = f"{sample} (fold {fold})" if len(facts.folds) > 1 else sample
            n_kept, n_lost = int(earned.isin(["A", "B"]).sum()), int((earned == "D").sum())
            found.append((name, len(good), n_kept, n_lost))
    return found
