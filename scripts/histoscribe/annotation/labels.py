"""Labels that the user gives for units: a pathologist's regions, known types, domains."""

import gzip
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from histoscribe.errors import UserError, problem

UNIT_NAMES = ("unit", "barcode", "cell_id", "nucleus", "cell", "spot", "bin", "id")
LABEL_NAMES = ("label", "labels", "cell_type", "celltype", "type", "domain", "region", "annotation")
POSITIONS = (("x_um", "y_um"), ("pixel_x", "pixel_y"))
UNLABELLED = ("", "nan", "na", "none", "undetermined")
MAX_DISTANCE_UM = 5.0  # of nuclei and cells, whose own positions may differ a little
LIKELY_SHARE = 0.01  # fewer labelled units than that, and the file is another section's


def read_labels(path: Path, units: ad.AnnData, unit_um: float, um_per_px: float) -> pd.Series:
    """The label of each unit, (n_units,) text; NaN where it has none.

    A table (.tsv, .csv, .parquet) with a column of labels and the units' names, or their positions
    (x_um and y_um in the image, or pixel_x and pixel_y of the full image, which is `um_per_px`);
    or an .h5ad with labels in `obs` and the units' names. A unit takes the label of the nearest
    position within half its width `unit_um`, or 5 um. Positions count where names lead to hardly
    any unit. Raises UserError for a file without such columns, and where hardly any unit is
    labelled.
    """
    table = _read(path)
    lower = {str(column).lower(): column for column in table.columns}
    label = next((lower[name] for name in LABEL_NAMES if name in lower), None)
    unit = next((lower[name] for name in UNIT_NAMES if name in lower), None)
    position = next((p for p in POSITIONS if set(p) <= set(lower)), None)
    if label is None or (unit is None and position is None):
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(map(str, table.columns[:10]))}",
                f"one of labels ({', '.join(LABEL_NAMES)}), and one of units' names "
                f"({', '.join(UNIT_NAMES)}) or x_um and y_um, or pixel_x and pixel_y",
                "Rename the columns.",
            )
        )
    values = table[label].astype(object).where(table[label].notna(), "").astype(str).str.strip()
    values = values.mask(values.str.lower().isin(UNLABELLED))
    ways = []
    if unit is not None:
        ways.append(_by_name(values, table[unit], units))
    if position is not None:
        xy = table[[lower[name] for name in position]].apply(pd.to_numeric, errors="coerce")
        xy_um = xy.to_numpy(dtype=np.float64) * (um_per_px if position == POSITIONS[1] else 1.0)
        ways.append(_by_place(values, xy_um, units, max(unit_um / 2, MAX_DISTANCE_UM)))
    for found, _ in ways:
        if found.notna().mean() >= LIKELY_SHARE:
            return found
    n_labelled = max(int(found.notna().sum()) for found, _ in ways)
    raise UserError(
        problem(
            str(path),
            f"labels for {n_labelled} of {units.n_obs} units, by "
            + " or ".join(how for _, how in ways),
            f"those of this section, whose units have names such as {units.obs_names[0]}",
            "Is it the file of another section, or of other units?",
        )
    )


def _by_name(values: pd.Series, names: pd.Series, units: ad.AnnData) -> tuple[pd.Series, str]:
    """The labels of units of these names, and how they were found, in words."""
    named = pd.Series(values.to_numpy(), index=names.astype(str))
    found = named[~named.index.duplicated()].reindex(units.obs_names)
    return found, f"names such as {named.index[0] if len(named) else 'none'}"


def _by_place(
    values: pd.Series, xy_um: np.ndarray, units: ad.AnnData, reach_um: float
) -> tuple[pd.Series, str]:
    """The labels of the nearest positions, and how they were found, in words."""
    known = np.isfinite(xy_um).all(axis=1)
    found = pd.Series(np.nan, index=units.obs_names, dtype=object)
    if known.any():
        distance, nearest = cKDTree(xy_um[known]).query(
            np.asarray(units.obsm["spatial"]), distance_upper_bound=reach_um
        )
        near = np.isfinite(distance)
        found[near] = values.to_numpy()[known][nearest[near]]
    return found, f"positions within {reach_um:g} um"


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".h5ad":
            obs = ad.read_h5ad(path, backed="r").obs
            return obs.drop(columns="unit", errors="ignore").rename_axis("unit").reset_index()
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # As text: units' names may be of digits, with zeros before them.
        return pd.read_csv(path, sep=_separator(path), dtype=str)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            problem(str(path), f"no readable labels ({error})", "a table or .h5ad", "Correct it.")
        ) from error


def _separator(path: Path) -> str:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        header = file.readline()
    if "\t" in header:
        return "\t"
    return ";" if header.count(";") > header.count(",") else ","
