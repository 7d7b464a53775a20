"""What a model sees of a unit: chosen features of every encoder, and their means around it."""

from fnmatch import fnmatchcase

import anndata as ad
import numpy as np
from scipy.spatial import cKDTree

from histoscribe.errors import UserError, problem
from histoscribe.neighbourhood import within
from histoscribe.provenance import recall

FEATURE_LIMIT = 8.0
PAIRS_AT_ONCE = 4_000_000  # of neighbours: 100 MB
SAMPLED_PLACES = 100


def inputs_of(
    features: dict[str, ad.AnnData],
    use: list[str],
    columns: list[str] | None,
    neighbours_um: list[float],
    rows: list[str],
) -> np.ndarray:
    """Inputs of the units named in `rows`, float32 (n_rows, n_inputs).

    The blocks `use` of every encoder that has them side by side, of these the features that match
    one of the patterns `columns` (None: all); then for each radius their means over all units of
    the section within it, the unit itself among them. Units are those of the features' files, so
    the means do not depend on what was measured or filtered. Features of adapted encoders have no
    such means: around a training unit, some come from networks that have seen its expression.
    Raises UserError where a unit has no features, or nothing is left to see.
    """
    own = _joined(features, use, columns, rows)
    still = {n: f for n, f in features.items() if recall(f.uns)["encoder"]["kind"] != "adapted"}
    if not neighbours_um or not still:
        return own
    first = next(iter(still.values()))
    joined = _joined(still, use, columns, list(first.obs_names))
    position = first.obs_names.get_indexer(rows)
    xy_um = np.asarray(first.obsm["spatial"], dtype=np.float64)
    means = [_means_within(xy_um[position], xy_um, joined, radius) for radius in neighbours_um]
    return np.hstack([own, *means])


def _means_within(
    places_um: np.ndarray, xy_um: np.ndarray, features: np.ndarray, radius_um: float
) -> np.ndarray:
    """Means of features (n_units, n_features) over units within a radius, (n_places, n_features).

    Each place is a unit's, so that none is alone.
    """
    means = np.empty((len(places_um), features.shape[1]), dtype=np.float32)
    few = places_um[:: max(len(places_um) // SAMPLED_PLACES, 1)]
    pairs = cKDTree(xy_um).query_ball_point(few, radius_um, return_length=True).mean()
    at_once = max(int(PAIRS_AT_ONCE / pairs), 1)
    for start in range(0, len(places_um), at_once):
        part = slice(start, start + at_once)
        near = within(places_um[part], xy_um, radius_um)
        means[part] = (near @ features) / np.diff(near.indptr)[:, None]
    return means


def standardise(inputs: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Inputs in units of the training spread, float32, cut at +-8.

    The cut keeps a rare outlier of another section from ruling a linear model.
    """
    scaled = (inputs - mean.astype(np.float32)) / scale.astype(np.float32)
    return np.clip(scaled, -FEATURE_LIMIT, FEATURE_LIMIT, out=scaled)


def _joined(
    features: dict[str, ad.AnnData], use: list[str], columns: list[str] | None, rows: list[str]
) -> np.ndarray:
    """The chosen features of the units in `rows`, (n_rows, n_features) float32."""
    blocks = [np.empty((len(rows), 0), dtype=np.float32)]
    for encoder, described in features.items():
        position = described.obs_names.get_indexer(rows)
        if (position < 0).any():
            raise UserError(
                problem(
                    f"features of {encoder}",
                    f"no features for {(position < 0).sum()} of {len(rows)} units",
                    "features of every unit",
                    "Delete the section's features file and run again.",
                )
            )
        for block in use:
            if block not in described.obsm:
                continue
            values = np.asarray(described.obsm[block])[position]
            if columns is not None:
                names = recall(described.uns)[f"{block}_names"]
                values = values[:, [any(fnmatchcase(n, c) for c in columns) for n in names]]
            blocks.append(values)
    joined = np.hstack(blocks).astype(np.float32)
    if joined.shape[1] == 0:
        raise UserError(
            problem(
                "features.use and features.columns",
                f"nothing in {', '.join(use)} of {', '.join(features)} that matches "
                f"{', '.join(columns or ['*'])}",
                "one feature at least",
                "Correct them; features are named in uns of the features file.",
            )
        )
    return joined
