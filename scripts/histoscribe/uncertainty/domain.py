"""How strange a unit's features are beside those of the training units.

A unit is as strange as it is far from the training units within their main directions of variation
(Hotelling's T squared) and outside of them (the residual, Q), as in the monitoring of processes
(Jackson and Mudholkar, Technometrics 1979). Each counts by its mean over the training units, so
neither the few main directions nor the many others rule the sum. The sum is given as a percentile
among training units of blocks that the directions were not fitted on.
"""

import numpy as np

MAX_UNITS = 20_000  # of which directions are fitted: more change nothing but the time
MAX_COMPONENTS = 96  # 400 kB in the bundle for 1,000 features
EXPLAINED = 0.99  # share of the variance that the main directions hold
N_QUANTILES = 1001
OUT_OF_DOMAIN = 0.99  # percentile beyond which a unit is flagged
# A section calls for a warning where more units than WARN_SHARE are flagged, or its median unit
# lies beyond WARN_MEDIAN: a pale stain moves all units a little, few of them out of every range.
WARN_SHARE = 0.2
WARN_MEDIAN = 0.9


def fit_domain(
    features: np.ndarray, held_out: list[tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, np.ndarray]:
    """Directions of standardised (n_units, n_features) and quantiles of held-out strangeness.

    `held_out` pairs the rows that a fold may learn from with the rows that it holds out.
    """
    chosen = np.zeros(len(features), dtype=bool)
    rng = np.random.default_rng(seed)
    chosen[rng.permutation(len(features))[:MAX_UNITS]] = True
    scores = [
        strangeness(_directions(features[learn & chosen]), features[tested & chosen])
        for learn, tested in held_out
        if (learn & chosen).sum() > 1
    ]
    directions = _directions(features[chosen])
    at = np.linspace(0, 1, N_QUANTILES)
    quantiles = np.quantile(np.concatenate(scores), at).astype(np.float32)
    return {**directions, "domain_quantiles": quantiles}


def strangeness(directions: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Distance of standardised features from the training units, (n_units,); 2 is usual."""
    centred = features - directions["domain_centre"]
    along = centred @ directions["domain_axes"]  # (n_units, n_components)
    inside = (along**2 / directions["domain_variances"]).mean(axis=1)
    outside = np.einsum("ij,ij->i", centred, centred) - (along**2).sum(axis=1)
    return inside + np.maximum(outside, 0) / directions["domain_residual"]


def domain_percentile(domain: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Share of held-out training units that are less strange, (n_units,) float32.

    1: stranger than every one of them.
    """
    at = np.linspace(0, 1, N_QUANTILES)
    return np.interp(strangeness(domain, features), domain["domain_quantiles"], at).astype(
        np.float32
    )


def _directions(features: np.ndarray) -> dict[str, np.ndarray]:
    """Centre, main axes with the variance along each, and the mean squared residual."""
    centre = features.mean(axis=0, dtype=np.float64)
    centred = (features - centre).astype(np.float32)
    variances, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(features))
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
    held = np.cumsum(variances) / max(variances.sum(), 1e-12)
    n = int(np.clip(np.searchsorted(held, EXPLAINED) + 1, 1, MAX_COMPONENTS))
    # Features that hardly vary in training must not make every other unit infinitely strange.
    floor = 1e-6 * max(variances.sum(), 1e-12)
    return {
        "domain_centre": centre.astype(np.float32),
        "domain_axes": np.ascontiguousarray(axes[:, :n], dtype=np.float32),
        "domain_variances": np.maximum(variances[:n], floor).astype(np.float32),
        "domain_residual": np.float32(max(variances[n:].sum(), floor)).reshape(1),
    }
