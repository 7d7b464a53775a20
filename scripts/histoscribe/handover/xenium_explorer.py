"""A section as Xenium Explorer opens it, through sopa's writer."""

from pathlib import Path

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
from scipy import sparse
from sopa.io import explorer
from spatialdata import SpatialData
from spatialdata.models import ShapesModel, TableModel
from spatialdata.transformations import Identity

from histoscribe.handover.pyramid import image_pyramid
from histoscribe.handover.section import Section
from histoscribe.handover.tables import INSTANCE_KEY, REGION_KEY, SHAPES
from histoscribe.storage import folder_written_whole

PER_LEVEL = 100  # the format holds whole numbers: predictions are written in hundredths
TYPES = ("predicted_type", "predicted_broad_class", "measured_type", "measured_broad_class")


def write_explorer(
    section: Section, outlines: np.ndarray, image: Path, um_per_px: float, path: Path
) -> None:
    """Write the H&E, outlines, predicted expression (in hundredths) and types as a folder.

    `outlines` (n_units,) in um are those of `section.units`. sopa simplifies them to 13 points.
    """
    predicted = section.predicted
    region = SHAPES[section.unit]
    rows = section.units.obs_names.get_indexer(predicted.obs_names)
    shapes = gpd.GeoDataFrame({"geometry": outlines[rows]}, index=predicted.obs_names.rename(None))
    types = predicted.obs[[name for name in TYPES if name in predicted.obs]]
    obs = types.rename_axis(None).assign(
        **{REGION_KEY: pd.Categorical([region] * len(rows)), INSTANCE_KEY: list(shapes.index)}
    )
    levels = np.rint(PER_LEVEL * np.maximum(np.asarray(predicted.X), 0)).astype(np.int32)
    table = ad.AnnData(
        sparse.csr_matrix(levels), obs=obs, var=pd.DataFrame(index=predicted.var_names)
    )
    data = SpatialData(
        images={"he": image_pyramid(image, um_per_px)},
        shapes={region: ShapesModel.parse(shapes, transformations={"global": Identity()})},
        tables={
            "units": TableModel.parse(
                table, region=region, region_key=REGION_KEY, instance_key=INSTANCE_KEY
            )
        },
    )
    with folder_written_whole(path) as partial:
        explorer.write(
            partial,
            data,
            table_key="units",
            image_key="he",
            shapes_key=region,
            pixel_size=um_per_px,
            ram_threshold_gb=None,  # the image is never held whole
            mode="-m",
        )
        # Apart, since sopa 2.2.11 does not hand its own pixel_size on to this file.
        explorer.write_metadata(
            partial, section.sample, region, predicted.n_obs, pixel_size=um_per_px
        )
