"""Nuclei of a simulated section with their counts and their true types, without a workflow."""

import anndata as ad
import numpy as np
import pandas as pd
import shapely
from scipy import sparse

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


def simulated_units(seed: int, donor_seed: int, width_um: float = 600, height_um: float = 500):
    """Counts of bins whose centre lies in a nucleus, summed; `obs` also has the planted types."""
    section = simulate_section(
        SimulationSettings(
            "s", seed=seed, donor_seed=donor_seed, width_um=width_um, height_um=height_um
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
        var=pd.DataFrame(index=section.truth.var_names),
        obsm={"spatial": section.truth.obsm["spatial"]},
    )
    units.uns[RECORD_KEY] = record(unit_size_um=6.0, um_per_px=0.5, unit="nucleus")
    return units[umi >= 10].copy()
