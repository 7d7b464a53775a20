"""The catalogue of tissue: domains, zones and cell types with their looks.

Areas and radii follow what pathology texts give for 4 um paraffin sections; stain levels are
optical densities on the scale of `rendering` (1 = a dark lymphocyte nucleus for haematoxylin, dense
collagen for eosin).
"""
# ruff: noqa: E501 - tables read best with a row a line

from dataclasses import dataclass
from enum import IntEnum


class Domain(IntEnum):
    """Tissue domains; the names go to the truth."""

    GLASS = 0
    SURFACE_EPITHELIUM = 1
    STROMA = 2
    GLAND = 3
    TUMOUR = 4
    LYMPHOID = 5
    MUSCLE = 6
    ADIPOSE = 7


DOMAIN_NAMES = tuple(domain.name.lower() for domain in Domain)


class Zone(IntEnum):
    """Parts of domains that differ in texture and in the cells they hold."""

    GLASS = 0
    KERATIN = 1
    SUPRABASAL = 2
    BASAL = 3
    COLLAGEN = 4
    DUCT_WALL = 5
    LUMEN = 6
    NEST = 7
    MUSCLE = 8
    FOLLICLE = 9
    T_ZONE = 10
    FAT = 11
    SEPTUM = 12
    VESSEL_LUMEN = 13
    VESSEL_WALL = 14
    MANTLE = 15


# Zones that hold no cell bodies.
EMPTY_ZONES = (Zone.GLASS, Zone.LUMEN, Zone.FAT, Zone.VESSEL_LUMEN, Zone.KERATIN)
# Cytoplasm never crosses from one of these groups into another.
ZONE_GROUP = {
    Zone.GLASS: 0, Zone.LUMEN: 0, Zone.FAT: 0, Zone.VESSEL_LUMEN: 0, Zone.KERATIN: 0,
    Zone.SUPRABASAL: 1, Zone.BASAL: 1, Zone.DUCT_WALL: 2, Zone.NEST: 3,
    Zone.COLLAGEN: 4, Zone.SEPTUM: 4, Zone.VESSEL_WALL: 4, Zone.MUSCLE: 5, Zone.FOLLICLE: 6, Zone.T_ZONE: 6, Zone.MANTLE: 6,
}  # fmt: skip


@dataclass(frozen=True)
class CellType:
    """How a cell type looks and where its RNA is.

    Attributes:
        area_um2, area_cv: nuclear area and its coefficient of variation.
        aspect, aspect_cv: long over short axis.
        irregular: relative amplitude of the outline's higher harmonics.
        indent: depth of a kidney-shaped indentation, relative to the radius.
        spacing_um: distance that neighbours of the same type keep.
        orientation: "along", "across" (the local structure) or "random".
        haematoxylin: nuclear stain; `rim` adds at the membrane, `clump` is the contrast of the
            chromatin and `coarse` its share of coarse clumps; `nucleoli` the mean number of
            nucleoli.
        cytoplasm_um: reach of the cytoplasm from the nucleus; `eosin`, `basophilia`, `vacuole`
            (white droplets, 0-1) and `halo` (retraction around the nucleus, 0-1) describe it.
        rna: RNA per um2 relative to the average type.
    """

    name: str
    area_um2: float
    area_cv: float
    aspect: float
    aspect_cv: float
    irregular: float
    indent: float
    spacing_um: float
    orientation: str
    haematoxylin: float
    rim: float
    clump: float
    coarse: float
    nucleoli: float
    cytoplasm_um: float
    eosin: float
    basophilia: float
    vacuole: float
    halo: float
    rna: float


#                name             area   cv  asp  cv   irr   ind  gap   orient   H    rim  clmp  crs  ncl  cyt   E     B     vac  halo rna
CELL_TYPES: tuple[CellType, ...] = (
    CellType("basal_epithelial", 38, 0.16, 1.60, 0.12, 0.05, 0.0, 5.7, "across", 0.92, 0.25, 0.28, 0.4, 0.3, 5.0, 0.34, 0.20, 0.0, 0.0, 1.10),
    CellType("suprabasal_epithelial", 56, 0.18, 1.30, 0.12, 0.04, 0.0, 10.3, "along", 0.58, 0.42, 0.22, 0.3, 1.4, 9.0, 0.46, 0.13, 0.0, 0.45, 0.90),
    CellType("luminal_epithelial", 47, 0.15, 1.45, 0.12, 0.04, 0.0, 6.6, "across", 0.62, 0.38, 0.22, 0.4, 0.8, 9.0, 0.40, 0.12, 0.1, 0.0, 1.05),
    CellType("myoepithelial", 27, 0.20, 2.60, 0.18, 0.05, 0.0, 9.0, "along", 0.90, 0.10, 0.18, 0.3, 0.0, 3.5, 0.22, 0.02, 0.3, 0.3, 0.85),
    CellType("tumour", 80, 0.26, 1.30, 0.14, 0.09, 0.05, 9.8, "random", 0.54, 0.40, 0.46, 0.8, 1.8, 8.5, 0.36, 0.20, 0.1, 0.0, 1.25),
    CellType("fibroblast", 31, 0.25, 3.40, 0.22, 0.06, 0.0, 10.0, "along", 0.80, 0.12, 0.18, 0.2, 0.1, 6.0, 0.40, 0.04, 0.0, 0.0, 0.85),
    CellType("endothelial", 25, 0.22, 3.20, 0.18, 0.05, 0.0, 9.0, "along", 0.92, 0.08, 0.14, 0.2, 0.0, 4.0, 0.42, 0.03, 0.0, 0.0, 0.90),
    CellType("smooth_muscle", 40, 0.20, 3.90, 0.18, 0.03, 0.0, 12.0, "along", 0.66, 0.18, 0.18, 0.2, 0.3, 8.0, 0.66, 0.06, 0.0, 0.0, 0.95),
    CellType("t_cell", 27, 0.14, 1.12, 0.06, 0.05, 0.0, 5.7, "random", 1.10, 0.10, 0.26, 0.7, 0.0, 1.7, 0.12, 0.16, 0.0, 0.2, 0.90),
    CellType("b_cell", 31, 0.14, 1.10, 0.06, 0.04, 0.0, 6.1, "random", 1.02, 0.16, 0.32, 0.8, 0.1, 1.9, 0.12, 0.18, 0.0, 0.2, 0.95),
    CellType("germinal_centre_b", 52, 0.20, 1.18, 0.08, 0.07, 0.0, 8.0, "random", 0.62, 0.42, 0.34, 0.6, 1.8, 3.6, 0.16, 0.26, 0.0, 0.1, 1.20),
    CellType("plasma_cell", 34, 0.14, 1.12, 0.06, 0.03, 0.0, 9.0, "random", 0.92, 0.30, 0.48, 1.0, 0.1, 4.6, 0.34, 0.46, 0.0, 0.0, 1.20),
    CellType("macrophage", 46, 0.20, 1.55, 0.14, 0.07, 0.22, 11.0, "random", 0.56, 0.34, 0.20, 0.3, 0.5, 6.5, 0.28, 0.05, 0.6, 0.0, 1.00),
    CellType("adipocyte", 20, 0.22, 3.60, 0.18, 0.04, 0.0, 26.0, "along", 0.88, 0.05, 0.10, 0.2, 0.0, 3.0, 0.30, 0.00, 0.0, 0.0, 0.80),
)  # fmt: skip
TYPE_NAMES = tuple(cell_type.name for cell_type in CELL_TYPES)
TYPE_INDEX = {name: index for index, name in enumerate(TYPE_NAMES)}

# What grows where: share of the packing that is filled, and the mixture of types.
COMPOSITION: dict[tuple[Zone, Domain | None], tuple[float, dict[str, float]]] = {
    (Zone.BASAL, None): (
        1.0,
        {"basal_epithelial": 0.95, "suprabasal_epithelial": 0.03, "t_cell": 0.02},
    ),
    (Zone.SUPRABASAL, None): (
        1.0,
        {"suprabasal_epithelial": 0.94, "basal_epithelial": 0.04, "t_cell": 0.02},
    ),
    (Zone.COLLAGEN, None): (
        0.42,
        {
            "fibroblast": 0.72,
            "macrophage": 0.07,
            "t_cell": 0.09,
            "plasma_cell": 0.06,
            "b_cell": 0.02,
            "endothelial": 0.04,
        },
    ),
    (Zone.COLLAGEN, Domain.TUMOUR): (
        0.75,
        {
            "fibroblast": 0.46,
            "macrophage": 0.16,
            "t_cell": 0.22,
            "plasma_cell": 0.09,
            "b_cell": 0.03,
            "endothelial": 0.04,
        },
    ),
    (Zone.COLLAGEN, Domain.GLAND): (
        0.60,
        {
            "fibroblast": 0.58,
            "macrophage": 0.07,
            "t_cell": 0.09,
            "plasma_cell": 0.22,
            "endothelial": 0.04,
        },
    ),
    (Zone.DUCT_WALL, None): (0.10, {"luminal_epithelial": 0.7, "t_cell": 0.3}),
    (Zone.NEST, None): (1.0, {"tumour": 0.93, "t_cell": 0.05, "macrophage": 0.02}),
    (Zone.MUSCLE, None): (0.62, {"smooth_muscle": 0.90, "fibroblast": 0.05, "endothelial": 0.05}),
    (Zone.FOLLICLE, None): (
        1.0,
        {"germinal_centre_b": 0.76, "b_cell": 0.12, "t_cell": 0.05, "macrophage": 0.07},
    ),
    (Zone.T_ZONE, None): (
        1.0,
        {
            "t_cell": 0.66,
            "b_cell": 0.20,
            "plasma_cell": 0.07,
            "macrophage": 0.04,
            "endothelial": 0.03,
        },
    ),
    (Zone.MANTLE, None): (1.0, {"b_cell": 0.78, "t_cell": 0.17, "macrophage": 0.05}),
    (Zone.SEPTUM, None): (0.75, {"adipocyte": 0.75, "macrophage": 0.12, "endothelial": 0.13}),
}
