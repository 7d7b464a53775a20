"""Quality filters on units, and the account of what each of them removed."""

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.errors import UserError, problem

MITOCHONDRIAL_PREFIXES = ("MT-", "mt-", "Mt-")  # human, mouse, rat


@dataclass(frozen=True)
class FilterSettings:
    """Cuts; None switches one off. Paper: area < 2000 px2, UMI > 20, mitochondrial < 15 %.

    `area_px2_below` counts pixels of the full-resolution image, as the paper does.
    """

    area_um2_below: float | None = None
    area_um2_above: float | None = None
    area_px2_below: float | None = None
    umi_above: int | None = None
    genes_above: int | None = None
    mito_fraction_below: float | None = None


@dataclass(frozen=True)
class Cut:
    """One rule: units pass whose `column` of `obs` lies above, or below, `bound`."""

    rule: str
    column: str
    bound: float
    above: bool

    def passes(self, values: np.ndarray) -> np.ndarray:
        return values > self.bound if self.above else values < self.bound


def cuts(settings: FilterSettings, um_per_px: float, measured: bool) -> list[Cut]:
    """The cuts that settings ask for, in the order in which they are applied.

    `um_per_px` is the full image's; where nothing was `measured` only cuts on area apply. A unit
    without a molecule never passes.
    """
    px2 = settings.area_px2_below
    area = [
        ("area_um2", "area_um2", settings.area_um2_above, True, 1.0),
        ("area_um2", "area_um2", settings.area_um2_below, False, 1.0),
        ("area_px2", "area_um2", px2, False, um_per_px**2),
    ]
    counts = [
        ("umi", "umi", max(settings.umi_above or 0, 0), True, 1.0),
        ("n_genes", "n_genes", settings.genes_above, True, 1.0),
        ("mito_fraction", "mito_fraction", settings.mito_fraction_below, False, 1.0),
    ]
    return [
        Cut(f"{name} {'>' if above else '<'} {bound:g}", column, bound * unit, above)
        for name, column, bound, above, unit in area + (counts if measured else [])
        if bound is not None
    ]


def add_quality(units: ad.AnnData) -> None:
    """Add `obs` columns umi, n_genes and mito_fraction (0 where nothing was counted)."""
    mitochondrial = units.var_names.str.startswith(MITOCHONDRIAL_PREFIXES)
    umi = np.asarray(units.X.sum(axis=1)).ravel()
    mito = np.asarray(units.X[:, np.flatnonzero(mitochondrial)].sum(axis=1)).ravel()
    units.obs["umi"] = umi
    units.obs["n_genes"] = np.asarray((units.X > 0).sum(axis=1)).ravel()
    units.obs["mito_fraction"] = mito / np.maximum(umi, 1)


def filter_units(
    units: ad.AnnData, settings: FilterSettings, um_per_px: float, measured: bool
) -> tuple[ad.AnnData, pd.DataFrame]:
    """Keep units that pass every cut; count what each cut removes alone and in turn.

    Where nothing was `measured` only the cuts on area apply. Returns the kept units and a table
    with columns rule, failing (alone), removed (in this order), left. Raises UserError when none
    is left.
    """
    rules = [
        (cut.rule, cut.passes(units.obs[cut.column].to_numpy()))
        for cut in cuts(settings, um_per_px, measured)
        if cut.column in units.obs
    ]
    keep = np.ones(units.n_obs, dtype=bool)
    rows = [{"rule": "all", "failing": 0, "removed": 0, "left": units.n_obs}]
    for rule, passes in rules:
        removed = int((keep & ~passes).sum())
        keep &= passes
        rows.append(
            {
                "rule": rule,
                "failing": int((~passes).sum()),
                "removed": removed,
                "left": int(keep.sum()),
            }
        )
    accounting = pd.DataFrame(rows)
    if not keep.any():
        raise UserError(
            problem(
                "units",
                f"none of {units.n_obs} left ("
                + ", ".join(f"{row['rule']} removed {row['removed']}" for row in rows[1:])
                + ")",
                "at least one",
                "Relax units.filter in the config, or check the polygons' scale and the counts.",
            )
        )
    return units[keep].copy(), accounting
