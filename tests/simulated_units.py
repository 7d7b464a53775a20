"""Nuclei of a simulated section with their counts and their true types, without a workflow."""

import anndata as ad
import numpy as np
import pandas as pd
import shapely
from scipy import sparse

from histoscribe.genome.cells import Cells
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.simulation import SimulationSettings, simulate_section

BROAD = {
    "basal_epithelial": "epithelium",
    "suprabasal_epithelial": "epithelium",
    "luminal_epithelial": "epithelium",
    "myoepithelial": "epithelium",
    "tumour": "tumour",
    "fibroblast": "stroma",
    "smooth_muscle": "stroma",
    "endothelial": "endothelium",
    "adipocyte": "adipose",
    "t_cell": "immune",
    "b_cell": "immune",
    "germinal_centre_b": "immune",
    "plasma_cell": "immune",
    "macrophage": "immune",
}


PLACE = ("chromosome", "start", "end")
NORMAL = (
    "fibroblast", "smooth_muscle", "endothelial", "macrophage", "t_cell", "b_cell", "plasma_cell",
)  # fmt: skip


def simulated_units(
    seed: int, donor_seed: int, width_um: float = 600, height_um: float = 500, **clones: float
):
    """Counts of bins whose centre lies in a nucleus, summed; `obs` also has the planted types.

    With `n_clones` and `dosage` as the simulation has them, planted clones and copies, too.
    """
    section = simulate_section(
        SimulationSettings(
            "s", seed=seed, donor_seed=donor_seed, width_um=width_um, height_um=height_um, **clones
        )
    )
    inside = section.positions[section.positions["in_tissue"] == 1]
    pixels = inside[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(dtype=np.float64)
    outlines = shapely.polygons(section.polygons_um)
    centres = shapely.points(pixels * section.settings.um_per_px)
    bin_row, nucleus = shapely.STRtree(outlines).query(centres, predicate="within")
    member = sparse.csr_matrix(
        (np.ones(len(bin_row)), (nucleus, bin_row)), (len(outlines), len(pixels))
    )
    counts = sparse.csr_matrix(member @ section.bins).astype(np.int32)
    umi = np.asarray(counts.sum(axis=1)).ravel()
    truth = section.truth.obs["cell_type"].astype(str)
    units = ad.AnnData(
        counts,
        obs=pd.DataFrame({"umi": umi, "true_type": truth, "true_class": truth.map(BROAD)}),
        var=section.truth.var[[c for c in PLACE if c in section.truth.var]],
        obsm={"spatial": section.truth.obsm["spatial"]},
    )
    units.uns[RECORD_KEY] = record(unit_size_um=6.0, um_per_px=0.5, unit="nucleus")
    if "clone" in section.truth.obs:
        units.var["chromosome"] = units.var["chromosome"].astype(object)
        units.obs["true_clone"] = section.truth.obs["clone"].astype(str)
        units.varm["copies"] = section.truth.varm["copies"]
    return units[umi >= 10].copy()


def simulated_cells(units: ad.AnnData) -> Cells:
    """Units as the genome layer takes them, of their true types."""
    kind = units.obs["true_type"].to_numpy(dtype=str)
    xy_um = np.asarray(units.obsm["spatial"])
    return Cells(units.X.astype(np.float32), units.var, units.obs_names, kind, xy_um, {})
