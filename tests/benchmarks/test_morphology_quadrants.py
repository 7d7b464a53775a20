"""Planted features of all four kinds in their quadrants, over ten simulated sections.

And how many features leave the quadrant noise where nothing is planted: smooth fields of all
kinds, from white to as smooth as the tissue's own domains, that follow nothing.
"""

import numpy as np
import pandas as pd

from histoscribe.morphology_map.information import blocked_parts
from histoscribe.morphology_map.inputs import ask
from histoscribe.morphology_map.kinds import NOISE
from histoscribe.morphology_map.quadrants import MapSettings, relate
from histoscribe.simulation import SimulationSettings, simulate_section
from histoscribe.simulation.plants import PLANTED, plant_features, smooth_field
from histoscribe.simulation.settings import stream

SEEDS = range(10)
N_NULL = 40
BUFFER_UM = 64.0


def null_features(xy_um, seed):
    """Fields that follow nothing, from white noise to smooth ones, (n_units, N_NULL)."""
    rng = np.random.default_rng(seed)
    return {
        f"null_{i}": share * smooth_field(stream(seed, f"null {i}"), xy_um)
        + (1 - share) * rng.standard_normal(len(xy_um))
        for i, share in enumerate(np.linspace(0, 1, N_NULL))
    }


def quadrants(seed, with_planted):
    settings = SimulationSettings(sample="s", seed=seed, width_um=900, height_um=900)
    truth = simulate_section(settings).truth
    planted = plant_features(truth, seed)
    xy_um = truth.obsm["spatial"]
    table = pd.DataFrame(null_features(xy_um, seed), index=truth.obs_names)
    if with_planted:
        table = planted.features.join(table)
    units = truth.copy()
    units.X = planted.counts
    region = pd.Series(planted.region, index=truth.obs_names)
    asked = ask(units, table, "region", region, "median", 4000, seed, "simulated")
    map_settings = MapSettings(block_um=asked.block_um(None, BUFFER_UM), buffer_um=BUFFER_UM)
    parts = blocked_parts(asked.xy_um, map_settings.block_um, BUFFER_UM, 5, seed)
    expression = asked.expression(map_settings.n_components, seed)
    told = relate(
        asked.features, expression, asked.question, asked.xy_um, parts, map_settings, seed
    )
    return told.set_index("feature")["quadrant"]


def test_planted_features_are_in_their_quadrants():
    rows = []
    for seed in SEEDS:
        found = quadrants(seed, with_planted=True)
        rows.append(found[list(PLANTED)] == pd.Series(PLANTED))
        print(f"seed {seed}: {found[list(PLANTED)].to_dict()}", flush=True)
    n_right = pd.DataFrame(rows).sum()
    print("rightly classified, of", len(SEEDS), n_right.to_dict())
    assert (n_right >= 0.9 * len(SEEDS)).all()


def test_without_a_signal_features_are_noise():
    left = [(quadrants(seed, with_planted=False) != NOISE).mean() for seed in SEEDS]
    print("share that left noise, by seed:", np.round(left, 3), "mean", np.mean(left))
    assert np.mean(left) < 0.05
