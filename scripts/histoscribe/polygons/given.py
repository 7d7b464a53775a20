"""What every reader of polygons hands on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

ID_NAMES = ("cell_id", "nucleus_id", "id")


@dataclass(frozen=True)
class GivenPolygons:
    """Polygons as a file gives them.

    `parts` (n_parts,) are polygons, perhaps invalid, and `owner` (n_parts,) says to which of the
    n objects each belongs. `ids` (n,) is text. Coordinates are pixels of the full-resolution image
    where `in_px`, else um; `in_own_frame` where these um are of the platform's own frame rather
    than of the image. `scale_is_certain` where the file itself has the image's size.
    `dropped` counts what the reader left out, by reason.
    """

    parts: np.ndarray
    owner: np.ndarray
    ids: np.ndarray
    in_px: bool
    probability: np.ndarray | None = None
    scale_is_certain: bool = False
    in_own_frame: bool = False
    dropped: dict[str, int] = field(default_factory=dict)


def as_text(ids: Sequence[object] | np.ndarray) -> np.ndarray:
    """Ids as text; bytes decoded, whole numbers without a decimal point."""
    return np.array([_text(i) for i in ids], dtype=object)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
