"""Labels that the user gives for units: a pathologist's regions, known types, domains."""

from pathlib import Path

import anndata as ad
import pandas as pd

from histoscribe.annotation.matching import (
    PLACES_EXPECTED,
    place_columns,
    read_rows,
    rows_of_units,
)
from histoscribe.errors import UserError, problem

LABEL_NAMES = ("label", "labels", "cell_type", "celltype", "type", "domain", "region", "annotation")
UNLABELLED = ("", "nan", "na", "none", "undetermined")


def read_labels(path: Path, units: ad.AnnData, unit_um: float, um_per_px: float) -> pd.Series:
    """The label of each unit, (n_units,) text; NaN where it has none.

    A table (.tsv, .csv, .parquet) with a column of labels and the units' names, or their positions
    (x_um and y_um in the image, or pixel_x and pixel_y of the full image, which is `um_per_px`);
    or an .h5ad with labels in `obs` and the units' names. A unit takes the label of the nearest
    position within half its width `unit_um`, or 5 um. Positions count where names lead to hardly
    any unit. Raises UserError for a file without such columns, and where hardly any unit is
    labelled.
    """
    table = read_rows(path, "labels")
    lower = {str(column).lower(): column for column in table.columns}
    label = next((lower[name] for name in LABEL_NAMES if name in lower), None)
    if label is None or not place_columns(table):
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(map(str, table.columns[:10]))}",
                f"one of labels ({', '.join(LABEL_NAMES)}), and {PLACES_EXPECTED}",
                "Rename the columns.",
            )
        )
    values = table[label].astype(object).where(table[label].notna(), "").astype(str).str.strip()
    values = values.mask(values.str.lower().isin(UNLABELLED))
    known = values.notna().to_numpy()
    rows = rows_of_units(table, known, units, unit_um, um_per_px, str(path), "labels")
    return rows.take(values, units.obs_names)
