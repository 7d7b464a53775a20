"""Polygons from GeoJSON as Space Ranger 4 and QuPath write it, in full-resolution pixels."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np

from histoscribe.errors import UserError, problem

from .given import ID_NAMES, GivenPolygons, as_text
from .rings import polygons_of_vertices

EXPECTED = "a GeoJSON FeatureCollection of polygons"
NOT_NUCLEI = {"annotation", "tile", "tma core", "tma_core", "root"}
# QuPath before 0.3 wrote the kind of object where an id belongs.
OLD_KINDS = {
    "PathAnnotationObject": "annotation",
    "PathTileObject": "tile",
    "TMACoreObject": "tma core",
    "PathRootObject": "root",
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
}
PROBABILITY = "Detection probability"  # the measurement of QuPath's StarDist extension


def read_geojson(content: bytes, path: Path, kind: str) -> GivenPolygons:
    """Polygons of `kind` (nucleus or cell) from GeoJSON text.

    QuPath's annotations, tiles and cores are left out; of its cells, the nucleus is taken where
    `kind` is nucleus. Holes are left out. Raises UserError for text that is no GeoJSON.
    """
    try:
        with _no_collection():
            features = features_of(json.loads(content), path)
        kinds = [_object_kind(f) for f in features]
        kept = [f for f, k in zip(features, kinds, strict=True) if k not in NOT_NUCLEI]
        dropped = {"annotations_dropped": len(features) - len(kept)}
        geometries = [f.get("geometry") for f in kept]
        if kind == "nucleus" and "cell" in kinds:
            is_cell = [_object_kind(f) == "cell" for f in kept]
            has_nucleus = [
                not c or f.get("nucleusGeometry") for f, c in zip(kept, is_cell, strict=True)
            ]
            dropped["without_nucleus_dropped"] = len(kept) - sum(map(bool, has_nucleus))
            chosen = [
                (f, f["nucleusGeometry"] if c else f.get("geometry"))
                for f, c, has in zip(kept, is_cell, has_nucleus, strict=True)
                if has
            ]
            kept, geometries = [f for f, _ in chosen], [g for _, g in chosen]
        shells = [_shells(g) for g in geometries]
        owner = np.repeat(np.arange(len(shells)), [len(s) for s in shells])
        rings = list(chain.from_iterable(shells))
        parts = _polygons(rings)
        ids, probability = _ids(kept), _probability(kept)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UserError(
            problem(str(path), f"no readable GeoJSON ({error})", EXPECTED, "Export it again.")
        ) from error
    if features and not len(parts):
        raise UserError(problem(str(path), *_why_none(features, kinds, dropped)))
    return GivenPolygons(parts, owner, ids, True, probability, dropped=dropped)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of short lists would be searched for cycles again and again: a threefold time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def features_of(content: object, path: Path) -> list[dict]:
    """Features of parsed GeoJSON: a collection, a lone one or a list. UserError for other JSON."""
    if isinstance(content, dict) and isinstance(content.get("features"), list):
        return content["features"]
    if isinstance(content, dict) and content.get("type") == "Feature":
        return [content]
    if isinstance(content, list) and all(
        isinstance(f, dict) and f.get("type") == "Feature" for f in content
    ):
        return content
    found = f"a {content.get('type', 'object')}" if isinstance(content, dict) else "a bare list"
    remedy = "Export the objects as a FeatureCollection."
    raise UserError(problem(str(path), f"no readable GeoJSON ({found})", EXPECTED, remedy))


def properties_of(feature: dict) -> dict:
    """The properties of a feature, perhaps none."""
    return feature.get("properties") or {}


def _object_kind(feature: dict) -> str | None:
    properties = properties_of(feature)
    named = properties.get("objectType") or properties.get("object_type")
    return str(named).lower() if named else OLD_KINDS.get(str(feature.get("id")))


def _shells(geometry: dict | None) -> list:
    """Outer rings of a geometry, as lists of positions; none for points and lines."""
    match (geometry or {}).get("type"):
        case "Polygon":
            return geometry["coordinates"][:1]
        case "MultiPolygon":
            return [rings[0] for rings in geometry["coordinates"] if rings]
        case "GeometryCollection":
            return [shell for part in geometry["geometries"] for shell in _shells(part)]
    return []


def _polygons(rings: list) -> np.ndarray:
    ring = np.repeat(np.arange(len(rings)), [len(r) for r in rings])
    positions = chain.from_iterable(rings)
    flat = chain.from_iterable(position[:2] for position in positions)
    xy = np.fromiter(flat, dtype=np.float64).reshape(len(ring), 2)
    return polygons_of_vertices(xy, ring, len(rings))


def _ids(features: list[dict]) -> np.ndarray:
    """The first kind of id that every feature has, else numbers from 1."""
    choices = [[properties_of(f).get(name) for f in features] for name in ID_NAMES]
    own = [f.get("id") for f in features]
    choices.append([None if str(i) in OLD_KINDS else i for i in own])
    numbers = range(1, len(features) + 1)
    return as_text(next((c for c in choices if None not in c), numbers))


def _probability(features: list[dict]) -> np.ndarray | None:
    values = []
    for feature in features:
        properties = properties_of(feature)
        measured = properties.get("measurements") or {}
        if isinstance(measured, list):
            measured = {m.get("name"): m.get("value") for m in measured}
        value = properties.get("probability", measured.get(PROBABILITY))
        if not isinstance(value, int | float):
            return None
        values.append(value)
    return np.array(values, dtype=np.float64) if values else None


def _why_none(features: list[dict], kinds: list, dropped: dict) -> tuple[str, str, str]:
    if dropped["annotations_dropped"] == len(features):
        return (
            f"only {', '.join(sorted(set(kinds)))} objects ({len(features)})",
            "detections or cells",
            "Export the detected nuclei, not the regions drawn around them.",
        )
    if dropped.get("without_nucleus_dropped"):
        return (
            f"{dropped['without_nucleus_dropped']} cells without a nucleus",
            "cells with a nucleusGeometry, or detections",
            "Export nuclei, or give the file as cells.",
        )
    types = sorted({str((f.get("geometry") or {}).get("type", "no geometry")) for f in features})
    return f"{', '.join(types)} and no polygon", EXPECTED, "Export outlines, not centres."
