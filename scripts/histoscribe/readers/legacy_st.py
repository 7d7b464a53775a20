"""Legacy Spatial Transcriptomics: 100 um spots on a 200 um grid, one count table a section.

The count table has one row a spot, named `XxY` by its array position, and one column a gene; the
spot selection gives the array position as fitted (`new_x`, `new_y`) and the pixel in the image.
Source: Andersson et al., Nat Commun 2021, doi 10.1038/s41467-021-26271-2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.platforms import SPOT_UM

if TYPE_CHECKING:
    import anndata as ad

SHAPE = "circle"
PITCH_UM = 200.0
SELECTION_COLUMNS = ("x", "y", "new_x", "new_y", "pixel_x", "pixel_y")


def um_per_px(files: dict[str, Path]) -> float | None:
    """Resolution from the array's pitch: um per array step over px per array step.

    An axis of the array may run against the image's.
    """
    selection = _selection(files["selection"])
    slopes = [
        np.polyfit(selection[f"new_{axis}"], selection[f"pixel_{axis}"], 1)[0]
        for axis in ("x", "y")
        if selection[f"new_{axis}"].nunique() > 2
    ]
    return PITCH_UM / float(np.mean(np.abs(slopes))) if slopes else None


def read(files: dict[str, Path]) -> tuple[ad.AnnData, float]:
    """Spots x genes; and the spot's diameter in um. Spots outside the selection are dropped.

    Raises UserError for damaged tables and where no spot has a position.
    """
    import anndata as ad

    counts = _counts(files["counts"])
    selection = _selection(files["selection"])
    if "selected" in selection:
        selection = selection[selection["selected"] == 1]
    selection.index = (
        selection["x"].astype(int).astype(str) + "x" + selection["y"].astype(int).astype(str)
    )
    shared = counts.index[counts.index.isin(selection.index)]
    if len(shared) == 0:
        raise UserError(
            problem(
                str(files["selection"]),
                f"no spot of the count table (whose first is {counts.index[0]})",
                "array positions x, y that name the rows XxY of the count table",
                "Take both files from the same section.",
            )
        )
    values = counts.loc[shared].to_numpy()
    if not np.all(values == np.floor(values)) or values.min() < 0:
        raise UserError(
            problem(str(files["counts"]), "fractions or negatives", "raw counts", "Use raw counts.")
        )
    adata = ad.AnnData(
        sparse.csr_matrix(values.astype(np.int32)),
        obs=pd.DataFrame(index=shared.astype(str)),
        var=pd.DataFrame({"gene_id": counts.columns.astype(str)}, index=counts.columns.astype(str)),
    )
    adata.var_names_make_unique()
    adata.obsm["spatial_px"] = selection.loc[shared, ["pixel_x", "pixel_y"]].to_numpy(np.float64)
    return adata, SPOT_UM["legacy_st"]


def _counts(path: Path) -> pd.DataFrame:
    try:
        counts = pd.read_csv(path, sep="\t", index_col=0)
    except (OSError, EOFError, ValueError, pd.errors.ParserError) as error:
        raise UserError(
            problem(
                str(path),
                f"an unreadable table ({error})",
                "spots x genes, tab-separated",
                "Copy it again.",
            )
        ) from error
    if counts.empty or not all(kind.kind in "iuf" for kind in counts.dtypes):
        raise UserError(
            problem(
                str(path),
                f"a table of {counts.shape[0]} x {counts.shape[1]} with other than numbers",
                "counts of spots x genes",
                "Rows are spots named XxY, columns are genes.",
            )
        )
    return counts


def _selection(path: Path) -> pd.DataFrame:
    try:
        selection = pd.read_csv(path, sep="\t")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(
            problem(
                str(path), f"an unreadable table ({error})", "a spot selection", "Copy it again."
            )
        ) from error
    absent = [column for column in SELECTION_COLUMNS if column not in selection]
    if absent:
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(selection.columns)}",
                "also " + ", ".join(absent),
                "Use the spot selection that belongs to the count table.",
            )
        )
    return selection
