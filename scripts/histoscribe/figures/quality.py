"""The quality figure: what was lost on the way from the tissue to the units that are kept."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscribe.figures.style import FULL_WIDTH, MM
from histoscribe.filtering import Cut

# Rows of the accounting that are steps from the tissue to the units.
STEP = re.compile(r"(umi|transcripts|bins)_(under_tissue|in_.+|touching_.+|assigned|kept)")
READABLE_STEP = {"assigned": "assigned to one unit", "kept": "in kept units"}
QUANTITIES = {
    "area_um2": "area (µm²)",
    "umi": "molecules (UMI)",
    "n_genes": "genes",
    "mito_fraction": "mitochondrial fraction",
}
READABLE = {
    "area_um2": "area in µm²",
    "area_px2": "area in px²",
    "umi": "molecules",
    "n_genes": "genes",
    "mito_fraction": "mitochondrial",
}
LOGARITHMIC = ("umi", "n_genes")
N_BARS = 48
LEAST_ROWS = 4  # that a panel of bars has room for, so that few bars stay thin
SHOWN_PERCENTILE = 99.5


def quality_table(accounting: pd.DataFrame, obs: pd.DataFrame, cuts: list[Cut]) -> pd.DataFrame:
    """What the figure shows: columns panel, label, low, high, count, share.

    `accounting` is units.accounting.tsv; `obs` (n_units rows) has the columns of QUANTITIES that
    were measured. Panel "steps" holds molecules and bins with their share of those under tissue,
    "units" all units and those left after each rule, "cuts" the units that fail each rule alone
    (its bound in `low` where units must lie above it, else in `high`), and the quantities' panels
    the bars of their histograms; the last one of each, up to infinity, is not drawn.
    """
    left = accounting.set_index("rule")["left"]
    rows = []
    steps = [match for match in map(STEP.fullmatch, left.index) if match]
    whole = {m[1]: left[m[0]] for m in steps if m[2] == "under_tissue"}
    whole.setdefault("umi", whole.get("transcripts"))  # of transcripts each is a molecule
    for step, kind, what in sorted(
        [(m[0], m[1], m[2]) for m in steps], key=lambda s: s[1] == "bins"
    ):
        if not (kind == "transcripts" and what.startswith("in_several")):
            share = left[step] / max(whole[kind], 1)
            rows.append(("steps", step, np.nan, np.nan, left[step], share))
    filtered = accounting[accounting["stage"] == "filter"]
    n_units = max(int(filtered["left"].iloc[0]), 1)
    rows += [
        ("units", rule, np.nan, np.nan, count, count / n_units)
        for rule, count in zip(filtered["rule"], filtered["left"], strict=True)
    ]
    for cut in cuts:
        if cut.column in obs:
            n_failing = int((~cut.passes(obs[cut.column].to_numpy())).sum())
            bounds = (cut.bound, np.nan) if cut.above else (np.nan, cut.bound)
            rows.append(("cuts", cut.rule, *bounds, n_failing, n_failing / max(len(obs), 1)))
    for quantity in QUANTITIES:
        if quantity in obs:
            bounds = [cut.bound for cut in cuts if cut.column == quantity]
            edges = _edges(obs[quantity].to_numpy(), bounds, quantity in LOGARITHMIC)
            edges = np.append(edges, np.inf)
            at = np.searchsorted(edges, obs[quantity].to_numpy(), side="right") - 1
            counts = np.bincount(at, minlength=len(edges) - 1)
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
                rows.append((quantity, quantity, low, high, count, count / max(len(obs), 1)))
    return pd.DataFrame(rows, columns=["panel", "label", "low", "high", "count", "share"])


def _edges(values: np.ndarray, bounds: list[float], logarithmic: bool) -> np.ndarray:
    """Edges of a histogram up to the 99.5th percentile, and over every cut not far beyond it."""
    top = max(float(np.percentile(values, SHOWN_PERCENTILE)), 1e-6)
    top = max([top, *(1.05 * bound for bound in bounds if bound <= 4 * top)])
    if not logarithmic:
        return np.linspace(0, top, N_BARS + 1)
    # Whole numbers: a bar of its own for 0, and no bar between two of them.
    whole = np.unique(np.round(np.geomspace(1, max(top, 10), N_BARS)))
    return np.concatenate([[0.0], whole - 0.5])


def draw_quality(table: pd.DataFrame, sample: str, colours: dict[str, str]) -> Figure:
    """Left: molecules, bins and units from step to step; right: distributions with their cuts.

    `table` comes from `quality_table`; `colours` has kept, lost and cut.
    """
    figure = plt.figure(figsize=(FULL_WIDTH, 92 * MM))
    steps, units = (table[table["panel"] == name] for name in ("steps", "units"))
    quantities = [name for name in QUANTITIES if (table["panel"] == name).any()]
    whole, right = figure.add_gridspec(1, 2, width_ratios=[1, 1.2])
    heights = [max(len(steps), 1), max(len(units), 1)]
    left = whole.subgridspec(2, 1, height_ratios=heights)
    if len(steps):
        axes = figure.add_subplot(left[0])
        kinds = steps["label"].str.split("_").str[0].tolist()
        labels = steps["label"].map(readable_step).tolist()
        places = [i + 0.6 * (kind == "bins") for i, kind in enumerate(kinds)]
        _draw_bars(axes, places, labels, steps, colours)
        axes.set_title("molecules and bins", loc="left")
    axes = figure.add_subplot(left[1])
    labels = ["all units", *units["label"].iloc[1:].map(_readable)]
    _draw_bars(axes, list(range(len(units))), labels, units, colours)
    axes.set_title("units left after each rule", loc="left")
    axes.set_xlabel("share (%)", x=0.25)
    panels = right.subgridspec(-(-len(quantities) // 2) or 1, 2)
    for number, quantity in enumerate(quantities):
        axes = figure.add_subplot(panels[number // 2, number % 2])
        _draw_distribution(axes, table, quantity, colours)
    figure.suptitle(
        f"{sample}: {int(units['count'].iloc[-1]):,} of {int(units['count'].iloc[0]):,} units kept",
        fontweight="bold", fontsize=8, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def readable_step(step: str) -> str:
    """A step of the accounting in words."""
    kind, what = STEP.fullmatch(step).groups()
    if what == "under_tissue":
        return f"{'bins' if kind == 'bins' else 'molecules'} under tissue"
    return READABLE_STEP.get(what, what.replace("_", " "))


def _readable(rule: str) -> str:
    name, *rest = rule.split(" ")
    return " ".join([READABLE.get(name, name), *rest])


def _draw_bars(
    axes: Axes, places: list[float], labels: list[str], rows: pd.DataFrame, colours: dict[str, str]
) -> None:
    share = 100 * rows["share"].to_numpy(dtype=np.float64)
    axes.barh(places, 100, height=0.7, color="0.93")
    axes.barh(places, share, height=0.7, color=colours["kept"])
    for place, count, percent in zip(places, rows["count"], share, strict=True):
        axes.text(158, place, f"{int(count):,}", va="center", ha="right", fontsize=6)
        axes.text(200, place, f"{percent:.1f} %", va="center", ha="right", fontsize=6)
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(places[-1], LEAST_ROWS - 1) + 0.5, -0.5)
    axes.set_xlim(0, 200)
    axes.set_xticks([0, 50, 100])
    axes.spines[["left", "bottom"]].set_visible(False)


def _draw_distribution(
    axes: Axes, table: pd.DataFrame, quantity: str, colours: dict[str, str]
) -> None:
    bars = table[(table["panel"] == quantity) & np.isfinite(table["high"].fillna(0))]
    cuts = table[(table["panel"] == "cuts") & table["label"].map(_column).eq(quantity)]
    low, high = bars["low"].to_numpy(), bars["high"].to_numpy()
    kept = np.ones(len(bars), dtype=bool)
    for above, below in zip(cuts["low"], cuts["high"], strict=True):
        kept &= ((low + high) / 2 > above) if np.isfinite(above) else ((low + high) / 2 < below)
    # A logarithmic axis of log10(1 + x) shows 0 too.
    scale = np.log1p if quantity in LOGARITHMIC else np.asarray
    for shown, colour in ((kept, colours["kept"]), (~kept, colours["lost"])):
        axes.bar(
            scale(low[shown]),
            _height(bars)[shown],
            width=(scale(high) - scale(low))[shown],
            align="edge",
            color=colour,
        )
    notes = []
    for rule, above, below, share in cuts[["label", "low", "high", "share"]].itertuples(
        index=False
    ):
        bound = above if np.isfinite(above) else below
        if bound <= high[-1] and not (quantity == "umi" and bound == 0 and len(cuts) > 1):
            axes.axvline(scale(bound), color=colours["cut"], linewidth=0.8, linestyle="--")
        notes.append(f"{_readable(rule)}: {100 * share:.1f} % fail")
    colour = colours["cut"] if notes else "0.5"
    axes.set_title("\n".join(notes) or "no cut", loc="right", fontsize=6, color=colour)
    if quantity in LOGARITHMIC:
        ticks = [t for t in (0, 1, 10, 100, 1000, 10_000, 100_000) if t <= high[-1]]
        axes.set_xticks(np.log1p(ticks), [f"{t:,}" for t in ticks])
    axes.set_xlim(left=0)
    axes.set_xlabel(QUANTITIES[quantity])
    if quantity in LOGARITHMIC:
        axes.set_ylabel("units (density in log)")
        axes.set_yticks([])
    else:
        axes.set_ylabel("units")


def _height(bars: pd.DataFrame) -> np.ndarray:
    """Counts; per width on the logarithmic axis, whose bars differ in width."""
    if bars["panel"].iloc[0] not in LOGARITHMIC:
        return bars["count"].to_numpy(dtype=np.float64)
    return (bars["count"] / (np.log1p(bars["high"]) - np.log1p(bars["low"]))).to_numpy()


def _column(rule: str) -> str:
    name = rule.split(" ")[0]
    return "area_um2" if name.startswith("area") else name
