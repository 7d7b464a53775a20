"""A mistake gives one clear message and nothing that a later step would trust."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from section_files import tissue_image, write_tiff, write_visium_hd

from histoscribe.models.bundle import Bundle, write_bundle

pytestmark = pytest.mark.slow
COLUMNS = ["sample", "donor", "platform", "path", "image", "um_per_px", "unit", "split", "polygons"]


@pytest.fixture(scope="module")
def workplace(new_workplace):
    return new_workplace("bad_inputs", is_whole=True)


class Case:
    """One run with two sections of its own, to be spoilt by the test."""

    def __init__(self, workplace, name):
        self.workplace = workplace
        self.folder = workplace.folder / name
        self.name = name
        self.rows = []
        self.changes = {}
        for sample, split in (("good", "train"), ("bad", "test")):
            write_visium_hd(self.folder / sample, n_rows=40, n_cols=60)
            write_tiff(self.folder / sample / "image.tif", tissue_image(700, 1100), 0.5)
            cells = [
                sample,
                sample,
                "visium_hd",
                sample,
                f"{sample}/image.tif",
                "",
                "bin",
                split,
                "",
            ]
            self.rows.append(dict(zip(COLUMNS, cells, strict=True)))

    def arguments(self):
        pd.DataFrame(self.rows).to_csv(self.folder / "samples.tsv", sep="\t", index=False)
        settings = {
            "run": self.name,
            "samples": f"{self.name}/samples.tsv",
            "data_dir": self.name,
            "genes": {"panel": "panel.txt"},
            **self.changes,
        }
        (self.folder / "panel.txt").write_text("GENE3\nGENE4\n")
        return ["--configfile", self.workplace.write_config(self.name, **settings)]

    def fail(self, *targets):
        """The one message that the user sees, of the run or of one target of it."""
        paths = [f"results/{self.name}/{target}" for target in targets]
        words = self.workplace.fail(*paths, *self.arguments())
        for path in paths:
            assert not (self.workplace.folder / path).exists()
        assert "Traceback" not in words
        return words


@pytest.fixture
def case(workplace, request):
    return Case(workplace, request.node.name.replace("test_", ""))


def spoil(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def matrix_of(case, sample="bad"):
    square = case.folder / sample / "binned_outputs" / "square_008um"
    return square / "filtered_feature_bc_matrix.h5"


def test_truncated_tiff(case):
    spoil(case.folder / "bad/image.tif", 0.6)
    words = case.fail("sections/bad/image.ome.tif")
    assert "truncated" in words or "unreadable TIFF" in words
    assert "bad/image.tif" in words


def test_hdf5_cut_in_half(case):
    spoil(matrix_of(case), 0.5)
    words = case.fail("sections/bad/measured.h5ad")
    assert "filtered_feature_bc_matrix.h5: found an unreadable matrix" in words


def test_positions_without_matching_barcodes(case):
    path = matrix_of(case).parent / "spatial/tissue_positions.parquet"
    frame = pd.read_parquet(path)
    frame.assign(barcode=frame["barcode"] + "x").to_parquet(path)
    assert "no position for 2400 of 2400 barcodes" in case.fail("sections/bad/measured.h5ad")


def test_a_bad_sheet_runs_nothing(case):
    case.rows[0]["split"] = "test"
    case.rows.append({**case.rows[1], "image": "missing.tif"})
    case.rows = [{**row, "colour": "red"} for row in case.rows]
    words = case.fail()
    assert "the unknown column 'colour'" in words
    case.rows = [{k: v for k, v in row.items() if k != "colour"} for row in case.rows]
    words = case.fail()
    assert "3 problems in the sample sheet or config; nothing was run" in words
    assert "no image file at a_bad_sheet_runs_nothing/missing.tif" in words
    assert "the sample of line 3 again" in words
    assert "no row with split train" in words
    assert not (case.workplace.folder / "results" / case.name).exists()


def test_zero_shared_genes(case):
    case.rows[1]["split"] = "train"
    case.changes["genes"] = {"panel": None}
    path = matrix_of(case)
    import h5py

    with h5py.File(path, "r+") as file:
        names = file["matrix/features/name"]
        names[...] = np.array([f"Other{i}" for i in range(len(names))], dtype=names.dtype)
    assert "no gene that all of them measure" in case.fail("genes/default/holdout/genes.tsv")


def test_a_bundle_of_another_encoder(case):
    bundle = Bundle(
        kind="mean",
        settings={},
        tensors={"mean": np.zeros(2, "f4"), "prevalence": np.zeros(2, "f4")},
        genes=["GENE3", "GENE4"],
        encoders={"morphology": {"kind": "timm", "name": "hipt", "tile_um": 128, "um_per_px": 0.5}},
        adapted={},
        use=["local"],
        columns=None,
        feature_mean=np.zeros(4),
        feature_scale=np.ones(4),
        target_sum="median",
        provenance={},
    )
    path = case.folder / "model.safetensors"
    write_bundle(bundle, path)
    case.changes["bundle"] = str(path)
    words = case.fail("pretrained/holdout/predicted/bad.h5ad")
    assert "features of another encoder" in words
    assert "kind: timm" in words


def test_an_image_smaller_than_a_tile(case):
    write_visium_hd(case.folder / "bad", n_rows=5, n_cols=5, origin_px=(0, 0))
    tifffile.imwrite(case.folder / "bad/image.tif", tissue_image(100, 120))
    words = case.fail("features/morphology/bad.h5ad")
    assert "an image of 120 x 100 px; expected at least one tile, 256 x 256 px" in words


def test_polygons_in_the_wrong_scale(case):
    import geopandas as gpd
    import shapely

    for row in case.rows:
        row.update(unit="nucleus", polygons="nuclei.parquet")
        write_visium_hd(case.folder / row["sample"], bin_um=2, n_rows=40, n_cols=60)
    boxes = [shapely.box(x, y, x + 40, y + 40) for x in range(0, 4000, 200) for y in (0, 3000)]
    gpd.GeoDataFrame({"cell_id": range(len(boxes))}, geometry=boxes).to_parquet(
        case.folder / "nuclei.parquet"
    )
    words = case.fail("sections/bad/nuclei.parquet")
    assert "The scale is wrong" in words
    assert "polygons on the image of 550 x 350 um" in words


def test_a_greyscale_image(case):
    grey = tissue_image(700, 1100).mean(axis=2).astype(np.uint8)
    tifffile.imwrite(case.folder / "bad/image.tif", grey, photometric="minisblack")
    words = case.fail("sections/bad/image.ome.tif")
    assert "bad/image.tif: found a greyscale image" in words


def test_a_slide_without_tissue(case):
    glass = np.full((700, 1100, 3), 240, np.uint8)
    write_tiff(case.folder / "bad/image.tif", glass, 0.5)
    assert "found no tissue" in case.fail("sections/bad/tissue.parquet")


def test_polygons_with_faults_are_mended_and_counted(case):
    import geopandas as gpd
    import shapely

    for row in case.rows:
        row.update(unit="nucleus", polygons="nuclei.parquet")
        write_visium_hd(case.folder / row["sample"], bin_um=2, n_rows=40, n_cols=60)
    good = [shapely.box(x, y, x + 6, y + 6) for x in range(20, 500, 20) for y in (30, 60, 90)]
    bow_tie = shapely.Polygon([(20, 130), (28, 138), (28, 130), (20, 138)])
    faulty = [bow_tie, shapely.Polygon(), shapely.box(900, 20, 906, 26), good[0]]
    gpd.GeoDataFrame({"cell_id": range(76)}, geometry=good + faulty).to_parquet(
        case.folder / "nuclei.parquet"
    )
    folder = f"results/{case.name}/sections/good"
    words = case.workplace.run(f"{folder}/units.raw.h5ad", *case.arguments())
    repairs = pd.read_csv(
        case.workplace.folder / folder / "nuclei.repairs.tsv", sep="\t", index_col=0
    )["count"]
    assert repairs[["read", "kept"]].tolist() == [76, 73]
    for fault in ("repaired_invalid", "empty_dropped", "outside_dropped", "duplicates_dropped"):
        assert repairs[fault] == 1
        assert f"{fault} 1" in words
