"""The H&E: amounts of haematoxylin, eosin and erythrocyte red at each pixel, layer upon layer."""

import numpy as np
from scipy import ndimage

from .cell_types import TYPE_INDEX, Domain, Zone
from .fields import fractal_noise, smooth_noise, stretched_noise, unit_step
from .layout import Layout
from .nuclei import CellMaps, Nuclei, type_values
from .stain import Stain, photograph

F = np.float32


def render(
    rng: np.random.Generator, layout: Layout, cells: CellMaps, nuclei: Nuclei, stain: Stain
) -> np.ndarray:
    """Paint the section; returns RGB uint8 (rows, columns, 3)."""
    haematoxylin, eosin, red = _ground(rng, layout)
    _paint_cytoplasm(rng, layout, cells, nuclei, haematoxylin, eosin)
    _paint_erythrocytes(rng, layout, eosin, red)
    _paint_nuclei(rng, layout, cells, nuclei, haematoxylin, eosin)
    thickness = 1 + F(0.07) * fractal_noise(rng, layout.zone.shape, 90 / layout.um_per_px, 2)
    amounts = np.stack([haematoxylin, eosin, red]) * thickness
    return photograph(rng, stain, np.maximum(amounts, 0), layout.um_per_px)


def _ground(rng: np.random.Generator, layout: Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What lies between cells: collagen, muscle, keratin, fat membranes, lymphoid ground, glass."""
    shape, px = layout.zone.shape, 1 / layout.um_per_px
    zone = layout.zone
    haematoxylin = np.zeros(shape, dtype=F)
    eosin = np.zeros(shape, dtype=F)

    # Along-fibre coordinate: any smooth coordinate that changes along the contour lines will do.
    y = np.arange(shape[0], dtype=F)[:, None] * F(layout.um_per_px)
    x = np.arange(shape[1], dtype=F)[None, :] * F(layout.um_per_px)
    soft = np.isin(zone, (Zone.COLLAGEN, Zone.SEPTUM, Zone.VESSEL_WALL))
    turn = float(np.median(layout.axis[soft])) if soft.any() else 0.0
    along = (F(np.cos(turn)) * x + F(np.sin(turn)) * y + 8 * smooth_noise(rng, shape, 60 * px))[
        soft
    ]
    across = layout.fibre_um[soft]
    bundles = stretched_noise(rng, across / 7, along / 45)
    fibres = stretched_noise(rng, across / 2.2, along / 24)
    hairs = stretched_noise(rng, across / 1.0, along / 14)
    loose = smooth_noise(rng, shape, 70 * px)[soft]
    speckle = smooth_noise(rng, shape, 2.4 * px)
    collagen = 0.46 + 0.13 * bundles + 0.10 * fibres + 0.06 * hairs + 0.04 * speckle[soft]
    # Clefts between bundles, more of them where the stroma is loose.
    cleft = unit_step(fibres * 0.55 + bundles * 0.8 + 0.45 * loose, 1.15, 1.75)
    collagen = np.maximum(collagen, 0.06) * (1 - 0.93 * cleft)
    desmoplastic = np.where(layout.domain[soft] == Domain.TUMOUR, F(0.86), F(1.0))
    eosin[soft] = collagen * desmoplastic
    haematoxylin[soft] = 0.03
    haematoxylin[soft & (layout.domain == Domain.TUMOUR)] = 0.07

    muscle = zone == Zone.MUSCLE
    if muscle.any():
        turn = float(np.median(layout.axis[muscle]))
        along = (F(np.cos(turn)) * x + F(np.sin(turn)) * y)[muscle]
        across = layout.muscle_um[muscle]
        fascicle = stretched_noise(rng, across / 9, along / 90)
        thread = stretched_noise(rng, across / 2.6, along / 60)
        body = 0.58 + 0.05 * fascicle + 0.09 * thread + 0.04 * speckle[muscle]
        eosin[muscle] = body * (1 - 0.85 * unit_step(fascicle * 0.8 + thread * 0.45, 1.25, 1.7))
        haematoxylin[muscle] = 0.06

    keratin = zone == Zone.KERATIN
    strands = stretched_noise(rng, layout.surface_um[keratin] / 2.4, ((x + y) / 40)[keratin])
    eosin[keratin] = np.maximum(0.62 + 0.28 * strands, 0.05) * (
        1 - 0.9 * unit_step(strands, 0.9, 1.4)
    )
    haematoxylin[keratin] = 0.10

    lymphoid = np.isin(zone, (Zone.FOLLICLE, Zone.MANTLE, Zone.T_ZONE))
    mesh = smooth_noise(rng, shape, 5 * px)
    eosin[lymphoid] = np.maximum(0.17 + 0.07 * mesh, 0.02)[lymphoid]
    haematoxylin[lymphoid] = np.where(zone == Zone.FOLLICLE, 0.11, 0.07)[lymphoid]

    epithelial = np.isin(zone, (Zone.DUCT_WALL, Zone.NEST, Zone.BASAL, Zone.SUPRABASAL))
    eosin[epithelial] = 0.30
    haematoxylin[epithelial] = 0.09

    adipose = np.isin(zone, (Zone.FAT, Zone.SEPTUM)) & (layout.domain == Domain.ADIPOSE)
    rim = np.exp(-((layout.membrane_um / 0.95) ** 2)) * (0.40 + 0.10 * mesh)
    eosin[adipose] = np.maximum(rim, 0)[adipose]
    haematoxylin[adipose] = 0.0

    _paint_lumens(rng, layout, eosin, haematoxylin)
    dust = smooth_noise(rng, shape, 3 * px)
    bare = zone == Zone.GLASS
    eosin[bare] = (0.006 + 0.10 * unit_step(dust, 4.0, 4.4))[bare]
    return haematoxylin, eosin, np.zeros(shape, dtype=F)


def _paint_lumens(
    rng: np.random.Generator, layout: Layout, eosin: np.ndarray, haematoxylin: np.ndarray
) -> None:
    """Duct lumens are white, or hold pale secretion that has shrunk from the wall."""
    um = layout.um_per_px
    eosin[layout.zone == Zone.LUMEN] = 0.015
    texture = smooth_noise(rng, layout.zone.shape, 9 / um)
    for ring in layout.rings:
        amount = rng.choice([0.0, 0.0, 0.16, 0.34], p=[0.3, 0.2, 0.3, 0.2])
        if not ring.is_duct or amount == 0:
            continue
        reach = ring.radius_um * ring.aspect * 1.2
        low = [max(0, int((c - reach) / um)) for c in ring.centre_um]
        window = (
            slice(low[1], int((ring.centre_um[1] + reach) / um)),
            slice(low[0], int((ring.centre_um[0] + reach) / um)),
        )
        lumen = layout.zone[window] == Zone.LUMEN
        depth = ndimage.distance_transform_edt(lumen) * um + 1.6 * texture[window]
        filled = unit_step(depth, 3.0, 4.2) * lumen
        eosin[window] += (filled * amount * (1 + 0.25 * texture[window])).astype(F)
        haematoxylin[window] += (filled * 0.03).astype(F)


def _paint_cytoplasm(
    rng: np.random.Generator,
    layout: Layout,
    cells: CellMaps,
    nuclei: Nuclei,
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
) -> None:
    """Give each cell its cytoplasm: colour, grain, droplets, retraction halo, borders."""
    shape, px = layout.zone.shape, 1 / layout.um_per_px
    kind = nuclei.type_index
    own = cells.owner > 0
    index = cells.owner[own] - 1

    mature = nuclei.maturity
    cell_eosin = (
        type_values("eosin")[kind]
        * rng.lognormal(0, 0.07, len(nuclei))
        * np.where(nuclei.stressed, 1.5, 1.0)
    )
    cell_eosin *= np.where(kind == TYPE_INDEX["suprabasal_epithelial"], 0.85 + 0.5 * mature, 1.0)
    cell_eosin *= np.where(kind == TYPE_INDEX["tumour"], 0.85 + 0.35 * mature, 1.0)
    cell_base = type_values("basophilia")[kind] * rng.lognormal(0, 0.10, len(nuclei))
    cell_base *= np.where(kind == TYPE_INDEX["tumour"], 1.15 - 0.3 * mature, 1.0)

    outside = cells.outside_um[own]
    reach = np.maximum(type_values("cytoplasm_um")[kind], 1.0)[index]
    grain = (
        1 + 0.10 * smooth_noise(rng, shape, 2.0 * px) + 0.08 * smooth_noise(rng, shape, 6 * px)
    )[own]
    # Stromal cells merge into the fibres around them; epithelial cytoplasm is a body of its own.
    fibrous = np.isin(layout.zone[own], (Zone.COLLAGEN, Zone.SEPTUM, Zone.VESSEL_WALL, Zone.MUSCLE))
    cover = np.where(
        fibrous,
        0.75 * np.exp(-((outside / (0.45 * reach)) ** 2)),
        0.96 - 0.5 * unit_step(outside / reach, 0.75, 1.0),
    )
    cover = np.where((kind == TYPE_INDEX["smooth_muscle"])[index], 0.15 * cover, cover).astype(F)
    new_eosin = (cell_eosin[index] * grain).astype(F)
    droplets = unit_step(smooth_noise(rng, shape, 2.6 * px), 0.55, 1.1)[own]
    new_eosin *= 1 - F(0.9) * (type_values("vacuole")[kind][index] * droplets).astype(F)
    halo = type_values("halo")[kind] * (rng.random(len(nuclei)) < 0.55)
    hollow = 1 - 0.8 * halo[index] * (1 - unit_step(outside, 0.9, 2.0))
    eosin[own] = (eosin[own] * (1 - cover) + new_eosin * cover) * hollow
    haematoxylin[own] = (
        haematoxylin[own] * (1 - cover) + cell_base[index] * grain * cover
    ) * hollow

    packed = np.isin(layout.zone, (Zone.NEST, Zone.DUCT_WALL, Zone.SUPRABASAL, Zone.BASAL))
    owner = cells.owner
    seam = (
        ((owner != np.roll(owner, 1, 0)) | (owner != np.roll(owner, 1, 1)))
        & packed
        & (cells.nucleus == 0)
    )
    border = ndimage.gaussian_filter(seam.astype(F), 0.35 * px)
    eosin *= 1 - F(0.28) * border
    # The apical brush of ducts: denser eosin where the wall meets the lumen.
    lumen = ndimage.gaussian_filter((layout.zone == Zone.LUMEN).astype(F), 1.6 * px)
    apical = (layout.zone == Zone.DUCT_WALL) * lumen
    eosin += F(0.35) * apical


def _paint_erythrocytes(
    rng: np.random.Generator, layout: Layout, eosin: np.ndarray, red: np.ndarray
) -> None:
    """Fill some vessels with red cells, about 6 um wide."""
    um = layout.um_per_px
    lumen = layout.zone == Zone.VESSEL_LUMEN
    eosin[lumen] = 0.02
    for ring in layout.rings:
        fullness = rng.choice([0.0, 0.25, 0.9], p=[0.35, 0.3, 0.35])
        if ring.is_duct or fullness == 0:
            continue
        n = int(fullness * np.pi * ring.radius_um**2 * ring.aspect / 16)
        spots = np.array(ring.centre_um) + rng.uniform(-1, 1, (n, 2)) * ring.radius_um * ring.aspect
        radius = rng.uniform(2.3, 3.2, n)
        for (cx, cy), r in zip(spots / um, radius / um, strict=True):
            y = np.arange(max(0, int(cy - r)), min(lumen.shape[0], int(cy + r) + 2))[:, None]
            x = np.arange(max(0, int(cx - r)), min(lumen.shape[1], int(cx + r) + 2))[None, :]
            if not y.size or not x.size:
                continue
            window = (slice(y[0, 0], y[-1, 0] + 1), slice(x[0, 0], x[0, -1] + 1))
            disc = np.hypot(y + 0.5 - cy, x + 0.5 - cx) / r
            body = np.clip((1 - disc) * r, 0, 1) * (0.62 + 0.14 * disc**2) * lumen[window]
            red[window] = np.maximum(red[window], body)


def _paint_nuclei(
    rng: np.random.Generator,
    layout: Layout,
    cells: CellMaps,
    nuclei: Nuclei,
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
) -> None:
    """Chromatin: level, membrane, clumps, nucleoli; by type, state and nucleus."""
    shape, px = layout.zone.shape, 1 / layout.um_per_px
    kind = nuclei.type_index
    inside = cells.nucleus > 0
    index = cells.nucleus[inside] - 1
    depth = cells.inside_um[inside]

    level = type_values("haematoxylin")[kind] * nuclei.stain * np.exp(0.10 * nuclei.proliferation)
    level *= np.where(nuclei.stressed, 1.7, 1.0)
    suprabasal = kind == TYPE_INDEX["suprabasal_epithelial"]
    level *= np.where(suprabasal, 0.92 + 0.35 * nuclei.maturity, 1.0)
    rim = type_values("rim")[kind] * nuclei.stain
    clump = type_values("clump")[kind] * np.where(nuclei.stressed, 0.3, 1.0)
    coarse = type_values("coarse")[kind]

    fine_noise = smooth_noise(rng, shape, 1.3 * px)[inside]
    coarse_noise = smooth_noise(rng, shape, 2.9 * px)[inside]
    texture = coarse[index] * coarse_noise + (1 - coarse[index]) * fine_noise
    amount = level[index] * np.clip(1 + 1.35 * clump[index] * texture, 0.35, 2.4)
    amount += rim[index] * np.exp(-(((depth - 0.4) / 0.75) ** 2))

    count = rng.poisson(type_values("nucleoli")[kind] * np.exp(0.15 * nuclei.proliferation))
    count = np.where(nuclei.stressed, 0, count)
    which = np.repeat(np.arange(len(nuclei)), count)
    reach = 0.42 * np.sqrt(nuclei.area_um2[which] / np.pi)
    shift = rng.normal(0, 0.6, (len(which), 2)) * reach[:, None]
    spot = np.floor((nuclei.centre_um[which] + shift) * px).astype(int)
    spot = np.clip(spot, 0, np.array(shape[::-1]) - 1)
    dots = np.zeros(shape, dtype=F)
    sigma = 0.62 * px
    np.add.at(
        dots,
        (spot[:, 1], spot[:, 0]),
        (rng.uniform(0.35, 0.8, len(which)) * 2 * np.pi * sigma**2).astype(F),
    )
    dots = ndimage.gaussian_filter(dots, sigma)[inside]

    # A nucleus seen slightly tilted fades at its edge.
    edge = 0.55 + 0.45 * unit_step(depth, 0.0, 0.9)
    haematoxylin[inside] = 0.3 * haematoxylin[inside] + (amount * edge + dots).astype(F)
    eosin[inside] = 0.45 * eosin[inside] + 0.10 + 0.25 * dots
