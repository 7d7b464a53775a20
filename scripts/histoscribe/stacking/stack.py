"""All sections of a block in the frame of one of them."""

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.stacking.alignment import IN_REFERENCE, Alignment
from histoscribe.stacking.pair import align_pair
from histoscribe.stacking.settings import StackingSettings


def align_stack(
    sections: list[tuple[np.ndarray, np.ndarray]], settings: StackingSettings, reference: int = 0
) -> list[Alignment]:
    """Each section's place in the frame of the one at `reference`, outwards from it.

    `sections` holds positions (n_units, 2) in um and latents (n_units, n_dimensions) in the order
    in which they were cut. A section is aligned to its neighbour where that one lies in the
    reference frame by then, or to the next one that can be trusted. Raises UserError as
    `align_pair` does, and says for which section.
    """
    if not 0 <= reference < len(sections):
        expected = f"one of the {len(sections)} sections, counted from 0"
        raise UserError(problem("reference", reference, expected, "Correct it."))
    alignments = [IN_REFERENCE] * len(sections)
    for outwards in (range(reference + 1, len(sections)), range(reference - 1, -1, -1)):
        last, placed_um = reference, np.asarray(sections[reference][0], dtype=np.float64)
        for number in outwards:
            try:
                found = align_pair(placed_um, sections[last][1], *sections[number], settings)
            except UserError as error:
                raise UserError(
                    f"sections {last} (fixed) and {number} (moving): {error}"
                ) from error
            alignments[number] = found
            if found.is_trusted:
                last, placed_um = number, found.apply(sections[number][0])
    return alignments


def stacked_positions(
    xy_um: list[np.ndarray], alignments: list[Alignment], spacing_um: float
) -> list[np.ndarray]:
    """Positions (n_units, 3) of each section in um: x, y in the reference frame and depth.

    Depth is the section's number, from 0, times `spacing_um`, the distance between sections.
    """
    return [
        np.column_stack([alignment.apply(xy), np.full(len(xy), depth * spacing_um)])
        for depth, (xy, alignment) in enumerate(zip(xy_um, alignments, strict=True))
    ]
