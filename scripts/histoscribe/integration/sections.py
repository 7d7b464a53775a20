"""Sections to integrate, as they come from files, and checked against each other."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import cKDTree

from histoscribe.errors import UserError, problem
from histoscribe.storage import read_h5ad

LOG = logging.getLogger(__name__)
LEAST_UNITS = 20
MAX_SPACING_RATIO = 2.5  # between sections of one kind of unit; 0.25 um/px makes 4
PLAUSIBLE_SPACING_UM = (0.4, 1000.0)
UNITS_AT_ONCE = 20_000
SPACING_UNITS = 20_000  # whose nearest unit is looked up; a median needs no more
FEW_FRACTIONS = 0.01  # of stored values
LARGEST_LOG = 30.0  # beyond it values are no logarithms of counts
ONE_TOTAL = 0.01  # spread of what was scaled to one total
REMEDY_COUNTS = "Put the raw counts into X."
REMEDY_UNITS = "Coordinates are um: multiply those in pixels by the image's um per pixel."


@dataclass(frozen=True)
class Section:
    """Expression of one section's units.

    `counts` (n_units, n_genes) float32: molecules, or, where `is_predicted`, the linear values that
    a prediction's log1p values stand for. `kind` is what a unit is (nucleus, bin, spot, ...), None
    where nothing says so.
    """

    name: str
    counts: sparse.csr_matrix
    genes: pd.Index
    units: pd.Index
    xy_um: np.ndarray
    is_predicted: bool
    kind: str | None = None

    @property
    def n_units(self) -> int:
        return self.counts.shape[0]

    def totals(self) -> np.ndarray:
        """Molecules of each unit, (n_units,)."""
        return np.asarray(self.counts.sum(axis=1, dtype=np.float64)).ravel()


def read_section(
    name: str,
    path: Path,
    is_predicted: bool,
    kind: str | None = None,
) -> Section:
    """A section from an .h5ad with counts, or a prediction's log1p values, in X.

    Raises UserError for a file without X or obsm["spatial"], for unit ids or genes that occur
    twice, for values that are no counts, and for fewer than 20 units.
    """
    units = read_h5ad(path, ())
    where = f"section {name}, {path}"
    _check_positions(units, where)
    _check_names(units, where)
    counts = _linear(units.X) if is_predicted else sparse.csr_matrix(units.X, dtype=np.float32)
    counts.eliminate_zeros()
    _check_values(counts, where)
    if not is_predicted:
        _check_whole(counts, where)
    return Section(
        name=name,
        counts=counts,
        genes=units.var_names,
        units=units.obs_names,
        xy_um=np.asarray(units.obsm["spatial"], dtype=np.float64)[:, :2],
        is_predicted=is_predicted,
        kind=kind,
    )


def _linear(values: np.ndarray | sparse.spmatrix) -> sparse.csr_matrix:
    """expm1 of log1p values, sparse float32, a part of the rows at once."""
    parts = []
    for start in range(0, values.shape[0], UNITS_AT_ONCE):
        part = values[start : start + UNITS_AT_ONCE]
        part = part.toarray() if sparse.issparse(part) else np.asarray(part)
        parts.append(sparse.csr_matrix(np.expm1(np.maximum(part, 0.0), dtype=np.float32)))
    return sparse.vstack(parts, format="csr")


def _check_positions(units: ad.AnnData, where: str) -> None:
    expected, remedy = 'obsm["spatial"], x and y in um', "Store the positions of the units there."
    if "spatial" not in units.obsm:
        found = f"no coordinates (obsm has {', '.join(units.obsm) or 'none'})"
        raise UserError(problem(where, found, expected, remedy))
    spatial = np.asarray(units.obsm["spatial"])
    if spatial.ndim != 2 or spatial.shape[1] < 2 or not np.issubdtype(spatial.dtype, np.number):
        found = f"coordinates of type {spatial.dtype} and shape {spatial.shape}"
        raise UserError(problem(where, found, expected, remedy))
    if not np.isfinite(spatial).all():
        raise UserError(
            problem(where, 'missing values in obsm["spatial"]', "a position for every unit",
                    "Drop units without a position.")
        )  # fmt: skip


def _check_names(units: ad.AnnData, where: str) -> None:
    if units.X is None:
        raise UserError(problem(where, "no X", "counts of molecules", REMEDY_COUNTS))
    for what, names in (("unit ids", units.obs_names), ("genes", units.var_names)):
        twice = names[names.duplicated()]
        if len(twice):
            raise UserError(
                problem(where, f"{len(twice)} {what} that occur more than once (such as "
                        f"{twice[0]})", f"{what} that occur once", "Make them unique.")
            )  # fmt: skip
    if units.n_obs < LEAST_UNITS:
        raise UserError(
            problem(where, f"{units.n_obs} units", f"{LEAST_UNITS} or more",
                    "Leave this section out, or filter it less (units.filter).")
        )  # fmt: skip


def _check_values(counts: sparse.csr_matrix, where: str) -> None:
    if not np.isfinite(counts.data).all() or (counts.data < 0).any():
        raise UserError(
            problem(where, "negative or missing values in X", "counts of molecules", REMEDY_COUNTS)
        )


def _check_whole(counts: sparse.csr_matrix, where: str) -> None:
    """Raise where values are log1p of counts at one total; warn where they are no whole numbers."""
    fractions = np.mean(counts.data % 1 > 0) if counts.nnz else 0.0
    if fractions <= FEW_FRACTIONS:
        return
    if counts.data.max() < LARGEST_LOG:
        total = np.asarray(counts.expm1().sum(axis=1, dtype=np.float64)).ravel()
        low, middle, high = np.quantile(total[total > 0], (0.05, 0.5, 0.95))
        if high - low < ONE_TOTAL * middle:
            raise UserError(
                problem(where, f"X is log1p of counts scaled to {middle:.6g}",
                        "counts of molecules", REMEDY_COUNTS)
            )  # fmt: skip
    LOG.warning(
        "%s: %.0f %% of the values in X are no whole numbers, where counts of molecules are "
        "expected. Are they normalised? Then put the raw counts into X; if they are a prediction's "
        "log1p values, say is_predicted: true.",
        where,
        100 * fractions,
    )


def some_units(section: Section, rows: np.ndarray) -> Section:
    """A section's units at `rows`, as a section."""
    return replace(
        section, counts=section.counts[rows], units=section.units[rows], xy_um=section.xy_um[rows]
    )


def check_together(sections: list[Section]) -> None:
    """Raise UserError where sections can't be integrated: one alone, no genes, unlike units."""
    if len(sections) < 2:
        found = sections[0].name if sections else "none"
        raise UserError(
            problem("the sections to integrate", f"{len(sections)} section ({found})",
                    "two or more", "Name more sections under integrations in the config.")
        )  # fmt: skip
    _check_spacing(sections)


def _check_spacing(sections: list[Section]) -> None:
    """Sections of one kind of unit lie about equally dense, in um; else one is in pixels."""
    low, high = PLAUSIBLE_SPACING_UM
    spacing = {section.name: spacing_um(section.xy_um) for section in sections}
    for section in sections:
        found = spacing[section.name]
        if not low <= found <= high:
            raise UserError(
                problem(f"section {section.name}", f"units {found:.3g} um from the next (median)",
                        f"{low:g} to {high:g} um", REMEDY_UNITS)
            )  # fmt: skip
    extent = {section.name: float(np.ptp(section.xy_um, axis=0).max()) for section in sections}
    for kind in dict.fromkeys(section.kind for section in sections):
        alike = [section.name for section in sections if section.kind == kind]
        if len(alike) < 2:
            continue
        usual = float(np.median([np.log(spacing[name]) for name in alike]))
        nearest, *_, odd = sorted(alike, key=lambda name: abs(np.log(spacing[name]) - usual))
        ratio = np.log(spacing[odd] / spacing[nearest])
        if kind is None:  # units may differ in kind: in pixels, the whole section is larger, too
            ratio = _nearer_to_zero(ratio, np.log(extent[odd] / extent[nearest]))
        if abs(ratio) > np.log(MAX_SPACING_RATIO):
            raise UserError(
                problem(
                    f"section {odd}",
                    f"units ({kind or 'of any kind'}) {spacing[odd]:.3g} um from the next in "
                    f"{extent[odd]:.0f} um of tissue, where section {nearest} has "
                    f"{spacing[nearest]:.3g} um in {extent[nearest]:.0f} um",
                    f"spacings within a factor {MAX_SPACING_RATIO:g} for units of one kind",
                    REMEDY_UNITS,
                )
            )


def _nearer_to_zero(one: float, other: float) -> float:
    """The smaller of two changes in one direction; 0 where their directions differ."""
    return float(np.sign(one) * min(abs(one), abs(other))) if one * other > 0 else 0.0


def spacing_um(xy_um: np.ndarray) -> float:
    """Median distance of a unit to the nearest other, in um; `xy_um` (n_units, 2)."""
    some = xy_um[:: max(len(xy_um) // SPACING_UNITS, 1)]
    nearest, _ = cKDTree(xy_um).query(some, k=2)
    return float(np.median(nearest[:, 1]))
