"""Which maps a config asks for, and how a map is drawn and told."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from histoscribe.errors import UserError
from histoscribe.figures.morphology_map import (
    draw_morphology_map,
    ends_of,
    gallery_um,
)
from histoscribe.morphology_map.entries import check_maps, map_entries
from histoscribe.morphology_map.extremes import most_extreme, shown_features
from histoscribe.morphology_map.kinds import SETS
from histoscribe.report.morphology import map_views
from histoscribe.report.results import MapTables, Results
from histoscribe.run import Run

ENCODERS = {name: {"kind": name} for name in ("morphology", "adapted", "totals")}


@dataclass(frozen=True)
class Section:
    is_measured: bool
    labels: str | None = None


RUN = Run({"one": Section(True, "labels.tsv"), "two": Section(True), "slide": Section(False)}, {})


def check(tmp_path, **entry):
    config = {"features": {"encoder": ["morphology"]}, "morphology_maps": {"m": entry}}
    entries = map_entries(config, tmp_path)
    check_maps(entries, RUN, ENCODERS, {"one"}, {"two"})
    return entries["m"]


def test_maps_of_samples_and_of_files(tmp_path):
    found = check(tmp_path, sample="one", question="labels")
    assert (found.encoder, found.file, found.program) == ("morphology", None, None)
    assert check(tmp_path, sample="two", question="program:Hypoxia").program == "Hypoxia"
    (tmp_path / "cells.h5ad").touch()
    found = check(tmp_path, file="cells.h5ad", question="domain", features=["cnn"])
    assert (found.encoder, found.file) == (None, tmp_path / "cells.h5ad")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"question": "labels"}, "morphology_maps/m: found neither sample nor file"),
        ({"question": "x", "sample": "one", "file": "a.h5ad"}, "found both sample and file"),
        ({"question": "x", "file": "a.h5ad", "features": ["f"]}, "m/file: found no file at"),
        (
            {"question": "x", "file": "a.h5ad", "features": ["f"], "encoder": "morphology"},
            "a file brings its own features",
        ),
        ({"question": "x", "file": "a.h5ad"}, "m/features: found none; expected keys of obsm"),
        ({"question": "labels", "sample": "slide"}, "expected a measured section: one, two"),
        ({"question": "labels", "sample": "two"}, "expected labels of two in the sheet"),
        ({"question": "types", "sample": "two"}, "expected a section that has them: one"),
        ({"question": "program:P", "sample": "one"}, "expected a section that has them: two"),
        ({"question": "x", "file": "a.h5ad", "features": ["x"]}, "found the question, x"),
        ({"question": "color", "sample": "one"}, "expected labels, types or program:NAME"),
        (
            {"question": "labels", "sample": "one", "encoder": "adapted"},
            "that no expression taught",
        ),
        ({"question": "labels", "sample": "one", "encoder": "totals"}, "an encoder of the image"),
        ({"question": "labels", "sample": "one", "features": ["f"]}, "Leave features out"),
    ],
)
def test_maps_that_cannot_be_are_refused(tmp_path, entry, words):
    with pytest.raises(UserError) as raised:
        check(tmp_path, **entry)
    assert words in str(raised.value)


@pytest.fixture
def table():
    return pd.DataFrame(
        {"feature": ["shape_area", "tile_16um_clear_fraction", "footprint_eosin_mean", "x"],
         "overlap": [0.5, 0.02, 0.3, -0.2], "overlap_by_chance": [0.1, -0.1, 0.0, 0.0],
         "overlap_q": [0.0, 0.5, 0.0, 0.9], "relevance": [0.6, 0.2, 0.01, -0.1],
         "relevance_by_chance": [-0.1, 0.0, 0.0, 0.0], "relevance_q": [0.0, 0.0, 0.6, 0.9],
         "quadrant": ["translation", "integration", "overestimation", "noise"]}
    )  # fmt: skip


@pytest.fixture
def gains():
    rows = [
        {"from": name, "measure": measure, "value": 0.5 + 0.1 * i, "low": 0.4, "high": 0.9,
         "gain": 0.1 * i, "gain_low": 0.1 * i - 0.05, "gain_high": 0.1 * i + 0.05,
         "gain_p": 0.0167 if i > 1 else np.nan}
        for measure in ("balanced_accuracy", "ari") for i, name in enumerate(SETS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def genes():
    return pd.DataFrame(
        {"gene": ["ACTB", "KRT5"], "pcc": [0.2, 0.6], "pcc_low": [0.1, 0.5],
         "is_housekeeping": [True, False],
         "relevance": [-0.01, 0.3], "relevance_by_chance": [0.0, 0.1],
         "quadrant": ["overestimation", "translation"]}
    )  # fmt: skip


def test_what_is_drawn_is_above_chance(table):
    shown = shown_features(table)
    assert shown["overlap"].tolist() == [0.4, 0.02, 0.3, 0]
    assert shown["relevance"].tolist() == [0.6, 0.2, 0.01, 0]
    assert most_extreme(shown) == {
        "translation": "shape_area", "integration": "tile_16um_clear_fraction",
        "overestimation": "footprint_eosin_mean",
    }  # fmt: skip


def test_tiles_are_of_both_ends_and_apart():
    xy_um = np.column_stack([np.arange(100.0), np.zeros(100)])
    low, high = ends_of(np.arange(100.0), xy_um, 10)
    assert low == [0, 10, 20, 30]
    assert high == [99, 89, 79, 69]
    assert gallery_um("shape_area", 128) < gallery_um("tile_16um_clear_fraction", 128) == 128


def test_a_map_is_drawn_with_and_without_an_image(table, gains, genes):
    shown = shown_features(table)
    tile = np.full((20, 20, 3), 200, dtype=np.uint8)
    gallery = {feature: ([tile] * 4, [tile] * 3) for feature in most_extreme(shown).values()}
    whole = draw_morphology_map(shown, gains, genes, gallery, "labels", "map", 128)
    bare = draw_morphology_map(shown, gains, genes.iloc[:0], {}, "labels", "map", 0)
    assert whole.height_mm > bare.height_mm
    assert sum(bool(axes.images) for axes in whole.figure.axes) == 21
    plt.close("all")


@dataclass(frozen=True)
class Facts:
    config: dict


def test_a_map_is_told_in_words(table, gains, genes):
    entry = {"sample": "one", "question": "labels"}
    facts = Facts({"morphology_maps": {"m": entry}})
    view, *_ = map_views(facts, Results(maps={"m": MapTables(table, gains, genes)}))
    words = " ".join(view.words)
    assert "Of 4 image features, 1 tell of the question" in words
    assert "a balanced accuracy of 0.500 from genes, 0.600 from the image" in words
    assert "own expression tell: genes + integration features gain 0.300" in words
    assert "25\u202f% of the mean PCC" in words
    assert view.gains[0]["gain"] == ""
    for none in (gains.assign(gain_low=-0.1), gains.assign(gain_p=0.1)):
        view, *_ = map_views(facts, Results(maps={"m": MapTables(table, none, genes.iloc[:0])}))
        assert "could not be shown" in " ".join(view.words)
        assert "mean PCC" not in " ".join(view.words)
    few = gains.assign(gain_low=np.nan)
    view, *_ = map_views(facts, Results(maps={"m": MapTables(table, few, genes)}))
    assert "too small to say" in " ".join(view.words)
