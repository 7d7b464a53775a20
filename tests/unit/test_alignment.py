"""The commonest user errors are named, and what is right raises no alarm."""

import logging

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image
from scipy import ndimage, sparse

from check_alignment import main
from histoscribe import density
from histoscribe.alignment import ORIENTATIONS, AlignmentSettings, orient, verdict_of
from histoscribe.density import read_molecules
from histoscribe.errors import UserError
from histoscribe.features.stain import estimate_stain, optical_density
from histoscribe.image import Slide, write_rescaled
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.simulation import SimulationSettings, simulate_section

UM_PER_PX = 0.5
SIZE_UM = 420.0


class Section:
    """A simulated section's image, bins and nuclei, as the workflow holds them."""

    def __init__(self, seed, folder):
        simulated = simulate_section(
            SimulationSettings(
                sample="s", seed=seed, donor_seed=seed, width_um=SIZE_UM, height_um=SIZE_UM
            )
        )
        seen = simulated.positions[simulated.positions["in_tissue"] == 1]
        self.xy_um = UM_PER_PX * seen[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
        self.umi = np.asarray(simulated.bins.sum(axis=1)).ravel()
        self.pixels = simulated.image
        self.image = self.write_image(simulated.image, folder / f"{seed}.ome.tif")
        self.outlines = shapely.polygons(simulated.polygons_um)

    @staticmethod
    def write_image(pixels, path):
        write_rescaled(Slide(path, pixels, UM_PER_PX), UM_PER_PX, UM_PER_PX, path)
        return path


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections")
    return {seed: Section(seed, folder) for seed in (1, 2)}


@pytest.fixture
def check(tmp_path):
    """Run the entry on an image and positions; the table it wrote."""

    def run(image, xy_um, umi, nuclei=None, unit_um=2.0):
        bins = ad.AnnData(sparse.csr_matrix(np.asarray(umi)[:, None].astype(np.int32)))
        bins.obsm["spatial"] = np.asarray(xy_um)
        bins.uns[RECORD_KEY] = record(unit_size_um=unit_um)
        bins.write_h5ad(tmp_path / "measured.h5ad")
        if nuclei is not None:
            frame = gpd.GeoDataFrame({"area_um2": shapely.area(nuclei)}, geometry=nuclei)
            frame.to_parquet(tmp_path / "nuclei.parquet")
        output = tmp_path / "alignment.tsv"
        polygons = tmp_path / "nuclei.parquet" if nuclei is not None else None
        main(image, tmp_path / "measured.h5ad", polygons, "s", UM_PER_PX, {}, output)
        table = pd.read_csv(output, sep="\t")
        assert verdict_of(output) == table["verdict"][0]
        return table

    return run


@pytest.mark.parametrize("seed", [1, 2])
def test_a_right_section_raises_no_alarm(sections, check, caplog, seed):
    section = sections[seed]
    table = check(section.image, section.xy_um, section.umi, section.outlines)
    assert table["verdict"].dropna().tolist() == ["aligned", "aligned"]
    assert table["shift_um"][0] < 2
    assert not caplog.records


@pytest.mark.parametrize(
    "name", ["mirrored in x", "mirrored in y", "rotated by 180", "swapped in x and y"]
)
def test_turned_positions_are_named(sections, check, caplog, name):
    section = sections[1]
    turned = orient(section.xy_um, np.array([SIZE_UM, SIZE_UM]), *ORIENTATIONS[name])
    table = check(section.image, turned, section.umi)
    assert table["verdict"][0] == name
    assert name.upper() in caplog.text
    assert all(record.levelno == logging.WARNING for record in caplog.records)


@pytest.mark.parametrize("shift_um", [(40.0, 0.0), (-12.0, 20.0)])
def test_a_shift_is_measured(sections, check, shift_um):
    section = sections[1]
    table = check(section.image, section.xy_um + shift_um, section.umi)
    assert table["verdict"][0] == "shifted"
    np.testing.assert_allclose(
        table.loc[0, ["dx_um", "dy_um"]].astype(float), -np.array(shift_um), atol=2
    )


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_another_resolution_is_named(sections, check, scale):
    section = sections[2]
    table = check(section.image, section.xy_um * scale, section.umi)
    assert table["verdict"][0] == "scaled"
    assert f"scaled by {1 / scale:.2f}"[:-1] in table["detail"][0]


def test_another_sections_image_is_caught_even_where_nuclei_fit(sections, check, caplog):
    first, second = sections[1], sections[2]
    table = check(first.image, second.xy_um, second.umi, second.outlines).set_index("compared")
    assert table["verdict"].dropna().to_dict() == {"image": "unrelated", "nuclei": "aligned"}
    assert "another section" in caplog.text


def as_cytassist(pixels):
    """Eosin without haematoxylin, blurred, 5 um/px, enlarged to the working resolution."""
    stain = estimate_stain(Slide(None, pixels, UM_PER_PX), UM_PER_PX)
    amounts = optical_density(pixels, stain.white) @ np.linalg.inv(stain.vectors)
    amounts[..., 0] *= 0.2
    density = ndimage.gaussian_filter(amounts @ stain.vectors, (4.0 / UM_PER_PX,) * 2 + (0,))
    rgb = np.clip(stain.white * np.exp(-density), 0, 255).astype(np.uint8)
    small = Image.fromarray(rgb).resize((84, 84), Image.Resampling.BOX)
    return np.asarray(small.resize(rgb.shape[1::-1], Image.Resampling.BICUBIC))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cytassist_image_is_named(sections, check, caplog, tmp_path, seed):
    section = sections[seed]
    image = Section.write_image(as_cytassist(section.pixels), tmp_path / "c.ome.tif")
    table = check(image, section.xy_um, section.umi, section.outlines)
    assert table["verdict"][0] == "no nuclear stain"
    assert "CytAssist" in caplog.text


def test_what_cannot_be_seen_is_not_judged(sections, check):
    section = sections[1]
    rng = np.random.default_rng(0)
    spots = rng.uniform(50, SIZE_UM - 50, (12, 2))
    assert check(section.image, spots, np.ones(12), unit_um=100.0)["verdict"][0] == "not checked"
    few = section.xy_um[(section.xy_um < 60).all(axis=1)] + 100
    table = check(section.image, few, rng.poisson(3, len(few)))
    assert table["verdict"][0] == "not checked"


def test_few_outlines_raise_no_alarm(sections, check, caplog):
    """A pathologist's few outlines say nothing of the image; many in wrong places do."""
    section = sections[1]
    inside = shapely.intersects_xy(
        shapely.box(150, 150, 230, 230),
        *shapely.get_coordinates(shapely.centroid(section.outlines)).T,
    )
    some = np.random.default_rng(0).random(len(section.outlines)) < 0.02
    for few in (inside, some):
        table = check(section.image, section.xy_um, section.umi, section.outlines[few])
        assert set(table["verdict"].dropna()) <= {"aligned", "not checked"}
    assert not caplog.records
    table = check(section.image, section.xy_um, section.umi, sections[2].outlines)
    assert table.set_index("compared")["verdict"].dropna()["nuclei"] == "unrelated"


def test_single_transcripts_are_checked(sections, tmp_path):
    section = sections[2]
    rng = np.random.default_rng(0)
    xy_um = np.repeat(section.xy_um, section.umi, axis=0)
    xy_um = xy_um + rng.uniform(-1, 1, xy_um.shape)
    verdicts = []
    for shift in (0.0, 30.0):
        path = tmp_path / "transcripts.parquet"
        pd.DataFrame(xy_um + shift, columns=["x_um", "y_um"]).to_parquet(path)
        main(section.image, path, None, "s", UM_PER_PX, {}, tmp_path / "alignment.tsv")
        verdicts.append(verdict_of(tmp_path / "alignment.tsv"))
    assert verdicts == ["aligned", "shifted"]


def test_settings_move_the_limit(sections, tmp_path, check):
    section = sections[2]
    check(section.image, section.xy_um + np.array([12.0, 0.0]), section.umi)
    assert verdict_of(tmp_path / "alignment.tsv") == "shifted"
    output = tmp_path / "wide.tsv"
    main(
        section.image,
        tmp_path / "measured.h5ad",
        None,
        "s",
        UM_PER_PX,
        {"max_shift_um": 20.0},
        output,
    )
    assert verdict_of(output) == "aligned"
    assert AlignmentSettings().max_shift_um < 12


def test_molecules_are_summed_over_squares(tmp_path):
    xy_um = np.array([[0.5, 0.5], [1.9, 1.0], [2.1, 0.0], [-0.5, 3.0], [7.0, 900.0]], np.float32)
    path = tmp_path / "transcripts.parquet"
    pd.DataFrame({"x_um": xy_um[:, 0], "y_um": xy_um[:, 1], "gene": "A"}).to_parquet(path)
    molecules = read_molecules(path)
    assert molecules.unit_um is None
    pairs = zip(molecules.xy_um.tolist(), molecules.umi.tolist(), strict=True)
    found = {tuple(at): n for at, n in pairs}
    assert found == {(1, 1): 2, (3, 1): 1, (-1, 3): 1, (7, 901): 1}


def test_molecules_come_batch_by_batch(tmp_path, monkeypatch):
    """Over several batches and arrays, left of the image too, none is lost or moved."""
    monkeypatch.setattr(density, "MOLECULES_AT_ONCE", 700)
    xy_um = np.random.default_rng(0).normal(0, 3000, (5000, 2)).astype(np.float32).repeat(2, axis=0)
    path = tmp_path / "transcripts.parquet"
    pd.DataFrame(xy_um, columns=["x_um", "y_um"]).to_parquet(path)
    molecules = density.read_molecules(path)
    expected, n = np.unique(np.floor(xy_um / 2) * 2 + 1, axis=0, return_counts=True)
    order = np.lexsort(molecules.xy_um.T[::-1])
    np.testing.assert_array_equal(molecules.xy_um[order], expected)
    np.testing.assert_array_equal(molecules.umi[order], n)


def test_a_damaged_transcript_table_is_a_user_error(tmp_path):
    (tmp_path / "transcripts.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(UserError, match="an unreadable file"):
        density.read_molecules(tmp_path / "transcripts.parquet")
