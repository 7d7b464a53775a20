"""Which row of a table that a user gives speaks of which unit: by names, or by positions."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from histoscribe.errors import UserError, problem

UNIT_NAMES = ("unit", "barcode", "cell_id", "nucleus", "cell", "spot", "bin", "id")
POSITIONS = (("x_um", "y_um"), ("pixel_x", "pixel_y"))
PLACES_EXPECTED = (
    f"one of units' names ({', '.join(UNIT_NAMES)}) or x_um and y_um, or pixel_x and pixel_y"
)
MAX_DISTANCE_UM = 5.0  # of nuclei and cells, whose own positions may differ a little
LIKELY_SHARE = 0.01  # fewer units found than that, and the file is another section's


@dataclass(frozen=True)
class PlaceColumns:
    """The columns that tell which units a table's rows speak of; None where it has none."""

    name: str | None
    position: tuple[str, str] | None
    in_px: bool = False

    def __bool__(self) -> bool:
        return self.name is not None or self.position is not None


@dataclass(frozen=True)
class UnitRows:
    """The row of a table for each unit.

    `row` (n_units,) is -1 where there is none, `how` says in words how rows were found, and `key`
    (n_rows,) is the same number for rows that name the same unit or position.
    """

    row: np.ndarray
    how: str
    key: np.ndarray

    def take(self, values: pd.Series | pd.DataFrame, units: pd.Index) -> pd.Series | pd.DataFrame:
        """What the table's rows (n_rows,) say of each unit (n_units,); NaN where there is none."""
        table = values.set_axis(range(len(values)), axis=0)
        return table.reindex(self.row).set_axis(units, axis=0)


def read_rows(path: Path, what: str) -> pd.DataFrame:
    """A table (.tsv, .csv, .parquet), or `obs` of an .h5ad with the units' names as column `unit`.

    Text stays as it is written. Raises UserError, which says `what` was looked for, where it can't
    be read.
    """
    try:
        if path.suffix.lower() == ".h5ad":
            obs = ad.read_h5ad(path, backed="r").obs
            return obs.drop(columns="unit", errors="ignore").rename_axis("unit").reset_index()
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        # As text: units' names may be of digits, with zeros before them.
        return pd.read_csv(path, sep=_separator(path), dtype=str)
    except (OSError, ValueError, KeyError, EOFError, zlib.error) as error:
        raise UserError(
            problem(str(path), f"no readable {what} ({error})", "a table or .h5ad", "Correct it.")
        ) from error


def place_columns(table: pd.DataFrame) -> PlaceColumns:
    """The columns of units' names and positions, whatever the case of their letters."""
    lower = {str(column).lower(): column for column in table.columns}
    position = next((p for p in POSITIONS if set(p) <= set(lower)), None)
    return PlaceColumns(
        name=next((lower[name] for name in UNIT_NAMES if name in lower), None),
        position=None if position is None else (lower[position[0]], lower[position[1]]),
        in_px=position == POSITIONS[1],
    )


def rows_of_units(
    table: pd.DataFrame,
    is_known: np.ndarray,
    units: ad.AnnData,
    unit_um: float,
    um_per_px: float,
    where: str,
    what: str,
) -> UnitRows:
    """The row of `table` for each unit, by the units' names, else by positions.

    A unit takes the first row of its name, or that of the nearest position within half its width
    `unit_um`, or 5 um; pixels are of the full image, which is `um_per_px`. Positions count where
    names lead to hardly any unit with a row that `is_known` (n_rows,). Raises UserError where both
    do: less than 1 % of the units, with `what` the table holds.
    """
    places = place_columns(table)
    ways = []
    if places.name is not None:
        ways.append(rows_by_name(table[places.name], units.obs_names))
    if places.position is not None:
        xy = table[list(places.position)].apply(pd.to_numeric, errors="coerce")
        xy_um = xy.to_numpy(dtype=np.float64) * (um_per_px if places.in_px else 1.0)
        ways.append(_by_place(xy_um, units, max(unit_um / 2, MAX_DISTANCE_UM)))
    return likely_way(ways, is_known, units, where, what)


def likely_way(
    ways: list[UnitRows], is_known: np.ndarray, units: ad.AnnData, where: str, what: str
) -> UnitRows:
    """The first way that leads to 1 % of the units with a row that `is_known` (n_rows,).

    Raises UserError where none does.
    """
    # A last, unknown row is what -1 points at.
    has_word = np.append(is_known, False)
    n_found = [int(has_word[way.row].sum()) for way in ways]
    for way, n in zip(ways, n_found, strict=True):
        if n >= LIKELY_SHARE * units.n_obs:
            return way
    raise UserError(
        problem(
            where,
            f"{what} for {max(n_found)} of {units.n_obs} units, by "
            + " or ".join(way.how for way in ways),
            f"those of this section, whose units have names such as {units.obs_names[0]}",
            "Is it the file of another section, or of other units?",
        )
    )


def rows_by_name(names: pd.Series, wanted: pd.Series | pd.Index) -> UnitRows:
    """The first row of `names` (n_rows,) for the name that each unit has, `wanted` (n_units,)."""
    names = names.astype(str)
    first = pd.Series(np.arange(len(names)), index=names.to_numpy())
    first = first[~first.index.duplicated()]
    row = first.reindex(np.asarray(wanted), fill_value=-1).to_numpy(dtype=np.int64)
    how = f"names such as {names.iloc[0] if len(names) else 'none'}"
    return UnitRows(row, how, pd.factorize(names)[0])


def _by_place(xy_um: np.ndarray, units: ad.AnnData, reach_um: float) -> UnitRows:
    known = np.flatnonzero(np.isfinite(xy_um).all(axis=1))
    row = np.full(units.n_obs, -1, dtype=np.int64)
    if len(known):
        distance, nearest = cKDTree(xy_um[known]).query(
            np.asarray(units.obsm["spatial"]), distance_upper_bound=reach_um
        )
        near = np.isfinite(distance)
        row[near] = known[nearest[near]]
    key = pd.DataFrame(xy_um).groupby([0, 1], dropna=False).ngroup().to_numpy()
    return UnitRows(row, f"positions within {reach_um:g} um", key)


def _separator(path: Path) -> str:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        header = file.readline()
    if "\t" in header:
        return "\t"
    return ";" if header.count(";") > header.count(",") else ","
