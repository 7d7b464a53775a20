"""Do the image and the molecules belong together? Fine structure of one is sought in the other.

Nuclei hold more molecules than what is between them, and lumens hold none, so where image and
molecules are in register their fine structure correlates. Cross-correlation over all shifts gives
the shift at which it does so best, and the other shifts say how high chance alone reaches. First
each region is looked at near its stated place. Where regions find nothing, the whole section is
tried in the eight orientations at any shift, and then at other scales.
"""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.density import (
    SQUARE_UM,
    Box,
    DensityMap,
    Molecules,
    NuclearDensity,
    NuclearDetail,
    crop,
    umi_density,
)
from histoscribe.registration import NO_PEAK, Peak, best_shift
from histoscribe.tables import read_table
from histoscribe.verdicts import (
    ALIGNED,
    NO_STAIN,
    NOT_CHECKED,
    REMEDY,
    SCALED,
    SHIFTED,
    TURNED,
    UNRELATED,
)

LOG = logging.getLogger(__name__)

# What has to be done to the measured positions: swap the axes, then mirror in x, in y.
ORIENTATIONS = {
    "mirrored in x": (False, True, False),
    "mirrored in y": (False, False, True),
    "rotated by 180": (False, True, True),
    "swapped in x and y": (True, False, False),
    "rotated by 90": (True, True, False),
    "rotated by 270": (True, False, True),
    "swapped and rotated by 180": (True, True, True),
}
IDENTITY = (False, False, False)

WHOLE_PX = 1500  # the longest edge of the maps of a whole section
MAX_REGIONS_PER_EDGE = 12
CLEARER = 1.3  # the right orientation must be this much more significant than any other
SCALES = np.geomspace(0.75, 1 / 0.75, 42)
SCALE_PEAK = 0.06  # scales this near (log) to the best one share in its peak
SCALE_REGIONS = 4
MIN_FITTED = 6


@dataclass(frozen=True)
class AlignmentSettings:
    """When an image counts as out of register.

    max_shift_um: a larger shift is a warning (never less than two pixels of the maps).
    search_um: how far from its stated place a region is sought.
    region_um: edge of a region (never less than `region_px` pixels of the maps).
    pixel_um: pixel of the maps, or the bin's edge where that is more.
    broad_um: what is broader than this is taken out (never less than four pixels).
    min_significance: peak over the root mean square of all shifts; chance reaches about 5.5.
    min_nuclei_per_mm2: outlines sparser than this that fit nowhere say nothing.
    min_power: a check that could only see a higher correlation than this is not made.
    max_unit_um: larger units cannot show nuclei, nothing is checked.
    min_sharpness, min_contrast_od: less than either, and the image shows no stained nuclei.
    """

    max_shift_um: float = 8.0
    search_um: float = 100.0
    region_um: float = 250.0
    region_px: int = 120
    pixel_um: float = 2.0
    broad_um: float = 20.0
    min_significance: float = 8.0
    min_region_significance: float = 6.5
    min_power: float = 0.35
    min_nuclei_per_mm2: float = 300.0
    max_unit_um: float = 32.0
    min_sharpness: float = 0.75
    min_contrast_od: float = 0.015


@dataclass(frozen=True)
class AlignmentReport:
    """`verdict` and the words that explain it; `shift_um` (x, y) moves molecules onto the image.

    `regions` has one row a region: region, x_um, y_um, n_units, dx_um, dy_um, shift_um,
    correlation_at_zero, correlation, significance.
    """

    verdict: str
    detail: str
    shift_um: tuple[float, float]
    correlation: float
    significance: float
    regions: pd.DataFrame

    def is_fine(self) -> bool:
        return self.verdict in (ALIGNED, NOT_CHECKED)


def check_alignment(
    image: NuclearDensity, molecules: Molecules, settings: AlignmentSettings
) -> AlignmentReport:
    """Compare where the image shows nuclei with where the molecules are."""
    unit_um = molecules.unit_um
    if unit_um is not None and unit_um > settings.max_unit_um:
        reason = f"units of {unit_um:g} um are too coarse to show nuclei"
        return AlignmentReport(NOT_CHECKED, reason, (0.0, 0.0), np.nan, np.nan, _no_regions())
    check = _Check(image, molecules, settings)
    regions = check.regions()
    return _of_regions(regions, check.limit_um, settings) or check.whole(regions)


class _Check:
    """One section's maps, read as they are needed."""

    def __init__(
        self, image: NuclearDensity, molecules: Molecules, settings: AlignmentSettings
    ) -> None:
        self.image, self.molecules, self.settings = image, molecules, settings
        self.xy_um, self.size_um = np.asarray(molecules.xy_um), np.asarray(image.size_um)
        self.pixel_um = max(settings.pixel_um, molecules.unit_um or 0.0, image.finest_um)
        self.all_px = np.ceil(self.size_um / self.pixel_um).astype(int)
        self.limit_um = max(settings.max_shift_um, 2 * self.pixel_um)

    def umi_map(self, xy_um: np.ndarray, rows: np.ndarray | slice, pixel_um: float) -> DensityMap:
        """The molecules of some rows, at other positions than their own."""
        moved = Molecules(xy_um, self.molecules.umi[rows], self.molecules.unit_um)
        return umi_density(moved, pixel_um, self.broad_um(pixel_um))

    def broad_um(self, pixel_um: float) -> float:
        return max(self.settings.broad_um, 4 * pixel_um)

    def image_map(self, box: Box) -> DensityMap:
        """A box of the image, which is read only once where it is small."""
        if self.all_px.prod() > WHOLE_PX**2:
            return self.image.read(box, self.pixel_um, self.broad_um(self.pixel_um))
        return crop(self.small_image, box)

    @cached_property
    def small_image(self) -> DensityMap:
        whole = (0, 0, *self.all_px.tolist())
        return self.image.read(whole, self.pixel_um, self.broad_um(self.pixel_um))

    def tiles(self) -> Iterator[np.ndarray]:
        """Row numbers of the units of each region."""
        low, extent = self.xy_um.min(axis=0), np.ptp(self.xy_um, axis=0)
        edge = max(self.settings.region_um, self.settings.region_px * self.pixel_um)
        count = np.clip(np.round(extent / edge), 1, MAX_REGIONS_PER_EDGE).astype(int)
        step = np.maximum(extent / count, 1e-9)
        at = np.minimum(((self.xy_um - low) / step).astype(int), count - 1)
        tile = at[:, 1] * count[0] + at[:, 0]
        order = np.argsort(tile, kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(tile[order])) + 1)

    def near(self, rows: np.ndarray, scale: float = 1.0) -> Peak:
        """A region sought around its place, its positions scaled about the image's corner."""
        pixel_um, search_um = self.pixel_um, self.settings.search_um
        molecules = self.umi_map(self.xy_um[rows] * scale, rows, pixel_um)
        margin = int(np.ceil(search_um / pixel_um))
        height, width = molecules.mask.shape
        x, y = molecules.origin_px
        box = (x - margin, y - margin, width + 2 * margin, height + 2 * margin)
        return best_shift(self.image_map(box), molecules, search_um)

    def regions(self) -> pd.DataFrame:
        rows = []
        for number, tile in enumerate(self.tiles(), 1):
            x_um, y_um = self.xy_um[tile].mean(axis=0)
            rows.append(_row(str(number), x_um, y_um, len(tile), self.near(tile)))
        return pd.DataFrame(rows)

    def whole(self, regions: pd.DataFrame) -> AlignmentReport:
        """The whole section in all orientations, then at other scales."""
        pixel_um = max(self.pixel_um, self.size_um.max() / WHOLE_PX)
        width, height = np.ceil(self.size_um / pixel_um).astype(int).tolist()
        image = self.image.read((0, 0, width, height), pixel_um, self.broad_um(pixel_um))
        found = {}
        for name, orientation in {ALIGNED: IDENTITY, **ORIENTATIONS}.items():
            xy_um = orient(self.xy_um, self.size_um, *orientation)
            found[name] = best_shift(image, self.umi_map(xy_um, slice(None), pixel_um))
        ranked = sorted(found, key=lambda name: -found[name].significance)
        best, second = found[ranked[0]], found[ranked[1]]
        clear = best.significance > CLEARER * second.significance
        if clear and best.significance >= self.settings.min_significance:
            return self._oriented(ranked[0], best, second, regions)
        return self._scaled(regions) or self._nothing(best, found[ALIGNED], regions)

    def _oriented(
        self, name: str, best: Peak, second: Peak, regions: pd.DataFrame
    ) -> AlignmentReport:
        evidence = (
            f"correlation {best.correlation:.2f}, significance {best.significance:.0f}, "
            f"any other orientation {second.significance:.0f}"
        )
        if name == ALIGNED:
            moved = np.hypot(best.dx_um, best.dy_um)
            name = SHIFTED if moved > self.limit_um else ALIGNED
            detail = f"by {moved:.0f} um (x {best.dx_um:+.0f}, y {best.dy_um:+.0f}; {evidence})"
        else:
            detail = f"the molecules fit the image once their positions are {name} ({evidence})"
        return _report(name, detail, best, regions)

    def _scaled(self, regions: pd.DataFrame) -> AlignmentReport | None:
        tiles = sorted(self.tiles(), key=len, reverse=True)[:SCALE_REGIONS]
        mean = [np.mean([self.near(t, s).significance for t in tiles]) for s in SCALES]
        best = int(np.argmax(mean))
        far = np.abs(np.log(SCALES / SCALES[best])) > SCALE_PEAK
        others = np.asarray(mean)[far]
        if mean[best] < max(self.settings.min_region_significance, CLEARER * others.max()):
            return None
        detail = (
            f"the molecules fit the image when their positions are scaled by {SCALES[best]:.2f} "
            f"(significance {mean[best]:.0f}, other scales at most {others.max():.0f})"
        )
        return _report(SCALED, detail, self.near(tiles[0], SCALES[best]), regions)

    def _nothing(self, best: Peak, identity: Peak, regions: pd.DataFrame) -> AlignmentReport:
        if self.image.n_nuclei is not None:
            measured_mm2 = len(self.xy_um) * (self.molecules.unit_um or SQUARE_UM) ** 2 * 1e-6
            per_mm2 = self.image.n_nuclei / measured_mm2
            # Without noise no shift brought half of the molecules onto the outlines' surroundings.
            if per_mm2 < self.settings.min_nuclei_per_mm2 or not np.isfinite(best.noise):
                detail = (
                    f"outlines on too little of what was measured to say anything "
                    f"({per_mm2:.0f} per mm2)"
                )
                return _report(NOT_CHECKED, detail, identity, regions)
        visible = self.settings.min_significance * min(best.noise, identity.noise)
        if visible > self.settings.min_power and np.isfinite(visible):
            detail = f"only a correlation over {visible:.2f} would have shown: too little measured"
            return _report(NOT_CHECKED, detail, identity, regions)
        detail = (
            "nothing in the image fits the molecules in any orientation, shift or scale "
            f"(significance {best.significance:.0f}, {self.settings.min_significance:g} needed)"
        )
        return _report(UNRELATED, detail, identity, regions)


def without_nuclear_stain(
    report: AlignmentReport, detail: NuclearDetail, settings: AlignmentSettings
) -> AlignmentReport:
    """The same report, its verdict "no nuclear stain" where the image shows no stained nuclei."""
    if (
        detail.sharpness >= settings.min_sharpness
        and detail.contrast_od >= settings.min_contrast_od
    ):
        return report
    words = (
        f"no sharp haematoxylin in the image (sharpness {detail.sharpness:.2f}, at least "
        f"{settings.min_sharpness:g} expected; contrast {detail.contrast_od:.3f} OD, at least "
        f"{settings.min_contrast_od:g}): blurred, or an eosin-only CytAssist image; alignment: "
        f"{report.verdict}, {report.detail}"
    )
    return replace(report, verdict=NO_STAIN, detail=words)


def orient(
    xy_um: np.ndarray, size_um: np.ndarray, swap: bool, mirror_x: bool, mirror_y: bool
) -> np.ndarray:
    """Positions (n, 2) with axes swapped, then mirrored within the image's size (2,)."""
    xy_um = xy_um[:, ::-1] if swap else xy_um
    return np.where([mirror_x, mirror_y], size_um - xy_um, xy_um)


def _of_regions(
    regions: pd.DataFrame, limit_um: float, settings: AlignmentSettings
) -> AlignmentReport | None:
    """The verdict of regions that find their place; None where too few do."""
    able = settings.min_region_significance * regions["noise"] <= settings.min_power
    sure = regions[able & (regions["significance"] >= settings.min_region_significance)]
    if sure.empty or len(sure) < 0.5 * able.sum():
        return None
    middle = sure[["dx_um", "dy_um"]].median()
    typical = Peak(
        *middle, *sure[["correlation_at_zero", "correlation", "significance", "noise"]].median()
    )
    of_all = f"{len(sure)} of {len(regions)} regions"
    n_far = int((sure["shift_um"] > limit_um).sum())
    detail = (
        f"x {middle['dx_um']:+.1f}, y {middle['dy_um']:+.1f} um "
        f"(medians of {of_all}; at most {sure['shift_um'].max():.1f} um)"
    )
    growth, explained = _growth(sure)
    if n_far and explained > 0.8 and growth.min() * growth.max() > 0:
        return _report(SCALED, f"by {1 + growth.mean():.3f}, as {of_all} show", typical, regions)
    if np.hypot(*middle) > limit_um:
        return _report(SHIFTED, detail, typical, regions)
    if n_far > 0.25 * len(sure):
        detail = f"{n_far} regions by more than {limit_um:g} um; {detail}"
        return _report(SHIFTED, detail, typical, regions)
    return _report(ALIGNED, detail, typical, regions)


def _growth(sure: pd.DataFrame) -> tuple[np.ndarray, float]:
    """How much shifts grow per um, in x and y (2,), and the share of their variance it explains."""
    place = sure[["x_um", "y_um"]].to_numpy()
    shift = sure[["dx_um", "dy_um"]].to_numpy()
    if len(sure) < MIN_FITTED or (np.ptp(place, axis=0) == 0).any():
        return np.zeros(2), 0.0
    place, shift = place - place.mean(axis=0), shift - shift.mean(axis=0)
    growth = (place * shift).sum(axis=0) / (place**2).sum(axis=0)
    left = ((shift - growth * place) ** 2).sum()
    return growth, float(1 - left / max((shift**2).sum(), 1e-9))


def _row(region: str, x_um: float, y_um: float, n_units: int, peak: Peak) -> dict[str, object]:
    return {
        "region": region,
        "x_um": x_um,
        "y_um": y_um,
        "n_units": n_units,
        "dx_um": peak.dx_um,
        "dy_um": peak.dy_um,
        "shift_um": float(np.hypot(peak.dx_um, peak.dy_um)),
        "correlation_at_zero": peak.at_zero,
        "correlation": peak.correlation,
        "significance": peak.significance,
        "noise": peak.noise,
    }


def _no_regions() -> pd.DataFrame:
    return pd.DataFrame(columns=list(_row("", 0, 0, 0, NO_PEAK)))


def _report(verdict: str, detail: str, peak: Peak, regions: pd.DataFrame) -> AlignmentReport:
    shift_um = (peak.dx_um, peak.dy_um)
    return AlignmentReport(verdict, detail, shift_um, peak.correlation, peak.significance, regions)


def alignment_table(reports: dict[str, AlignmentReport]) -> pd.DataFrame:
    """Reports by what was compared ("image", "nuclei") as one table, the worse verdict first.

    What could not be checked comes after what is fine.

    The first row, region "all", says the verdict of the section.
    """
    order = sorted(
        reports,
        key=lambda s: (reports[s].is_fine(), reports[s].verdict == NOT_CHECKED),
    )
    rows = []
    for source in order:
        report = reports[source]
        whole = {
            "region": "all" if source == order[0] else f"all by {source}",
            "compared": source,
            "verdict": report.verdict,
            "n_units": report.regions["n_units"].sum(),
            "dx_um": report.shift_um[0],
            "dy_um": report.shift_um[1],
            "shift_um": float(np.hypot(*report.shift_um)),
            "correlation": report.correlation,
            "significance": report.significance,
            "detail": report.detail,
        }
        rows.append(pd.DataFrame([whole]))
    summary = pd.concat(rows)
    details = [reports[source].regions.assign(compared=source) for source in order]
    details = [frame for frame in details if len(frame)]
    table = pd.concat([summary, *details], ignore_index=True)
    columns = ["region", "compared", "verdict"]
    middle = [c for c in _no_regions() if c not in ("region", "noise")]
    return table.reindex(columns=[*columns, *middle, "detail"])


def verdict_of(path: Path) -> str:
    """The verdict of a section from its alignment.tsv."""
    return str(read_table(path).loc[0, "verdict"])


def warn_unless_fine(sample: str, report: AlignmentReport, compared: str) -> None:
    """Say loudly that image and molecules do not belong together, and what to look for."""
    if not report.is_fine():
        remedy = REMEDY.get(report.verdict, TURNED)
        bar = "=" * 88
        for line in itertools.chain(
            [bar, f"{sample}: {compared} and molecules: {report.verdict.upper()}"],
            [report.detail, f"{remedy} Nothing learnt from this section can be trusted.", bar],
        ):
            LOG.warning(line)
