"""How small a tile may be. Light: the Snakefile imports it.

The encoders would refuse a tile that is too small only when their job runs. What `morphology`
needs follows from its own constants, which take seconds to import; a test holds the two together.
"""

import math

MIN_TILE_PX = 16  # less is no picture of anything, for any encoder
COARSE_UM_PER_PX = 2.0
MIN_COARSE_PX = 16
AROUND_NUCLEUS_UM = 8.0  # what is described around a nucleus
MIN_NUCLEAR_REACH_UM = 4.0
WIDEST_FINE_SIGMA_UM = 2.0  # and at least so many px


def least_tile_um(encoder_kind: str, um_per_px: float, unit: str, unit_width_um: float) -> int:
    """The smallest tile in whole um for an encoder and units of a width (0: of many)."""
    least = [unit_width_um, MIN_TILE_PX * um_per_px]
    if encoder_kind == "morphology":
        factor = max(1, round(COARSE_UM_PER_PX / um_per_px))
        least.append(MIN_COARSE_PX * factor * um_per_px)
        if unit == "nucleus":
            sigma_um = WIDEST_FINE_SIGMA_UM * max(1.0, um_per_px)
            support_um = 3 * sigma_um + um_per_px
            least.append(2 * (AROUND_NUCLEUS_UM + support_um + MIN_NUCLEAR_REACH_UM))
    return math.ceil(max(least))
