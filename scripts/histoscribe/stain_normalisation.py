"""Stain normalisation: a section's colours carried over to those of the training sections.

What is known of a section's stain is measured once, over its tissue, and applied to every tile of
it: a tile's own statistics say what tissue it shows, not how it was stained. That is why no
library is used: the normalisers of torchstain, TIAToolbox and HistomicsTK measure the source anew
for every image they are given.

- `reinhard`: mean and standard deviation in CIELAB (Reinhard et al., IEEE CG&A 2001).
- `macenko`: stain vectors and the 99th percentile of their amounts (Macenko et al., ISBI 2009).
- `histogram`: the quantiles of each channel, as the authors of PRTS did.

Every method carries the section's glass to the glass of the reference, so no glass is tinted.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import geopandas as gpd
import numpy as np
import shapely
from PIL import Image, ImageFilter
from skimage.color import lab2rgb, rgb2lab

from histoscribe.errors import UserError, problem
from histoscribe.features.stain import (
    CLEAR_OD,
    DEFAULT_SCALE,
    MIN_TISSUE_PX,
    SCALE_PERCENTILE,
    TISSUE_OD,
    optical_density,
    sample_windows,
    stain_vectors,
    white_level,
    with_residual,
)
from histoscribe.image import Slide, open_slide

VERSION = 1
METHODS = ("none", "reinhard", "macenko", "histogram")
QUANTILES = np.linspace(0.0, 1.0, 101)
MAX_STRETCH = 3.0  # of a spread or an amount; beyond it, noise would be blown up
LATTICE = 65  # colours a side of the look-up cube
BRIGHTEST = 255.0


@dataclass(frozen=True)
class StainSettings:
    """How the stain is normalised.

    `method` is one of none, reinhard, macenko and histogram. A section is measured on `n_windows`
    windows of `window_px`, placed over its tissue from `seed`.
    """

    method: str = "none"
    n_windows: int = 256
    window_px: int = 64
    seed: int = 0


class _Stored:
    """To and from plain dictionaries that JSON keeps exactly."""

    def to_dict(self) -> dict:
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        content = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in content.items()}
        return {"version": VERSION, **content}

    @classmethod
    def from_dict(cls, content: dict, where: str = "stain") -> Self:
        """Read what `to_dict` gave. Raises UserError for another version or missing entries."""
        names = [each.name for each in fields(cls)]
        if content.get("version") != VERSION or not set(names) <= set(content):
            raise UserError(
                problem(
                    where,
                    f"version {content.get('version')} with {', '.join(sorted(content))}",
                    f"version {VERSION} with {', '.join(names)}",
                    "Delete it and run again.",
                )
            )
        values = {k: np.array(v) if isinstance(v := content[k], list) else v for k in names}
        return cls(**values)


@dataclass(frozen=True)
class SectionStain(_Stored):
    """The stain of one section, over its tissue.

    `white` (3,) is the level of clear glass; `lab_mean` and `lab_sd` (3,) are in CIELAB;
    `vectors` (2, 3) are the unit OD vectors of haematoxylin and eosin and `scale` (2,) the 99th
    percentile of their amounts; `histogram` (3, 256) holds each channel's counts of levels over
    `n_px` pixels.
    """

    n_px: int
    white: np.ndarray
    lab_mean: np.ndarray
    lab_sd: np.ndarray
    vectors: np.ndarray
    scale: np.ndarray
    histogram: np.ndarray


@dataclass(frozen=True)
class StainReference(_Stored):
    """What sections are normalised to: the mean of the training sections, each of equal weight.

    As `SectionStain`; `levels` (3, 101) are the channels' quantiles. `method` is the one that
    predictions with a model trained on this reference must use.
    """

    method: str
    n_sections: int
    white: np.ndarray
    lab_mean: np.ndarray
    lab_sd: np.ndarray
    vectors: np.ndarray
    scale: np.ndarray
    levels: np.ndarray


def measure_stain(
    slide: Slide, um_per_px: float, tissue: gpd.GeoDataFrame, settings: StainSettings | None = None
) -> SectionStain:
    """Stain of a section from small windows spread over its `tissue` (polygons in um).

    Where the tissue does not show two stains, the textbook's vectors stand in (Ruifrok & Johnston
    2001). Raises UserError where the windows hold fewer than 500 stained pixels.
    """
    settings = settings or StainSettings()
    white = white_level(sample_windows(slide, settings.seed).reshape(-1, 3))
    rgb = _tissue_pixels(slide, um_per_px, tissue, settings)  # (n_px, 3)
    density = optical_density(rgb, white)
    stained = density.mean(axis=1) > CLEAR_OD
    rgb, density = rgb[stained], density[stained]
    if len(rgb) < MIN_TISSUE_PX:
        raise UserError(
            problem(
                str(slide.path),
                f"{len(rgb)} stained pixels in the tissue",
                f"at least {MIN_TISSUE_PX}",
                "Check that the image is the H&E and that the tissue was found; "
                "or set stain.method to none.",
            )
        )
    dense = density[np.linalg.norm(density, axis=1) > TISSUE_OD]
    vectors = stain_vectors(dense)
    amounts = (dense if len(dense) else density) @ np.linalg.inv(with_residual(vectors))[:, :2]
    lab = rgb2lab(rgb.astype(np.float32) / BRIGHTEST)
    return SectionStain(
        n_px=len(rgb),
        white=white,
        lab_mean=lab.mean(axis=0, dtype=np.float64),
        lab_sd=lab.std(axis=0, dtype=np.float64),
        vectors=vectors,
        scale=np.maximum(np.percentile(amounts, SCALE_PERCENTILE, axis=0), 0.05 * DEFAULT_SCALE),
        histogram=np.stack([np.bincount(channel, minlength=256) for channel in rgb.T]),
    )


def read_section_stain(path: Path) -> SectionStain:
    """Read a section's stain.json. Raises UserError where it is none."""
    return SectionStain.from_dict(_read_json(path), str(path))


def read_reference(path: Path) -> StainReference:
    """Read a run's stain reference. Raises UserError where it is none."""
    return StainReference.from_dict(_read_json(path), str(path))


def fit_reference(sections: Sequence[SectionStain], method: str) -> StainReference:
    """The mean stain of the training sections, each of equal weight.

    Raises UserError for an unknown method and where there is no section.
    """
    if method not in METHODS:
        raise UserError(
            problem("stain.method", method, "one of " + ", ".join(METHODS), "Correct it.")
        )
    if not sections:
        raise UserError(
            problem("stain", "no training section", "at least one", "Add one, or set method none.")
        )

    def mean(name: str) -> np.ndarray:
        return np.mean([getattr(section, name) for section in sections], axis=0)

    vectors = mean("vectors")
    return StainReference(
        method=method,
        n_sections=len(sections),
        white=mean("white"),
        lab_mean=mean("lab_mean"),
        lab_sd=mean("lab_sd"),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        scale=mean("scale"),
        # Quantiles are averaged, not histograms: those of two stains would give two peaks.
        levels=np.mean([_quantile_levels(section.histogram) for section in sections], axis=0),
    )


@dataclass(frozen=True)
class StainNormaliser:
    """Carries pixels of one section over to the reference, by the reference's method."""

    source: SectionStain
    reference: StainReference

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """Normalised pixels, uint8 of the shape of `rgb` (..., 3); clipped to 0-255."""
        match self.reference.method:
            case "none":
                return rgb
            case "histogram":
                tables = self._level_tables
                return np.stack([tables[i][rgb[..., i]] for i in range(3)], axis=-1)
            case "macenko":
                return _to_uint8(self._carry_stains(rgb))
            case "reinhard":
                image = Image.fromarray(np.ascontiguousarray(rgb).reshape(1, -1, 3))
                return np.asarray(image.filter(self._colour_cube)).reshape(rgb.shape)
        raise ValueError(self.reference.method)

    @cached_property
    def _density_tables(self) -> np.ndarray:
        """OD of the 256 levels by channel (256, 3); negative above the white of the section."""
        levels = np.arange(256)[:, None]
        return np.log((self.source.white + 1.0) / (levels + 1.0)).astype(np.float32)

    @cached_property
    def _stain_matrix(self) -> np.ndarray:
        """OD of the section to OD of the reference, (3, 3); the residual is kept as it is."""
        source = with_residual(self.source.vectors)
        reference = with_residual(self.reference.vectors)
        ratio = _ratio(self.reference.scale, self.source.scale)
        carried = np.linalg.inv(source) @ np.diag([*ratio, 1.0]) @ reference
        return carried.astype(np.float32)

    @cached_property
    def _level_tables(self) -> np.ndarray:
        """Levels of the reference by channel and level of the section, (3, 256) uint8."""
        found = _quantile_levels(self.source.histogram)
        tables = []
        for channel in range(3):
            white, white_after = self.source.white[channel], self.reference.white[channel]
            inner = (found[channel] > 0) & (found[channel] < white - 1)
            # Tissue is never brighter than glass.
            carried = np.minimum(self.reference.levels[channel][inner], white_after)
            before = [0.0, *found[channel][inner], white, max(white, BRIGHTEST)]
            after = [0.0, *carried, white_after, max(white_after, BRIGHTEST)]
            tables.append(np.interp(np.arange(256), before, after))
        return _to_uint8(np.array(tables))

    @cached_property
    def _colour_cube(self) -> ImageFilter.Color3DLUT:
        """The change in CIELAB on a lattice of colours, since conversion is slow."""
        steps = np.rint(np.linspace(0, BRIGHTEST, LATTICE)).astype(np.uint8)
        blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # red runs fastest
        colours = self._carry_lab(np.stack([red, green, blue], axis=-1).reshape(-1, 3))
        return ImageFilter.Color3DLUT(LATTICE, (colours / BRIGHTEST).ravel())

    def _carry_stains(self, rgb: np.ndarray) -> np.ndarray:
        density = self._density(rgb) @ self._stain_matrix
        return (self.reference.white.astype(np.float32) + 1.0) * np.exp(-density) - 1.0

    def _carry_lab(self, rgb: np.ndarray) -> np.ndarray:
        source, reference = self.source, self.reference
        slope = _ratio(reference.lab_sd, source.lab_sd)
        offset = reference.lab_mean - slope * source.lab_mean
        lab = rgb2lab(rgb.astype(np.float32) / np.float32(BRIGHTEST))
        lab = lab * slope.astype(np.float32) + offset.astype(np.float32)
        np.clip(lab[..., 0], 0, 100, out=lab[..., 0])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Conversion from CIE-LAB")  # clipped, as documented
            stained = lab2rgb(lab).astype(np.float32) * np.float32(BRIGHTEST)
        # Clear pixels take the white of the reference instead of the shift of the tissue.
        share = np.clip(self._density(rgb).mean(axis=-1, keepdims=True) / CLEAR_OD, 0, 1)
        clear = rgb * (reference.white / source.white).astype(np.float32)
        return share * stained + (1 - share) * clear

    def _density(self, rgb: np.ndarray) -> np.ndarray:
        tables = self._density_tables
        return np.stack([tables[rgb[..., i], i] for i in range(3)], axis=-1)


def open_normalised(
    image: Path, stain: Path | None, reference: Path | None
) -> tuple[Slide, StainReference | None]:
    """A section's image, in the colours of the reference where its files are given."""
    slide = open_slide(image)
    if stain is None or reference is None:
        return slide, None
    target = read_reference(reference)
    return normalised_slide(slide, StainNormaliser(read_section_stain(stain), target)), target


def normalised_slide(slide: Slide, normaliser: StainNormaliser) -> Slide:
    """The slide whose regions are read normalised; `slide` itself where the method is none."""
    if normaliser.reference.method == "none":
        return slide
    return replace(slide, pixels=_NormalisedPixels(slide.pixels, normaliser))


class _NormalisedPixels:
    """Array-like over the pixels of a slide, normalised as they are read."""

    def __init__(self, pixels: object, normaliser: StainNormaliser) -> None:
        self._pixels = pixels
        self._normaliser = normaliser
        self.shape = pixels.shape
        self.dtype = np.dtype(np.uint8)
        self.ndim = 3

    def __getitem__(self, region: object) -> np.ndarray:
        return self._normaliser.apply(np.asarray(self._pixels[region]))


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            problem(str(path), f"no readable JSON ({error})", "a stain", "Delete it and run again.")
        ) from error
    return content if isinstance(content, dict) else {}


def _tissue_pixels(
    slide: Slide, um_per_px: float, tissue: gpd.GeoDataFrame, settings: StainSettings
) -> np.ndarray:
    """Pixels (n_px, 3) of windows whose centres lie, spread evenly, in the tissue."""
    shape = shapely.union_all(np.asarray(tissue.geometry))
    if shape.is_empty:
        return np.empty((0, 3), dtype=np.uint8)
    shapely.prepare(shape)
    rng = np.random.default_rng(settings.seed)
    left, top, right, bottom = shape.bounds
    step = np.sqrt(shape.area / settings.n_windows)
    x, y = np.meshgrid(np.arange(left, right, step), np.arange(top, bottom, step))
    x, y = (axis.ravel() + step * rng.random(axis.size) for axis in (x, y))
    inside = shapely.contains_xy(shape, x, y)
    if not inside.any():  # a sliver between the points of the grid
        inner = shapely.point_on_surface(shape)
        x, y, inside = np.array([inner.x]), np.array([inner.y]), np.array([True])
    size = min(settings.window_px, slide.width_px, slide.height_px)
    corners = np.column_stack([x, y])[inside] / um_per_px - size / 2
    corners = np.clip(corners, 0, [slide.width_px - size, slide.height_px - size]).astype(int)
    windows = [slide.read_region(x_px, y_px, size, size) for x_px, y_px in corners.tolist()]
    return np.concatenate([window.reshape(-1, 3) for window in windows])


def _quantile_levels(histogram: np.ndarray) -> np.ndarray:
    """Levels (3, 101) at `QUANTILES` of histograms (3, 256), interpolated within a level."""
    edges = np.arange(257) - 0.5
    levels = []
    for counts in histogram:
        total = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
        n_edges = np.flatnonzero(counts)[-1] + 2  # up to the highest level that occurs
        total, used = total[:n_edges], edges[:n_edges]
        levels.append(np.interp(QUANTILES * total[-1], total, used))
    return np.clip(levels, 0.0, BRIGHTEST)


def _ratio(reference: np.ndarray, source: np.ndarray) -> np.ndarray:
    """reference / source, at most threefold either way; 1 where the source does not vary."""
    vary = source > 1e-6
    ratio = np.divide(reference, source, out=np.ones_like(reference, dtype=float), where=vary)
    return np.clip(ratio, 1 / MAX_STRETCH, MAX_STRETCH)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
