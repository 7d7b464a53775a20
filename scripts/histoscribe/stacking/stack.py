"""All sections of a block in the frame of one of them."""

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.stacking.alignment import IN_REFERENCE, Alignment
from histoscribe.stacking.checks import Section
from histoscribe.stacking.pair import align_pair
from histoscribe.stacking.settings import StackingSettings


def middle_of(names: list[str]) -> str:
    """The section in the middle, the earlier of two: from it errors add up over the fewest."""
    return names[(len(names) - 1) // 2]


def align_stack(
    sections: dict[str, Section], settings: StackingSettings, reference: str
) -> dict[str, Alignment]:
    """Each section's place in the frame of the section `reference`, outwards from it.

    `sections` holds positions (n_units, 2) in um and latents (n_units, n_dimensions) in the order
    in which they were cut. A section is aligned to its anchor (see `anchors`). Raises UserError as
    `align_pair` does, and says for which sections.
    """
    names = list(sections)
    if reference not in names:
        expected = f"one of the sections: {', '.join(names)}"
        raise UserError(problem("reference", reference, expected, "Correct it."))
    alignments = {reference: IN_REFERENCE}
    placed_um = {reference: sections[reference][0]}
    for name in _outwards(names, reference):
        anchor = _anchor(name, names, reference, alignments)
        given_um, latent = sections[anchor]
        try:
            alignments[name] = align_pair(
                placed_um[anchor], latent, *sections[name], settings, given_um
            )
        except UserError as error:
            raise UserError(f"{anchor} (fixed) and {name} (moving): {error}") from error
        placed_um[name] = alignments[name].apply(sections[name][0])
    return {name: alignments[name] for name in names}


def anchors(alignments: dict[str, Alignment], reference: str) -> dict[str, str]:
    """The section that each but the reference was aligned to.

    It is the neighbour on the reference's side or, where that one's place is in doubt, the next.
    """
    names = list(alignments)
    return {
        name: _anchor(name, names, reference, alignments) for name in _outwards(names, reference)
    }


def stacked_positions(
    xy_um: dict[str, np.ndarray], alignments: dict[str, Alignment], spacing_um: float
) -> dict[str, np.ndarray]:
    """Positions (n_units, 3) of each section in um: x, y in the reference frame and depth.

    Depth is the section's number, from 0, times `spacing_um`, the distance between sections. Where
    a section's place is in doubt, x and y are NaN.
    """
    stacked = {}
    for number, (name, given_um) in enumerate(xy_um.items()):
        alignment = alignments[name]
        placed_um = np.full(given_um.shape, np.nan)
        if alignment.is_trusted:
            placed_um = alignment.apply(given_um)
        stacked[name] = np.column_stack([placed_um, np.full(len(given_um), number * spacing_um)])
    return stacked


def _outwards(names: list[str], reference: str) -> list[str]:
    """All but the reference, each after those between it and the reference."""
    start = names.index(reference)
    return names[start + 1 :] + names[:start][::-1]


def _anchor(name: str, names: list[str], reference: str, alignments: dict[str, Alignment]) -> str:
    """The nearest section towards the reference whose place is trusted."""
    place, start = names.index(name), names.index(reference)
    between = names[start:place][::-1] if place > start else names[place + 1 : start + 1]
    return next(other for other in between if alignments[other].is_trusted)
