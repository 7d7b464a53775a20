"""How the tissue of a rigidly placed section is bent against the fixed one, from their fields."""

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from histoscribe.stacking.field import BLUR_PX, LatentField
from histoscribe.stacking.rigid import RigidMotion
from histoscribe.stacking.warp import Warp, bending, no_warp

STRAINS = (0.01, 0.03, 0.1, 0.3)  # expected stretch of tissue; what predicts best is kept
MIN_SURE = 2.0  # standard errors by which held-out squares must agree better than without a warp
MIN_SQUARES = 8
SQUARE = 2 / 3  # edge of the held-out squares, in distances of control points
GUARD_PX = 2  # inside held-out squares, where their rim's noise is that of tissue that was fitted
MIN_STRETCH = 0.3
N_STEPS = 8
MAX_STEP_PX = 1.5
N_FOLDS = 4


def fit_warp(
    levels: list[tuple[LatentField, LatentField]], motion: RigidMotion, spacing_um: float
) -> Warp | None:
    """The displacement that follows a rigid motion, or None where it explains no more tissue.

    `levels` are pairs of fields (fixed, moving), coarse to fine. How stiff the tissue is taken to
    be is decided on squares that are left out of the fit, on the coarsest level.
    """
    start = no_warp(motion.apply(levels[0][1].pixels_um()), spacing_um)
    matches = [_Matches(fixed, moving, motion, start) for fixed, moving in levels]
    for strain in _strains(matches[0], start):
        warp = start
        for match in matches:
            warp = match.fit(warp, strain, np.ones(len(match.places_um), dtype=bool))
        if warp.smallest_stretch() > MIN_STRETCH:
            return warp
    return None


def _strains(match: "_Matches", start: Warp) -> list[float]:
    """The strain that predicts held-out squares best, then smaller ones; none where none does."""
    edge_um = SQUARE * start.spacing_um
    place = (match.places_um - match.places_um.min(axis=0)) / edge_um
    column, row = np.floor(place).astype(int).T
    fold = 2 * (row % 2) + column % 2
    rim_um = edge_um * np.minimum(place % 1, 1 - place % 1).min(axis=1)
    is_judged = rim_um > GUARD_PX * match.fixed.pixel_um
    left = np.full((len(STRAINS) + 1, len(place)), np.nan)
    for out in range(N_FOLDS):
        judged = (fold == out) & is_judged
        left[0, judged] = match.difference(start)[judged]
        warp = start
        for k, strain in enumerate(STRAINS, 1):
            warp = match.fit(warp, strain, fold != out)
            left[k, judged] = match.difference(warp)[judged]
    seen = np.isfinite(left).all(axis=0)
    _, square = np.unique(row[seen] * (column.max() + 1) + column[seen], return_inverse=True)
    left = np.stack([np.bincount(square, line[seen]) for line in left])
    n_squares = left.shape[1]
    best = int(np.argmin(left.sum(axis=1)))
    gain = left[0] - left[best]
    if n_squares < MIN_SQUARES or gain.mean() <= MIN_SURE * gain.std(ddof=1) / n_squares**0.5:
        return []
    return list(STRAINS[best - 1 :: -1])


class _Matches:
    """Places of the moving field's pixels in the fixed frame, and the values at both."""

    def __init__(
        self, fixed: LatentField, moving: LatentField, motion: RigidMotion, start: Warp
    ) -> None:
        self.fixed = fixed
        self.places_um = motion.apply(moving.spread_um)
        self.values = moving.spread_values
        self.weights = start.weights(self.places_um)
        self.stiffness = bending(start)
        # Blurred noise is the same over neighbouring pixels, which count as one observation.
        self.independent = min(1.0, moving.step_px**2 / (4 * np.pi * BLUR_PX**2))

    def difference(self, warp: Warp) -> np.ndarray:
        """Squared difference of the fields at each place, (n,); NaN off the fixed tissue."""
        moved = self._moved(warp)
        inside = self.fixed.is_tissue(moved)
        left = self.fixed.sample(moved[inside]) - self.values[inside]
        squared = np.full(len(moved), np.nan)
        squared[inside] = ((left - left.mean(axis=0)) ** 2).sum(axis=1)
        return squared

    def fit(self, warp: Warp, strain: float, rows: np.ndarray) -> Warp:
        """Gauss-Newton steps on squared differences between the fields, with stiff control points.

        Differences count by a Cauchy weight, so that torn or foreign tissue does not pull.
        """
        n_control = self.stiffness.shape[0]
        penalty = sparse.block_diag([self.stiffness] * 2) / (strain * warp.spacing_um) ** 2
        penalty = penalty + 1e-9 * sparse.identity(2 * n_control)
        for _ in range(N_STEPS):
            moved = self._moved(warp)
            used = np.flatnonzero(rows & self.fixed.is_tissue(moved))
            if len(used) < n_control // 4:
                break
            left = self.fixed.sample(moved[used]) - self.values[used]
            left = left - left.mean(axis=0)
            squared = (left**2).mean(axis=1)
            weight = self.independent / (np.median(squared) + squared)
            x, y = self.fixed.slopes(moved[used])
            basis = self.weights[used]

            def form(a: np.ndarray, b: np.ndarray, w=weight, basis=basis) -> sparse.csr_matrix:
                return basis.T @ basis.multiply((w * (a * b).sum(axis=1))[:, None]).tocsr()

            xy = form(x, y)
            normal = sparse.bmat([[form(x, x), xy], [xy, form(y, y)]]) + penalty
            pull = [basis.T @ (weight * (slope * left).sum(axis=1)) for slope in (x, y)]
            control = warp.control_um.reshape(-1, 2).T.ravel()
            step = spsolve(
                normal.tocsc(),
                -np.concatenate(pull) - penalty @ control,
                permc_spec="MMD_AT_PLUS_A",
            )
            step = step.reshape(2, -1).T.reshape(warp.control_um.shape)
            limit = MAX_STEP_PX * self.fixed.pixel_um
            longest = np.linalg.norm(step, axis=-1).max()
            warp = replace(warp, control_um=warp.control_um + step * min(1, limit / longest))
            if longest < 0.02 * self.fixed.pixel_um:
                break
        return warp

    def _moved(self, warp: Warp) -> np.ndarray:
        return self.places_um + self.weights @ warp.control_um.reshape(-1, 2)
