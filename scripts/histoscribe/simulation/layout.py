"""Where the domains lie, and what is in them: surface, ducts, nests, vessels, fat, fibres."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .cell_types import Domain, Zone
from .fields import fractal_noise, smooth_noise


@dataclass
class Ring:
    """A closed outline in polar form around `centre_um` (x, y): a duct or a vessel."""

    centre_um: tuple[float, float]
    radius_um: float
    wall_um: float
    aspect: float
    angle: float
    harmonics: list[tuple[float, float]]  # amplitude and phase of the 2nd to 4th harmonic
    is_duct: bool

    def outline_um(self, theta: np.ndarray) -> np.ndarray:
        """Outer radius in direction `theta`, in um."""
        wobble = sum(
            a * np.cos((k + 2) * theta + phase) for k, (a, phase) in enumerate(self.harmonics)
        )
        flat = (1 - 1 / self.aspect**2) * np.cos(theta - self.angle) ** 2
        return self.radius_um / np.sqrt(1 - flat) * (1 + wobble)


@dataclass
class Layout:
    """The plan of a section; maps are (rows, columns) at image resolution.

    Attributes:
        domain, zone: uint8 maps of `Domain` and `Zone`.
        axis: direction of the local structure in radians (x right, y down).
        fibre_um, muscle_um: stream functions of collagen and muscle; fibres follow their contour
            lines.
        surface_um: depth below the tissue surface.
        maturity: 0-1, height in the layered epithelium or depth in a tumour nest; 0 elsewhere.
        membrane_um: distance to the nearest fat-cell membrane (adipose only, elsewhere large).
        rings: ducts and vessels.
    """

    um_per_px: float
    domain: np.ndarray
    zone: np.ndarray
    axis: np.ndarray
    fibre_um: np.ndarray
    muscle_um: np.ndarray
    surface_um: np.ndarray
    maturity: np.ndarray
    membrane_um: np.ndarray
    rings: list[Ring]


def make_layout(rng: np.random.Generator, shape: tuple[int, int], um_per_px: float) -> Layout:
    """Draw the plan of one section; from about 400 um on, all domains are in every section."""
    rows, columns = shape
    y = np.arange(rows, dtype=np.float32)[:, None] * np.float32(um_per_px)
    x = np.arange(columns, dtype=np.float32)[None, :] * np.float32(um_per_px)
    width, height = columns * um_per_px, rows * um_per_px
    scale = min(max(min(width, height) / 800, 0.35), 1.0)
    px = 1 / um_per_px

    # The surface may face any of the four sides.
    side, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    depth, along = {0: (y, x), 1: (height - y, x), 2: (x, y), 3: (width - x, y)}[side]
    depth_extent, along_extent = (height, width) if side < 2 else (width, height)
    if mirrored:
        along = along_extent - along

    edge = depth_extent * 0.05 + 0.018 * depth_extent * smooth_noise(rng, shape, 220 * scale * px)
    surface = depth - np.maximum(edge + 2.0 * fractal_noise(rng, shape, 26 * px), 6 * scale)
    thickness = scale * (
        92 + 26 * smooth_noise(rng, shape, 85 * scale * px) + 13 * smooth_noise(rng, shape, 36 * px)
    )
    thickness = np.maximum(thickness, 36)
    basement = thickness - surface  # positive inside the layered epithelium
    keratin = surface < scale * (13 + 5 * smooth_noise(rng, shape, 60 * px))

    top = depth_extent * 0.05 + 95 * scale
    domain, border = _interior_domains(
        rng, shape, px, scale, depth - top, along, depth_extent - top, along_extent
    )
    domain[basement > -18 * scale] = Domain.STROMA
    zone = np.full(shape, Zone.COLLAGEN, dtype=np.uint8)

    zone[domain == Domain.MUSCLE] = Zone.MUSCLE
    lymphoid = domain == Domain.LYMPHOID
    zone[lymphoid] = Zone.T_ZONE
    if lymphoid.any():
        core = border + 6 * scale * smooth_noise(rng, shape, 30 * px)
        mantle, centre = np.percentile(core[lymphoid], (42, 66))
        zone[lymphoid & (core > mantle)] = Zone.MANTLE
        zone[lymphoid & (core > centre)] = Zone.FOLLICLE
    nests = (domain == Domain.TUMOUR) & (border > 4)
    nests &= fractal_noise(rng, shape, 46 * px, 3, 0.35) > -0.40
    zone[nests] = Zone.NEST

    membrane = _fat_cells(rng, um_per_px, domain, zone, basement < -12 * scale)

    in_epithelium = (basement > 0) & (surface > 0)
    domain[in_epithelium] = Domain.SURFACE_EPITHELIUM
    zone[in_epithelium] = np.where(basement[in_epithelium] < 9.5, Zone.BASAL, Zone.SUPRABASAL)
    zone[in_epithelium & keratin] = Zone.KERATIN
    glass = surface <= 0
    domain[glass], zone[glass] = Domain.GLASS, Zone.GLASS

    fibre, muscle = _stream_functions(rng, shape, x, y, px)
    axis = _contour_direction(fibre)
    in_muscle = domain == Domain.MUSCLE
    axis[in_muscle] = _contour_direction(muscle)[in_muscle]
    layered = np.where(surface < 0.5 * thickness, surface, -basement)
    axis[in_epithelium] = _contour_direction(ndimage.gaussian_filter(layered, 6 * px))[
        in_epithelium
    ]
    in_fat = domain == Domain.ADIPOSE
    axis[in_fat] = _contour_direction(ndimage.gaussian_filter(membrane, 1.5 * px))[in_fat]

    maturity = np.zeros(shape, dtype=np.float32)
    maturity[in_epithelium] = np.clip(basement / thickness, 0, 1)[in_epithelium]
    if nests.any():
        deep = ndimage.distance_transform_edt(nests[::3, ::3]).astype(np.float32) * (3 * um_per_px)
        deep = deep.repeat(3, 0)[:rows].repeat(3, 1)[:, :columns]
        maturity[nests] = np.clip(deep[nests] / 35, 0, 1)

    rings = _draw_rings(rng, domain, zone, border, um_per_px, scale)
    for ring in rings:
        _carve_ring(ring, domain, zone, axis, fibre, um_per_px)
    return Layout(um_per_px, domain, zone, axis, fibre, muscle, surface, maturity, membrane, rings)


def _interior_domains(
    rng: np.random.Generator, shape: tuple[int, int], px: float, scale: float,
    depth: np.ndarray, along: np.ndarray, depth_extent: float, along_extent: float,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Warped Voronoi patches parted by stroma; also the distance to the patch border in um."""
    kinds = rng.permutation(
        [
            Domain.GLAND,
            Domain.TUMOUR,
            Domain.LYMPHOID,
            Domain.MUSCLE,
            Domain.ADIPOSE,
            rng.choice([Domain.GLAND, Domain.TUMOUR]),
        ]
    )
    anchors = np.array([(u, v) for v in (0.25, 0.76) for u in (1 / 6, 3 / 6, 5 / 6)]) + rng.uniform(
        -0.05, 0.05, (6, 2)
    )
    warp = 34 * scale
    u = (
        along
        + warp * smooth_noise(rng, shape, 130 * scale * px)
        + 5 * scale * smooth_noise(rng, shape, 30 * scale * px)
    )
    v = (
        depth
        + warp * smooth_noise(rng, shape, 130 * scale * px)
        + 5 * scale * smooth_noise(rng, shape, 30 * scale * px)
    )
    # Lymphoid and fat patches are smaller, as aggregates are.
    shrink = {Domain.LYMPHOID: 30.0, Domain.ADIPOSE: 22.0}
    best = np.full(shape, np.inf, dtype=np.float32)
    second = best.copy()
    domain = np.zeros(shape, dtype=np.uint8)
    for kind, (a, b) in zip(kinds, anchors.tolist(), strict=True):
        distance = np.sqrt((u - a * along_extent) ** 2 + (v - b * depth_extent) ** 2)
        distance += shrink.get(Domain(kind), 0.0) * scale
        closer = distance < best
        second = np.where(closer, best, np.minimum(second, distance))
        np.minimum(best, distance, out=best)
        domain[closer] = kind
    border = (second - best) / 2 - scale * (18 + 8 * fractal_noise(rng, shape, 60 * px, 3, 0.6))
    domain[border < 0] = Domain.STROMA
    return domain, border


def _fat_cells(
    rng: np.random.Generator,
    um_per_px: float,
    domain: np.ndarray,
    zone: np.ndarray,
    allowed: np.ndarray,
) -> np.ndarray:
    """Tessellate the adipose patch into whole fat cells; returns the distance to a membrane in um.

    Cells whose centre lies in the patch keep their whole outline where `allowed`, so that the patch
    has a scalloped edge.
    """
    shape, patch = domain.shape, domain == Domain.ADIPOSE
    membrane = np.full(shape, 50.0, dtype=np.float32)
    if not patch.any():
        return membrane
    pitch = 46.0
    extent = np.array(shape) * um_per_px
    grid = np.stack(
        np.meshgrid(*(np.arange(-pitch, e + pitch, pitch) for e in extent), indexing="ij"), -1
    )
    grid[:, 1::2, 0] += pitch / 2
    centres = grid.reshape(-1, 2) + rng.normal(0, 7.5, (grid.size // 2, 2))
    pixel = np.clip((centres / um_per_px).astype(int), 0, np.array(shape) - 1)
    is_fat = patch[pixel[:, 0], pixel[:, 1]]
    reach = round(26 / um_per_px)
    low = np.maximum(
        np.array([np.flatnonzero(patch.any(1))[0], np.flatnonzero(patch.any(0))[0]]) - reach, 0
    )
    high = np.array([np.flatnonzero(patch.any(1))[-1], np.flatnonzero(patch.any(0))[-1]]) + reach
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    open_ground = (patch | ((domain == Domain.STROMA) & allowed))[window]
    where = np.argwhere(open_ground) + low
    wobble = [4.0 * smooth_noise(rng, shape, 30 / um_per_px)[window][open_ground] for _ in range(2)]
    distance, nearest = cKDTree(centres).query(where * um_per_px + np.stack(wobble, -1), k=2)
    mine = is_fat[nearest[:, 0]]
    rows, columns = where[mine].T
    membrane[rows, columns] = ((distance[:, 1] - distance[:, 0]) / 2)[mine]
    domain[patch] = Domain.STROMA
    domain[rows, columns] = Domain.ADIPOSE
    zone[rows, columns] = np.where(membrane[rows, columns] < 2.0, Zone.SEPTUM, Zone.FAT)
    return membrane


def _stream_functions(
    rng: np.random.Generator, shape: tuple[int, int], x: np.ndarray, y: np.ndarray, px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Stream functions in um of wavy collagen and of straighter muscle."""
    angles = rng.uniform(0, np.pi, 2).tolist()
    fibre = math.cos(angles[0]) * x + math.sin(angles[0]) * y
    fibre += 34 * smooth_noise(rng, shape, 130 * px) + 5.5 * smooth_noise(rng, shape, 32 * px)
    fibre += 1.2 * smooth_noise(rng, shape, 12 * px)
    muscle = math.cos(angles[1]) * x + math.sin(angles[1]) * y
    muscle += 18 * smooth_noise(rng, shape, 150 * px) + 2.0 * smooth_noise(rng, shape, 36 * px)
    return fibre, muscle


def _contour_direction(values: np.ndarray) -> np.ndarray:
    """Direction (radians) along the contour lines of a map."""
    down, right = np.gradient(values)
    return np.arctan2(right, -down).astype(np.float32)


def _draw_rings(
    rng: np.random.Generator,
    domain: np.ndarray,
    zone: np.ndarray,
    border: np.ndarray,
    um_per_px: float,
    scale: float,
) -> list[Ring]:
    """Choose ducts in gland and vessels wherever there is collagen or muscle."""
    rings: list[Ring] = []
    taken: list[tuple[float, float, float]] = []

    def try_ring(
        is_duct: bool, radius: float, wall: float, aspect: float, spot: np.ndarray
    ) -> None:
        centre = (float(spot[1] * um_per_px), float(spot[0] * um_per_px))
        reach = radius * np.sqrt(aspect) * 1.06
        if any(np.hypot(centre[0] - a, centre[1] - b) < reach + r + 5 for a, b, r in taken):
            return
        harmonics = np.stack(
            [rng.normal(0, [0.07, 0.045, 0.025]), rng.uniform(0, 2 * np.pi, 3)], -1
        )
        rings.append(
            Ring(
                centre,
                radius,
                wall,
                aspect,
                float(rng.uniform(0, np.pi)),
                harmonics.tolist(),
                is_duct,
            )
        )
        taken.append((*centre, reach))

    gland = np.argwhere((domain == Domain.GLAND) & (border > 9 * scale))
    n_tries = int(len(gland) * um_per_px**2 / 260)
    for spot in gland[rng.integers(len(gland), size=n_tries)] if n_tries else ():
        radius = float(np.clip(rng.lognormal(3.35, 0.26), 19, 52))
        try_ring(True, radius, float(rng.uniform(14.5, 18)), float(rng.uniform(1.0, 1.5)), spot)
    soft = np.isin(domain, (Domain.STROMA, Domain.TUMOUR, Domain.MUSCLE)) & np.isin(
        zone, (Zone.COLLAGEN, Zone.MUSCLE)
    )
    vessels = np.argwhere(soft)
    n_tries = int(len(vessels) * um_per_px**2 / 9000)
    for spot in vessels[rng.integers(len(vessels), size=n_tries)] if n_tries else ():
        radius = float(np.clip(rng.lognormal(2.35, 0.35), 6, 24))
        try_ring(False, radius, 2.6 + 0.08 * radius, float(rng.uniform(1.0, 2.2)), spot)
    return rings


def _carve_ring(
    ring: Ring,
    domain: np.ndarray,
    zone: np.ndarray,
    axis: np.ndarray,
    fibre: np.ndarray,
    um_per_px: float,
) -> None:
    """Write one duct or vessel into the maps and wrap the collagen around it."""
    reach = ring.radius_um * ring.aspect * 1.3 + (60 if ring.is_duct else 28)
    low = [max(0, int((c - reach) / um_per_px)) for c in ring.centre_um]
    high = [
        min(n, int((c + reach) / um_per_px) + 1)
        for c, n in zip(ring.centre_um, zone.shape[::-1], strict=True)
    ]
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    dy = np.arange(low[1], high[1], dtype=np.float32)[:, None] * np.float32(um_per_px) - np.float32(
        ring.centre_um[1]
    )
    dx = np.arange(low[0], high[0], dtype=np.float32)[None, :] * np.float32(um_per_px) - np.float32(
        ring.centre_um[0]
    )
    theta = np.arctan2(dy, dx)
    outside = np.hypot(dx, dy) - ring.outline_um(theta)  # um, negative inside the outline
    tissue = domain[window] != Domain.GLASS
    soft = zone[window] == Zone.COLLAGEN
    wall = (outside < 0) & (outside >= -ring.wall_um) & tissue
    lumen = (outside < -ring.wall_um) & tissue
    zone[window][wall] = Zone.DUCT_WALL if ring.is_duct else Zone.VESSEL_WALL
    zone[window][lumen] = Zone.LUMEN if ring.is_duct else Zone.VESSEL_LUMEN
    if ring.is_duct:
        domain[window][wall | lumen] = Domain.GLAND
    around = soft & (outside > 0)
    width = 26.0 if ring.is_duct else 12.0
    fibre[window][around] += 1.8 * outside[around] * np.exp(-((outside[around] / width) ** 2))
    near = (outside < (14 if ring.is_duct else 6)) & tissue & (soft | wall)
    axis[window][near] = (theta + np.pi / 2)[near]
