"""Sections brought onto each other cluster by cluster, where one shift does not suit all units.

Korsunsky et al., Nat Methods 2019, doi 10.1038/s41592-019-0619-0, written from its Methods. Units
are dealt into soft clusters by cosine, and a cluster that holds more of a section than its share
draws fewer of that section's units; then each section is moved, in each cluster, onto what all
sections have there. A section that hardly has a cluster takes no part in it, so that a cluster of
one section alone stays where it is.
"""

import numpy as np
from sklearn.cluster import KMeans

N_CLUSTERS = 30
UNITS_A_CLUSTER = 30  # or fewer clusters
FITTED_UNITS = 20_000  # drawn to place the first centres, where there are more
SOFTNESS = 0.1
RIDGE = 1.0
N_DEALS = 10  # of units into clusters, in a round
SHARE_DEALT = 0.05  # of units at once
LEAST_HELD = 0.1  # of its share of a cluster, or a section takes no part in it
LEAST_LENGTH = 1e-9


def mix_sections(
    latent: np.ndarray, section: np.ndarray, n_rounds: int, penalty: float, seed: int
) -> np.ndarray:
    """The latent space (n_units, width) with sections moved onto each other, float32.

    `section` (n_units,) numbers from 0. The more of `n_rounds`, the further sections are moved; 0
    leaves them. `penalty` (theta) on clusters that hold more of a section than its share: 0 is
    none. Deterministic for a seed. Memory grows with units times clusters (30 or fewer) and
    sections.
    """
    moved = latent = np.asarray(latent, dtype=np.float32)
    if not n_rounds:
        return latent
    rng = np.random.default_rng(seed)
    is_of = np.eye(section.max() + 1, dtype=np.float32)[section]
    n_clusters = int(np.clip(len(latent) // UNITS_A_CLUSTER, 1, N_CLUSTERS))
    some = rng.permutation(len(latent))[:FITTED_UNITS]
    centre = KMeans(n_clusters, n_init=1, random_state=seed).fit(_direction(latent[some]))
    membership = _likeness(_direction(latent), _direction(centre.cluster_centers_))
    membership /= membership.sum(axis=1, keepdims=True)
    for _ in range(n_rounds):
        direction = _direction(moved)
        for _ in range(N_DEALS):
            likeness = _likeness(direction, _direction(membership.T @ direction))
            _deal(membership, likeness, is_of, penalty, rng)
        moved = latent - _shifts(latent, membership, is_of)
    return moved


def _deal(
    membership: np.ndarray,
    likeness: np.ndarray,
    is_of: np.ndarray,
    penalty: float,
    rng: np.random.Generator,
) -> None:
    """Units dealt anew into clusters, a few at a time, in place; (n_units, n_clusters)."""
    held = membership.T @ is_of  # (n_clusters, n_sections)
    share = is_of.mean(axis=0)
    for rows in np.array_split(rng.permutation(len(membership)), round(1 / SHARE_DEALT)):
        held -= membership[rows].T @ is_of[rows]
        expected = held.sum(axis=1, keepdims=True) * share
        wanted = ((expected + 1) / (held + 1)) ** penalty
        weight = likeness[rows] * (is_of[rows] @ wanted.T)
        membership[rows] = weight / weight.sum(axis=1, keepdims=True)
        held += membership[rows].T @ is_of[rows]


def _shifts(latent: np.ndarray, membership: np.ndarray, is_of: np.ndarray) -> np.ndarray:
    """By how much each unit is to be moved back, (n_units, width).

    In each cluster a ridge regression on the section with an intercept, solved in closed form.
    """
    held = membership.T @ is_of
    expected = held.sum(axis=1, keepdims=True) * is_of.mean(axis=0)
    held[held < LEAST_HELD * expected] = 0
    shift = np.zeros_like(latent)
    mean = np.empty((*held.shape, latent.shape[1]), dtype=np.float32)
    for s in range(is_of.shape[1]):
        own = is_of[:, s] > 0
        total = membership[own].T @ latent[own]
        mean[:, s] = total / np.maximum(held[:, s, None], LEAST_LENGTH)
    weight = (held * RIDGE / (held + RIDGE))[:, :, None]
    common = (mean * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), LEAST_LENGTH)
    apart = (mean - common[:, None]) * (held / (held + RIDGE))[:, :, None]
    for s in range(is_of.shape[1]):
        own = is_of[:, s] > 0
        shift[own] = membership[own] @ apart[:, s]
    return shift


def _likeness(direction: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """How near units are to clusters, relative to the nearest, (n_units, n_clusters) up to 1."""
    cosine = direction @ centre.T
    cosine -= cosine.max(axis=1, keepdims=True)
    cosine *= 2 / SOFTNESS
    return np.exp(cosine, out=cosine)


def _direction(values: np.ndarray) -> np.ndarray:
    """Rows at a length of 1."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.maximum(length, LEAST_LENGTH)).astype(np.float32)
