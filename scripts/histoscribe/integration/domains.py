"""Domains that sections share: clusters of their units in the latent space."""

from dataclasses import dataclass

import numpy as np
from pynndescent import NNDescent
from sklearn.mixture import GaussianMixture

from histoscribe.clustering import (
    Neighbours,
    by_size,
    nearest_neighbours,
    shared_neighbours,
    steady_leiden,
)

N_STARTS = 10
MIXTURE_UNITS = 50_000  # drawn to fit where there are more
EXACT_UNITS = 50_000
SMALLEST_VARIANCE = 1e-4


@dataclass(frozen=True)
class DomainSettings:
    """Communities at `leiden_resolution`, or, where `n_domains` is given, so many Gaussians."""

    n_domains: int | None = None
    n_neighbours: int = 15
    leiden_resolution: float = 0.3


def find_domains(latent: np.ndarray, settings: DomainSettings, seed: int) -> np.ndarray:
    """Domain of each unit (n_units,), from 0 for the largest; `latent` (n_units, width)."""
    if settings.n_domains is not None:
        return mixture_domains(latent, settings.n_domains, seed)
    graph = shared_neighbours(units_alike(latent, settings.n_neighbours, seed))
    return steady_leiden(graph, settings.leiden_resolution, seed)


def units_alike(latent: np.ndarray, n_neighbours: int, seed: int) -> Neighbours:
    """The nearest units of each in `latent` (n_units, width), itself first.

    Exact up to 50,000 units; beyond, by nearest-neighbour descent (Dong et al., WWW 2011), whose
    cost hardly grows faster than the number of units.
    """
    if len(latent) <= EXACT_UNITS:
        return nearest_neighbours(latent, n_neighbours)
    search = NNDescent(latent, n_neighbors=n_neighbours, random_state=seed, n_jobs=1)
    return Neighbours(*search.neighbor_graph)


def mixture_domains(latent: np.ndarray, n_domains: int, seed: int) -> np.ndarray:
    """Domain of each unit (n_units,), from 0 for the largest: Gaussians of one common shape."""
    drawn = np.arange(len(latent))
    if len(latent) > MIXTURE_UNITS:
        drawn = np.random.default_rng(seed).choice(len(latent), MIXTURE_UNITS, replace=False)
    mixture = GaussianMixture(
        n_domains, covariance_type="tied", n_init=N_STARTS, random_state=seed, max_iter=500,
        reg_covar=SMALLEST_VARIANCE,
    ).fit(latent[drawn])  # fmt: skip
    return by_size(mixture.predict(latent))
