"""StarDist and a ViT checkpoint through the rules, on a slide of nothing measured."""

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree
from section_files import write_tiff
from tiny_segmenter import HALF_HEIGHT_PX, HALF_WIDTH_PX, build_segmenter, paint

from histoscribe.provenance import recall

pytestmark = pytest.mark.slow
PURPLE, PINK = (90, 50, 140), (225, 170, 200)
CENTRES_PX = [(x, y) for x in range(40, 560, 40) for y in range(30, 380, 25)]


@pytest.fixture(scope="module")
def results(new_workplace):
    """One slide, segmented in two jobs and encoded; nothing is trained."""
    import torch

    from histoscribe.torch_setup import prepare_torchvision

    prepare_torchvision()
    import timm

    workplace = new_workplace("networks")
    folder = workplace.folder
    build_segmenter(folder, pooled_share=0.0)
    painted = paint(CENTRES_PX, 600, 400)
    slide = np.where(painted == painted.min(), PURPLE, PINK).astype(np.uint8)
    write_tiff(folder / "slide.tif", slide, 0.5)
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    torch.save(model.state_dict(), folder / "vit.pth")
    (folder / "samples.tsv").write_text(
        "sample\tdonor\tplatform\tpath\timage\tum_per_px\tunit\tsplit\n"
        "new\tdonor-1\timage\t\tslide.tif\t\tnucleus\tnone\n"
    )
    config = workplace.write_config(
        "networks",
        run="networks",
        samples="samples.tsv",
        segmentation={
            "segmenter": "tiny",
            "n_jobs": 2,
            "block_px": 256,
            "segmenters": {
                "tiny": {
                    "folder": "tiny",
                    "um_per_px": 0.5,
                    "low_percentile": 0,
                    "high_percentile": 100,
                    "probability_threshold": None,
                    "overlap_threshold": 0.1,
                }
            },
        },
        features={
            "encoder": "vit",
            "encoders": {
                "vit": {
                    "kind": "checkpoint",
                    "file": "vit.pth",
                    "architecture": "vit_tiny_patch16_224",
                }
            },
        },
    )
    workplace.run("all", "results/networks/features/vit/new.h5ad", "--configfile", config)
    return folder / "results/networks"


def test_every_nucleus_is_found_where_it_is(results):
    nuclei = gpd.read_parquet(results / "sections/new/nuclei.parquet")
    assert len(nuclei) == len(CENTRES_PX)
    centre = np.column_stack([nuclei.centroid.x, nuclei.centroid.y])
    expected = (np.array(CENTRES_PX) + 0.5) * 0.5
    distance, nearest = cKDTree(centre).query(expected)
    assert distance.max() < 0.05
    assert len(set(nearest)) == len(expected)
    ellipse = np.pi * HALF_WIDTH_PX * HALF_HEIGHT_PX * 0.25
    np.testing.assert_allclose(nuclei["area_um2"], ellipse, rtol=0.05)


def test_the_checkpoint_describes_every_unit(results):
    features = ad.read_h5ad(results / "features/vit/new.h5ad")
    units = ad.read_h5ad(results / "sections/new/units.raw.h5ad")
    assert features.obs_names.equals(units.obs_names)
    assert features.obsm["local"].shape == features.obsm["global"].shape == (len(CENTRES_PX), 192)
    assert np.isfinite(features.obsm["local"]).all()
    identity = recall(features.uns)["encoder"]
    assert identity["kind"] == "checkpoint"
    assert len(identity["weights_sha256"]) == 64


def test_a_run_without_models_draws_its_sections(results):
    drawn = pd.read_csv(results / "figures/nuclei/new.tsv", sep="\t")
    assert drawn["n_nuclei"].max() == len(CENTRES_PX)
    assert not (results / "summary.tsv").exists()
    assert not list(results.glob("sections/new/segmented/*"))
