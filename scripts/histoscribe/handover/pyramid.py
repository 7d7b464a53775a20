"""A section's image as a lazy multiscale image of SpatialData."""

from pathlib import Path

import dask.array as da
import numpy as np
import tifffile
from spatialdata.models import Image2DModel
from spatialdata.transformations import Scale, set_transformation
from xarray import DataArray, Dataset, DataTree

from histoscribe.image.segments import level_samples
from histoscribe.image.slide import Slide

CHUNK_PX = 1024
CHANNELS = ["r", "g", "b"]


def image_pyramid(path: Path, um_per_px: float) -> DataTree:
    """The image that `write_rescaled` wrote, with its levels, in um of the system "global".

    Nothing is read before it is written or drawn. SpatialData takes pixel k to cover [k, k + 1),
    as everything here does, and a level's scale from its size. The image is therefore widened
    with white until its sides halve evenly, by less than a pixel of the smallest level.
    """
    with tifffile.TiffFile(path) as tiff:
        levels = [
            Slide(path, level_samples(path, level), um_per_px) for level in tiff.series[0].levels
        ]
    last = len(levels) - 1
    height, width = (-(-n >> last) << last for n in (levels[0].height_px, levels[0].width_px))
    scales = {}
    for number, level in enumerate(levels):
        pixels = da.from_array(
            _Widened(level, height >> number, width >> number),
            chunks=(CHUNK_PX, CHUNK_PX, len(CHANNELS)),
            name=f"{path}-{number}",
            asarray=False,
            meta=np.empty((0, 0, 0), dtype=np.uint8),
        )
        coords = {"c": CHANNELS}
        for axis, size in (("y", height), ("x", width)):  # centres, in pixels of the first level
            coords[axis] = (np.arange(size >> number) + 0.5) * 2**number
        image = DataArray(
            pixels.transpose(2, 0, 1), name="image", dims=("c", "y", "x"), coords=coords
        )
        scales[f"scale{number}"] = Dataset({"image": image})
    pyramid = DataTree.from_dict(scales)
    in_um = {"global": Scale([um_per_px, um_per_px], axes=("y", "x"))}
    set_transformation(pyramid, in_um, set_all=True)
    Image2DModel().validate(pyramid)
    return pyramid


class _Widened:
    """A level with white to the right and below, as an array that is read by region."""

    def __init__(self, level: Slide, height: int, width: int) -> None:
        self._level = level
        self.shape = (height, width, len(CHANNELS))
        self.ndim = 3
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, region: tuple[slice, slice, slice]) -> np.ndarray:
        (top, bottom, _), (left, right, _) = (
            part.indices(n) for part, n in zip(region[:2], self.shape[:2], strict=True)
        )
        return self._level.read_region(left, top, right - left, bottom - top)[..., region[2]]
