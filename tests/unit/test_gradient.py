"""Ordered groups of sections: found where planted, not elsewhere; sections are what is counted."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_text import overlapping, width_mm

from histoscribe.errors import UserError
from histoscribe.figures.gradient import draw_gradient
from histoscribe.figures.style import use_style
from histoscribe.integration.gradient import (
    Replicates,
    UnseenOrder,
    along_groups,
    follow_groups,
    pseudo_bulk,
    relabellings,
    section_means,
)
from histoscribe.integrations import check_integrations, graded_parts, parts_of
from histoscribe.run import Run

ORDER = ["normal", "early", "late"]
N_UNITS, WIDTH = 60, 6


def sections(n_each=3, groups=ORDER):
    names = [f"s{i}" for i in range(n_each * len(groups))]
    return pd.DataFrame({"section": names, "group": np.repeat(groups, n_each), "donor": names})


def latent(replicates, step, seed, spread=0.3):
    """Units of sections that differ by `spread`, and by `step` a group in one direction."""
    rng = np.random.default_rng(seed)
    parts = []
    for rank in replicates.table["rank"]:
        centre = spread * rng.standard_normal(WIDTH)
        centre[0] += step * rank
        parts.append(centre + rng.standard_normal((N_UNITS, WIDTH)))
    return np.vstack(parts), np.repeat(replicates.table["section"].to_numpy(), N_UNITS)


@pytest.mark.parametrize(
    ("sizes", "n_ways"), [((2, 2, 2), 90), ((3, 3), 20), ((1, 2), 3), ((3, 3, 3), 1680)]
)
def test_all_ways_are_dealt_once_where_they_are_few(sizes, n_ways):
    rank = np.repeat(np.arange(len(sizes)), sizes)
    dealt, is_whole = relabellings(rank, seed=0)
    assert is_whole
    assert len({tuple(row) for row in dealt.tolist()}) == len(dealt) == n_ways
    assert (np.sort(dealt, axis=1) == rank).all()
    many, is_whole = relabellings(np.repeat([0, 1, 2], 6), seed=0)
    assert not is_whole
    assert len(many) == 10_000


def test_p_is_never_below_what_so_few_sections_can_give():
    rank = np.repeat([0, 1, 2], 2)
    values = pd.DataFrame({"up": [0, 1, 10, 11, 20, 21], "down": [5.0, 4, 3, 2, 1, 0],
                           "flat": [1.0] * 6, "other": [3.0, 1, 2, 2, 3, 1]})  # fmt: skip
    found = along_groups(values, rank, seed=0).set_index("name")
    assert found.loc["up", "p"] == pytest.approx(2 / 90)
    assert found.loc["down", ["p", "least_p"]].tolist() == pytest.approx([2 / 90] * 2)
    assert found.loc["down", "rho"] < -0.9
    assert found.loc["up", "slope"] == pytest.approx(10)
    assert found.loc["flat"].isna().sum() == 4  # rho, p, q and least_p
    assert found.loc["other", "p"] > 0.5
    assert (found["p"].dropna() >= found["least_p"].dropna()).all()
    assert (found["q"].dropna() >= found["p"].dropna()).all()


def test_nothing_goes_along_groups_by_chance_more_often_than_p_says():
    rank = np.repeat([0, 1, 2], 3)
    values = np.random.default_rng(0).standard_normal((9, 3000))
    p = along_groups(pd.DataFrame(values), rank, seed=0)["p"]
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 0.01


def test_planted_order_is_found_by_other_sections():
    replicates = Replicates.of(sections(), ORDER)
    space, section = latent(replicates, 2.0, seed=0)
    unseen = UnseenOrder.of(space, section, replicates)
    found = unseen.agreement(replicates.rank, seed=0)
    assert found["rho"] > 0.9
    assert found["least_p"] <= found["p"] < 0.01
    scores = unseen.of_units(space, section, replicates)
    means = pd.Series(scores).groupby(section).mean()[replicates.table["section"]]
    assert np.allclose(means, unseen.scores(replicates.rank[None])[0], atol=1e-6)


def test_order_is_not_found_where_there_is_none():
    p = []
    for seed in range(60):
        replicates = Replicates.of(sections(2), ORDER)
        unseen = UnseenOrder.of(*latent(replicates, 0.0, seed), replicates)
        p.append(unseen.agreement(replicates.rank, seed=0)["p"])
    assert np.mean(np.array(p) < 0.05) <= 0.12
    assert np.mean(np.array(p) < 0.5) <= 0.7


def test_a_section_never_tells_its_own_order():
    replicates = Replicates.of(sections(), ORDER)
    space, section = latent(replicates, 1.0, seed=0)
    before = UnseenOrder.of(space, section, replicates)
    changed = space.copy()
    changed[section == "s4"] += 100
    after = UnseenOrder.of(changed, section, replicates)
    rank = replicates.rank[None]
    assert np.array_equal(before.fit_without("s4", rank)[0], after.fit_without("s4", rank)[0])
    assert not np.allclose(before.fit_without("s3", rank)[0], after.fit_without("s3", rank)[0])


def test_sections_of_one_donor_count_once_and_leave_together():
    table = sections(3)
    table.loc[:1, "donor"] = "d1"
    replicates = Replicates.of(table, ORDER)
    assert replicates.rank.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    means = replicates.means(pd.DataFrame({"x": range(9)}, index=table["section"]))
    assert means["x"].tolist() == [0.5, 2, 3, 4, 5, 6, 7, 8]
    space, section = latent(replicates, 1.0, seed=0)
    scores = UnseenOrder.of(space, section, replicates).of_units(space, section, replicates)
    assert np.isfinite(scores).all()
    noise = space.copy()
    noise[np.isin(section, ["s0", "s1"])] *= 9
    other = UnseenOrder.of(noise, section, replicates)
    before = UnseenOrder.of(space, section, replicates)
    rank = replicates.rank[None]
    assert np.array_equal(before.fit_without("d1", rank)[0], other.fit_without("d1", rank)[0])


def test_a_fit_without_a_section_does_not_lean_away_from_its_group():
    replicates = Replicates.of(sections(2), ORDER)
    scores = [
        UnseenOrder.of(*latent(replicates, 0.0, seed, 0.05), replicates).scores(
            replicates.rank[None]
        )[0]
        for seed in range(40)
    ]
    by_rank = np.mean(scores, axis=0).reshape(3, 2).mean(axis=1)
    assert np.allclose(by_rank, 1, atol=0.1)


def test_without_others_of_its_group_a_section_has_no_order():
    table = sections(1, ["normal", "late"])
    more = pd.DataFrame({"section": ["s9"], "group": ["late"], "donor": ["s9"]})
    replicates = Replicates.of(pd.concat([table, more], ignore_index=True), ["normal", "late"])
    space, section = latent(replicates, 1.0, seed=0)
    scores = UnseenOrder.of(space, section, replicates).of_units(space, section, replicates)
    assert np.isnan(scores[section == "s0"]).all()  # the only one of its group
    assert np.isfinite(scores[section != "s0"]).all()


def test_relabellings_are_scored_alike_some_at_once(monkeypatch):
    replicates = Replicates.of(sections(), ORDER)
    space, section = latent(replicates, 1.0, seed=3)
    unseen = UnseenOrder.of(space, section, replicates)
    rank = np.stack([np.random.default_rng(n).permutation(replicates.rank) for n in range(10)])
    whole = unseen.scores(rank)
    monkeypatch.setattr("histoscribe.integration.gradient.RELABELLED_AT_ONCE", 3)
    assert np.allclose(unseen.scores(rank), whole, equal_nan=True)


def test_pseudo_bulk_keeps_genes_that_all_measure_and_that_are_found():
    totals = pd.DataFrame({"a": [50.0, 150], "rare": [1.0, 0], "lacking": [90.0, np.nan]})
    made = pseudo_bulk(totals)
    assert list(made) == ["a"]
    assert made["a"].tolist() == pytest.approx(np.log2([50.5 / 52e-6, 150.5 / 151e-6]).tolist())


def followed(step):
    replicates = Replicates.of(sections(), ORDER)
    space, section = latent(replicates, step, seed=1)
    rng = np.random.default_rng(0)
    factors = rng.dirichlet(np.ones(4), len(space))
    rank = np.repeat(replicates.table["rank"], N_UNITS).to_numpy()
    factors[:, 1] += 0.2 * rank
    values = section_means(factors, section, 1 + (space[:, 0] > 1).astype(int))
    by_kind = {kind: replicates.means(own) for kind, own in values.items()}
    by_kind["gene"] = replicates.means(
        pd.DataFrame(rng.standard_normal((9, 20)), replicates.table["section"]).add_prefix("GENE")
    )
    unseen = UnseenOrder.of(space, section, replicates)
    table = follow_groups(by_kind, unseen, replicates, ORDER, seed=0)
    units = pd.DataFrame(
        {"section": section, "gradient": unseen.of_units(space, section, replicates),
         "x_um": 10.0 * (np.arange(len(space)) % 8), "y_um": 10.0 * (np.arange(len(space)) % 7)}
    )  # fmt: skip
    of_order = units.groupby("section")["gradient"].mean()
    beside = pd.concat([of_order, *values.values()], axis=1)
    return table, units, replicates.table.join(beside, on="section")


def test_what_goes_along_the_groups_comes_first_and_is_drawn(repository):
    use_style(repository / "resources" / "matplotlibrc")
    table, units, by_section = followed(2.0)
    assert list(table["kind"].unique()) == ["order", "factor", "domain", "gene"]
    assert table.loc[table["kind"] == "factor", "name"].iloc[0] == "factor_2"
    assert (table["n_replicates"] == 9).all()
    assert table.loc[table["name"] == "factor_2", "mean late"].item() > 0.4
    used = {"factor_1": "", "factor_2": "A,B,C"}
    page, shown = draw_gradient(units, by_section, table, used, "title")
    assert overlapping(page.figure) == []
    assert width_mm(page.figure) <= 186
    assert shown["section"].tolist() == [f"s{i}" for i in range(9)]
    assert (shown["lower_quartile"] <= shown["median"]).all()
    assert shown.columns[-2:].tolist()[0] == "factor_2"
    assert "factor_3" not in shown
    draw_gradient(units.assign(gradient=np.nan), by_section, table, used, "no order")
    plt.close("all")


USUAL = {"training": {"pairs": "consecutive", "reference": None}, "stack": {"reference": None}}


def config_problems(tmp_path, gradient, **groups):
    for name in groups:
        (tmp_path / f"{name}.h5ad").touch()
    files = {
        name: {"path": f"{name}.h5ad"} | ({"group": group} if group else {})
        for name, group in groups.items()
    }
    entry = {"files": files, "gradient": gradient}
    check_integrations({"x": entry}, USUAL, Run({}, {}), [], tmp_path)
    return graded_parts(parts_of(entry, Run({}, {}), [], tmp_path), gradient)


def test_gradients_that_cannot_be_are_refused(tmp_path):
    for gradient, groups, words in (
        (["early"], {"a": "early", "b": "late"}, r"x/gradient: found 1 group \(early\)"),
        ([], {"a": "early", "b": "late"}, "found 0 groups; expected two or more"),
        (["early", "never"], {"a": "early", "b": "late"},
         "found never; expected groups of its sections: early, late"),
        (["early", "late"], {"a": None, "b": None}, "groups of its sections: none has one"),
        (["early", "late"], {"a": "early", "b": "late", "c": None},
         r"found 2 sections of these groups \(a, b\); expected three or more"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            config_problems(tmp_path, gradient, **groups)


def test_references_are_checked_wherever_they_are_set(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.h5ad").touch()
    entry = {"files": {name: {"path": f"{name}.h5ad"} for name in ("a", "b")}}

    def check(entry, **usual):
        check_integrations({"x": entry}, USUAL | usual, Run({}, {}), [], tmp_path)

    check(entry, training={"pairs": "all", "reference": "of another integration"})
    pairs = {"pairs": "reference", "reference": None}
    with pytest.raises(UserError, match="training/reference: found None; expected a, b"):
        check(entry, training=pairs)
    with pytest.raises(UserError, match="training/reference: found c; expected a, b"):
        check(entry, training=pairs | {"reference": "c"})
    check(entry | {"settings": {"training": {"reference": "a"}}}, training=pairs)
    check(entry, stack={"reference": "c"})
    with pytest.raises(UserError, match="x/stack/reference: found c; expected a, b"):
        check(entry | {"stack": {}}, stack={"reference": "c"})


def test_sections_without_a_group_are_left_out(tmp_path):
    parts = config_problems(
        tmp_path, ["early", "late"], a="late", b=None, c="early", d="other", e="late"
    )
    assert [part.name for part in parts] == ["c", "a", "e"]
    assert [part.donor for part in parts] == ["c", "a", "e"]
