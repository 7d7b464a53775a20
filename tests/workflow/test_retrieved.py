"""What was retrieved is read where it lies, not at the mark that says it is there."""

import pytest
import tifffile
from section_files import tissue_image, write_tiff, write_visium_hd

pytestmark = pytest.mark.slow


def test_a_retrieved_section_is_read(new_workplace):
    workplace = new_workplace("retrieved")
    folder = workplace.folder / "resources/retrieved/liver"
    write_visium_hd(folder / "outs", n_rows=40, n_cols=60)
    write_tiff(folder / "he.tif", tissue_image(700, 1100), 0.5)
    (folder / "retrieved.json").write_text("{}")
    (workplace.folder / "samples.tsv").write_text(
        "sample\tdonor\tplatform\tpath\timage\tum_per_px\tunit\tsplit\n"
        "liver\td\tvisium_hd\tresources/retrieved/liver/outs\t"
        "resources/retrieved/liver/he.tif\t\tbin\tnone\n"
    )
    config = workplace.write_config(
        "liver",
        run="liver",
        samples="samples.tsv",
        datasets={"liver": [{"url": "https://example.org/he.tif", "size_bytes": "announced"}]},
    )
    section = "results/liver/sections/liver"
    targets = [f"{section}/image.ome.tif", f"{section}/units.raw.h5ad"]
    # The data set itself is there; nothing is to be fetched again.
    workplace.run(*targets, "--configfile", config, "--rerun-triggers", "mtime")
    assert tifffile.imread(workplace.folder / targets[0]).shape[:2] == (700, 1100)
