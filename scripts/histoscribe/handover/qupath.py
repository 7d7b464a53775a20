"""Units as QuPath objects: GeoJSON in full-resolution pixels of the slide that the user has.

QuPath puts the corner of the first pixel at (0, 0), as everything here does, so um over the slide's
um per pixel are its coordinates. Nuclei become detections, cells become cells, bins and spots
become tiles, which QuPath keeps apart from what was outlined.
"""

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from histoscribe.handover.section import PREDICTED, Section, best_genes
from histoscribe.storage import written_whole
from histoscribe.units import um_to_px

log = logging.getLogger(__name__)

OBJECTS = {"nucleus": "detection", "cell": "cell", "bin": "tile", "spot": "tile"}
IDS = {"nucleus": "nucleus_id", "cell": "cell_id"}  # by which polygons are read back
BATCH = 5000  # units whose text is held at once
MOST_OBJECTS = 2_000_000  # that QuPath can be expected to hold
PX_DECIMALS = 3
VALUE_DECIMALS = 4
NAMESPACE = uuid.UUID("6b0f6c0e-6a4f-5a0b-9a54-0f3d0e3a7c11")


def write_qupath(
    section: Section,
    outlines: np.ndarray,
    path: Path,
    n_genes: int,
    colours: dict[str, str],
    origin_px: tuple[float, float] = (0.0, 0.0),
) -> int:
    """Write the predicted units as a FeatureCollection, batch by batch; how many they are.

    Measurements are the predicted expression of the `n_genes` best genes, domain percentile
    and molecules; the class is the predicted type, in its colour among all of the
    run. `outlines` (n_units,) in um are those of `section.units`. `origin_px` is where the image
    begins that QuPath shows. Of more than two million units none is written, with a warning.
    """
    n_units = section.predicted.n_obs
    if n_units > MOST_OBJECTS:
        log.warning(
            "%s: %d %ss are more than QuPath can hold (%d); %s has none of them",
            section.sample, n_units, section.unit, MOST_OBJECTS, path.name,
        )  # fmt: skip
        n_units = 0
    rows = section.units.obs_names.get_indexer(section.predicted.obs_names)[:n_units]
    classes = _classes(section, colours)
    measured = _measurements(section, n_genes)
    with written_whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for start in range(0, n_units, BATCH):
            chosen = slice(start, min(start + BATCH, n_units))
            features = _features(
                section,
                section.predicted.obs_names[chosen],
                _rings_px(outlines[rows[chosen]], section.um_per_px, origin_px),
                classes[chosen],
                measured.iloc[chosen],
            )
            texts = (json.dumps(f, allow_nan=False, separators=(",", ":")) for f in features)
            file.write((",\n" if start else "\n") + ",\n".join(texts))
        file.write("\n]}\n")
    return n_units


def _features(
    section: Section,
    names: pd.Index,
    rings: list[list],
    classes: list[dict | None],
    measured: pd.DataFrame,
) -> Iterator[dict]:
    kind, id_name = OBJECTS[section.unit], IDS.get(section.unit)
    columns, values = list(measured), measured.to_numpy()
    is_known = np.isfinite(values)
    is_whole = is_known.all()
    for i, (name, ring, named) in enumerate(zip(names, rings, classes, strict=True)):
        numbers = dict(zip(columns, values[i].tolist(), strict=True))
        if not is_whole:
            numbers = {
                c: v for (c, v), known in zip(numbers.items(), is_known[i], strict=True) if known
            }
        properties: dict[str, object] = {"objectType": kind, "name": name}
        if id_name:
            properties[id_name] = name
        if named is not None:
            properties["classification"] = named
        properties["measurements"] = numbers
        yield {
            "type": "Feature",
            # The same unit keeps its id, so that importing again replaces nothing else.
            "id": str(uuid.uuid5(NAMESPACE, f"{section.sample}/{name}")),
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": properties,
        }


def _rings_px(
    outlines: np.ndarray, um_per_px: float, origin_px: tuple[float, float]
) -> list[list[list[float]]]:
    """Closed outer rings as lists of [x, y] in pixels of the slide."""
    xy_um, ring = shapely.get_coordinates(shapely.get_exterior_ring(outlines), return_index=True)
    xy_px = np.round(um_to_px(xy_um, um_per_px) - np.asarray(origin_px), PX_DECIMALS)
    ends = np.cumsum(np.bincount(ring, minlength=len(outlines)))
    return [part.tolist() for part in np.split(xy_px, ends[:-1])]


def _classes(section: Section, colours: dict[str, str]) -> list[dict | None]:
    """QuPath's class of each unit: the name and colour of its predicted type."""
    column = f"{PREDICTED}_type"
    if column not in section.predicted.obs:
        return [None] * section.predicted.n_obs
    classes = {
        name: {"name": name, "color": [int(colours[name][i : i + 2], 16) for i in (1, 3, 5)]}
        for name in map(str, section.predicted.obs[column].cat.categories)
    }
    return [classes.get(name) for name in section.predicted.obs[column].astype(object)]


def _measurements(section: Section, n_genes: int) -> pd.DataFrame:
    """What QuPath lists of each unit, (n_units, n_measurements) float64."""
    predicted = section.predicted
    genes = best_genes(predicted.var, n_genes)
    values = np.asarray(predicted[:, genes].X, dtype=np.float64)
    table = pd.DataFrame(
        values, index=predicted.obs_names, columns=[f"{g} predicted" for g in genes]
    )
    others = {
        "domain_percentile": "Domain percentile",
        f"{PREDICTED}_type_score": "Type score",
        **({"umi": "Molecules measured"} if section.is_measured else {}),
    }
    for column, name in others.items():
        if column in predicted.obs:
            table[name] = predicted.obs[column].to_numpy(dtype=np.float64)
    return table.round(VALUE_DECIMALS)
