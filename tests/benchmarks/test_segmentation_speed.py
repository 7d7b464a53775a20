"""Segmentation of a slide: speed inside the model and over all, memory, and how both grow.

Slides are made of one simulated section laid side by side. Each is segmented in a process of its
own; the table is printed, no second is asserted.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from histoscribe.simulation import SimulationSettings, simulate_section

SCRIPT = """
import json, resource, sys, time
import numpy as np
from histoscribe.image import open_slide
from histoscribe.nuclei import (SegmentationSettings, load_segmenter, plan_blocks, segment_blocks,
    stitch_nuclei, value_range)

slide, settings = open_slide(sys.argv[1]), SegmentationSettings()
network = load_segmenter(sys.argv[2], 2)
patch = np.random.default_rng(0).random((1024, 1024, 3), dtype=np.float32)
network.keras_model.predict(patch[None], verbose=0)
start = time.perf_counter()
for _ in range(4):
    network.keras_model.predict(patch[None], verbose=0)
model_mpx_s = 4 * patch[..., 0].size / 1e6 / (time.perf_counter() - start)
start = time.perf_counter()
blocks = plan_blocks(slide, 0.5, settings)
values = value_range(slide, 0.5, settings)
nuclei = stitch_nuclei([segment_blocks(slide, 0.5, network, settings, blocks, values)])
seconds = time.perf_counter() - start
print(json.dumps({
    "mpx": slide.width_px * slide.height_px / 1e6, "blocks": len(blocks), "nuclei": len(nuclei),
    "s": seconds, "model_mpx_s": model_mpx_s,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


@pytest.fixture(scope="module")
def tile():
    settings = SimulationSettings(
        sample="x", seed=5, donor_seed=5, width_um=1024, height_um=1024, umi_per_um2=0.01
    )
    return simulate_section(settings).image  # 2048 x 2048 px


def measure(tile: np.ndarray, down: int, across: int, folder: Path, repository: Path) -> dict:
    path = folder / f"slide-{down}-{across}.tif"
    slide = np.tile(tile, (down, across, 1))
    tifffile.imwrite(path, slide, tile=(256, 256), photometric="rgb", compression="deflate")
    del slide
    model = repository / "resources/segmenters/histoscribe_he"
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), str(model)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(repository / "scripts"), "PATH": "/usr/bin:/bin"},
    )
    return json.loads(finished.stdout.splitlines()[-1])


def test_time_grows_with_the_area_and_memory_does_not(tile, tmp_path, repository):
    small = measure(tile, 2, 2, tmp_path, repository)
    large = measure(tile, 2, 4, tmp_path, repository)
    print()
    for run in (small, large):
        print(
            f"{run['mpx']:.0f} Mpx, {run['blocks']} blocks: {run['nuclei']} nuclei, "
            f"{run['model_mpx_s']:.2f} Mpx/s inside the model, "
            f"{run['mpx'] / run['s']:.2f} Mpx/s over all, peak {run['peak_mb']:.0f} MB"
        )
    print(
        f"area x {large['mpx'] / small['mpx']:.2f}: time x {large['s'] / small['s']:.2f}, "
        f"memory x {large['peak_mb'] / small['peak_mb']:.2f}"
    )
    assert large["nuclei"] > 1.8 * small["nuclei"]
