"""The directions of a shared latent space that vary with place and not from unit to unit."""

import numpy as np
from scipy import linalg
from scipy.spatial import cKDTree

N_NEAREST = 4
RIDGE = 0.01  # of the mean variance: directions that hardly vary are not blown up
MIN_STRUCTURE = 0.02


def unit_spacing(xy_um: np.ndarray) -> float:
    """Edge of the square that one of `xy_um` (n, 2) has for itself, in um.

    The distance to the fourth neighbour: the pitch of a grid, and nearly so for scattered cells.
    """
    distance, _ = cKDTree(xy_um).query(xy_um, k=N_NEAREST + 1)
    return float(np.median(distance[:, -1]))


def structured_channels(
    sections: list[tuple[np.ndarray, np.ndarray]], n_channels: int
) -> list[np.ndarray]:
    """Channels (n_units, n_channels) float32 of each section, by one projection of the latents.

    `sections` holds positions (n_units, 2) and latents (n_units, n_dimensions). Channels are those
    of the largest ratio of variance to the variance between neighbours, each section about its own
    mean; a channel's variance is the share that neighbours have in common, so that the better
    structured weigh more. Source: min/max autocorrelation factors, Switzer and Green 1984.
    """
    n_dimensions = sections[0][1].shape[1]
    total, noise = np.zeros((2, n_dimensions, n_dimensions))
    for xy_um, latent in sections:
        _, near = cKDTree(xy_um).query(xy_um, k=N_NEAREST + 1)
        step = (latent[:, None, :] - latent[near[:, 1:]]).reshape(-1, n_dimensions)
        total += np.cov(latent.T).reshape(total.shape) / len(sections)
        noise += step.T @ step / (2 * len(step) * len(sections))
    noise += RIDGE * (np.trace(total) / n_dimensions + 1e-12) * np.eye(n_dimensions)
    ratio, directions = linalg.eigh(total, noise)
    ratio, directions = ratio[::-1][:n_channels], directions[:, ::-1][:, :n_channels]
    structure = np.clip(1 - 1 / np.maximum(ratio, 1e-9), MIN_STRUCTURE, None)
    scaled = directions * np.sqrt(structure / np.maximum(ratio, 1e-9))
    return [((z - z.mean(axis=0)) @ scaled).astype(np.float32) for _, z in sections]
