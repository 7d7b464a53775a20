"""Which files a platform's output folder holds. Light: the Snakefile imports it.

Each platform names the files its reader needs, so that missing ones are found before any job
starts. The readers themselves are in `histoscribe.readers`.
"""

from pathlib import Path

from histoscribe.errors import UserError, problem
from histoscribe.gem_header import holds_cells

UNITS = {
    "visium_hd": ("nucleus", "cell", "bin"),
    "xenium": ("nucleus", "cell"),
    "stereoseq": ("nucleus", "cell", "bin"),
    "visium": ("spot", "nucleus", "cell"),
    "legacy_st": ("spot", "nucleus", "cell"),
    "image": ("nucleus", "cell", "bin"),
}
OUTLINED = ("nucleus", "cell")  # units with a polygon each
TRANSCRIPTS = ("xenium", "stereoseq")  # platforms that place molecules one by one
SUMMED = ("stereoseq",)  # of these, platforms whose molecules are summed to bins of any size
# Platforms that measure round spots, and their diameter. Nuclei and cells there are predicted, and
# compared with the spots: molecules of a spot belong to no single one of them.
SPOT_UM = {"visium": 55.0, "legacy_st": 100.0}
NUCLEUS_BIN_UM = 2
ALIGNMENT = "imagealignment.csv"  # how names of files end that tie an image to a platform's frame
STEREOSEQ_NAMES = ("*.gem", "*.gem.gz", "*.gef")
VISIUM_MATRIX = "filtered_feature_bc_matrix"
VISIUM_POSITIONS = (  # of Space Ranger 2 and later, and of Space Ranger 1 (no header)
    "tissue_positions.csv",
    "tissue_positions.parquet",
    "tissue_positions_list.csv",
)


def has_spots(platform: str, unit: str) -> bool:
    """Whether what was measured are spots, and units are the nuclei or cells under them."""
    return platform in SPOT_UM and unit in OUTLINED


def has_transcripts(platform: str, unit: str) -> bool:
    """Whether molecules of a section are given to its units one by one."""
    return platform in TRANSCRIPTS and unit in OUTLINED


def summed_bin_um(platform: str, unit: str, bin_um: float) -> float | None:
    """The edge of the bins that a section's molecules are summed to as it is read, if they are."""
    return bin_um if platform in SUMMED and unit == "bin" else None


def unit_width_um(platform: str, unit: str, bin_um: float) -> float:
    """The width of a unit in um; 0 for nuclei and cells, which have many."""
    if unit == "bin":
        return float(bin_um)
    return SPOT_UM.get(platform, 0.0) if unit == "spot" else 0.0


def measured_files(platform: str, path: str | Path, unit: str, bin_um: float) -> dict[str, Path]:
    """The files that hold a section's measurement, by role; empty for platform `image`."""
    if platform == "visium_hd":
        return _visium_hd_files(Path(path), NUCLEUS_BIN_UM if unit in OUTLINED else bin_um)
    if platform == "xenium":
        return _xenium_files(Path(path))
    if platform == "stereoseq":
        return _stereoseq_files(Path(path))
    if platform == "visium":
        return _visium_files(Path(path))
    if platform == "legacy_st":
        return _legacy_st_files(Path(path))
    return {}


def other_names(platform: str, role: str) -> tuple[str, ...]:
    """What a file of a platform may be named, where versions of its software differ."""
    return {
        ("visium", "positions"): VISIUM_POSITIONS,
        ("visium", "matrix"): (f"{VISIUM_MATRIX}.h5", f"{VISIUM_MATRIX}/matrix.mtx.gz"),
        ("stereoseq", "molecules"): STEREOSEQ_NAMES,
    }.get((platform, role), ())


def own_nuclei(platform: str, path: str | Path, unit: str = "nucleus") -> Path | None:
    """Polygons of `unit` (nucleus or cell) that a platform's own software wrote, if any.

    Space Ranger 4 writes GeoJSON in pixels of the full image, Xenium tables of vertices in um of
    its own frame. Stereo-seq's cells are in the file of the molecules itself.
    """
    if platform == "visium_hd":
        outs = _binned_outputs(Path(path), NUCLEUS_BIN_UM).parent
        return outs / "segmented_outputs" / f"{unit}_segmentations.geojson"
    if platform == "xenium":
        return _xenium_outs(Path(path)) / f"{unit}_boundaries.parquet"
    if platform == "stereoseq" and unit == "cell":
        molecules = _stereoseq_files(Path(path))["molecules"]
        return molecules if holds_cells(molecules) else None
    return None


def _binned_outputs(path: Path, bin_um: float) -> Path:
    """Space Ranger's `binned_outputs`; `path` may be it, `outs` or one level above `outs`."""
    choices = (path / "binned_outputs", path, path / "outs" / "binned_outputs")
    # Where nothing is there yet (a rule will make it), the name decides.
    likely = path if path.name == "binned_outputs" else choices[0]
    return next((c for c in choices if (c / _square(bin_um)).is_dir()), likely)


def _square(bin_um: float) -> str:
    return f"square_{bin_um:03g}um"


def _visium_hd_files(path: Path, bin_um: float) -> dict[str, Path]:
    folder = _binned_outputs(path, bin_um) / _square(bin_um)
    spatial = folder / "spatial"
    return {
        "matrix": folder / "filtered_feature_bc_matrix.h5",
        "positions": spatial / "tissue_positions.parquet",
        "scalefactors": spatial / "scalefactors_json.json",
    }


def _visium_files(path: Path) -> dict[str, Path]:
    """Space Ranger's `outs`; `path` may be it or one level above.

    Where there is no HDF5 matrix, the folder of text files is taken (barcodes, features, matrix),
    whose features.tsv was genes.tsv before.
    """
    below = path / "outs"
    outs = below if (below / "spatial").is_dir() else path
    spatial, folder = outs / "spatial", outs / VISIUM_MATRIX
    positions = [spatial / name for name in VISIUM_POSITIONS]
    files = {
        "matrix": outs / f"{VISIUM_MATRIX}.h5",
        "positions": next((p for p in positions if p.is_file()), positions[0]),
        "scalefactors": spatial / "scalefactors_json.json",
    }
    if not files["matrix"].is_file() and folder.is_dir():
        files["matrix"] = _plain_or_gzip(folder, "matrix.mtx")
        files["barcodes"] = _plain_or_gzip(folder, "barcodes.tsv")
        files["features"] = _plain_or_gzip(folder, "features.tsv", "genes.tsv")
    return files


def _plain_or_gzip(folder: Path, *names: str) -> Path:
    choices = [folder / f"{name}{ending}" for name in names for ending in (".gz", "")]
    return next((path for path in choices if path.is_file()), choices[0])


def _xenium_outs(path: Path) -> Path:
    """Xenium's output folder; `path` may be it or one level above `outs`."""
    below = path / "outs"
    return below if (below / "experiment.xenium").is_file() else path


def _xenium_files(path: Path) -> dict[str, Path]:
    """Transcripts and experiment; the H&E's alignment and the gene panel where they are there."""
    outs = _xenium_outs(path)
    files = {"transcripts": outs / "transcripts.parquet", "experiment": outs / "experiment.xenium"}
    files |= _alignment_in(outs)
    panel = outs / "cell_feature_matrix.h5"
    if panel.is_file():
        files["panel"] = panel
    return files


def _alignment_in(folder: Path) -> dict[str, Path]:
    """The alignment of the H&E in a folder, if there is one."""
    found = sorted(folder.glob(f"*{ALIGNMENT}"))
    if len(found) > 1:
        raise UserError(
            problem(
                str(folder),
                "several alignments: " + ", ".join(path.name for path in found),
                f"that of the H&E alone, *{ALIGNMENT}",
                "Move the others elsewhere.",
            )
        )
    return {"alignment": found[0]} if found else {}


def _stereoseq_files(path: Path) -> dict[str, Path]:
    """The GEM or GEF, which `path` is or alone holds, and the image's alignment if it is there.

    Beside a file that is named in the sheet, the alignment bears the start of its name, since
    other sections may lie there too.
    """
    if not path.is_dir():
        files = {"molecules": path}
        alignment = path.with_name(f"{path.name.split('.')[0]}_{ALIGNMENT}")
        return files | ({"alignment": alignment} if alignment.is_file() else {})
    found = sorted(file for name in STEREOSEQ_NAMES for file in path.glob(name))
    if len(found) > 1:
        raise UserError(
            problem(
                str(path),
                "several matrices: " + ", ".join(file.name for file in found),
                f"one of {', '.join(STEREOSEQ_NAMES)}",
                "Give the file itself as path in the sample sheet.",
            )
        )
    return {"molecules": found[0] if found else path / "*.gem.gz"} | _alignment_in(path)


def _legacy_st_files(path: Path) -> dict[str, Path]:
    """Spatial Transcriptomics as published with her2st: a count table and a spot selection."""
    selections = sorted(path.glob("*_selection.tsv"))
    selection = selections[0] if selections else path / f"{path.name}_selection.tsv"
    stem = selection.name.removesuffix("_selection.tsv")
    counts = path / f"{stem}.tsv"
    return {
        "counts": counts if counts.is_file() else path / f"{stem}.tsv.gz",
        "selection": selection,
    }
