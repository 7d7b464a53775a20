"""Quality filters on units, and the account of what each of them removed."""

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.errors import UserError, problem

MITOCHONDRIAL_PREFIXES = ("MT-", "mt-")  # human, mouse


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


def add_quality(units: ad.AnnData) -> None:
    """Add `obs` columns umi, n_genes and mito_fraction (0 where nothing was counted)."""
    mitochondrial = units.var_names.str.startswith(MITOCHONDRIAL_PREFIXES)
    umi = np.asarray(units.X.sum(axis=1)).ravel()
    mito = np.asarray(units.X[:, np.flatnonzero(mitochondrial)].sum(axis=1)).ravel()
    units.obs["umi"] = umi
    units.obs["n_genes"] = np.diff(units.X.indptr)
    units.obs["mito_fraction"] = mito / np.maximum(umi, 1)


def filter_units(
    units: ad.AnnData, settings: FilterSettings, um_per_px: float, measured: bool
) -> tuple[ad.AnnData, pd.DataFrame]:
    """Keep units that pass every cut; count what each cut removes alone and in turn.

    Where nothing was `measured` only the cuts on area apply. Returns the kept units and a table
    with columns rule, failing (alone), removed (in this order), left. Raises UserError when none
    is left.
    """
    rules = _area_rules(units, settings, um_per_px)
    if measured:
        rules += _count_rules(units, settings)
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


def _area_rules(
    units: ad.AnnData, settings: FilterSettings, um_per_px: float
) -> list[tuple[str, np.ndarray]]:
    if "area_um2" not in units.obs:
        return []
    area_um2 = units.obs["area_um2"].to_numpy()
    area_px2 = area_um2 / um_per_px**2
    rules = []
    if settings.area_um2_above is not None:
        rules.append(
            (f"area_um2 > {settings.area_um2_above:g}", area_um2 > settings.area_um2_above)
        )
    if settings.area_um2_below is not None:
        rules.append(
            (f"area_um2 < {settings.area_um2_below:g}", area_um2 < settings.area_um2_below)
        )
    if settings.area_px2_below is not None:
        rules.append(
            (f"area_px2 < {settings.area_px2_below:g}", area_px2 < settings.area_px2_below)
        )
    return rules


def _count_rules(units: ad.AnnData, settings: FilterSettings) -> list[tuple[str, np.ndarray]]:
    obs = units.obs
    rules = [("umi > 0", obs["umi"].to_numpy() > 0)]
    if settings.umi_above is not None:
        rules.append((f"umi > {settings.umi_above}", obs["umi"].to_numpy() > settings.umi_above))
    if settings.genes_above is not None:
        rules.append(
            (f"n_genes > {settings.genes_above}", obs["n_genes"].to_numpy() > settings.genes_above)
        )
    if settings.mito_fraction_below is not None:
        rules.append(
            (
                f"mito_fraction < {settings.mito_fraction_below:g}",
                obs["mito_fraction"].to_numpy() < settings.mito_fraction_below,
            )
        )
    return rules
