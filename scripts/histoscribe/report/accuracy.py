"""How well each experiment does: the numbers, and a chart of dots and intervals."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoscribe.report.facts import ExperimentFacts, RunFacts
from histoscribe.report.results import Results
from histoscribe.report.wording import NOTHING, listed, number, percent, span

MAX_PANELS = 4  # more tested sections than that share one chart
ROW_PX = 26
LABEL_PX = 118
PLOT_PX = 320
EDGE_PX = 14
TOP_PX = 26
POOLED = re.compile(r"pcc_mean_([0-9.]+)um")
KINDS = {
    "ridge": "ridge regression",
    "kernel": "ridge regression on a Gaussian kernel (kernel)",
    "multitask": "a network for all genes at once (multitask)",
    "prts": "the network of the PRTS paper (prts)",
    "stacked": "several models, weighed (stacked)",
}
BLOCKS = {"local": "the unit itself", "global": "the tile around it", "mean": "all of the tile"}
BASELINE_WORDS = {
    "training-mean": "a constant for each gene: knows nothing of the unit",
    "total-counts": "how many molecules were measured in the unit, which no image tells",
    "cell-density": "how many nuclei lie there",
    "nearest-units": "the 50 training units that look most alike",
    "block-ridge": "the same features, by ridge regression",
    "random-weights": "the image through a network that was never trained",
    "shuffled-image": "features of other units: must be near 0, or something leaks",
}
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5)


@dataclass(frozen=True)
class Dot:
    """A PCC in a chart: where it and its interval lie, in px, and what it says."""

    x: float
    low: float | None
    high: float | None
    title: str


@dataclass(frozen=True)
class Row:
    """An experiment: its dots, one a section, and its mean in words."""

    name: str
    y: float
    is_first: bool
    is_baseline: bool
    dots: list[Dot]
    value: str


@dataclass(frozen=True)
class Chart:
    """Experiments as rows, PCC along x; the ceiling is a vertical line (mean, where several)."""

    title: str
    rows: list[Row]
    ticks: list[tuple[float, str]]
    ceiling: float | None
    ceiling_words: str
    width: float
    height: float
    label_px: float
    bottom: float
    right: float


@dataclass(frozen=True)
class Line:
    """A row of the table of accuracy, in words."""

    sample: str
    experiment: str
    is_first: bool
    is_baseline: bool
    cells: list[str]


HEADINGS = (
    ("PCC", "mean over genes of the correlation of predicted with measured; 0 is chance"),
    ("95 % interval", "from resampled blocks of the section; other sections differ by more"),
    ("Ceiling", "mean PCC of a perfect predictor against counts as noisy as these"),
    ("Of ceiling", "the median gene's PCC as a share of its ceiling"),
    ("Difference", "of the mean PCC to that of the first experiment, with its 95 % interval"),
    ("RMSE", "root mean squared error of log1p expression, mean over genes"),
    ("Skill", "share of the training mean's squared error that is gone; negative: levels are off"),
    (
        "AUROC",
        "units with a molecule of a gene told from those without; 0.5 is chance. Deep units have "
        "more of any gene, so that whatever foretells depth does well here; models that are "
        "fitted to counts at equal depth (multitask, stacked) leave it out",
    ),
)


def charts(facts: RunFacts, results: Results) -> list[Chart]:
    """One chart a tested section, or one of all where there are many."""
    summary = results.summary
    if summary is None or summary.empty:
        return []
    tested = list(summary.groupby(["fold", "sample"], sort=False))
    several_folds = summary["fold"].nunique() > 1
    if len(tested) > MAX_PANELS:
        return [_chart(f"All {len(tested)} tested sections", summary, facts)]
    return [
        _chart(f"{sample} (fold {fold})" if several_folds else str(sample), rows, facts)
        for (fold, sample), rows in tested
    ]


def _chart(title: str, rows: pd.DataFrame, facts: RunFacts) -> Chart:
    ceiling = rows.loc[rows["experiment"] == facts.first, "ceiling_mean"].mean()
    ends = rows[["pcc_mean", "pcc_mean_low", "pcc_mean_high"]].to_numpy(dtype=float)
    low = min(0.0, float(np.nanmin(ends)))
    high = max(float(np.nanmax([np.nanmax(ends), ceiling])), 0.05) * 1.04
    step = next((s for s in STEPS if (high - low) / s <= 6), STEPS[-1])

    def place(value: float) -> float:
        return round(LABEL_PX + EDGE_PX + PLOT_PX * (value - low) / (high - low), 1)

    names = [e.name for e in facts.experiments if e.name in set(rows["experiment"])]
    own = [name for name in names if not facts.experiment(name).is_baseline]
    means = rows.groupby("experiment")["pcc_mean"].mean()
    baselines = sorted((n for n in names if n not in own), key=lambda n: -means[n])
    ordered = own + baselines
    drawn = [
        Row(
            name=name,
            # A little air between the run's own experiments and the baselines.
            y=TOP_PX + ROW_PX * (i + 0.5) + (8 if name in baselines and own else 0),
            is_first=name == facts.first,
            is_baseline=name in baselines,
            dots=[_dot(row, place) for _, row in rows[rows["experiment"] == name].iterrows()],
            value=number(means[name]),
        )
        for i, name in enumerate(ordered)
    ]
    bottom = drawn[-1].y + ROW_PX * 0.6
    first_tick = int(np.ceil(low / step - 1e-9))
    last_tick = int(np.floor(high / step + 1e-9))
    digits = 2 if step < 0.1 or step == 0.25 else 1
    return Chart(
        title=title,
        rows=drawn,
        ticks=[
            (place(k * step), number(k * step, digits)) for k in range(first_tick, last_tick + 1)
        ],
        ceiling=None if np.isnan(ceiling) else place(ceiling),
        ceiling_words=f"ceiling {number(ceiling)}",
        width=LABEL_PX + PLOT_PX + 2 * EDGE_PX + 50,
        height=bottom + 38,
        label_px=LABEL_PX,
        bottom=bottom,
        right=LABEL_PX + PLOT_PX + 2 * EDGE_PX,
    )


def _dot(row: pd.Series, place: Callable[[float], float]) -> Dot:
    low, high = row["pcc_mean_low"], row["pcc_mean_high"]
    known = np.isfinite(low) and np.isfinite(high)
    interval = f", 95 % interval {span(low, high)}" if known else ""
    return Dot(
        x=place(row["pcc_mean"]),
        low=place(low) if known else None,
        high=place(high) if known else None,
        title=f"{row['experiment']} on {row['sample']}: {number(row['pcc_mean'])}{interval}",
    )


def lines(facts: RunFacts, results: Results) -> list[Line]:
    """The table of accuracy: sections in turn, experiments in the order of the run."""
    if results.summary is None:
        return []
    several_folds = results.summary["fold"].nunique() > 1
    differences = {}
    if results.comparisons is not None:
        keys = zip(*(results.comparisons[c] for c in ("experiment", "fold", "sample")), strict=True)
        differences = dict(zip(keys, results.comparisons.to_dict("records"), strict=True))
    order = {experiment.name: i for i, experiment in enumerate(facts.experiments)}
    found = []
    for (fold, sample), rows in results.summary.groupby(["fold", "sample"], sort=False):
        for row in sorted(rows.to_dict("records"), key=lambda r: order[r["experiment"]]):
            name = row["experiment"]
            less = differences.get((name, fold, sample))
            found.append(
                Line(
                    sample=f"{sample} (fold {fold})" if several_folds else str(sample),
                    experiment=name,
                    is_first=name == facts.first,
                    is_baseline=facts.experiment(name).is_baseline,
                    cells=[
                        number(row["pcc_mean"]),
                        span(row["pcc_mean_low"], row["pcc_mean_high"]),
                        number(row["ceiling_mean"]),
                        percent(row["fraction_of_ceiling_median"]),
                        _difference(less),
                        number(row["rmse_mean"]),
                        number(row["skill_mean"]),
                        number(row["auroc_mean"]),
                    ],
                )
            )
    return found


def _difference(row: dict | None) -> str:
    if row is None:
        return ""
    words = number(row["pcc_difference"])
    return f"{words} ({span(row['low'], row['high'])})" if np.isfinite(row["low"]) else words


def smoothed(facts: RunFacts, results: Results) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The radii that units were pooled in, and of each tested section "PCC of ceiling" at each.

    The scores are those of the first experiment.
    """
    if results.summary is None:
        return [], []
    rows = results.summary[results.summary["experiment"] == facts.first]
    radii = [m[1] for m in map(POOLED.fullmatch, rows.columns) if m]
    several_folds = results.summary["fold"].nunique() > 1
    found = []
    for row in rows.to_dict("records"):
        pairs = [(row[f"pcc_mean_{radius}um"], row[f"ceiling_mean_{radius}um"]) for radius in radii]
        name = f"{row['sample']} (fold {row['fold']})" if several_folds else row["sample"]
        words = [f"{number(p)} of {number(c)}" if np.isfinite(p) else NOTHING for p, c in pairs]
        found.append(
            (name, [f"{number(row['pcc_mean'])} of {number(row['ceiling_mean'])}", *words])
        )
    return radii, found if radii else []


def experiments_explained(facts: RunFacts, defaults: dict) -> list[tuple[str, str]]:
    """Each experiment and baseline, with what it is in words.

    Those of the run's own models name the settings of their kind that are not the `defaults`.
    """
    return [
        (
            e.name,
            BASELINE_WORDS.get(e.name, e.kind)
            if e.is_baseline
            else _own_words(facts, e) + _changed(facts, e, defaults),
        )
        for e in facts.experiments
    ]


def _changed(facts: RunFacts, experiment: ExperimentFacts, defaults: dict) -> str:
    kind = experiment.kind
    own, before = (c.get("model", {}).get(kind, {}) for c in (facts.config, defaults))
    if facts.bundle or not isinstance(own, dict):
        return ""
    changed = [
        f"{key} {value} (default {before[key]})"
        for key, value in own.items()
        if key in before and value != before[key]
    ]
    return f"; {kind}: {listed(changed)}" if changed else ""


def _own_words(facts: RunFacts, experiment: ExperimentFacts) -> str:
    if facts.bundle:
        return f"the model of an earlier run ({facts.bundle})"
    kind = KINDS.get(experiment.kind, experiment.kind)
    if experiment.members:
        kind = f"{kind}: {listed(experiment.members)}"
    parts = [BLOCKS.get(block, block) for block in experiment.use]
    words = f"{kind}; learns from {listed(experiment.encoders)}: {listed(parts)}"
    if experiment.columns:
        words += f"; only {listed(experiment.columns)}"
    if experiment.neighbours_um:
        words += f"; means within {listed(f'{r:g}' for r in experiment.neighbours_um)} µm"
    if experiment.shuffled:
        words += "; features of training sections dealt out at random"
    return words
