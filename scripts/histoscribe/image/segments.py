"""The stored samples of one TIFF image, decoded or mapped by region.

tifffile parses the file and decodes a segment (a tile or a strip); which segments a region needs,
and keeping the last ones, is done here. Memory: `CACHE_BYTES` and the region, but no less than
one segment; a compressed image of one strip can't be read in parts and is held whole.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import tifffile

from histoscribe.errors import UserError
from histoscribe.image.slide import unreadable

CACHE_BYTES = 256 * 2**20
LARGE_BYTES = 32 * 2**20
JPEG_COMPRESSIONS = {6, 7, 34892, 33007}
UNSCANNED = np.iinfo(np.uint16).max


def level_samples(path: Path, level: tifffile.TiffPageSeries) -> object:
    """The samples of a level as an array-like (height, width, n) that is read by region.

    The level's axes are YX, YXS, or SYX and CYX (planar). Raises UserError for a compressed image
    of one segment that is damaged.
    """
    if level.dataoffset is not None and level.keyframe.is_memmappable:
        return MappedSamples(path, level)
    samples = SegmentedSamples(path, level)
    return samples[:, :] if samples.is_in_one_piece else samples


class MappedSamples:
    """Uncompressed samples in one run of bytes, mapped only while a region is copied.

    A map that stays would let the whole file count as memory of the process.
    """

    def __init__(self, path: Path, level: tifffile.TiffPageSeries) -> None:
        self._path = path
        self._offset = level.dataoffset
        self._dtype = np.dtype(level.keyframe.parent.byteorder + level.dtype.char)
        self._stored_shape = level.shape
        self._planar = len(level.shape) == 3 and not level.axes.endswith("S")
        height, width = level.shape[1:] if self._planar else level.shape[:2]
        n_channels = 1 if len(level.shape) == 2 else level.shape[0 if self._planar else 2]
        self.shape = (height, width, n_channels)
        self.dtype = level.dtype

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        stored = np.memmap(self._path, self._dtype, "r", self._offset, self._stored_shape)
        planes = (slice(None),) * self._planar
        part = stored[(*planes, *region)]
        if self._planar:
            part = np.moveaxis(part, 0, -1)
        return np.array(part, dtype=self.dtype).reshape(*part.shape[:2], -1)


class SegmentedSamples:
    """Samples that are stored in tiles or strips, decoded segment by segment."""

    def __init__(self, path: Path, level: tifffile.TiffPageSeries) -> None:
        page = level.keyframe
        self._path = path
        self._decode: Callable = page.decode
        self._places = [(each.dataoffsets, each.databytecounts) for each in level.pages]
        self._options = [_decode_options(each, page) for each in level.pages]
        self._height = page.tilelength if page.is_tiled else page.rowsperstrip
        self._width = page.tilewidth if page.is_tiled else page.imagewidth
        self._n_down = -(-page.imagelength // self._height)
        self._n_across = -(-page.imagewidth // self._width)
        is_planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        self._n_planes = page.samplesperpixel if is_planar else 1  # a page's
        self._n_contiguous = 1 if is_planar else page.samplesperpixel
        n_channels = len(self._places) * page.samplesperpixel
        self.shape = (page.imagelength, page.imagewidth, n_channels)
        self.dtype = page.dtype
        is_ink = page.photometric == tifffile.PHOTOMETRIC.SEPARATED
        self._blank = 0 if is_ink else min(UNSCANNED, np.iinfo(self.dtype).max)
        rows = min(self._height, page.imagelength)
        segment_bytes = rows * self._width * self._n_contiguous * self.dtype.itemsize
        n_kept = max(CACHE_BYTES // segment_bytes, len(self._places) * self._n_planes)
        self._segment = lru_cache(maxsize=n_kept)(self._decoded)
        # Two threads that both wait for a large segment would each decode and hold it.
        self._lock = Lock() if segment_bytes > LARGE_BYTES else nullcontext()

    @property
    def is_in_one_piece(self) -> bool:
        return self._n_down * self._n_across == 1

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        (top, bottom, _), (left, right, _) = (
            part.indices(n) for part, n in zip(region, self.shape[:2], strict=True)
        )
        result = np.empty((bottom - top, right - left, self.shape[2]), dtype=self.dtype)
        for row in range(top // self._height, -(-bottom // self._height)):
            for column in range(left // self._width, -(-right // self._width)):
                y, x = row * self._height, column * self._width
                y0, y1 = max(y, top), min(y + self._height, bottom)
                x0, x1 = max(x, left), min(x + self._width, right)
                target = result[y0 - top : y1 - top, x0 - left : x1 - left]
                for plane in range(len(self._places) * self._n_planes):
                    page, plane_of_page = divmod(plane, self._n_planes)
                    number = (plane_of_page * self._n_down + row) * self._n_across + column
                    with self._lock:
                        segment = self._segment(page, number)
                    first = plane * self._n_contiguous
                    into = target[..., first : first + self._n_contiguous]
                    if segment is None:
                        into[:] = self._blank
                    else:
                        into[:] = segment[y0 - y : y1 - y, x0 - x : x1 - x]
        return result

    def _decoded(self, page: int, number: int) -> np.ndarray | None:
        """One segment, (rows, columns, samples); None where the file leaves it out."""
        offsets, counts = self._places[page]
        if counts[number] == 0:
            return None
        with self._path.open("rb", buffering=0) as file:
            file.seek(offsets[number])
            encoded = file.read(counts[number])
        try:
            segment, _, _ = self._decode(encoded, number, **self._options[page])
        except Exception as error:  # each compression raises its own for damaged pixels
            raise UserError(unreadable(self._path, error)) from error
        return None if segment is None else segment[0]


def _decode_options(page: tifffile.TiffPage, keyframe: tifffile.TiffPage) -> dict[str, object]:
    if keyframe.compression not in JPEG_COMPRESSIONS:
        return {}
    return {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
