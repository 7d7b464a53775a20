import numpy as np
import pandas as pd
import pytest

from histoscribe.figures.ablation import CEILING, SCORES, ablation_table, draw_ablation
from histoscribe.figures.gene_maps import distinct_best_genes
from histoscribe.figures.style import round_length, save_figure, short_number, upper_cut


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
