"""How an image lies in a platform's own frame: a table of numbers, as Xenium Explorer exports it.

The matrix maps pixels of the image to the frame, and is 3 x 3, or 2 x 3 without its last row.
"""

from pathlib import Path

import numpy as np

from histoscribe.errors import UserError, problem

LAST_ROW = (0.0, 0.0, 1.0)


def read_alignment(path: Path) -> np.ndarray:
    """The affine map (3, 3) from pixels of the image to the platform's frame.

    Raises UserError where it is no affine map that can be inverted.
    """
    try:
        matrix = np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise _no_alignment(path, f"an unreadable file ({error})") from error
    if matrix.shape == (2, 3):
        matrix = np.vstack([matrix, LAST_ROW])
    if matrix.shape != (3, 3):
        raise _no_alignment(path, f"{matrix.shape[0]} x {matrix.shape[1]} numbers")
    affine = np.allclose(matrix[2], LAST_ROW, atol=1e-9)
    if not (affine and np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9):
        raise _no_alignment(path, "a map that is not affine or can't be inverted")
    return matrix


def stretch(alignment: np.ndarray) -> float:
    """The length in the frame of an image's pixel."""
    return float(np.sqrt(abs(np.linalg.det(alignment[:2, :2]))))


def _no_alignment(path: Path, found: str) -> UserError:
    return UserError(
        problem(
            str(path),
            found,
            "3 x 3 numbers that map pixels of the image to the platform's frame, the last row "
            "0, 0, 1 or absent",
            "Export the alignment again.",
        )
    )
