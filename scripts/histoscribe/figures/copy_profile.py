"""Gains and losses along the genome, a row a clone, over alternating bands of chromosomes."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from histoscribe.figures.panels import WIDTH_MM, Page, width_of
from histoscribe.genome.positions import natural_order
from histoscribe.genome.segments import BESIDE_OTHERS, ELSEWHERE, GAIN, LOSS

COLOURS = {GAIN: "#D55E00", LOSS: "#0072B2", "": "0.35"}
LEAST_LOG2 = 0.1  # of copies between carriers and others, that is drawn as a gain or a loss
LEAST_REACH = 0.6  # of the axis, either way
MOST_ROWS = 4
LEFT_MM, ROW_MM, GAP_MM = 12.0, 17.0, 6.0
BAND = "0.94"
PLACE = re.compile(r"(?P<chromosome>[^:\s]+)(?::(?P<start>\d+)-(?P<end>\d+))?")


@dataclass(frozen=True)
class Profile:
    """A row of the panel.

    `table` has a row a segment: chromosome, start, end, value with value_error, mark with
    mark_error (which may be NaN), and the call: gain, loss or "".
    """

    title: str
    table: pd.DataFrame


def inferred_profiles(segments: pd.DataFrame) -> list[Profile]:
    """Of each clone beside the other clones, or beside normal cells where it is the only one.

    `segments` as infer_copy_number writes them. Marks are ratios of molecules that were held out.
    """
    profiles = []
    for name, own in segments.groupby("clone", sort=False):
        others = own[own["beside"] == BESIDE_OTHERS]
        shown = others if len(others) else own
        table = shown[["chromosome", "start", "end"]].assign(
            value=shown["log2_ratio"],
            value_error=shown["standard_error"],
            mark=shown["held_out_log2_ratio"],
            mark_error=np.nan,
            call=shown["call"].fillna(""),
        )
        profiles.append(Profile(f"{name} beside {shown['beside'].iloc[0]}", table))
    return profiles


def dna_profile(dosage: pd.DataFrame, genotype: str) -> list[Profile]:
    """Log2 copies of carriers beside others in each segment; none where no segments are known.

    `dosage` of one genotype. Marks are the ratios of expression of the same segments.
    """
    known = dosage[dosage["segment"] != ELSEWHERE].reset_index(drop=True)
    if known.empty:
        return []
    places = known["segment"].str.extract(PLACE)
    shift = known["log2_copies"]
    table = pd.DataFrame(
        {
            "chromosome": places["chromosome"],
            "start": places["start"].astype(float),
            "end": places["end"].astype(float),
            "value": shift,
            "value_error": np.nan,
            "mark": known["log2_ratio"],
            "mark_error": known["standard_error"],
            "call": calls(shift.to_numpy(dtype=float)),
        }
    )
    return [Profile(f"{genotype} beside the others", table)]


def calls(log2_copies: np.ndarray) -> np.ndarray:
    """What log2 copies of carriers to others (n,) are drawn as: gain, loss or ""."""
    return np.select([log2_copies >= LEAST_LOG2, log2_copies <= -LEAST_LOG2], [GAIN, LOSS], "")


def short_segment(name: str) -> str:
    """A segment's name in few letters, its ends in megabases."""
    place = PLACE.match(name)
    if place is None or place["start"] is None:
        return name
    start, end = (int(place[key]) / 1e6 for key in ("start", "end"))
    return f"{place['chromosome']}:{start:.0f}–{end:.0f} Mb"


def chromosome_lengths(places: pd.DataFrame) -> dict[str, float]:
    """How far each chromosome is known to reach, in bp, in their order."""
    reach = places.dropna(subset=["chromosome", "end"]).groupby("chromosome")["end"].max()
    return {name: float(reach[name]) for name in sorted(reach.index, key=natural_order)}


def profile_height_mm(n_profiles: int) -> float:
    """Height of the panel without its headline."""
    return min(n_profiles, MOST_ROWS) * (ROW_MM + GAP_MM) + 3


def draw_profiles(
    page: Page, top: float, profiles: list[Profile], lengths: dict[str, float]
) -> None:
    """Rows below each other; `lengths` of chromosomes in bp."""
    ends = np.cumsum(list(lengths.values()))
    first = dict(zip(lengths, ends - np.array(list(lengths.values())), strict=True))
    tables = pd.concat([profile.table for profile in profiles[:MOST_ROWS]])
    furthest = tables[["value", "mark"]].abs().to_numpy(dtype=float)
    reach = max(1.15 * float(np.nanmax(furthest)), LEAST_REACH)
    for number, profile in enumerate(profiles[:MOST_ROWS]):
        y = top + number * (ROW_MM + GAP_MM)
        page.write(LEFT_MM, y, profile.title, WIDTH_MM - LEFT_MM, fontsize=6.5)
        axes = page.panel(LEFT_MM, y + 3.5, WIDTH_MM - LEFT_MM, ROW_MM)
        _draw_bands(axes, lengths, first)
        _draw_segments(axes, profile.table, lengths, first)
        axes.set_xlim(0, ends[-1])
        axes.set_ylim(-reach, reach)
        axes.set_ylabel("log2 ratio", fontsize=6.5)
        axes.tick_params(labelsize=6)
        axes.locator_params(axis="y", nbins=4)
        axes.tick_params(axis="x", length=0, pad=1.5)
        is_last = number == min(len(profiles), MOST_ROWS) - 1
        _name_chromosomes(axes, lengths, first, is_last)


def _draw_bands(axes: Axes, lengths: dict[str, float], first: dict[str, float]) -> None:
    for number, name in enumerate(lengths):
        if number % 2:
            axes.axvspan(first[name], first[name] + lengths[name], color=BAND, lw=0, zorder=0)
    axes.axhline(0, color="0.6", linewidth=0.5, zorder=1)


def _draw_segments(
    axes: Axes, table: pd.DataFrame, lengths: dict[str, float], first: dict[str, float]
) -> None:
    for row in table.to_dict("records"):
        name = row["chromosome"]
        if name not in lengths:
            continue
        is_whole = not np.isfinite(row["start"])
        start, end = (0.0, lengths[name]) if is_whole else (row["start"], row["end"])
        x = first[name] + start, first[name] + min(end, lengths[name])
        colour = COLOURS[row["call"]]
        if np.isfinite(row["value_error"]):
            ends = row["value"] - row["value_error"], row["value"] + row["value_error"]
            axes.fill_between(x, *ends, color=colour, alpha=0.25, linewidth=0, zorder=2)
        axes.plot(x, [row["value"]] * 2, color=colour, linewidth=2, solid_capstyle="butt", zorder=3)
        error = row["mark_error"] if np.isfinite(row["mark_error"]) else None
        axes.errorbar(
            np.mean(x), row["mark"], yerr=error,
            fmt="D", markersize=2.2, markerfacecolor="white", markeredgecolor="black",
            markeredgewidth=0.5, ecolor="black", elinewidth=0.5, zorder=4,
        )  # fmt: skip


def _name_chromosomes(
    axes: Axes, lengths: dict[str, float], first: dict[str, float], is_named: bool
) -> None:
    """Names below those that are wide enough for them."""
    total = sum(lengths.values())
    names, places = [], []
    for name, length in lengths.items():
        short = name.removeprefix("chr")
        if is_named and width_of(short, 5.5) < (WIDTH_MM - LEFT_MM) * length / total:
            names.append(short)
            places.append(first[name] + length / 2)
    axes.set_xticks(places, names, fontsize=5.5)
