"""Figures as they are saved: within the page, no words over others, whatever names and values."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import shapely
from figure_text import overlapping, width_mm

from histoscribe.figures.ablation import CEILING, ablation_table, draw_ablation
from histoscribe.figures.accuracy import accuracy_table, density_table, draw_accuracy
from histoscribe.figures.gene_maps import (
    Pictured,
    distinct_best_genes,
    draw_gene_maps,
    gene_insets,
    inset_table,
)
from histoscribe.figures.maps import MappedUnits
from histoscribe.figures.nuclei_overlay import choose_windows, draw_nuclei, overlay_table
from histoscribe.figures.overlay import Overlaid, draw_overlay, overlay_windows
from histoscribe.figures.overlay import overlay_table as gene_overlay_table
from histoscribe.figures.panels import fitted, width_of
from histoscribe.figures.quality import draw_quality, quality_table
from histoscribe.figures.style import use_style
from histoscribe.figures.totals import agreement_table, draw_totals, shown_range

LONG = "a-very-long-name-of-a-section-or-gene-that-somebody-gave-it-" + "W" * 4
PAGE_MM = 186  # 183 and the rim that saving leaves


@pytest.fixture(autouse=True)
def style(repository):
    use_style(repository / "resources" / "matplotlibrc")
    yield
    plt.close("all")


def section(kind="bin", width_um=600.0, height_um=600.0):
    step = 20.0
    x, y = np.meshgrid(np.arange(10, width_um, step), np.arange(10, height_um, step))
    xy = np.column_stack([x.ravel(), y.ravel()])
    outlines = shapely.buffer(shapely.points(xy), 6) if kind == "nucleus" else None
    return MappedUnits(xy, 11.0 if kind == "nucleus" else step, kind == "spot", outlines)


def picture(window):
    shape = (*window.shape_px(200), 3)
    return Pictured(window, np.random.default_rng(0).integers(80, 250, shape).astype(np.uint8))


def looks_right(figure, height_mm=245):
    assert overlapping(figure) == []
    assert width_mm(figure) <= PAGE_MM
    assert figure.get_figheight() * 25.4 <= height_mm


def drawn_gene_maps(units, genes, values=None):
    rng = np.random.default_rng(0)
    shape = (len(units.xy_um), len(genes))
    measured = pd.DataFrame(rng.poisson(1.0, shape) if values is None else values, columns=genes)
    predicted = measured * 0.5 + (rng.random(shape) if values is None else 0)
    scores = pd.DataFrame({"pcc": 0.5, "ceiling": 0.7}, index=genes)
    whole = units.window()
    insets = gene_insets(units, measured, whole)
    figure = draw_gene_maps(
        picture(whole), {g: picture(w) for g, w in insets.items()}, units, measured, predicted,
        scores,
    )  # fmt: skip
    return figure, inset_table(insets, measured, predicted, scores)


@pytest.mark.parametrize(
    ("kind", "n_genes"), [("bin", 1), ("bin", 4), ("nucleus", 3), ("spot", 2), ("nucleus", 12)]
)
def test_gene_maps_of_long_names(kind, n_genes):
    figure, table = drawn_gene_maps(section(kind), [f"{LONG}{i}" for i in range(n_genes)])
    looks_right(figure, height_mm=245 if n_genes <= 6 else 380)
    assert len(table) == n_genes
    names = [text.get_text() for text in figure.texts]
    assert any(name.startswith("a-very-long") for name in names)


@pytest.mark.parametrize("size_um", [(2000, 300), (300, 1500)])
def test_gene_maps_of_narrow_sections(size_um):
    looks_right(drawn_gene_maps(section("bin", *size_um), ["MT-CO1", "A_B", "C$1$"])[0])


@pytest.mark.parametrize("value", [0.0, 2.0, np.nan])
def test_gene_maps_of_empty_and_constant_genes(value):
    units = section()
    values = np.full((len(units.xy_um), 1), value)
    if np.isnan(value):
        values[:] = 0.0
        values[7] = 1e-12
    figure, table = drawn_gene_maps(units, ["FLAT"], values)
    looks_right(figure)
    assert (table["measured_cut"] > 0).all()


def test_genes_whose_prediction_is_constant_are_no_trouble():
    predicted = pd.DataFrame({"A": np.zeros(50), "B": np.arange(50.0), "C": np.zeros(50)})
    scores = pd.Series({"A": 0.3, "B": 0.2, "C": np.nan})
    assert distinct_best_genes(scores, predicted, 3) == ["A", "B", "C"]
    assert distinct_best_genes(scores[:1], predicted, 3) == ["A"]


def sums_of(n, constant=False):
    rng = np.random.default_rng(0)
    names = ["umi", "measured_total", "predicted_total", "measured_genes", "predicted_genes"]
    sums = pd.DataFrame({name: rng.gamma(5, 10_000, n) for name in names})
    sums.loc[::3, "measured_genes"] = np.nan
    if constant:
        sums[:] = 0.0
    return sums


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("size_um", [(600, 600), (1500, 300), (300, 900)])
def test_totals(constant, size_um):
    units = section("bin", *size_um)
    sums = sums_of(len(units.xy_um), constant)
    agreement = agreement_table(sums, 48.0)
    whole = picture(units.window())
    looks_right(draw_totals(whole, units, sums, agreement, LONG, 12_345, 48.0))
    by_name = agreement.set_index("quantity")
    if constant:
        assert by_name["pcc"].isna().all()
    else:
        known = sums.dropna()
        expected = known["measured_genes"].corr(known["predicted_genes"])
        assert by_name.loc["genes", "pcc"] == pytest.approx(expected)
        assert by_name.loc["total", "n_units"] == len(sums)
        expected = sums["measured_total"].corr(sums["umi"])
        assert by_name.loc["total", "pcc_with_umi"] == pytest.approx(expected)


def test_ranges_of_colours():
    assert shown_range(np.arange(101.0)) == (1, 99)
    assert shown_range(np.array([0.0] * 999 + [5.0])) == (0, 5)
    assert shown_range(np.full(5, 3.0)) == (2.5, 3.5)
    assert shown_range(np.full(5, np.nan)) == (0, 1)


@pytest.mark.parametrize("kind", ["bin", "nucleus"])
@pytest.mark.parametrize("sides", [("predicted", "measured"), ("measured",), ("predicted",)])
def test_overlays(kind, sides):
    units = section(kind)
    rng = np.random.default_rng(0)
    values = {side: rng.gamma(1, 1, len(units.xy_um)) for side in sides}
    drawn = Overlaid(LONG, LONG, values, ["Measured only: the model does not predict this gene."])
    windows = overlay_windows(units, values[sides[0]], units.window())
    figure = draw_overlay(drawn, units, [picture(window) for window in windows])
    looks_right(figure)
    words = " ".join(text.get_text() for text in figure.texts)
    assert "not a stain" in words and "Measured only" in words
    table = gene_overlay_table(drawn, units, windows)
    assert [c for c in table if c in ("predicted", "measured")] == list(sides)
    for number, window in enumerate(windows):
        assert (table["zoom"] >= number).sum() == window.holds(units.xy_um).sum()


def test_an_overlay_of_an_empty_gene():
    units = section()
    values = {"predicted": np.zeros(len(units.xy_um)), "measured": np.zeros(len(units.xy_um))}
    windows = overlay_windows(units, values["measured"], units.window())
    drawn = Overlaid("EMPTY", "s", values, ["No measured value above 0."])
    looks_right(draw_overlay(drawn, units, [picture(window) for window in windows]))


def scores_of(samples, experiments, n_genes=40):
    rng = np.random.default_rng(0)
    frames = []
    for sample in samples:
        for i, experiment in enumerate(experiments):
            pcc = rng.random(n_genes) / (i + 1)
            frames.append(
                pd.DataFrame(
                    {"sample": sample, "experiment": experiment, "pcc": pcc,
                     "rmse": rng.random(n_genes), "ceiling": 0.9}
                )
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def summary_of(scores):
    rows = scores[["experiment", "sample"]].drop_duplicates()
    return rows.assign(pcc_mean_low=0.412345, pcc_mean_high=0.523456)


@pytest.mark.parametrize("n_samples", [1, 3, 24])
@pytest.mark.parametrize("grouped", [True, False])
def test_accuracy_by_tissue(n_samples, grouped):
    samples = [f"{LONG}{i}" for i in range(n_samples)]
    scores = scores_of(samples, ["full", "training-mean", "nearest-units", "block-ridge"])
    groups = {s: f"{LONG} tissue {i % 3}" if grouped else None for i, s in enumerate(samples)}
    table, density = accuracy_table(scores, summary_of(scores), groups), density_table(scores)
    looks_right(draw_accuracy(table, density, "#CC79A7", "#7F7F7F"))
    one = scores[(scores["sample"] == samples[0]) & (scores["experiment"] == "full")]
    row = table.set_index(["sample", "experiment", "score"]).loc[(samples[0], "full", "rmse")]
    assert row["q1"] == pytest.approx(one["rmse"].quantile(0.25))
    assert np.allclose(table.loc[table["experiment"] == CEILING, "mean"], 0.9)
    if grouped:  # sections of a group stand together
        runs = table["group"].ne(table["group"].shift()).sum()
        assert runs == min(n_samples, 3)
    outline = density[(density["sample"] == samples[0]) & (density["score"] == "pcc")]
    assert outline["density"].max() == pytest.approx(1)
    assert outline["value"].iloc[0] == pytest.approx(one["pcc"].min())


def test_accuracy_where_all_genes_score_alike():
    scores = scores_of(["s"], ["full", "training-mean"]).assign(pcc=0.0)
    scores.loc[scores["experiment"] == "full", "rmse"] = np.nan
    density = density_table(scores)
    assert density.empty
    table = accuracy_table(scores, summary_of(scores), {"s": None})
    looks_right(draw_accuracy(table, density, "#CC79A7", "#7F7F7F"))


def test_an_ablation_of_many_experiments_with_long_names():
    names = [f"{LONG}{i}" for i in range(8)]
    scores = scores_of(["s1", LONG], names)
    table = ablation_table(scores, summary_of(scores))
    colours = dict.fromkeys([*names, CEILING], "#0072B2")
    looks_right(draw_ablation(table, colours))


def test_nuclei_and_quality_with_long_names(repository):
    import geopandas as gpd

    units = section("nucleus")
    nuclei = gpd.GeoDataFrame({"area_um2": shapely.area(units.outlines)}, geometry=units.outlines)
    windows = choose_windows(units.xy_um, (600.0, 600.0))
    colours = {"outline": "#F0E442", "zoom": "#000000", "kept": "#0072B2", "lost": "#BDBDBD",
               "cut": "#D55E00"}  # fmt: skip
    table = overlay_table(nuclei, windows, None)
    images = [picture(window).image for window in windows]
    looks_right(draw_nuclei(images, windows, units.outlines, table, colours))
    left = {"umi_under_tissue": 123_456_789, "umi_in_nuclei": 5e6, "umi_assigned": 4e6}
    left |= {"all": 100_000, "umi > 20": 90_000, "mito_fraction < 0.15": 80_000, "umi_kept": 3e6}
    account = pd.DataFrame({"stage": "counting", "rule": left.keys(), "left": left.values()})
    account.loc[3:5, "stage"] = "filter"
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"umi": rng.poisson(2000, 100_000), "n_genes": rng.poisson(900, 100_000)})
    obs = obs.assign(area_um2=rng.gamma(4, 15, 100_000), mito_fraction=rng.random(100_000) / 5)
    looks_right(draw_quality(quality_table(account, obs, []), LONG, colours))


def test_words_are_cut_to_their_place():
    text, size = fitted("short", 50, 8)
    assert (text, size) == ("short", 8)
    text, size = fitted(LONG, 40, 8)
    assert "…" in text and text[:9] == LONG[:9] and text[-4:] == LONG[-4:] and size == 5
    assert 30 < width_of(text, size) <= 40
    assert fitted("", 10, 7) == ("", 7)
