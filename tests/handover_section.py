"""A small section's results, as the rules before the export leave them."""

from pathlib import Path

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import sparse
from section_files import write_tiff

from histoscribe.handover.files import SectionFiles
from histoscribe.image import open_slide, write_rescaled
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.storage import write_h5ad

SLIDE_UM_PER_PX, IMAGE_UM_PER_PX = 0.25, 0.5
EDGE_PX = 8  # of a bright square at each nucleus, in pixels of the slide
GENES = ["PODXL", 'we"ird </script>\\ gene', "UMOD", "ГЕН-β", "AQP2"]
TYPES = ["podocyte", 'T: "cell" </b>', "unknown"]
PALETTE = Path(__file__).parent.parent / "resources/type_colours.tsv"


def write_section(
    folder: Path,
    unit: str = "nucleus",
    n_units: int = 40,
    platform: str = "visium_hd",
    annotated: bool = True,
    sample: str = "section-1",
    size_px: tuple[int, int] = (2203, 2517),
) -> tuple[SectionFiles, Path, Path]:
    """The files of a section, its image at 0.5 um/px, and its slide at 0.25 um/px.

    The slide is dark, but for a white square of 8 x 8 px at each unit, its outline.
    """
    rng = np.random.default_rng(len(unit))
    height, width = size_px
    cells = rng.choice((height // 40 - 1) * (width // 40 - 1), n_units, replace=False)
    y, x = (40 * (each + 1) for each in np.divmod(cells, width // 40 - 1))
    pixels = np.full((height, width, 3), 20, dtype=np.uint8)
    for top, left in zip(y, x, strict=True):
        pixels[top : top + EDGE_PX, left : left + EDGE_PX] = 255
    slide = write_tiff(folder / "slide.tif", pixels, SLIDE_UM_PER_PX)
    image = folder / "image.ome.tif"
    write_rescaled(open_slide(slide), SLIDE_UM_PER_PX, IMAGE_UM_PER_PX, image)
    corner_um = np.column_stack([x, y]) * SLIDE_UM_PER_PX
    edge_um = EDGE_PX * SLIDE_UM_PER_PX
    outlines = shapely.box(*corner_um.T, *(corner_um + edge_um).T)
    names = [f"{top:06d}-{left:06d}" for top, left in zip(y, x, strict=True)]

    units = _units(rng, names, corner_um + edge_um / 2, platform)
    facts = {
        "unit": unit,
        "unit_shape": {"bin": "square", "spot": "circle"}.get(unit, "polygon"),
        "unit_size_um": edge_um,
    }
    units.uns[RECORD_KEY] = record(
        sample=sample, platform=platform, um_per_px=SLIDE_UM_PER_PX, **facts
    )
    write_h5ad(units, folder / "units.h5ad")
    write_h5ad(_predicted(rng, units, facts), folder / "predicted.h5ad")
    paths: dict[str, object] = {}
    if unit in ("nucleus", "cell"):
        paths["nuclei"] = folder / "outlines.parquet"
        # One nucleus more than units: the filter dropped it. Another order than that of units.
        extra = gpd.GeoDataFrame(
            {"geometry": [*outlines[::-1], shapely.box(0, 0, 3, 3)]},
            index=pd.Index([*names[::-1], "dropped"], name="nucleus"),
        )
        extra.to_parquet(paths["nuclei"])
    if platform != "image":
        paths["scores"] = [folder / "scores.tsv"]
        scores = {"gene": GENES, "pcc": [0.1, 0.5, 0.3, np.nan, 0.4], "ceiling": 0.6}
        pd.DataFrame(scores).to_csv(paths["scores"][0], sep="\t", index=False)
    if annotated:
        paths["annotations"] = {}
        for source in ["predicted"] if platform == "image" else ["measured", "predicted"]:
            path = folder / f"{source}.annotated.h5ad"
            write_h5ad(_annotation(rng, units), path)
            paths["annotations"][source] = [path]
        paths["all_annotations"] = [p for group in paths["annotations"].values() for p in group]
    files = SectionFiles(
        units=folder / "units.h5ad",
        predictions=[folder / "predicted.h5ad"],
        blocks=[None],
        palette=PALETTE,
        **paths,
    )
    return files, image, slide


def _units(
    rng: np.random.Generator, names: list[str], centre_um: np.ndarray, platform: str
) -> ad.AnnData:
    genes = [*GENES, "MALAT1", "UNPREDICTED"] if platform != "image" else []
    counts = rng.poisson(1.5, (len(names), len(genes)))
    obs = pd.DataFrame({"area_um2": 4.0}, index=pd.Index(names, name="nucleus"))
    if platform != "image":
        obs["umi"] = counts.sum(axis=1)
    return ad.AnnData(
        sparse.csr_matrix(counts.astype(np.int32)),
        obs=obs,
        var=pd.DataFrame({"gene_id": [f"ENSG{i}" for i in range(len(genes))]}, index=genes),
        obsm={"spatial": centre_um},
    )


def _predicted(rng: np.random.Generator, units: ad.AnnData, facts: dict) -> ad.AnnData:
    expression = rng.random((units.n_obs, len(GENES))).astype(np.float32)
    predicted = ad.AnnData(
        expression,
        obs=units.obs.assign(
            domain_percentile=rng.random(units.n_obs).astype(np.float32),
            out_of_domain=rng.random(units.n_obs) > 0.9,
        ),
        var=pd.DataFrame(
            {
                "trust": pd.Categorical(["D", "A", "B", "B", "A"]),
                "unseen_pcc": np.float32([0.1, 0.2, 0.3, 0.5, 0.4]),
            },
            index=GENES,
        ),
        layers={name: expression * 0.5 for name in ("probability", "lower", "upper")},
        obsm={"spatial": units.obsm["spatial"]},
        varm={"interval_low": np.zeros((len(GENES), 2), dtype=np.float32)},
    )
    predicted.uns[RECORD_KEY] = record(target_sum="median", sample="section-1", **facts)
    return predicted


def _annotation(rng: np.random.Generator, units: ad.AnnData) -> ad.AnnData:
    """Types of all units but the last, in another order."""
    names = units.obs_names[:-1][::-1]
    obs = pd.DataFrame(
        {
            "cluster": pd.Categorical(["0"] * len(names)),
            "type": pd.Categorical(rng.choice(TYPES, len(names)), categories=TYPES),
            "broad_class": pd.Categorical(["kidney"] * len(names)),
            "type_score": rng.random(len(names)),
        },
        index=names,
    )
    return ad.AnnData(obs=obs, obsm={"X_umap": np.zeros((len(names), 2), dtype=np.float32)})
