"""The figure of spots against units: the part that is enlarged, the numbers, the text."""

import numpy as np
import pandas as pd
import pytest

from histoscribe.figures.spots import (
    SpotMaps,
    draw_skipped,
    draw_spots,
    enlarged_window,
    plotted_table,
)
from histoscribe.figures.style import save_figure

EXTENT_UM = (0.0, 1000.0, 800.0, 0.0)
NAMES = ["HLA-DRB1", "A_B", "MT-CO1"]
COLOURS = {"kept": "#0072B2", "lost": "#BDBDBD", "cut": "#D55E00"}


def make(n_genes=3, n_units=2000):
    rng = np.random.default_rng(0)
    row, column = np.indices((7, 9))
    spots_um = np.column_stack([column.ravel(), row.ravel()]) * 100.0 + 100.0
    names = NAMES[:n_genes]
    units_um = rng.uniform((0, 0), (1000, 800), (n_units, 2))
    measured, predicted = (
        pd.DataFrame(rng.random((len(spots_um), n_genes)), columns=names) for _ in range(2)
    )
    single = pd.DataFrame(rng.random((n_units, n_genes)) * 0.01, columns=names)
    return SpotMaps(spots_um, 55.0, measured, predicted, units_um, 6.0, "nucleus", single)


@pytest.fixture
def tables():
    rng = np.random.default_rng(1)
    maps = make()
    spots = pd.DataFrame(
        {
            "spot": [f"s{i}" for i in range(len(maps.spots_um))],
            "x_um": maps.spots_um[:, 0],
            "y_um": maps.spots_um[:, 1],
            "n_units": rng.integers(1, 20, len(maps.spots_um)),
            "measured_total": rng.integers(100, 9000, len(maps.spots_um)),
            "predicted_total": rng.random(len(maps.spots_um)),
            "measured_features": rng.integers(10, 90, len(maps.spots_um)),
            "predicted_features": rng.random(len(maps.spots_um)),
        }
    )
    genes = pd.DataFrame(
        {"pcc": [0.5, 0.4, -0.1], "ceiling": [0.8, 0.7, 0.0], "within_share": [0.3, np.nan, 1]},
        index=NAMES,
    )
    names = ("pcc_mean", "pcc_total", "pcc_features", "pcc_total_n_units", "pcc_features_n_units")
    return maps, spots, genes, dict.fromkeys(names, 0.25)


def test_the_part_where_units_differ_most_is_enlarged():
    maps = make()
    lively = np.linalg.norm(maps.units_um - (700, 300), axis=1) < 150
    maps.single.loc[lively, NAMES[0]] = np.random.default_rng(2).random(lively.sum())
    left, right, bottom, top = enlarged_window(maps, EXTENT_UM)
    assert (left + right) / 2 == pytest.approx(700, abs=101)
    assert (top + bottom) / 2 == pytest.approx(300, abs=101)
    assert right - left == pytest.approx(bottom - top)
    assert left >= 0 and top >= 0 and right <= 1000 and bottom <= 800


def test_a_lively_corner_with_few_units_is_not_enlarged():
    maps = make()
    sparse_corner = np.all(maps.units_um < 450, axis=1)
    kept = ~sparse_corner | (np.arange(len(sparse_corner)) % 40 == 0)
    maps.single.loc[sparse_corner, NAMES[0]] = np.linspace(0, 9, sparse_corner.sum())
    thinned = SpotMaps(
        maps.spots_um, 55.0, maps.measured, maps.predicted, maps.units_um[kept], 6.0, "nucleus",
        maps.single[kept].reset_index(drop=True),
    )  # fmt: skip
    left, right, bottom, top = enlarged_window(thinned, EXTENT_UM)
    assert max((left + right) / 2, (top + bottom) / 2) > 350


def test_every_number_that_is_drawn_is_in_the_table(tables, tmp_path):
    maps, spots, genes, section = tables
    slide = np.full((80, 100, 3), 200, np.uint8)
    window = enlarged_window(maps, EXTENT_UM)
    figure = draw_spots(slide, EXTENT_UM, slide, window, maps, spots, genes, section, COLOURS)
    titles = [axes.get_title() for axes in figure.axes]
    assert all(titles.count(name) == 1 + (name == NAMES[0]) for name in NAMES)
    texts = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "PCC 0.50 (ceiling 0.80)" in texts
    assert "PCC 0.25 (nuclei alone 0.25)" in texts
    units = pd.Index([f"u{i}" for i in range(len(maps.units_um))])
    table = plotted_table(maps, spots, genes, units)
    save_figure(figure, table, [tmp_path / f"f.{ending}" for ending in ("png", "pdf", "tsv")])
    read = pd.read_csv(tmp_path / "f.tsv", sep="\t")
    assert read["kind"].value_counts().to_dict() == {"unit": 2000, "spot": 63, "gene": 3}
    spot = read[read["name"] == "s7"].iloc[0]
    assert spot["measured_A_B"] == pytest.approx(maps.measured["A_B"][7], rel=1e-4)
    assert spot["n_units"] == spots["n_units"][7]
    unit = read[read["name"] == "u9"].iloc[0]
    assert unit["predicted_HLA-DRB1"] == pytest.approx(maps.single["HLA-DRB1"][9], rel=1e-4)
    assert read[read["name"] == "A_B"]["ceiling"].item() == 0.7


def test_maps_end_at_the_99th_percentile(tables):
    maps, spots, genes, section = tables
    maps.measured.loc[0, "A_B"] = 1000.0
    slide = np.full((80, 100, 3), 200, np.uint8)
    window = enlarged_window(maps, EXTENT_UM)
    figure = draw_spots(slide, EXTENT_UM, slide, window, maps, spots, genes, section, COLOURS)
    panel = next(axes for axes in figure.axes if axes.get_title() == "A_B")
    top = panel.collections[0].get_clim()[1]
    assert top == pytest.approx(np.percentile(maps.measured["A_B"], 99))


def test_a_skip_is_drawn_and_says_why(tmp_path):
    maps = make(n_genes=0)
    slide = np.full((80, 100, 3), 200, np.uint8)
    figure = draw_skipped(slide, EXTENT_UM, maps, "skipped: 3 spots hold units, fewer than 10")
    assert "3 spots hold units" in figure.get_suptitle()
    save_figure(figure, pd.DataFrame({"spot": ["a"]}), [tmp_path / "f.png"])
    assert (tmp_path / "f.png").is_file()
