"""Write a simulated section as Space Ranger 4 writes a real one, with the truth beside it."""

import json
from pathlib import Path

import geopandas as gpd
import h5py
import numpy as np
import pandas as pd
import shapely
import tifffile

from .genome import write_gtf
from .settings import SimulatedSection


def write_section(section: SimulatedSection, folder: Path) -> None:
    """Write Space Ranger outputs, image and truth of a section under `folder` (made if absent)."""
    settings = section.settings
    bins = Path(folder) / "binned_outputs" / f"square_{round(settings.bin_um):03d}um"
    (bins / "spatial").mkdir(parents=True, exist_ok=True)
    (Path(folder) / "segmented_outputs").mkdir(parents=True, exist_ok=True)
    _write_matrix(section, bins / "filtered_feature_bc_matrix.h5")
    section.positions.to_parquet(bins / "spatial" / "tissue_positions.parquet", index=False)
    factors = {
        "spot_diameter_fullres": settings.bin_um / settings.um_per_px,
        "bin_size_um": settings.bin_um,
        "microns_per_pixel": settings.um_per_px,
        "regist_target_img_scalef": 6000 / max(6000, *settings.shape_px),
        "tissue_lowres_scalef": 600 / max(600, *settings.shape_px),
        "fiducial_diameter_fullres": 330.0 / settings.um_per_px,
        "tissue_hires_scalef": 6000 / max(6000, *settings.shape_px),
    }
    (bins / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors, indent=4) + "\n")
    _write_segmentation(
        section, Path(folder) / "segmented_outputs" / "nucleus_segmentations.geojson"
    )
    _write_image(section, Path(folder) / "image.tif")
    section.truth.write_h5ad(Path(folder) / "truth.h5ad", compression="gzip")
    nuclei = gpd.GeoDataFrame(
        {
            "cell_id": section.truth.obs_names.astype(int),
            "cell_type": section.truth.obs["cell_type"].astype(str).to_numpy(),
            "domain": section.truth.obs["domain"].astype(str).to_numpy(),
        },
        geometry=list(shapely.polygons(section.polygons_um)),
    )
    nuclei.to_parquet(Path(folder) / "truth_nuclei.parquet", index=False)
    types = pd.DataFrame(section.truth.obsm["spatial"], columns=["x_um", "y_um"])
    types["label"] = nuclei["cell_type"].str.replace("_", " ")
    types.to_csv(Path(folder) / "truth_types.tsv", sep="\t", index=False, float_format="%.3f")
    dna = _profiled_dna(section)
    dna.to_csv(Path(folder) / "truth_dna.tsv", sep="\t", index=False, float_format="%.3f")
    write_gtf(section.truth.var, Path(folder) / "genes.gtf")


def _profiled_dna(section: SimulatedSection) -> pd.DataFrame:
    """What DNA profiled beside the RNA would tell of each nucleus.

    Columns: x_um, y_um, clone (normal, clone 1, clone 2) and one for each altered segment of any
    clone, named `chr1:1-2000`, with its copies.
    """
    truth = section.truth
    dna = pd.DataFrame(truth.obsm["spatial"], columns=["x_um", "y_um"])
    if not section.settings.n_clones:
        return dna.assign(clone="normal")
    dna["clone"] = truth.obs["clone"].astype(str).replace("none", "normal").to_numpy()
    events = truth.uns["copy_number"]
    for place, segment in events.groupby(["chromosome", "start", "end"], observed=True):
        clones = "clone " + segment["clone"].astype(str)
        copies = dna["clone"].map(dict(zip(clones, segment["copies"], strict=True)))
        dna["{}:{}-{}".format(*place)] = copies.fillna(2).astype(int)
    return dna


def _write_matrix(section: SimulatedSection, path: Path) -> None:
    """10x HDF5 version 3: compressed sparse columns, a column a bin."""
    genes = section.truth.var
    in_tissue = section.positions["in_tissue"].to_numpy() == 1
    barcodes = section.positions["barcode"].to_numpy()[in_tissue]
    counts = section.bins.sorted_indices()  # bins as rows of CSR are bins as columns of CSC
    packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
    with h5py.File(path, "w") as file:
        file.attrs["filetype"] = "matrix"
        file.attrs["version"] = 2
        file.attrs["chemistry_description"] = "Visium HD v1"
        file.attrs["library_ids"] = np.array([section.settings.sample.encode()])
        file.attrs["software_version"] = "simulated by HistoScribe"
        matrix = file.create_group("matrix")
        matrix.create_dataset("barcodes", data=barcodes.astype("S"), **packed)
        matrix.create_dataset("data", data=counts.data.astype(np.int32), **packed)
        matrix.create_dataset("indices", data=counts.indices.astype(np.int64), **packed)
        matrix.create_dataset("indptr", data=counts.indptr.astype(np.int64), **packed)
        matrix.create_dataset("shape", data=np.array(counts.shape[::-1], dtype=np.int32), **packed)
        features = matrix.create_group("features")
        features.create_dataset("_all_tag_keys", data=np.array([b"genome"]))
        features.create_dataset("id", data=genes["gene_id"].to_numpy().astype("S"), **packed)
        features.create_dataset("name", data=genes.index.to_numpy().astype("S"), **packed)
        features.create_dataset(
            "feature_type", data=np.full(len(genes), b"Gene Expression"), **packed
        )
        features.create_dataset("genome", data=np.full(len(genes), b"GRCh38"), **packed)


def _write_segmentation(section: SimulatedSection, path: Path) -> None:
    """One closed polygon a nucleus in full-resolution pixels, x first."""
    closed = (
        np.concatenate([section.polygons_um, section.polygons_um[:, :1]], axis=1)
        / section.settings.um_per_px
    )
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"cell_id": int(cell_id)},
        }
        for cell_id, ring in zip(section.truth.obs_names, np.round(closed, 3).tolist(), strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def _write_image(section: SimulatedSection, path: Path) -> None:
    """Tiled TIFF with its resolution in pixels per centimetre."""
    per_cm = 1e4 / section.settings.um_per_px
    tifffile.imwrite(
        path,
        section.image,
        photometric="rgb",
        tile=(256, 256),
        compression="jpeg",
        compressionargs={"level": 92},
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
