"""Counts of units: molecules of bins, or molecules one by one, given to nuclei.

Strategies:
- `nucleus` (Wen et al. 2025, Methods): a bin belongs to the nucleus that alone holds its centre.
- `expanded`: the same, on outlines that were grown without overlap.
- `area`: nuclei share a bin by area, and its molecules are dealt to them by chance.

A molecule counts at most once under each. A molecule with a position of its own has no area:
`area` is `nucleus` there. Cells that come with counts of their own keep them in any case.
"""

from histoscribe.counting.assignment import PointAssigner, assign_bins, search_points, sum_bins
from histoscribe.counting.bins import Bins, bins_of, read_bins
from histoscribe.counting.grid import NONE, SEVERAL
from histoscribe.counting.sharing import area_weights, deal_molecules
from histoscribe.counting.units import (
    STRATEGIES,
    count_given,
    count_nuclei,
    count_table,
    count_transcripts,
    grid_units,
    outline_units,
)

__all__ = [
    "NONE",
    "SEVERAL",
    "STRATEGIES",
    "Bins",
    "PointAssigner",
    "area_weights",
    "assign_bins",
    "bins_of",
    "count_given",
    "count_nuclei",
    "count_table",
    "count_transcripts",
    "deal_molecules",
    "grid_units",
    "outline_units",
    "read_bins",
    "search_points",
    "sum_bins",
]
