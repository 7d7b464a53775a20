"""Rescaling large slides: the peak memory stays where it is while the area doubles.

Each slide is a tiled BigTIFF, JPEG as scanners write it, made of one small texture; a process of
its own rescales it and says its peak resident memory. Seconds are printed, not asserted.
"""

import json
import subprocess
import sys

import imagecodecs
import pytest
import tifffile
from section_files import tissue_image

TILE_PX = 256
PEAK_LIMIT_MB = 2000
CHILD = """
import json, resource, sys, time
from pathlib import Path
from histoscribe.image import open_slide, write_rescaled
slide = open_slide(sys.argv[1])
start = time.perf_counter()
write_rescaled(slide, 0.25, float(sys.argv[2]), Path(sys.argv[3]), threads=2)
seconds = time.perf_counter() - start
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"s": seconds, "peak_mb": peak_mb}))
"""


def write_slide(path, width, height):
    encoded = imagecodecs.jpeg_encode(tissue_image(TILE_PX, TILE_PX), level=75)
    n_tiles = -(-width // TILE_PX) * -(-height // TILE_PX)
    tifffile.imwrite(
        path,
        iter([encoded] * n_tiles),
        shape=(height, width, 3),
        dtype="uint8",
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        tile=(TILE_PX, TILE_PX),
        bigtiff=True,
    )


def rescaled(folder, width, height, um_per_px_out):
    source, target = folder / "slide.tif", folder / "image.ome.tif"
    write_slide(source, width, height)
    finished = subprocess.run(
        [sys.executable, "-c", CHILD, str(source), str(um_per_px_out), str(target)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "scripts", "OMP_NUM_THREADS": "1"},
    )
    with tifffile.TiffFile(target) as tiff:
        scale = um_per_px_out / 0.25
        assert tiff.series[0].shape == (int(height / scale), int(width / scale), 3)
    assert sorted(each.name for each in folder.iterdir()) == ["image.ome.tif", "slide.tif"]
    source.unlink()
    target.unlink()
    measured = json.loads(finished.stdout)
    speed = width * height / 1e6 / measured["s"]
    print(
        f"\n{width} x {height} px to {um_per_px_out} um/px: peak {measured['peak_mb']:.0f} MB, "
        f"{measured['s']:.0f} s, {speed:.0f} Mpx/s"
    )
    return measured


@pytest.mark.parametrize("um_per_px_out", [0.5, 0.25])
def test_peak_memory_does_not_grow_with_the_area(tmp_path, monkeypatch, repository, um_per_px_out):
    monkeypatch.chdir(repository)
    half = rescaled(tmp_path, 40_000, 20_000, um_per_px_out)
    whole = rescaled(tmp_path, 40_000, 40_000, um_per_px_out)
    longer, more = (whole[name] / half[name] for name in ("s", "peak_mb"))
    print(f"area x 2: time x {longer:.2f}, peak x {more:.2f}")
    assert whole["peak_mb"] < PEAK_LIMIT_MB
    assert whole["peak_mb"] < 1.1 * half["peak_mb"]
