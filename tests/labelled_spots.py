"""Spots of HER2+ breast tumours (Andersson et al., Nat Commun 2021), labelled by a pathologist."""

import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.integration.sections import Section

PATIENTS = ("A1", "B1", "G2", "H1")
SPOT_PITCH_UM = 200.0


def her2st(data):
    """Each section with counts, and the labels of its spots, (n_spots,) text."""
    for name in PATIENTS:
        stem = data / "her2st_labelled" / name / name
        counts = pd.read_csv(f"{stem}.tsv.gz", sep="\t", index_col=0)
        spots = pd.read_csv(f"{stem}_labeled_coordinates.tsv", sep="\t").dropna(subset=["x"])
        spots.index = [f"{x:.0f}x{y:.0f}" for x, y in zip(spots["x"], spots["y"], strict=True)]
        spots = spots.loc[counts.index.intersection(spots.index)]
        counts = counts.loc[spots.index]
        values = sparse.csr_matrix(counts.to_numpy(dtype=np.float32))
        xy_um = SPOT_PITCH_UM * spots[["x", "y"]].to_numpy()
        made = Section(name, values, counts.columns, counts.index, xy_um, False, "spot")
        yield made, spots["label"].astype(str).to_numpy()
