"""One genotype on a page: where it lies, its copies, and what goes with it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from histoscribe.figures.copy_profile import (
    COLOURS,
    MOST_ROWS,
    Profile,
    calls,
    draw_profiles,
    profile_height_mm,
    short_segment,
)
from histoscribe.figures.maps import MappedUnits, show_window
from histoscribe.figures.panels import WIDTH_MM, Page, fitted, name_ticks
from histoscribe.figures.types import UNNAMED_COLOUR, paint_types
from histoscribe.figures.volcano import draw_volcano, senses
from histoscribe.figures.windows import Window
from histoscribe.genome.positions import natural_order
from histoscribe.genome.segments import ELSEWHERE, GAIN, LOSS

CARRIERS, OTHERS = "carriers", "others"
OTHER_CLONES = "other clones"
STATE_COLOURS = ["#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#690F1E", "#3C0096"]
MAP_MM, MOST_MAP_MM, MAP_GAP_MM = 66.0, 78.0, 4.0
LEGEND_ROW_MM = 4.2
PANEL_TOP_MM, PANEL_MM = 14.0, 42.0  # below the row's headline; height of the panels
VOLCANO = 10.0, 52.0  # left, width
DOSAGE = 77.0, 36.0
LABELS_MM = 24.0  # names of segments
IMAGE = 121.0, WIDTH_MM - 121.0
N_FEATURES, N_SEGMENTS = 5, 12
FEATURE_MM = 38.0  # names of features
ONE_CLONE = "Expression does not show more than one clone: there is nothing to compare."
NO_SEGMENTS = "No DNA of segments is known."
NONE_CALLED = "No segment is called a gain or a loss beside other clones."
FEW_BLOCKS = "The units compared lie in too few blocks to learn in some and test in others."
NO_FEATURES = "No image features are known of these units."


@dataclass(frozen=True)
class ShownGenotype:
    """The first genotype of an entry with its own rows of the tables; `row` None without any.

    `has_features`: the image was asked whether it tells the genotype.
    """

    row: dict | None
    n_genotypes: int
    has_features: bool
    genes: pd.DataFrame
    dosage: pd.DataFrame
    image: pd.DataFrame

    @property
    def name(self) -> str:
        return "" if self.row is None else self.row["genotype"]


@dataclass(frozen=True)
class MappedGenotype:
    """Where units lie, the `state` (n_units,) of those compared, and the H&E of the window."""

    units: MappedUnits
    state: pd.Series
    window: Window
    picture: np.ndarray | None


def first_genotype(
    carriers: pd.DataFrame,
    genes: pd.DataFrame,
    dosage: pd.DataFrame,
    image: pd.DataFrame,
    units: pd.DataFrame,
) -> ShownGenotype:
    """The one that a figure shows, from the tables of associate_genotype."""
    row = carriers.iloc[0].to_dict() if len(carriers) else None
    tables = (genes, dosage, image)
    own = [t[t["genotype"] == row["genotype"]] if row else t.iloc[:0] for t in tables]
    own = [table.reset_index(drop=True) for table in own]
    has_features = row is not None and f"image: {row['genotype']}" in units
    return ShownGenotype(row, len(carriers), has_features, *own)


def states(units: pd.DataFrame, row: dict | None) -> pd.Series:
    """Clone, or whether it carries the genotype, of each unit that is compared; else NaN.

    `units` (n_units,) as associate_genotype writes them, `row` of the carriers' table.
    """
    if row is None:
        return units["clone"].astype(object) if "clone" in units else units["kind"].where(False)
    name = row["genotype"]
    found = pd.Series(np.nan, index=units.index, dtype=object)
    for column in units.columns:
        values = units[column]
        if column == name:  # a mutation
            found = values.map({1.0: CARRIERS, 0.0: OTHERS})
        elif f"{column} altered" == name:
            found = values.map(lambda v: OTHERS if v == 2 else CARRIERS).where(values.notna())
        elif name.startswith(f"{column}: ") or (column.lower() == "clone"):
            levels = values.where(values.notna()).astype(object)
            if name in {*levels.astype(str), *(f"{column}: {level}" for level in levels)}:
                found = levels
                break
    compared = f", {row['kinds']}, "
    return found.where(units["kind"].map(lambda kind: f", {kind}, " in compared)).astype(object)


def state_colours(state: pd.Series) -> tuple[pd.Series, dict[str, str]]:
    """States with the rarest ones as one where there are many, and their colours, in order."""
    names = list(state.value_counts().index)
    if CARRIERS in names or OTHERS in names:
        return state, {CARRIERS: STATE_COLOURS[0], OTHERS: STATE_COLOURS[1]}
    shown = sorted(names[: len(STATE_COLOURS)], key=str)
    colours = dict(zip(shown, STATE_COLOURS, strict=False))
    if len(names) > len(shown):
        state = state.where(state.isna() | state.isin(shown), OTHER_CLONES)
        colours[OTHER_CLONES] = "0.5"
    return state, colours


def draw_genotype(
    shown: ShownGenotype,
    mapped: MappedGenotype,
    profiles: list[Profile],
    lengths: dict[str, float],
    is_inferred: bool,
    q_below: float,
    title: str,
) -> Page:
    """The page; `profiles` along chromosomes of `lengths` in bp may be none."""
    window = mapped.window
    map_height = min(MAP_MM * window.height_um / window.width_um, MOST_MAP_MM)
    profile_top = 13 + max(map_height + 9, 30)
    row_top = profile_top + 9 + (profile_height_mm(len(profiles)) if profiles else 0) + 4
    page = Page(row_top + (PANEL_TOP_MM + PANEL_MM + 9 if shown.row else 0))
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    page.write(0, 4, _lead(shown), WIDTH_MM, fontsize=6.5, color="0.25")
    _draw_maps(page, mapped, map_height, shown)
    _draw_copies(page, profile_top, profiles, lengths, is_inferred)
    if shown.row is None:
        return page
    for (left, width), words in (
        (VOLCANO, "genes"),
        (DOSAGE, "altered segments"),
        (IMAGE, "what the image alone tells"),
    ):
        first = left - (10 if left == VOLCANO[0] else 8 if left == DOSAGE[0] else 0)
        page.write(first, row_top, words, left + width - first, fontsize=7)
    _draw_genes(page, row_top, shown, q_below)
    _draw_dosage(page, row_top, shown, is_inferred)
    _draw_image(page, row_top, shown)
    return page


def _lead(shown: ShownGenotype) -> str:
    row = shown.row
    if row is None:
        return ONE_CLONE
    first = "the one genotype" if shown.n_genotypes == 1 else f"1 of {shown.n_genotypes} genotypes"
    return (
        f"shown: {row['genotype']} ({first}); {row['n_carriers']:,.0f} carriers beside "
        f"{row['n_others']:,.0f} others of {row['kinds']}, matched within reach of each other"
    )


def _draw_maps(page: Page, mapped: MappedGenotype, height: float, shown: ShownGenotype) -> None:
    """The H&E, where there is one, beside the units in the colours of their states."""
    window, top = mapped.window, 13.0
    width = height * window.width_um / window.height_um
    left = 0.0
    if mapped.picture is not None:
        page.write(0, top - 4, "H&E", MAP_MM, fontsize=7)
        axes = page.panel(0, top, width, height)
        axes.imshow(mapped.picture, extent=window.extent, interpolation="antialiased")
        show_window(axes, window)
        left = width + MAP_GAP_MM
    state, colours = state_colours(mapped.state)
    words = "units compared" if shown.row else "units looked at"
    page.write(left, top - 4, words, MAP_MM, fontsize=7)
    paint_types(page.panel(left, top, width, height), mapped.units, state, window, colours)
    page.scale_bar(0, top + height + 1.5, width, window.width_um)
    right = left + width + MAP_GAP_MM
    room = WIDTH_MM - right
    count = state.value_counts()
    rows = [(name, colour, int(count.get(name, 0))) for name, colour in colours.items()]
    rows.append(("other units", UNNAMED_COLOUR, int(state.isna().sum())))
    page.write(WIDTH_MM, top, "units", fontsize=6, color="0.4", ha="right")
    for number, (name, colour, n) in enumerate(rows, 1):
        y = top + number * LEGEND_ROW_MM
        words = f"{name} ({CARRIERS})" if shown.name in (name, f"clone: {name}") else name
        page.swatch(right, y + 0.3, colour)
        page.write(right + 3.5, y, words, room - 14, fontsize=6.5)
        page.write(WIDTH_MM, y, f"{n:,}", fontsize=6.5, ha="right")
    also = str(shown.row["also"]) if shown.row and pd.notna(shown.row["also"]) else ""
    if also:
        words = f"{shown.name} is told by the same units as: {also}"
        y = top + (len(rows) + 1.6) * LEGEND_ROW_MM
        page.paragraph(right, y, words, room, color="0.4")


def _draw_copies(
    page: Page, top: float, profiles: list[Profile], lengths: dict[str, float], is_inferred: bool
) -> None:
    what = "expression" if is_inferred else "copies"
    page.write(0, top, f"{what} along the genome", WIDTH_MM, fontsize=7)
    words = "a line a segment, by DNA; ◇ its expression with the standard error"
    if not profiles:
        words = NO_SEGMENTS
    elif is_inferred:
        left_out = len(profiles) - MOST_ROWS
        words = "a line a segment ± standard error; ◇ in molecules that did not make the clones"
        words += f"; {left_out} more clones in the table" if left_out > 0 else ""
    page.write(0, top + 3.6, words, WIDTH_MM - 34, fontsize=6, color="0.4")
    if not profiles:
        return
    for number, call in enumerate((GAIN, LOSS)):
        left = WIDTH_MM - 26 + 14 * number
        page.swatch(left, top + 0.3, COLOURS[call])
        page.write(left + 3.2, top, call, fontsize=6.5)
    draw_profiles(page, top + 8, profiles, lengths)


def _draw_genes(page: Page, top: float, shown: ShownGenotype, q_below: float) -> None:
    left, width = VOLCANO
    n = int((shown.genes["q"] < q_below).sum())
    inside = senses(shown.genes) != ELSEWHERE
    words = f"{n} of {len(shown.genes)} with q < {q_below:g} (coloured)"
    if inside.any():
        words += "; ▲\u00a0in\u00a0a\u00a0gain, ▼\u00a0in\u00a0a\u00a0loss, ●\u00a0elsewhere"
    page.paragraph(0, top + 3.6, words, left + width, color="0.4")
    axes = page.panel(left, top + PANEL_TOP_MM, width, PANEL_MM)
    draw_volcano(axes, shown.genes, q_below, width, PANEL_MM)


def _draw_dosage(page: Page, top: float, shown: ShownGenotype, is_inferred: bool) -> None:
    left, width = DOSAGE
    room = left - 8, width + 8
    altered = shown.dosage[shown.dosage["segment"] != ELSEWHERE]
    if altered.empty:
        words = NONE_CALLED if is_inferred else NO_SEGMENTS
        page.paragraph(room[0], top + 4, words, room[1], color="0.4")
    elif is_inferred:
        words = "held-out log2 ratio ± standard error; how many copies there are is not known"
        page.paragraph(room[0], top + 3.6, words, room[1], color="0.4")
        panel = left + LABELS_MM - 8, top + PANEL_TOP_MM, width - LABELS_MM + 8, PANEL_MM
        _draw_held_out(page.panel(*panel), shown.dosage)
    else:
        row = shown.row
        words = (
            f"slope {row['slope']:.2f} (95\u00a0% interval {row['slope_low']:.2f} to "
            f"{row['slope_high']:.2f}); 1: expression follows copies"
        ).replace("-", "−")
        words = words if np.isfinite(row["slope"]) else "too few altered genes for a slope"
        page.paragraph(room[0], top + 3.6, words, room[1], color="0.4")
        _draw_slope(page.panel(left, top + PANEL_TOP_MM, width, PANEL_MM), shown)


def _draw_held_out(axes: Axes, dosage: pd.DataFrame) -> None:
    """Segments of the most genes in the order of the genome, then the genes elsewhere."""
    altered = dosage[dosage["segment"] != ELSEWHERE].nlargest(N_SEGMENTS, "n_genes")
    altered = altered.sort_values("segment", key=lambda names: names.map(natural_order))
    own = pd.concat([altered, dosage[dosage["segment"] == ELSEWHERE]], ignore_index=True)
    for place, row in enumerate(own.to_dict("records")):
        call = row["segment"].rsplit(" ", 1)[-1]
        axes.errorbar(
            row["log2_ratio"], place, xerr=row["standard_error"], fmt="o", markersize=3.5,
            color=COLOURS.get(call, COLOURS[""]), elinewidth=0.8,
        )  # fmt: skip
    axes.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(own)))
    name_ticks(axes.yaxis, [short_segment(name) for name in own["segment"]], LABELS_MM - 1, 6)
    axes.set_ylim(len(own) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=1.5)
    axes.tick_params(axis="x", labelsize=6)
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel("log2 ratio", fontsize=6.5)


def _draw_slope(axes: Axes, shown: ShownGenotype) -> None:
    own = shown.dosage.dropna(subset=["log2_copies"])
    x, y = own["log2_copies"].to_numpy(float), own["log2_ratio"].to_numpy(float)
    error = own["standard_error"].to_numpy(float)
    ends = np.array([x.min(), x.max()]) + np.array([-0.08, 0.08]) * max(np.ptp(x), 0.5)
    axes.plot(ends, ends, color="0.6", linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    if np.isfinite(shown.row["slope"]):
        # Segments weighted as their genes are give the line that genes give.
        level = np.average(y - shown.row["slope"] * x, weights=error**-2.0)
        axes.plot(ends, level + shown.row["slope"] * ends, color="black", linewidth=0.9, zorder=2)
    colour = [COLOURS[call] for call in calls(x)]
    axes.errorbar(x, y, yerr=error, fmt="none", ecolor=colour, elinewidth=0.8, zorder=2)
    axes.scatter(x, y, s=12, c=colour, linewidths=0, zorder=3)
    axes.text(ends[1], ends[1], "1:1", fontsize=6, color="0.5", ha="right", va="bottom")
    axes.tick_params(labelsize=6)
    axes.locator_params(nbins=5)
    axes.set_xlabel("log2 copies, carriers to others", fontsize=6.5)
    axes.set_ylabel("log2 expression", fontsize=6.5)


def _draw_image(page: Page, top: float, shown: ShownGenotype) -> None:
    left, width = IMAGE
    row = shown.row
    if not np.isfinite(row["image_accuracy"]):
        words = FEW_BLOCKS if shown.has_features else NO_FEATURES
        page.paragraph(left, top + 4, words, width, color="0.4")
        return
    span = f"{row['image_low']:.2f} to {row['image_high']:.2f}"
    interval = f" ({span})" if np.isfinite(row["image_low"]) else ""
    words = (
        f"balanced accuracy {row['image_accuracy']:.2f}{interval}, by chance "
        f"{row['image_by_chance']:.2f}; p {row['image_p']:.2g}"
    )
    page.paragraph(left, top + 3.6, words, width, color="0.4")
    axes = page.panel(left + 1, top + PANEL_TOP_MM, width - 2, 5)
    axes.axvline(0.5, color="0.85", linewidth=0.6, zorder=0)
    axes.plot(row["image_by_chance"], 0, "|", color="0.5", markersize=9, markeredgewidth=1.2)
    axes.hlines(0, row["image_low"], row["image_high"], color="0.4", linewidth=1)
    axes.plot(row["image_accuracy"], 0, "o", color="black", markersize=3.5)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelsize=6)
    axes.set_xlabel("balanced accuracy  (grey bar: chance)", fontsize=6, labelpad=1)
    _draw_features(page, top + PANEL_TOP_MM + 15, shown.image)


def _draw_features(page: Page, top: float, image: pd.DataFrame) -> None:
    left, width = IMAGE
    order = image.sort_values("told_counts", ascending=False, kind="stable")  # then as given
    own = order.head(N_FEATURES)
    n = int(image["told_counts"].sum())
    words = f"features that differ most; {n} of {len(image)} count (filled)"
    page.write(left, top, words, width, fontsize=6, color="0.4")
    height = PANEL_MM - 15 - 4
    axes = page.panel(left + FEATURE_MM, top + 4, width - FEATURE_MM, height)
    place = np.arange(len(own))
    axes.hlines(place, 0, own["difference"], color="0.7", linewidth=0.8)
    axes.scatter(
        own["difference"], place, s=14, zorder=3, linewidths=0.8, edgecolors="black", clip_on=False,
        c=["black" if counts else "white" for counts in own["told_counts"]],
    )  # fmt: skip
    reach = 1.15 * max(float(own["difference"].abs().max()), 0.2)
    axes.set_xlim(-reach, reach)
    axes.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.set_yticks(place)
    names = list(own["feature"])
    size_pt = min(fitted(name, FEATURE_MM - 1, 6)[1] for name in names)
    name_ticks(axes.yaxis, names, FEATURE_MM - 1, size_pt)
    axes.set_ylim(len(own) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=1.5)
    axes.tick_params(axis="x", labelsize=6)
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel("difference (sd)", fontsize=6.5)
