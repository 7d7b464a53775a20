"""Labels that the user gives for units: a pathologist's regions, known types, domains."""

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
    position within half its width `unit_um`, or 5 um. Raises UserError for a file without such
    columns, and where hardly any unit is labelled.
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
    if unit is not None:
        named = pd.Series(values.to_numpy(), index=table[unit].astype(str))
        found = named[~named.index.duplicated()].reindex(units.obs_names)
        how = f"names such as {named.index[0] if len(named) else 'none'}"
    else:
        xy = table[[lower[name] for name in position]].to_numpy(dtype=np.float64)
        xy = xy * (um_per_px if position[0] == "pixel_x" else 1.0)
        known = np.isfinite(xy).all(axis=1)
        reach = max(unit_um / 2, MAX_DISTANCE_UM)
        found = pd.Series(np.nan, index=units.obs_names, dtype=object)
        if known.any():
            distance, nearest = cKDTree(xy[known]).query(
                np.asarray(units.obsm["spatial"]), distance_upper_bound=reach
            )
            near = np.isfinite(distance)
            found[near] = values.to_numpy()[known][nearest[near]]
        how = f"positions within {reach:g} um"
    if found.notna().mean() < LIKELY_SHARE:
        raise UserError(
            problem(
                str(path),
                f"labels for {int(found.notna().sum())} of {units.n_obs} units, by {how}",
                f"those of this section, whose units have names such as {units.obs_names[0]}",
                "Is it the file of another section, or of other units?",
            )
        )
    return found


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".h5ad":
            return ad.read_h5ad(path, backed="r").obs.rename_axis("unit").reset_index()
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep=None, engine="python", dtype={0: str})
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            problem(str(path), f"no readable labels ({error})", "a table or .h5ad", "Correct it.")
        ) from error
