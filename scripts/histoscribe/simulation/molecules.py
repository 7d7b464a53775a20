"""From expected expression to the UMIs of each capture bin, molecule by molecule."""

import numpy as np
import pandas as pd
from scipy import sparse

from .cell_types import CELL_TYPES, DOMAIN_NAMES, TYPE_INDEX, Domain
from .layout import Layout
from .nuclei import CellMaps, Nuclei, type_values
from .programs import GenePrograms
from .settings import SimulationSettings, stream

# Mitochondrial RNA lies in the cytoplasm.
MITO_IN_CYTOPLASM = 2.2
# More molecules are drawn than are captured on average, so that efficient bins can capture more
# than the average.
CAPTURE_HEADROOM = 1.35


def expected_nuclear_counts(
    nuclei: Nuclei, composition: np.ndarray, umi_per_um2: float
) -> np.ndarray:
    """Expected UMIs of each nucleus's own RNA within its outline, (nuclei, genes)."""
    density = umi_per_um2 * type_values("rna")[nuclei.type_index] * nuclei.size_factor
    density = density * np.where(nuclei.stressed, 0.6, 1.0)
    return (density * nuclei.area_um2)[:, None] * composition


def draw_molecules(
    settings: SimulationSettings,
    layout: Layout,
    cells: CellMaps,
    nuclei: Nuclei,
    programs: GenePrograms,
    expected: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Molecules on the capture surface: positions in um (n, 2) after diffusion, and genes (n,).

    They are `CAPTURE_HEADROOM` times as many as the bins will capture.

    The gamma factor that makes counts negative binomial is one per cell and gene, shared by nucleus
    and cytoplasm.
    """
    rng = stream(settings.seed, "molecules")
    um2 = settings.um_per_px**2
    n_cells, n_genes = expected.shape
    shape_parameter = 1 / (settings.dispersion * programs.dispersion)
    burst = rng.gamma(shape_parameter, 1 / shape_parameter, size=(n_cells, n_genes))

    in_cytoplasm = (cells.owner > 0) & (cells.nucleus == 0)
    cytoplasm_um2 = np.bincount(cells.owner[in_cytoplasm], minlength=n_cells + 1)[1:] * um2
    per_area = expected / nuclei.area_um2[:, None]
    cytoplasm = per_area * settings.cytoplasm_ratio * cytoplasm_um2[:, None]
    cytoplasm *= np.where(programs.is_mitochondrial, MITO_IN_CYTOPLASM, 1.0)

    tissue = layout.domain != Domain.GLASS
    ambient = (cells.owner == 0) & tissue
    domain_um2 = np.bincount(layout.domain[ambient], minlength=len(DOMAIN_NAMES)) * um2
    profile = _ambient_profile(programs)
    free = settings.ambient_umi_per_um2 * domain_um2[:, None] * profile

    # Compartments in turn: nuclei, cytoplasms, the space between cells of each domain.
    means = (expected * burst, cytoplasm * burst, free)
    counts = np.concatenate([rng.poisson(CAPTURE_HEADROOM * mean) for mean in means])
    compartment = np.where(cells.nucleus > 0, cells.nucleus - 1, -1)
    compartment = np.where(in_cytoplasm, n_cells + cells.owner - 1, compartment)
    compartment = np.where(
        ambient, 2 * n_cells + layout.domain.astype(np.int32), compartment
    ).ravel()
    order = np.argsort(compartment, kind="stable")
    size = np.bincount(compartment + 1, minlength=len(counts) + 1)
    start = np.cumsum(size)[:-1]  # entry k: the first pixel of compartment k
    size = size[1:]
    counts[size == 0] = 0

    where, gene = np.nonzero(counts)
    times = counts[where, gene]
    where, gene = np.repeat(where, times), np.repeat(gene, times)
    n = len(where)
    pixel = order[start[where] + (rng.random(n) * size[where]).astype(np.int64)]
    position = np.stack(
        [pixel % layout.zone.shape[1], pixel // layout.zone.shape[1]], -1
    ) + rng.random((n, 2))
    far = rng.random(n) < settings.far_diffusion_fraction
    sigma = settings.diffusion_um * np.where(far, 4.0, 1.0)
    return position * settings.um_per_px + rng.normal(size=(n, 2)) * sigma[:, None], gene


def _ambient_profile(programs: GenePrograms) -> np.ndarray:
    """Composition of the RNA between the cells of each domain, (domains, genes)."""
    residents = {
        Domain.SURFACE_EPITHELIUM: ("suprabasal_epithelial",),
        Domain.STROMA: ("fibroblast",),
        Domain.GLAND: ("luminal_epithelial", "fibroblast"),
        Domain.TUMOUR: ("tumour", "fibroblast"),
        Domain.LYMPHOID: ("b_cell", "t_cell"),
        Domain.MUSCLE: ("smooth_muscle",),
        Domain.ADIPOSE: ("adipocyte",),
    }
    profile = np.zeros_like(programs.by_domain)
    for domain in Domain:
        names = residents.get(domain, tuple(cell_type.name for cell_type in CELL_TYPES))
        rate = np.mean([np.exp(programs.by_type[TYPE_INDEX[name]]) for name in names], axis=0)
        profile[domain] = np.exp(programs.base + programs.by_domain[domain]) * rate
    return profile / profile.sum(1, keepdims=True)


def capture(
    settings: SimulationSettings, layout: Layout, position_um: np.ndarray, gene: np.ndarray
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Count the molecules in the bins of a slightly shifted and rotated capture frame.

    As in Space Ranger, array rows run down the image and array columns run from right to left. Rows
    and columns of the array differ a little in efficiency, as printed arrays do. Returns the in-
    tissue bins x genes and all positions.
    """
    rng = stream(settings.seed, "capture")
    extent = np.array([settings.width_um, settings.height_um])
    angle = np.deg2rad(rng.uniform(-1, 1) * settings.frame_rotation_deg)
    offset = rng.uniform(-1, 1, 2) * settings.frame_offset_um
    margin = settings.frame_offset_um + extent.max() / 2 * abs(np.sin(angle)) + 1.0
    n_columns, n_rows = np.maximum(1, np.floor((extent - 2 * margin) / settings.bin_um)).astype(int)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = extent / 2 + offset

    local = (position_um - middle) @ turn / settings.bin_um  # molecules in the frame, unit: bins
    row = np.floor(local[:, 1] + n_rows / 2).astype(int)
    column = np.floor(n_columns / 2 - local[:, 0]).astype(int)
    efficiency = [np.exp(rng.normal(0, 0.08, n)) for n in (n_rows, n_columns)]
    inside = (row >= 0) & (row < n_rows) & (column >= 0) & (column < n_columns)
    row, column, gene = row[inside], column[inside], gene[inside]
    caught = rng.random(len(row)) * CAPTURE_HEADROOM < efficiency[0][row] * efficiency[1][column]
    bins = row[caught] * n_columns + column[caught]
    counts = sparse.coo_matrix(
        (np.ones(len(bins), np.int32), (bins, gene[caught])),
        shape=(n_rows * n_columns, settings.n_genes),
    ).tocsr()

    array_row, array_column = (a.ravel() for a in np.mgrid[0:n_rows, 0:n_columns])
    centre = (
        np.stack([n_columns / 2 - array_column - 0.5, array_row + 0.5 - n_rows / 2], -1)
        * settings.bin_um
    )
    centre_px = (centre @ turn.T + middle) / settings.um_per_px
    pixel = np.clip(np.floor(centre_px).astype(int), 0, np.array(layout.zone.shape[::-1]) - 1)
    in_tissue = layout.domain[pixel[:, 1], pixel[:, 0]] != Domain.GLASS
    prefix = f"s_{round(settings.bin_um):03d}um"
    row_part = [f"{prefix}_{r:05d}_" for r in range(n_rows)]
    column_part = [f"{c:05d}-1" for c in range(n_columns)]
    positions = pd.DataFrame(
        {
            "barcode": [r + c for r in row_part for c in column_part],
            "in_tissue": in_tissue.astype(np.int32),
            "array_row": array_row.astype(np.int32),
            "array_col": array_column.astype(np.int32),
            "pxl_row_in_fullres": centre_px[:, 1],
            "pxl_col_in_fullres": centre_px[:, 0],
        }
    )
    return counts[in_tissue], positions
