"""How nuclei are segmented."""

from dataclasses import dataclass

INDEX_NAME = "nucleus"


@dataclass(frozen=True)
class SegmentationSettings:
    """What a StarDist model expects, and how the slide is cut into blocks for it.

    `um_per_px` is the resolution the network was trained at, to which the image is scaled.
    `low_percentile` and `high_percentile` of the tissue's values become 0 and 1.
    `probability_threshold` and `overlap_threshold` (non-maximum suppression) are the model's
    own where None. `block_px` is the side of a block and `halo_px` its margin, in pixels of the
    network; the halo must hold the network's field of view and a nucleus.
    """

    um_per_px: float = 0.5
    low_percentile: float = 1.0
    high_percentile: float = 99.0
    probability_threshold: float | None = None
    overlap_threshold: float | None = None
    block_px: int = 1408
    halo_px: int = 128
