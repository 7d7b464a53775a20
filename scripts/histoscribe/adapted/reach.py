"""How far the network of the adapted encoder sees. Light: the Snakefile imports it."""

from collections.abc import Sequence

KERNEL_PX = 5
STEM_STRIDE = 2
DEPTHS = (1, 2, 2, 2, 2)  # blocks of each level, finest first


def reach_px(depths: Sequence[int]) -> int:
    """How far from a place, in px, the farthest pixel lies that can change what is read there."""
    radius = KERNEL_PX // 2
    reach = STEM_STRIDE
    for level, depth in enumerate(depths):
        stride = STEM_STRIDE * 2**level
        blocks = depth + (1 if level > 0 else 0)  # on the way down and on the way back
        reach += stride * (radius * blocks + 1)  # and one for joining two levels
    return reach


def reach_um(um_per_px: float, image_um_per_px: float, depths: Sequence[int] = DEPTHS) -> float:
    """The same in um, of a network that sees an image at about `um_per_px`."""
    factor = max(1, round(um_per_px / image_um_per_px))
    return reach_px(depths) * factor * image_um_per_px
