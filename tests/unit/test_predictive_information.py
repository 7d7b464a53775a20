"""What values are told by others in blocks unseen, in nats."""

import numpy as np
import pytest

from histoscribe.morphology_map.information import (
    Part,
    Target,
    blocked_parts,
    normal_scores,
    predicted_values,
    predictive_information,
)

N_UNITS, EDGE_UM = 1600, 1600
BLOCK_UM, BUFFER_UM = 320, 80


@pytest.fixture(scope="module")
def xy_um():
    return np.random.default_rng(9).uniform(0, EDGE_UM, (N_UNITS, 2))


@pytest.fixture(scope="module")
def parts(xy_um):
    return blocked_parts(xy_um, BLOCK_UM, BUFFER_UM, 5, 0)


def test_information_is_that_of_gaussians(xy_um, parts):
    rng = np.random.default_rng(1)
    told = rng.normal(size=(len(xy_um), 3))
    values = np.column_stack([told[:, 0] + told[:, 1] + rng.normal(size=len(told)), told[:, 2] * 0])
    values = np.column_stack([values, rng.normal(size=len(told))])
    found = predictive_information(told, Target.of(values, parts))
    assert found[0] == pytest.approx(0.5 * np.log(3), abs=0.06)  # variance 3, of which 1 is left
    assert found[1] == 0  # constant
    assert found[2] == pytest.approx(0, abs=0.01)


def test_information_is_what_predictions_leave(xy_um, parts):
    """Predictions are not made for it, and yet it is theirs; of several widths the best."""
    rng = np.random.default_rng(2)
    told = rng.normal(3, 2, size=(len(xy_um), 6))
    told[:, 4] = 7.0
    values = told @ rng.normal(size=(6, 8)) + rng.normal(5, 4, size=(len(xy_um), 8))
    few = [Part(part.learnt[::3], part.tested[::2]) for part in parts[:3]]
    expected = []
    for k in (6, 2):
        off, usual = (np.zeros(8) for _ in range(2))
        predicted = predicted_values(told[:, :k], values, few)
        for part in few:
            tested = values[part.tested]
            off += ((tested - predicted[part.tested]) ** 2).sum(axis=0)
            usual += ((tested - values[part.learnt].mean(axis=0)) ** 2).sum(axis=0)
        expected.append(-0.5 * np.log(off / usual))
    assert np.allclose(predictive_information(told, Target.of(values, few)), expected[0])
    found = predictive_information(told, Target.of(values, few), (6, 2))
    assert np.allclose(found, np.maximum(*expected))


def test_what_is_not_known_is_not_told(parts):
    known, gap = np.zeros((400, 2)), np.full((400, 2), np.nan)
    with pytest.raises(ValueError, match="to be told must be finite"):
        Target.of(gap, parts)
    with pytest.raises(ValueError, match="told from must be finite"):
        predictive_information(gap, Target.of(known, []), ())


def test_nothing_near_what_is_tested_is_learnt_from(xy_um, parts):
    tested = np.concatenate([part.tested for part in parts])
    assert sorted(tested) == list(range(len(xy_um)))
    for part in parts:
        gap = np.abs(xy_um[part.learnt][:, None] - xy_um[part.tested][None]).max(axis=2)
        assert gap.min() >= BUFFER_UM


def test_predictions_are_of_tested_rows_alone():
    part = Part(np.arange(10), np.arange(10, 15))
    told = np.arange(20.0)[:, None]
    predicted = predicted_values(told, told, [part])
    assert np.isfinite(predicted[10:15]).all()
    assert np.isnan(predicted[np.r_[:10, 15:20]]).all()


def test_few_units_bear_few_columns(xy_um):
    rng = np.random.default_rng(0)
    some = rng.permutation(len(xy_um))[:120]
    few = blocked_parts(xy_um[some], 320, 80, 5, 0)
    told = rng.normal(size=(120, 40))
    values = told[:, :1] + rng.normal(size=(120, 1))
    all_columns = predictive_information(told, Target.of(values, few))[0]
    assert (
        predictive_information(told, Target.of(values, few), (40, 1))[0] > max(all_columns, 0) + 0.1
    )


def test_ranks_become_normal_scores():
    scores = normal_scores(np.array([[3.0], [1.0], [2.0], [2.0]]))[:, 0]
    assert scores[0] == -scores[1] > 0
    assert scores[2] == scores[3] == 0
