"""Figures of cell types: the numbers they show, and words that stay apart however long."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_text import overlapping, width_mm

from histoscribe.annotation.agreement import proportions
from histoscribe.annotation.labellings import AGREEMENT_COLUMNS, agreement, confusion
from histoscribe.figures.agreement import Sides, draw_agreement, score_words, zones
from histoscribe.figures.maps import MappedUnits
from histoscribe.figures.style import use_style
from histoscribe.figures.types import (
    MAX_TYPES,
    UNNAMED,
    draw_types,
    drawn_types,
    marker_dots,
    type_shares,
)
from histoscribe.figures.windows import Window

LONG = "very long name of a cell type that somebody gave it "
PAGE_MM = 186  # 183 and the rim that saving leaves


@pytest.fixture(autouse=True)
def style(repository):
    use_style(repository / "resources" / "matplotlibrc")
    yield
    plt.close("all")


def looks_right(figure, height_mm=245):
    assert overlapping(figure) == []
    assert width_mm(figure) <= PAGE_MM
    figure.canvas.draw()
    box = figure.get_tightbbox()
    assert box.height * 25.4 <= figure.get_figheight() * 25.4 + 3
    assert figure.get_figheight() * 25.4 <= height_mm


def section(n_columns=40, n_rows=30):
    x, y = np.meshgrid(np.arange(n_columns) * 20 + 10.0, np.arange(n_rows) * 20 + 10.0)
    return MappedUnits(np.column_stack([x.ravel(), y.ravel()]), 20.0)


CLUSTERS = pd.DataFrame(
    {"cluster": [0, 1, 2, 3], "n_units": [30, 10, 20, 2], "type": ["a", "a", "b", "b"],
     "is_dropped": [False, False, False, True], "markers": ["G1", "G1,G2", "", ""]}
)  # fmt: skip
MARKERS = pd.DataFrame(
    [
        (0, "G0", 9.0, 1.0, 3.0), (0, "G1", 2.0, 0.5, 1.0), (0, "G2", 1.0, 0.2, 0.4),
        (0, "G3", 0.5, 0.1, 0.1), (0, "G4", -1.0, 0.3, 0.3),
        (1, "G0", 5.0, 0.6, 1.0), (1, "G1", 6.0, 0.9, 2.0), (1, "G2", 4.0, 0.4, 0.8),
        (1, "G3", 0.4, 0.2, 0.2), (1, "G4", -2.0, 0.1, 0.1),
        (2, "G0", 8.0, 0.8, 1.2), (2, "G1", -1.0, 0.1, 0.2), (2, "G2", -1.0, 0.1, 0.1),
        (2, "G3", 3.0, 0.7, 0.9), (2, "G4", 4.0, 0.5, 0.6),
    ],
    columns=["cluster", "gene", "z", "share_in", "mean_in"],
)  # fmt: skip


def test_dots_are_means_over_the_units_of_a_type():
    dots = marker_dots(CLUSTERS, MARKERS, ["a", "b"])
    # Genes that name a type come first; G0 is taken by then, and 'b' has the rest.
    assert list(dict.fromkeys(dots["gene"])) == ["G1", "G2", "G0", "G4", "G3"]
    by = dots.set_index(["type", "gene"])
    assert len(by) == 2 * 5
    assert by.loc[("a", "G1"), "share_in"] == pytest.approx((30 * 0.5 + 10 * 0.9) / 40)
    assert by.loc[("a", "G0"), "mean_in"] == pytest.approx((30 * 3 + 10 * 1) / 40)
    assert by.loc[("b", "G0"), "level"] == pytest.approx(1.2 / 2.5)
    assert by["level"].groupby("gene").max().tolist() == [1.0] * 5
    assert set(by.xs("G4", level="gene")["named_by"]) == {"b"}


def test_dots_of_no_markers_as_they_are_read(tmp_path):
    MARKERS[:0].to_csv(tmp_path / "m.tsv", sep="\t", index=False)
    dots = marker_dots(CLUSTERS[:1], pd.read_csv(tmp_path / "m.tsv", sep="\t"), ["a"])
    assert dots.empty and list(dots) == ["type", "gene", "named_by", "share_in", "mean_in", "level"]


def test_dots_of_genes_that_nobody_has():
    silent = MARKERS.assign(share_in=0.0, mean_in=0.0)
    assert (marker_dots(CLUSTERS, silent, ["a", "b"])["level"] == 0).all()


def test_shares_of_types_count_units_without_one():
    types = pd.Series(pd.Categorical(["a", "a", "b", None], categories=["a", "b", "c"]))
    assert type_shares(types).to_dict() == {"a": 0.5, "b": 0.25, UNNAMED: 0.25}


def annotated_of(types, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(len(types), 2)), columns=["umap_1", "umap_2"]).assign(
        type=pd.Categorical(types)
    )


def tables_of(names, n_genes=4, gene="GENE"):
    clusters = pd.DataFrame(
        {"cluster": range(len(names)), "n_units": 50, "type": names, "is_dropped": False,
         "markers": [f"{gene}{n_genes * i},{gene}{n_genes * i + 1}" for i in range(len(names))]}
    )  # fmt: skip
    rng = np.random.default_rng(0)
    rows = [
        (i, f"{gene}{j}", 9.0 if j // n_genes == i else rng.random(), rng.random(), rng.random())
        for i in range(len(names))
        for j in range(n_genes * len(names))
    ]
    return clusters, pd.DataFrame(rows, columns=["cluster", "gene", "z", "share_in", "mean_in"])


def drawing_of(units, types, gene="GENE", doubtful=()):
    names = list(type_shares(pd.Series(types)).index)
    clusters, markers = tables_of([n for n in names if n != UNNAMED], gene=gene)
    dots = marker_dots(clusters, markers, drawn_types(pd.Series(types)))
    colours = {name: f"C{i % 10}" for i, name in enumerate(names)}
    annotated = annotated_of(types)
    return draw_types(units, units.window(), annotated, dots, set(doubtful), colours, LONG * 3)


@pytest.mark.parametrize(
    ("n_types", "unnamed", "word"),
    [
        (1, True, LONG),
        (7, False, "type "),
        (16, True, LONG),
        (20, False, LONG),
        (20, True, "type "),
    ],
)
def test_maps_of_many_types_and_long_names(n_types, unnamed, word):
    units = section()
    names = np.array([f"{word}{i:02d}" for i in range(n_types)], dtype=object)
    types = names[np.arange(len(units.xy_um)) ** 2 % n_types if n_types < 3 else
                  np.random.default_rng(0).integers(0, n_types, len(units.xy_um))]  # fmt: skip
    if unnamed:
        types[:400] = None
    page = drawing_of(units, types, doubtful=names[::2])
    looks_right(page.figure)
    words = [text.get_text() for text in page.figure.texts]
    assert ("other and no type" in words) == (unnamed or n_types > MAX_TYPES)
    rows = min(n_types, MAX_TYPES)
    dots = next(axes for axes in page.figure.axes if axes.get_xlim()[0] == -0.7)
    assert len(dots.get_yticks()) == rows
    assert len(dots.get_xticks()) == 3 * rows  # of the types that are drawn


@pytest.mark.parametrize("size", [(60, 8), (8, 50), (2, 2)])
def test_narrow_sections(size):
    units = section(*size)
    types = np.array(["a", "b"], dtype=object)[np.arange(len(units.xy_um)) % 2]
    looks_right(drawing_of(units, types).figure)


def test_long_genes_and_no_markers():
    units = section()
    types = np.array([f"t{i}" for i in range(12)], dtype=object)[np.arange(1200) % 12]
    looks_right(drawing_of(units, types, gene="ENSG00000123456.12_LONG_").figure)
    one = np.full(1200, "unknown", dtype=object)
    empty = marker_dots(CLUSTERS[:0], MARKERS[:0], ["unknown"])
    page = draw_types(
        units, units.window(), annotated_of(one), empty, set(), {"unknown": "0.7"}, "one cluster"
    )
    looks_right(page.figure)
    none = annotated_of(np.full(1200, None, dtype=object))
    looks_right(draw_types(units, units.window(), none, empty, set(), {}, "nothing kept").figure)


def drawn_agreement(units, measured, predicted, labels=None):
    both = pd.Series(measured), pd.Series(predicted)
    named = {"measured": both[0]} | ({"labels": pd.Series(labels)} if labels is not None else {})
    pairs = pd.concat([confusion(s, both[1]).assign(against=n) for n, s in named.items()])
    shares = proportions({**named, "predicted": both[1]})
    scores = pd.DataFrame(
        [agreement(s, both[1], n, "broad_class") for n, s in named.items()],
        columns=AGREEMENT_COLUMNS,
    )
    sides = dict(zip(("measured", "predicted"), both, strict=True))
    whole = units.window()
    zoom = Window(whole.left, whole.top, whole.width_um / 4, whole.height_um / 4)
    windows = {"whole": whole, "zoom": zoom}
    images = {k: np.full((*w.shape_px(100), 3), 200, np.uint8) for k, w in windows.items()}
    names = pd.unique(pd.concat([*both, *named.values()]).dropna())
    colours = {name: f"C{i % 10}" for i, name in enumerate(names)}
    return draw_agreement(
        Sides(units, sides), images, windows, pairs, shares, scores, colours, LONG * 3
    )


@pytest.mark.parametrize(
    ("n_classes", "word", "labelled"),
    [(1, LONG, True), (8, "class ", True), (8, LONG, False), (14, LONG, True)],
)
def test_agreement_of_many_classes(n_classes, word, labelled):
    units = section()
    rng = np.random.default_rng(0)
    names = np.array([f"{word}{i:02d}" for i in range(n_classes)], dtype=object)
    measured = names[rng.integers(0, n_classes, 1200)]
    predicted = np.where(rng.random(1200) < 0.8, measured, rng.choice(names, 1200))
    labels = np.where(rng.random(1200) < 0.9, measured, None) if labelled else None
    page = drawn_agreement(units, measured, predicted.astype(object), labels)
    looks_right(page.figure)


@pytest.mark.parametrize("size", [(60, 8), (8, 50)])
def test_agreement_of_narrow_sections(size):
    units = section(*size)
    measured = np.array(["a", "b", None], dtype=object)[np.arange(len(units.xy_um)) % 3]
    looks_right(drawn_agreement(units, measured, measured[::-1]).figure)


def test_agreement_where_nothing_is_kept():
    units = section()
    none = np.full(1200, None, dtype=object)
    looks_right(drawn_agreement(units, none, np.full(1200, "a", dtype=object)).figure)


def test_the_matrix_shows_shares_of_the_reference():
    units = section()
    measured = np.repeat(["a", "b"], [800, 400]).astype(object)
    predicted = np.repeat(["a", "b", "c"], [600, 400, 200]).astype(object)
    page = drawn_agreement(units, measured, predicted)
    written = [t.get_text() for axes in page.figure.axes for t in axes.texts]
    assert sorted(w for w in written if w) == sorted(["75", "25", "50", "50"])
    scores = agreement(pd.Series(measured), pd.Series(predicted), "measured", "broad_class")
    assert score_words(pd.Series(scores))[0].startswith("accuracy 67%, by chance 44%")


def test_zones_are_the_classes_that_prevail():
    units = section()
    classes = pd.Series(np.where(units.xy_um[:, 0] < 400, "left", "right").astype(object))
    classes.iloc[500] = "right" if classes.iloc[500] == "left" else "left"  # one odd unit
    found, names = zones(units, classes, units.window())
    assert names == ["left", "right"]
    half = found.shape[1] // 2
    assert (found[:, : half - 3] == 0).mean() > 0.99 and (found[:, half + 3 :] == 1).mean() > 0.99
    empty = pd.Series(np.full(len(classes), np.nan, dtype=object))
    assert (zones(units, empty, units.window())[0] == -1).all()
