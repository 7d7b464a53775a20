"""How far the network of the adapted encoder sees. Light: the Snakefile imports it."""

OWN_STARTS = ("imagenet", "random")  # of this network; any other start names an encoder
KERNEL_PX = 5
# Of EfficientNet-lite0: kernel and stride of the stem; kernel, stride and blocks of each stage.
STEM = (3, 2)
STAGES = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3))
N_STAGES = len(STAGES)
STRIDES_PX = (2, 4, 8, 16)  # of the levels that are read
CELL_PX = STRIDES_PX[1]  # of the map that they are brought to


def reach_px() -> int:
    """How far from a place, in px, the farthest pixel lies that can change what is read there."""
    # Cells of the map differ by where they lie in a cell of the coarsest level.
    return max(_reach_of(cell) for cell in range(STRIDES_PX[-1] // CELL_PX))


def _reach_of(cell: int) -> int:
    radius = KERNEL_PX // 2
    first, last = cell - 1, cell + 1  # read at a place in it
    for _ in STRIDES_PX[2:]:  # a level is seen through its block, then the coarser one is
        first, last = (first - radius - 1) // 2, (last + radius) // 2
    first, last = first - radius, last + radius
    for kernel, stride in _convolutions():
        before = (kernel - stride) // 2  # cells left of it that one sees, as TensorFlow pads
        first, last = first * stride - before, last * stride - before + kernel - 1
    return max(CELL_PX * (cell + 1) - first, last + 1 - CELL_PX * cell)


def reach_um(um_per_px: float, image_um_per_px: float) -> float:
    """The same in um, of a network that sees an image at about `um_per_px`."""
    factor = max(1, round(um_per_px / image_um_per_px))
    return reach_px() * factor * image_um_per_px


def _convolutions() -> list[tuple[int, int]]:
    """Kernel and stride of the backbone's wide convolutions, the last one first."""
    wide = [STEM]
    for kernel, stride, n_blocks in STAGES:
        wide += [(kernel, stride)] + [(kernel, 1)] * (n_blocks - 1)
    return wide[::-1]
