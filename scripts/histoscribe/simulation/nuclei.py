"""Nuclei: where they lie, of which type and state, and their outlines."""

from dataclasses import dataclass

import numpy as np
import shapely
from scipy import ndimage, sparse
from scipy.spatial import cKDTree
from skimage.draw import polygon as fill_polygon

from .cell_types import CELL_TYPES, COMPOSITION, EMPTY_ZONES, TYPE_INDEX, Domain, Zone
from .layout import Layout, Ring

N_VERTICES = 28


@dataclass
class Nuclei:
    """The nuclei of a section; all arrays are of length n_nuclei.

    Attributes:
        polygon_um: (n, vertices, 2) outlines x, y.
        centre_um: (n, 2).
        type_index, domain: index into `CELL_TYPES` and `Domain`.
        area_um2: area of the outline.
        proliferation, activation: within-type states, about N(0, 1); the first shows in size and
            stain, the second in nothing that can be seen.
        maturity: 0-1, see `Layout`.
        stressed: dying cells: shrunken and dark, rich in mitochondrial RNA.
        stain: this nucleus's own factor on its haematoxylin (section thickness, focus).
        size_factor: this cell's own factor on its RNA content, invisible.
        clone: 0 for diploid cells; 1 and 2 for tumour cells, where there are clones.
    """

    polygon_um: np.ndarray
    centre_um: np.ndarray
    type_index: np.ndarray
    domain: np.ndarray
    area_um2: np.ndarray
    proliferation: np.ndarray
    activation: np.ndarray
    maturity: np.ndarray
    stressed: np.ndarray
    stain: np.ndarray
    size_factor: np.ndarray
    clone: np.ndarray

    def __len__(self) -> int:
        return len(self.type_index)

    def take(self, keep: np.ndarray) -> "Nuclei":
        """The nuclei that a mask or index selects."""
        return Nuclei(**{name: values[keep] for name, values in vars(self).items()})


def type_values(attribute: str) -> np.ndarray:
    """One attribute of all cell types as an array, in catalogue order."""
    return np.array([getattr(cell_type, attribute) for cell_type in CELL_TYPES])


def make_nuclei(rng: np.random.Generator, layout: Layout) -> Nuclei:
    """Place, type and outline the nuclei of a layout; outlines overlap by a touch at most."""
    centre, kind, priority, axis = _placed_on_rings(rng, layout)
    free = _free_candidates(rng, layout)
    centre = np.concatenate([centre, free[0]])
    kind = np.concatenate([kind, free[1]])
    priority = np.concatenate([priority, free[2]])
    axis = np.concatenate([axis, free[3]])
    keep = _hard_core(centre, type_values("spacing_um")[kind], priority)
    centre, kind, axis, priority = centre[keep], kind[keep], axis[keep], priority[keep]

    rows, columns = pixel_of(centre, layout)
    n = len(kind)
    proliferation = rng.normal(size=n)
    dividing = np.isin(
        kind, [TYPE_INDEX[t] for t in ("tumour", "germinal_centre_b", "basal_epithelial")]
    )
    proliferation = np.where(
        dividing, proliferation + 0.6 * (rng.random(n) < 0.2), 0.5 * proliferation - 0.6
    )
    stressed = rng.random(n) < 0.025
    nuclei = Nuclei(
        polygon_um=np.empty((n, N_VERTICES, 2)),
        centre_um=centre,
        type_index=kind,
        domain=layout.domain[rows, columns],
        area_um2=np.empty(n),
        proliferation=proliferation,
        activation=rng.normal(size=n),
        maturity=layout.maturity[rows, columns].astype(float),
        stressed=stressed,
        stain=rng.lognormal(0, 0.10, n),
        size_factor=rng.lognormal(-0.03, 0.25, n),
        clone=np.zeros(n, dtype=np.int64),
    )
    nuclei.polygon_um = _outlines(rng, nuclei, axis)
    nuclei.area_um2 = shapely.area(shapely.polygons(nuclei.polygon_um))
    inside = _inside_tissue(nuclei, layout)
    nuclei, priority = nuclei.take(inside), priority[inside]
    return nuclei.take(_disjoint(nuclei, priority))


def pixel_of(points_um: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of points (..., x y), clipped to the image."""
    index = np.floor(points_um / layout.um_per_px).astype(int)
    rows = np.clip(index[..., 1], 0, layout.zone.shape[0] - 1)
    return rows, np.clip(index[..., 0], 0, layout.zone.shape[1] - 1)


def _ring_points(
    rng: np.random.Generator, ring: Ring, depth_um: float, spacing_um: float, jitter_um: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points at a depth below a ring's outline, evenly along it, with the wall's direction."""
    theta = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = ring.outline_um(theta) - depth_um
    curve = np.stack([radius * np.cos(theta), radius * np.sin(theta)], -1) + ring.centre_um
    step = np.linalg.norm(np.roll(curve, -1, 0) - curve, axis=1)
    arc = np.concatenate([[0], np.cumsum(step)])
    n = max(3, int(arc[-1] / spacing_um))
    at = (np.arange(n) + rng.uniform(-0.2, 0.2, n) + rng.random()) / n % 1 * arc[-1]
    index = np.searchsorted(arc, at, side="right") - 1
    tangent = np.roll(curve, -1, 0) - curve
    return curve[index] + rng.normal(0, jitter_um, (n, 2)), np.arctan2(
        tangent[index, 1], tangent[index, 0]
    )


def _placed_on_rings(
    rng: np.random.Generator, layout: Layout
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells that line ducts and vessels: positions, types, priorities, directions."""
    parts: list[tuple[np.ndarray, np.ndarray, int]] = []
    for ring in layout.rings:
        if ring.is_duct:
            basal = float(rng.uniform(0.50, 0.62))
            parts.append(
                (
                    *_ring_points(rng, ring, ring.wall_um * basal, 6.3, 0.8),
                    TYPE_INDEX["luminal_epithelial"],
                )
            )
            parts.append((*_ring_points(rng, ring, 1.6, 15.0, 0.4), TYPE_INDEX["myoepithelial"]))
        else:
            parts.append(
                (
                    *_ring_points(rng, ring, ring.wall_um * 0.55, 11.0, 0.3),
                    TYPE_INDEX["endothelial"],
                )
            )
            if ring.radius_um > 12:
                parts.append(
                    (*_ring_points(rng, ring, -3.5, 13.0, 0.8), TYPE_INDEX["smooth_muscle"])
                )
    if not parts:
        return np.empty((0, 2)), np.empty(0, int), np.empty(0), np.empty(0)
    centre = np.concatenate([part[0] for part in parts])
    axis = np.concatenate([part[1] for part in parts])
    kind = np.concatenate([np.full(len(part[0]), part[2]) for part in parts])
    return centre, kind, 1 + rng.random(len(kind)), axis


def _free_candidates(
    rng: np.random.Generator, layout: Layout
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Candidates for the thinning in every zone: positions, types, priorities, directions."""
    um = layout.um_per_px
    spacing = type_values("spacing_um")
    flat_zone, flat_domain = layout.zone.ravel(), layout.domain.ravel()
    centre, kind = [], []
    for (zone, domain), (fill, mixture) in COMPOSITION.items():
        here = flat_zone == zone
        if domain is not None:
            here &= flat_domain == domain
        elif zone == Zone.COLLAGEN:
            here &= ~np.isin(flat_domain, (Domain.TUMOUR, Domain.GLAND))
        pixels = np.flatnonzero(here)
        if not len(pixels):
            continue
        types = np.array([TYPE_INDEX[name] for name in mixture])
        share = np.array(list(mixture.values()))
        density = (3.6 if fill == 1 else 2.4 * fill) / np.sum(share * spacing[types] ** 2)
        n = rng.poisson(density * len(pixels) * um**2)
        chosen = pixels[rng.integers(len(pixels), size=n)]
        points = np.stack([chosen % layout.zone.shape[1], chosen // layout.zone.shape[1]], -1)
        # Lymphocytes spill out of their aggregates.
        spill = np.where(rng.random((n, 1)) < 0.35, 9.0, 0.0) if zone == Zone.T_ZONE else 0.0
        points = (points + rng.random((n, 2))) * um + spill * rng.normal(size=(n, 2))
        centre.append(np.clip(points, 0, np.array(layout.zone.shape[::-1]) * um - 1e-3))
        kind.append(rng.choice(types, size=n, p=share / share.sum()))
    if not centre:
        return np.empty((0, 2)), np.empty(0, int), np.empty(0), np.empty(0)
    points, kinds = np.concatenate(centre), np.concatenate(kind)
    return points, kinds, rng.random(len(kinds)), layout.axis[pixel_of(points, layout)]


def _hard_core(centre_um: np.ndarray, spacing_um: np.ndarray, priority: np.ndarray) -> np.ndarray:
    """Sequential inhibition: a point goes if a kept one of higher priority is too near."""
    n = len(priority)
    pairs = cKDTree(centre_um).query_pairs(
        float(spacing_um.max()) if n else 1.0, output_type="ndarray"
    )
    gap = np.linalg.norm(centre_um[pairs[:, 0]] - centre_um[pairs[:, 1]], axis=1)
    pairs = pairs[gap < (spacing_um[pairs[:, 0]] + spacing_um[pairs[:, 1]]) / 2]
    order = np.argsort(-priority)
    rank = np.empty(n, int)
    rank[order] = np.arange(n)
    swap = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    pairs[swap] = pairs[swap][:, ::-1]  # (higher priority, lower priority)
    # above[i, j]: j has higher priority than i and is too near.
    above = sparse.csr_matrix(
        (np.ones(len(pairs), np.int32), (pairs[:, 1], pairs[:, 0])), shape=(n, n)
    )
    undecided, kept = np.ones(n, bool), np.zeros(n, bool)
    while undecided.any():
        free = undecided & (above @ undecided.astype(np.int32) == 0)
        kept |= free
        undecided &= ~free
        undecided &= ~((above @ free.astype(np.int32)) > 0)
    return np.flatnonzero(kept)


def _outlines(rng: np.random.Generator, nuclei: Nuclei, axis: np.ndarray) -> np.ndarray:
    """Outlines (n, vertices, 2) in um from type, state and local direction."""
    n, kind = len(nuclei), nuclei.type_index
    area = type_values("area_um2")[kind] * rng.lognormal(0, type_values("area_cv")[kind])
    area *= np.exp(0.20 * nuclei.proliferation) * np.where(nuclei.stressed, 0.55, 1.0)
    is_suprabasal = kind == TYPE_INDEX["suprabasal_epithelial"]
    # Keratinocytes flatten and shrink towards the surface.
    area *= np.where(is_suprabasal, 1.15 - 0.45 * nuclei.maturity, 1.0)
    aspect = type_values("aspect")[kind] * rng.lognormal(0, type_values("aspect_cv")[kind])
    aspect = 1 + np.abs(aspect * np.where(is_suprabasal, 0.85 + 0.9 * nuclei.maturity**2, 1.0) - 1)
    aspect = np.where(nuclei.stressed, 1 + 0.4 * (aspect - 1), aspect)
    mode = np.array([cell_type.orientation for cell_type in CELL_TYPES])[kind]
    angle = axis + rng.normal(0, 0.16, n) + np.where(mode == "across", np.pi / 2, 0)
    angle = np.where(mode == "random", rng.uniform(0, np.pi, n), angle)

    theta = np.linspace(0, 2 * np.pi, N_VERTICES, endpoint=False)[None, :]
    wobble = np.zeros((n, N_VERTICES))
    for harmonic in (2, 3, 4, 5, 6):
        amplitude = type_values("irregular")[kind] * rng.normal(size=n) * (2 / harmonic)
        wobble += amplitude[:, None] * np.cos(
            harmonic * theta + rng.uniform(0, 2 * np.pi, n)[:, None]
        )
    indent = type_values("indent")[kind] * rng.random(n) * 1.6
    bay = np.exp(-(((theta - np.pi / 2 + 0.3 * rng.normal(size=n)[:, None]) / 0.6) ** 2))
    radius = np.clip(1 + wobble - indent[:, None] * bay, 0.45, 1.6)
    long = np.sqrt(area * aspect / np.pi)
    u = long[:, None] * radius * np.cos(theta)
    # Spindles taper: their ends are pointed.
    taper = 1 - np.clip((aspect - 2) * 0.14, 0, 0.35)[:, None] * np.cos(theta) ** 2
    v = (long / aspect)[:, None] * radius * np.sin(theta) * taper
    bend = np.clip(aspect - 1.8, 0, 2) * rng.normal(0, 0.10, n) / long
    v += bend[:, None] * (u**2 - (long**2 / 3)[:, None])
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    shape = np.stack([u * cos - v * sin, u * sin + v * cos], -1)
    signed = 0.5 * np.sum(
        shape[..., 0] * np.roll(shape[..., 1], -1, 1)
        - shape[..., 1] * np.roll(shape[..., 0], -1, 1),
        1,
    )
    shape *= np.sqrt(area / np.abs(signed))[:, None, None]
    return shape + nuclei.centre_um[:, None, :]


def _inside_tissue(nuclei: Nuclei, layout: Layout) -> np.ndarray:
    """Nuclei wholly in the image and hardly over lumen, fat or glass."""
    extent = np.array(layout.zone.shape[::-1]) * layout.um_per_px
    in_image = np.all((nuclei.polygon_um > 0.5) & (nuclei.polygon_um < extent - 0.5), axis=(1, 2))
    void = np.isin(layout.zone[pixel_of(nuclei.polygon_um, layout)], EMPTY_ZONES).mean(1)
    # Fat-cell and vessel nuclei bulge into the space they line.
    lining = np.isin(nuclei.type_index, [TYPE_INDEX["adipocyte"], TYPE_INDEX["endothelial"]])
    return in_image & (void <= np.where(lining, 0.6, 0.25)) & (nuclei.area_um2 > 6)


def _disjoint(nuclei: Nuclei, priority: np.ndarray) -> np.ndarray:
    """Drop the lower-priority nucleus of each pair that overlaps by more than a touch."""
    shapes = shapely.make_valid(shapely.polygons(nuclei.polygon_um))
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    each = first < second
    first, second = first[each], second[each]
    overlap = shapely.area(shapely.intersection(shapes[first], shapes[second]))
    bad = overlap > 0.04 * np.minimum(nuclei.area_um2[first], nuclei.area_um2[second])
    keep = np.ones(len(nuclei), bool)
    for a, b in zip(first[bad], second[bad], strict=True):
        if keep[a] and keep[b]:
            keep[a if priority[a] < priority[b] else b] = False
    keep &= shapely.is_valid(shapely.polygons(nuclei.polygon_um))
    return np.flatnonzero(keep)


@dataclass
class CellMaps:
    """Maps of which cell owns a pixel; (rows, columns).

    Attributes:
        nucleus: 1 + index of the nucleus a pixel lies in, 0 outside, int32.
        owner: 1 + index of the cell whose nucleus or cytoplasm holds the pixel, 0 for none, int32.
        inside_um: distance of the pixel's centre to the edge of its nucleus, 0 outside.
        outside_um: distance of the pixel's centre to that of the nearest nucleus' pixel, 0 inside.
    """

    nucleus: np.ndarray
    owner: np.ndarray
    inside_um: np.ndarray
    outside_um: np.ndarray


def map_cells(nuclei: Nuclei, layout: Layout, zone_group: np.ndarray) -> CellMaps:
    """Raster the nuclei; give each pixel near one to the nearest cell of its compartment.

    `zone_group`: lookup from zone to compartment; compartment 0 belongs to no cell.
    """
    um = layout.um_per_px
    nucleus = np.zeros(layout.zone.shape, dtype=np.int32)
    for index, outline in enumerate(nuclei.polygon_um / um - 0.5):
        rows, columns = fill_polygon(outline[:, 1], outline[:, 0], shape=nucleus.shape)
        nucleus[rows, columns] = index + 1
    inside = _depth_px(nucleus) * np.float32(um)
    outside, nearest = ndimage.distance_transform_edt(nucleus == 0, return_indices=True)
    outside = outside.astype(np.float32) * np.float32(um)
    owner = nucleus[nearest[0], nearest[1]]
    del nearest
    index = np.maximum(owner - 1, 0)
    if len(nuclei):
        group_of_cell = zone_group[layout.zone[pixel_of(nuclei.centre_um, layout)]]
        group_of_pixel = zone_group[layout.zone]
        reach = type_values("cytoplasm_um")[nuclei.type_index].astype(np.float32)
        outsider = (
            (outside > reach[index])
            | (group_of_pixel == 0)
            | (group_of_pixel != group_of_cell[index])
        )
        owner = np.where((nucleus == 0) & outsider, 0, owner)
    return CellMaps(nucleus, owner, inside, outside)


def _depth_px(nucleus: np.ndarray) -> np.ndarray:
    """Distance of each pixel's centre to the edge of the nucleus it lies in, float32.

    The outermost pixels of a nucleus, on all of its sides, touching another or not, are half a
    pixel deep.
    """
    outermost = np.zeros(nucleus.shape, dtype=bool)
    for axis in (0, 1):
        ahead = np.moveaxis(nucleus, axis, 0)
        differs = ahead[1:] != ahead[:-1]
        rim = np.moveaxis(outermost, axis, 0)
        rim[1:] |= differs
        rim[:-1] |= differs
    depth = ndimage.distance_transform_edt((nucleus > 0) & ~outermost).astype(np.float32)
    return np.where(nucleus > 0, depth + np.float32(0.5), np.float32(0))
