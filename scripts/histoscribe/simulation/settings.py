"""What a simulated section is asked to be, and what comes out."""

import zlib
from dataclasses import dataclass, field

import anndata
import numpy as np
import pandas as pd
from scipy import sparse


@dataclass(frozen=True)
class SimulationSettings:
    """Everything that determines a simulated section; equal settings give equal bytes.

    Attributes:
        sample: name of the section, stored with the truth.
        seed: layout, nuclei, states, molecules and image noise of this section.
        donor_seed: stain of the laboratory day and per-gene batch effect of the donor.
        program_seed: the biology shared by all sections (effects of the gene programs).
        width_um, height_um: size of the image; below about 200 um domains become fragments.
        um_per_px: resolution of the image.
        n_genes: genes measured; 13 of them are mitochondrial.
        umi_per_um2: expected captured UMIs per um2 of an average nucleus.
        cytoplasm_ratio: RNA density of the cytoplasm relative to the nucleus.
        ambient_umi_per_um2: UMIs per um2 of tissue that belong to no cell in the plane.
        diffusion_um: standard deviation, per axis, of the lateral shift of a molecule.
        far_diffusion_fraction: fraction of molecules that shift four times as far.
        dispersion: median NB dispersion (variance = mean + dispersion * mean**2).
        bin_um: side of a capture bin.
        frame_rotation_deg: largest rotation of the capture frame in the image, either way.
        frame_offset_um: largest offset of the capture frame in the image, either way.
        batch_sd: standard deviation of the donor's per-gene log effect.
        n_clones: clones of the tumour with their own copy numbers: 2, or 0 for a diploid tumour.
        dosage: log2 of a gene's expression per log2 of its copies over 2.

    Raises ValueError where `n_clones` is another number.
    """

    sample: str
    seed: int
    donor_seed: int = 0
    program_seed: int = 0
    width_um: float = 1000.0
    height_um: float = 1000.0
    um_per_px: float = 0.5
    n_genes: int = 600
    umi_per_um2: float = 3.2
    cytoplasm_ratio: float = 0.45
    ambient_umi_per_um2: float = 0.08
    diffusion_um: float = 1.5
    far_diffusion_fraction: float = 0.08
    dispersion: float = 0.15
    bin_um: float = 2.0
    frame_rotation_deg: float = 0.35
    frame_offset_um: float = 2.0
    batch_sd: float = 0.12
    n_clones: int = 0
    dosage: float = 1.0

    def __post_init__(self) -> None:
        if self.n_clones not in (0, 2):
            raise ValueError(f"n_clones is {self.n_clones}; 0 or 2 can be simulated")

    @property
    def shape_px(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return round(self.height_um / self.um_per_px), round(self.width_um / self.um_per_px)


@dataclass
class SimulatedSection:
    """One simulated section: what an instrument would deliver, and the truth behind it.

    Attributes:
        settings: what was asked.
        image: H&E, (rows, columns, 3) uint8.
        bins: UMI counts, (in-tissue bins, genes) int32, rows as `positions` with in_tissue == 1.
        positions: one row per bin of the capture array, columns as Space Ranger writes them.
        polygons_um: (nuclei, vertices, 2) x, y of the nuclear outlines, um in the image frame, not
            closed.
        truth: nuclei x genes, see `histoscribe.simulation`.
        domain_map: (rows, columns) uint8 index into `cell_types.DOMAIN_NAMES`.
    """

    settings: SimulationSettings
    image: np.ndarray = field(repr=False)
    bins: sparse.csr_matrix = field(repr=False)
    positions: pd.DataFrame = field(repr=False)
    polygons_um: np.ndarray = field(repr=False)
    truth: anndata.AnnData = field(repr=False)
    domain_map: np.ndarray = field(repr=False)


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Random stream of one purpose: adding a draw to one purpose leaves the others as they were."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])
