"""What is known of the DNA of a section's units: clones, mutations and copies of segments.

From DNA that was profiled with the expression, unit by unit, or from regions that a pathologist
drew and that were sequenced in bulk.
"""

import logging
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import sparse

from histoscribe.annotation.labels import LABEL_NAMES, UNLABELLED
from histoscribe.annotation.matching import (
    LIKELY_SHARE,
    PLACES_EXPECTED,
    POSITIONS,
    UNIT_NAMES,
    UnitRows,
    likely_way,
    place_columns,
    read_rows,
    rows_by_name,
    rows_of_units,
)
from histoscribe.errors import UserError, problem
from histoscribe.polygons.given import ID_NAMES, as_text
from histoscribe.polygons.regions import GEOMETRY, is_geoparquet, read_regions
from histoscribe.storage import read_h5ad

Kind = Literal["clone", "mutation", "segment"]
SEGMENT = re.compile(r"(?:chr)?(\d{1,2}|[XYM]|MT):(\d+)-(\d+)|chr(\d{1,2}|[XYM])")
CLONE = re.compile(r"(?:cnv_|dna_)?(?:sub)?clones?(?:_id|_label|_name)?", re.IGNORECASE)
FLAGS = {
    **dict.fromkeys(("0", "0.0", "false", "no", "wt"), 0.0),
    **dict.fromkeys(("1", "1.0", "true", "yes", "mut"), 1.0),
}
REGION = "region"
# What stands beside the DNA in tables of units, our own outlines and QuPath's annotations.
NO_DNA = {
    *(*UNIT_NAMES, *ID_NAMES, *POSITIONS[0], *POSITIONS[1], "sample", "section", "donor"),
    *(name for name in LABEL_NAMES if name not in ("label", "labels")),
    *("area_um2", "probability", GEOMETRY),
    *("objecttype", "object_type", "name", "color", "islocked", "measurements", "metadata"),
}
QUPATH_CLASS = "classification"
KINDS_EXPECTED = (
    "copies (0 and more) under the name of a segment such as chr17:35000000-45000000 or chr17, "
    "a mutation as 0/1, true/false, yes/no or mut/wt, or clones as text or under the name clone"
)
MAX_IN_TWO_REGIONS = 0.01  # of the units in regions: borders that touch
GEOJSON_ENDINGS = (".geojson", ".json")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DnaFeatures:
    """Features of the DNA of a section's units.

    `table` (n_units, n_features) has the units' names as index; NaN is unknown. By `kinds`, a
    column is a clone (text), a mutation (0 or 1) or the copies of a segment (0 and more), which is
    named chr17:35000000-45000000 (bp, from 1, inclusive) or, as a whole chromosome, chr17.
    """

    table: pd.DataFrame
    kinds: dict[str, Kind]

    def of_kind(self, kind: Kind) -> pd.DataFrame:
        """The columns of one kind."""
        return self.table[[name for name, own in self.kinds.items() if own == kind]]

    @property
    def is_known(self) -> np.ndarray:
        """Whether anything is known of each unit, (n_units,)."""
        return self.table.notna().any(axis=1).to_numpy()

    @property
    def segments(self) -> pd.DataFrame:
        """chromosome, start and end (bp) by the name of each segment; NaN for whole chromosomes."""
        names = [name for name, kind in self.kinds.items() if kind == "segment"]
        parts = [name.partition(":") for name in names]
        ends = [range_bp.split("-") if range_bp else (np.nan, np.nan) for _, _, range_bp in parts]
        table = pd.DataFrame(ends, index=names, columns=["start", "end"], dtype=np.float64)
        table.insert(0, "chromosome", [chromosome for chromosome, _, _ in parts])
        return table


def read_dna(
    path: Path,
    units: ad.AnnData,
    unit_um: float,
    um_per_px: float,
    regions: pd.Series | None = None,
) -> DnaFeatures:
    """The DNA of each unit, from a file of one of four kinds.

    A table (.tsv, .csv, .parquet), a row a unit, found by names or positions as labels are
    (`read_labels`); an .h5ad, likewise, whose X holds segments and mutations, and whose obs clones
    and segments, known by their names; a table with a column `region` and no units, joined to
    `regions` (n_units,), the label of each unit; or polygons (GeoJSON in pixels of the full image,
    which is `um_per_px`, or GeoParquet in um), whose properties go to the units with their centre
    inside. Raises UserError for files without DNA, of another section, and those that say two
    things of one unit.
    """
    path = Path(path)
    is_geojson = path.name.lower().removesuffix(".gz").endswith(GEOJSON_ENDINGS)
    if is_geojson or is_geoparquet(path):
        dna = _of_polygons(path, is_geojson, units, um_per_px)
    else:
        table = read_rows(path, "DNA")
        is_anndata = path.suffix.lower() == ".h5ad"
        given = classify(_columns_of_h5ad(table, path) if is_anndata else table.items(), path)
        rows = _find_rows(table, given, units, unit_um, um_per_px, regions, path)
        merged = _rows_agreeing(given.table, rows, units, path)
        dna = DnaFeatures(rows.take(merged, units.obs_names), given.kinds)
    constant = [name for name in dna.table if dna.table[name].nunique() < 2]
    if constant:
        log.warning(
            "%s: the same of all units with a value, so that nothing can be compared: %s",
            path,
            ", ".join(constant[:10]),
        )
    return dna


def segment_name(name: str) -> str | None:
    """The name of a segment with its chr, as chr17:35000000-45000000 or chr17; else None."""
    match = SEGMENT.fullmatch(name)
    if match is None or (match[2] and int(match[2]) > int(match[3])):
        return None
    chromosome = "M" if match[1] == "MT" else match[1] or match[4]
    return f"chr{chromosome}" + (f":{int(match[2])}-{int(match[3])}" if match[2] else "")


def classify(columns: Iterator[tuple[Hashable, pd.Series]], where: Path) -> DnaFeatures:
    """Columns of a file as features, (n_rows,) each; those of names and places are left out.

    Raises UserError for columns that are none of the kinds, and where no feature is left.
    """
    table, kinds, seen = {}, {}, []
    for given, values in columns:
        seen.append(str(given))
        if str(given).lower() in NO_DNA:
            continue
        name, kind, read = _feature(str(given).strip(), values, where)
        if read.isna().all():
            log.warning("%s: nothing is known in the column %s", where, given)
            continue
        if name in table:
            remedy = "Rename or remove one of them."
            found = f"the feature {name} in two columns"
            raise UserError(problem(str(where), found, "each feature once", remedy))
        table[name], kinds[name] = read, kind
    if not table:
        raise UserError(
            problem(
                str(where),
                f"no DNA in the columns {', '.join(seen[:10])}",
                KINDS_EXPECTED,
                "Add or rename columns.",
            )
        )
    return DnaFeatures(pd.DataFrame(table), kinds)


def _feature(name: str, values: pd.Series, where: Path) -> tuple[str, Kind, pd.Series]:
    """The feature's name, its kind and its values, (n_rows,) floats or text; NaN where unknown."""
    is_text = not pd.api.types.is_numeric_dtype(values)
    if is_text:
        text = values.astype(object).where(values.notna(), "").astype(str).str.strip()
        text = text.mask(text.str.lower().isin(UNLABELLED))
        flags, numbers = text.str.lower().map(FLAGS), pd.to_numeric(text, errors="coerce")
        known = text.notna()
    else:
        numbers = values.astype(np.float64)
        flags, known = numbers.where(numbers.isin([0, 1])), numbers.notna()
    segment = segment_name(name)
    if segment is not None:
        is_wrong = known & ~((numbers >= 0) & np.isfinite(numbers))
        if is_wrong.any():
            raise UserError(_no_kind(where, name, values[is_wrong].iloc[0]))
        return segment, "segment", numbers
    is_clone = CLONE.fullmatch(name) is not None
    if not is_clone and (flags.notna() == known).all():
        return name, "mutation", flags.astype(np.float64)
    is_fraction = numbers.notna() & (numbers % 1 != 0)
    is_number = numbers.notna().sum() == known.sum() or is_fraction.any()
    if is_number and not is_clone:
        odd = is_fraction if is_fraction.any() else known & flags.isna()
        raise UserError(_no_kind(where, name, values[odd].iloc[0]))
    labels = text if is_text else pd.Series(as_text(values), index=values.index)
    return name, "clone", labels.astype(object).where(known, np.nan)


def _no_kind(where: Path, name: str, value: object) -> str:
    remedy = "Rename or remove the column; of allele fractions, make calls."
    return problem(f"{where}, column {name}", f"values such as {value}", KINDS_EXPECTED, remedy)


def _columns_of_h5ad(obs: pd.DataFrame, path: Path) -> Iterator[tuple[Hashable, pd.Series]]:
    """Columns of obs whose names tell their kind, since others may be anything, and all of X."""
    for name in obs:
        if CLONE.fullmatch(str(name)) or segment_name(str(name)):
            yield name, obs[name]
    file = read_h5ad(path, ())
    matrix = file.X.tocsc() if sparse.issparse(file.X) else file.X
    for at, name in enumerate(file.var_names if matrix is not None else ()):
        column = matrix[:, [at]]
        dense = column.toarray() if sparse.issparse(column) else np.asarray(column)
        yield name, pd.Series(dense[:, 0])


def _find_rows(
    table: pd.DataFrame,
    given: DnaFeatures,
    units: ad.AnnData,
    unit_um: float,
    um_per_px: float,
    regions: pd.Series | None,
    path: Path,
) -> UnitRows:
    """The row of each unit, by its name or position, else by the name of its region."""
    if place_columns(table):
        return rows_of_units(table, given.is_known, units, unit_um, um_per_px, str(path), "DNA")
    region = next((column for column in table if str(column).lower() == REGION), None)
    if region is None:
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(map(str, table.columns[:10]))}",
                f"{PLACES_EXPECTED}, or region",
                "Rename the columns.",
            )
        )
    own = _names_in_words(table[region])
    if regions is None:
        raise UserError(
            problem(
                str(path),
                f"DNA of regions such as {own}, and no regions of the section",
                "regions of units in the sheet's column labels",
                "Give labels, or a table of units or polygons with their DNA.",
            )
        )
    of_units = regions.reindex(units.obs_names)
    rows = rows_by_name(table[region].astype(str).str.strip(), of_units.astype(str).str.strip())
    rows.row[of_units.isna().to_numpy()] = -1
    if (rows.row < 0).all():
        raise UserError(
            problem(
                str(path),
                f"DNA of the regions {own}",
                f"regions of the section: {_names_in_words(of_units)}",
                "Name them alike.",
            )
        )
    unused = table[region][~np.isin(rows.key, rows.key[rows.row[rows.row >= 0]])]
    if len(unused):
        log.warning("%s: no unit lies in the regions %s", path, _names_in_words(unused))
    return likely_way([rows], given.is_known, units, str(path), "DNA")


def _names_in_words(names: pd.Series) -> str:
    unique = names.dropna().astype(str).unique()
    return ", ".join(unique[:10]) + (", ..." if len(unique) > 10 else "") or "none"


def _rows_agreeing(
    table: pd.DataFrame, rows: UnitRows, units: ad.AnnData, path: Path
) -> pd.DataFrame:
    """Each row filled by the others of the same unit. UserError where they differ."""
    if len(np.unique(rows.key)) == len(table):
        return table
    by_unit = table.groupby(rows.key)
    differs = by_unit.nunique() > 1  # (n_keys, n_features)
    found = rows.row >= 0
    key = pd.Series(rows.key[rows.row[found]], index=units.obs_names[found])
    doubtful = key[key.isin(differs.index[differs.any(axis=1)])]
    if len(doubtful):
        column = differs.loc[doubtful.iloc[0]].idxmax()
        values = table.loc[rows.key == doubtful.iloc[0], column].dropna().unique()
        raise UserError(
            problem(
                str(path),
                f"several rows that disagree for {len(doubtful)} units, such as "
                f"{' and '.join(map(str, values[:3]))} in the column {column} for "
                f"{doubtful.index[0]}",
                "one row a unit or region",
                "Is it a table of several sections? Remove the others' rows.",
            )
        )
    return by_unit.transform("first")


def _of_polygons(path: Path, is_geojson: bool, units: ad.AnnData, um_per_px: float) -> DnaFeatures:
    """The properties of the polygons that the units' centres lie in."""
    regions = read_regions(path, um_per_px)
    given = classify(_properties(regions), path)
    xy_um = np.asarray(units.obsm["spatial"], dtype=np.float64)
    region, unit = _inside(regions, xy_um)
    n_inside = len(np.unique(unit))
    # The same file read as if it were in um where it is in pixels, or the other way round.
    factor = 1 / um_per_px if is_geojson else um_per_px
    n_other = len(np.unique(_inside(regions, xy_um / factor)[1]))
    mistake = "um where pixels are expected" if is_geojson else "pixels where um are expected"
    if n_inside < LIKELY_SHARE * units.n_obs:
        looks_like = f"This looks like {mistake}." if n_other > 10 * n_inside else ""
        raise UserError(
            problem(
                str(path),
                f"{n_inside} of {units.n_obs} units in {len(regions)} polygons",
                "regions of this section, GeoJSON in pixels of the full image or GeoParquet in um",
                looks_like or "Is it the file of another section?",
            )
        )
    if n_other > 2 * n_inside:
        log.warning("%s: %d units in it: is it in %s?", path, n_inside, mistake)
    by_unit = given.table.iloc[region].groupby(unit)
    n_doubtful = int((by_unit.nunique() > 1).any(axis=1).sum())
    if n_doubtful >= MAX_IN_TWO_REGIONS * n_inside and n_doubtful:
        raise UserError(
            problem(
                str(path),
                f"{n_doubtful} of {n_inside} units in several polygons that disagree",
                f"less than {MAX_IN_TWO_REGIONS:.0%}, of borders that touch",
                "Correct the polygons, or the properties where they overlap.",
            )
        )
    if n_doubtful:
        log.warning("%s: %d units in two polygons take the first's DNA", path, n_doubtful)
    table = by_unit.first().reindex(range(units.n_obs)).set_axis(units.obs_names)
    return DnaFeatures(table, given.kinds)


def _properties(regions: gpd.GeoDataFrame) -> Iterator[tuple[Hashable, pd.Series]]:
    """Properties of regions; where QuPath's class is all there is, it names the clone."""
    names = [name for name in regions if str(name).lower() not in {*NO_DNA, QUPATH_CLASS}]
    flat = [n for n in names if not regions[n].map(lambda v: isinstance(v, dict | list)).any()]
    yield from ((name, pd.Series(regions[name])) for name in flat)
    if not flat and QUPATH_CLASS in regions:
        classes = regions[QUPATH_CLASS]
        yield "clone", classes.map(lambda c: c.get("name") if isinstance(c, dict) else c)


def _inside(regions: gpd.GeoDataFrame, xy_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a region and a unit (n_pairs,) in it, by unit and then in the regions' order."""
    # Points in the tree, so that polygons of many corners are prepared once.
    tree = shapely.STRtree(shapely.points(xy_um))
    region, unit = tree.query(np.asarray(regions.geometry), predicate="intersects")
    order = np.lexsort((region, unit))
    return region[order], unit[order]
