import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import AxesImage

from histoscribe.figures.ablation import CEILING, SCORES, ablation_table, draw_ablation
from histoscribe.figures.gene_maps import distinct_best_genes
from histoscribe.figures.program_maps import choose_programs, draw_program_maps
from histoscribe.figures.style import (
    read_palette,
    round_length,
    save_figure,
    short_number,
    upper_cut,
)
from histoscribe.figures.term_dots import draw_terms, top_terms
from histoscribe.models import KINDS


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    frames = []
    for sample in ("s1", "s2"):
        for experiment in ("full", "training-mean"):
            pcc = rng.random(40) if experiment == "full" else np.zeros(40)
            frames.append(
                pd.DataFrame(
                    {
                        "sample": sample,
                        "experiment": experiment,
                        "pcc": pcc,
                        "rmse": rng.random(40),
                        "ceiling": 0.9,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def test_ablation_table_holds_what_is_drawn(scores, tmp_path):
    summary = pd.DataFrame(
        {
            "experiment": ["full", "training-mean"],
            "sample": "s2",
            "pcc_mean_low": [0.4, np.nan],
            "pcc_mean_high": [0.6, np.nan],
        }
    )
    table = ablation_table(scores, summary)
    keyed = table.set_index(["sample", "experiment", "score"])
    full = scores[(scores["sample"] == "s2") & (scores["experiment"] == "full")]
    assert keyed.loc[("s2", "full", "pcc"), "mean"] == pytest.approx(full["pcc"].mean())
    assert keyed.loc[("s2", "full", "rmse"), "median"] == pytest.approx(full["rmse"].median())
    assert keyed.loc[("s1", CEILING, "pcc"), "mean"] == pytest.approx(0.9)
    assert ("s1", CEILING, "rmse") not in keyed.index
    assert keyed.loc[("s2", "full", "pcc"), ["mean_low", "mean_high"]].tolist() == [0.4, 0.6]
    assert keyed.loc[[("s2", "full", "rmse"), ("s1", "full", "pcc")], "mean_low"].isna().all()
    colours = {"full": "#0072B2", "training-mean": "#7F7F7F", CEILING: "#000000"}
    figure = draw_ablation(table, colours)
    assert len(figure.axes) == 2 * len(SCORES)
    save_figure(figure, table, [tmp_path / f"a.{e}" for e in ("pdf", "svg", "png", "tsv")])
    assert len(pd.read_csv(tmp_path / "a.tsv", sep="\t")) == len(table)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_best_genes_that_look_alike_are_shown_once():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 200))
    predicted = pd.DataFrame({"A": a, "A2": a * 2 + 0.01 * b, "B": b, "C": rng.random(200)})
    scores = pd.Series({"A": 0.9, "A2": 0.8, "B": 0.5, "C": 0.1})
    assert distinct_best_genes(scores, predicted, 2) == ["A", "B"]
    assert distinct_best_genes(scores, predicted, 4) == ["A", "B", "C", "A2"]


def test_scale_bars_are_round_and_the_same_for_like_panels():
    assert round_length(200.0) == (50, "50 µm")
    assert round_length(200.0 - 1e-11) == (50, "50 µm")
    assert round_length(3999.0)[1] == "500 µm"
    assert round_length(4001.0)[1] == "1 mm"


def test_numbers_at_ticks_are_short():
    assert [short_number(v) for v in (0, 0.25, 1200, 45_000, 3e6)] == [
        "0", "0.25", "1,200", "45k", "3M"
    ]  # fmt: skip


def test_colour_range_ends_at_the_99th_percentile():
    assert upper_cut(np.arange(101.0)) == 99
    assert upper_cut(np.array([0.0] * 999 + [5.0])) == 5.0
    assert upper_cut(np.zeros(5)) == 1


def test_programs_drawn_are_those_whose_measured_map_is_signal():
    rng = np.random.default_rng(0)
    names = ["a", "b", "c", "only measured"]
    measured = pd.DataFrame(rng.random((50, 4)), columns=names)
    predicted = pd.DataFrame(rng.random((50, 3)) * [1, 9, 5], columns=names[:3])
    agreement = pd.DataFrame(
        {
            "set": names[:3],
            "pcc": [0.1, 0.9, 0.2],
            "ceiling": 0.5,
            "ceiling_pooled": [0.9, 0.2, 0.7],
        }
    )
    sides = {"measured": measured, "predicted": predicted}
    assert choose_programs(agreement, sides, 2) == ["a", "c"]  # not b, though predicted best
    assert choose_programs(agreement, sides, 9) == ["a", "b", "c"]
    apart = agreement.assign(ceiling_pooled=np.nan, ceiling=[0.1, 0.2, 0.3])
    assert choose_programs(apart, sides, 2) == ["b", "c"]
    assert choose_programs(None, {"predicted": predicted}, 2) == ["b", "c"]  # the widest spread


@pytest.mark.parametrize("names", [[], ["one"], [f"a long name: of program {i}" for i in range(6)]])
def test_program_maps_are_drawn(names, tmp_path):
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 100, (50, 2))
    scores = pd.DataFrame(rng.random((50, len(names))) - 0.5, columns=names)
    image = np.full((40, 40, 3), 200, dtype=np.uint8)
    for sides in ({"measured": scores, "predicted": scores}, {"predicted": scores}):
        captions = dict.fromkeys(names, "PCC 0.50 (ceiling 0.70)")
        figure = draw_program_maps(image, (0, 100, 100, 0), xy, 8.0, sides, captions)
        n_bands = max(1, -(-len(names) // 4))
        n_maps = len(names) * len(sides)
        assert len(figure.findobj(AxesImage)) == n_bands + n_maps
        save_figure(figure, scores, [tmp_path / "m.png", tmp_path / "m.tsv"])
    assert (tmp_path / "m.png").stat().st_size > 1000


def test_top_terms_of_each_group_and_what_others_have_of_them():
    enriched = pd.DataFrame(
        {
            "group": ["0", "0", "0", "1", "1", "2"],
            "term": ["x", "y", "z", "y", "w", "v"],
            "name": ["x", "y", "z", "y", "w", "v"],
            "n_overlap": [10, 5, 2, 20, 4, 1],
            "n_group": [20, 20, 20, 40, 40, 10],
            "p": [1e-9, 1e-4, 0.001, 1e-8, 1e-3, 0.4],
            "adjusted_p": [1e-8, 1e-3, 0.01, 1e-7, 0.02, 0.9],
        }
    )
    table = top_terms(enriched, 1, 0.05)
    assert table[["group", "term"]].to_numpy().tolist() == [["0", "x"], ["1", "y"], ["0", "y"]]
    assert table["rank"].tolist() == [0, 1, 1]
    assert table["share"].tolist() == [0.5, 0.5, 0.25]
    figure = draw_terms(table, ["0", "1", "2"], {"0": "0 podocyte"})
    dots = figure.axes[0].collections[0]
    np.testing.assert_array_equal(dots.get_offsets(), [[0, 0], [1, 1], [0, 1]])
    np.testing.assert_allclose(dots.get_array(), [8, 7, 3])
    assert dots.get_sizes()[0] == 2 * dots.get_sizes()[2]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0 podocyte", "1", "2"]
    none = draw_terms(top_terms(enriched, 1, 1e-12), ["0"], {})
    assert "no enriched term" in [text.get_text() for text in none.axes[0].texts]
    plt.close("all")


def test_every_kind_of_model_has_a_colour(repository):
    colours = read_palette(repository / "resources/palette.tsv")
    assert {*KINDS, "baseline", "ceiling"} <= set(colours)
    own = [colours[kind] for kind in KINDS if kind not in ("mean", "neighbours")]
    assert len(set(own)) == len(own)
