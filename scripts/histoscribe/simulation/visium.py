"""Write a simulated section as Visium: its molecules counted in round spots instead of bins."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import cKDTree

from .settings import SimulatedSection

SPOT_UM, PITCH_UM = 55.0, 100.0
STATED_DIAMETER_UM = 65.0  # as Space Ranger 1 and 2 state it
POSITION_COLUMNS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)


def spot_counts(section: SimulatedSection) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Spots x genes, and all positions of the array with columns POSITION_COLUMNS.

    A spot holds the molecules of the bins whose centre lies in it; spots without any tissue under
    them are not in tissue. Rows of the counts are the positions with in_tissue == 1.
    """
    settings = section.settings
    row_um = PITCH_UM * np.sqrt(3) / 2
    n_rows = int((settings.height_um - PITCH_UM) // row_um) + 1
    n_columns = int((settings.width_um - PITCH_UM) // (PITCH_UM / 2)) + 1
    row, column = (a.ravel() for a in np.mgrid[0:n_rows, 0:n_columns])
    on_array = (row + column) % 2 == 0
    row, column = row[on_array], column[on_array]
    centre_um = PITCH_UM / 2 + np.column_stack([column * PITCH_UM / 2, row * row_um])
    bins = section.positions[section.positions["in_tissue"] == 1]
    bins_um = bins[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy() * settings.um_per_px
    distance_um, spot = cKDTree(centre_um).query(bins_um)
    inside = np.flatnonzero(distance_um < SPOT_UM / 2)
    shape = (len(centre_um), section.bins.shape[0])
    member = sparse.csr_matrix((np.ones(len(inside), np.int32), (spot[inside], inside)), shape)
    in_tissue = np.diff(member.indptr) > 0
    positions = pd.DataFrame(
        {
            "barcode": [f"SPOT{r:03d}X{c:03d}-1" for r, c in zip(row, column, strict=True)],
            "in_tissue": in_tissue.astype(int),
            "array_row": row,
            "array_col": column,
            "pxl_row_in_fullres": np.round(centre_um[:, 1] / settings.um_per_px, 2),
            "pxl_col_in_fullres": np.round(centre_um[:, 0] / settings.um_per_px, 2),
        }
    )
    return (member @ section.bins)[in_tissue], positions


def write_visium(section: SimulatedSection, outs: Path, space_ranger: int = 2) -> None:
    """Write Space Ranger's `outs` of version 1 (positions without a header) or later.

    The H&E image is written by `write_section`.
    """
    counts, positions = spot_counts(section)
    spatial = Path(outs) / "spatial"
    spatial.mkdir(parents=True, exist_ok=True)
    name = "tissue_positions_list.csv" if space_ranger == 1 else "tissue_positions.csv"
    positions.to_csv(spatial / name, index=False, header=space_ranger > 1)
    factors = {
        "spot_diameter_fullres": STATED_DIAMETER_UM / section.settings.um_per_px,
        "tissue_hires_scalef": 1.0,
        "tissue_lowres_scalef": 0.3,
    }
    (spatial / "scalefactors_json.json").write_text(json.dumps(factors) + "\n")
    _write_matrix(section, counts, positions, Path(outs) / "filtered_feature_bc_matrix.h5")


def _write_matrix(
    section: SimulatedSection, counts: sparse.csr_matrix, positions: pd.DataFrame, path: Path
) -> None:
    genes = section.truth.var
    barcodes = positions.loc[positions["in_tissue"] == 1, "barcode"].to_numpy()
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = barcodes.astype("S")
        matrix["data"] = counts.data.astype(np.int32)
        matrix["indices"] = counts.indices.astype(np.int64)
        matrix["indptr"] = counts.indptr.astype(np.int64)
        matrix["shape"] = np.array(counts.shape[::-1], dtype=np.int32)
        features = matrix.create_group("features")
        features["id"] = genes["gene_id"].to_numpy().astype("S")
        features["name"] = genes.index.to_numpy().astype("S")
        features["feature_type"] = np.full(len(genes), b"Gene Expression")
        features["genome"] = np.full(len(genes), b"GRCh38")
