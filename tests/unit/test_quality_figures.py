import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import sparse
from section_files import tissue_image

import filter_units
import plot_nuclei
import plot_quality
from histoscribe.figures.nuclei_overlay import choose_windows, overlay_table
from histoscribe.figures.quality import QUANTITIES, quality_table, readable_step
from histoscribe.filtering import add_quality
from histoscribe.image import Slide, write_rescaled
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.storage import write_h5ad

SETTINGS = {"area_um2_above": 5, "area_px2_below": 2000, "umi_above": 20}
SETTINGS |= {"mito_fraction_below": 0.15}


def palette_files(repository):
    return repository / "resources" / "matplotlibrc", repository / "resources" / "palette.tsv"


@pytest.fixture(scope="module")
def quality(tmp_path_factory, repository):
    """Raw units through the filter and the figure: raw units, kept units, account, numbers."""
    tmp_path = tmp_path_factory.mktemp("quality")
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(1.2, 3.0, (300, 1)), (300, 20))
    raw = ad.AnnData(
        sparse.csr_matrix(counts.astype(np.int32)),
        obs=pd.DataFrame(
            {"area_um2": rng.gamma(4, 15, 300)}, index=[f"nucleus_{i}" for i in range(300)]
        ),
        var=pd.DataFrame(index=[*(f"GENE{i}" for i in range(18)), "MT-CO1", "MT-ND1"]),
    )
    add_quality(raw)
    total = int(raw.X.sum())
    facts = {
        "bins_under_tissue": 9000,
        "bins_in_one_nucleus": 3000,
        "bins_in_several_nuclei": 20,
        "umi_under_tissue": 3 * total,
        "umi_in_nuclei": total + 50,
        "umi_assigned": total,
    }
    raw.uns[RECORD_KEY] = record(platform="visium_hd", um_per_px=0.25, accounting=facts)
    write_h5ad(raw, tmp_path / "raw.h5ad")
    paths = [tmp_path / f"{name}" for name in ("raw.h5ad", "units.h5ad", "account.tsv")]
    filter_units.main(paths[0], SETTINGS, *paths[1:])
    outputs = [tmp_path / f"quality.{ending}" for ending in ("pdf", "png", "tsv")]
    plot_quality.main(paths[0], paths[2], "s", SETTINGS, *palette_files(repository), outputs)
    assert outputs[1].read_bytes()[:4] == b"\x89PNG"
    kept = ad.read_h5ad(paths[1])
    return raw, kept, pd.read_csv(paths[2], sep="\t"), pd.read_csv(outputs[2], sep="\t")


def test_account_goes_from_tissue_to_kept_molecules(quality):
    raw, kept, account, table = quality
    left = account.set_index("rule")["left"]
    assert left["umi_kept"] == kept.X.sum()
    steps = table[table["panel"] == "steps"].set_index("label")
    names = ["umi_under_tissue", "umi_in_nuclei", "umi_assigned", "umi_kept"]
    assert steps.loc[names, "count"].is_monotonic_decreasing
    assert steps.loc["umi_kept", "share"] == pytest.approx(
        kept.X.sum() / (3 * raw.X.sum()), rel=1e-4
    )
    units = table[table["panel"] == "units"]
    assert units["count"].tolist()[0] == raw.n_obs
    assert units["count"].tolist()[-1] == kept.n_obs
    assert 0 < kept.n_obs < raw.n_obs


def test_drawn_cuts_are_the_applied_ones(quality):
    _, _, account, table = quality
    drawn = table[table["panel"] == "cuts"].set_index("label")
    applied = account[(account["stage"] == "filter") & (account["rule"] != "all")]
    assert drawn["count"].to_dict() == applied.set_index("rule")["failing"].to_dict()
    # Pixels of the full image, on an axis in um2.
    assert drawn.loc["area_px2 < 2000", "high"] == pytest.approx(2000 * 0.25**2)


def test_histograms_hold_every_unit(quality):
    raw, _, _, table = quality
    for quantity in QUANTITIES:
        bars = table[table["panel"] == quantity]
        assert bars["count"].sum() == raw.n_obs
        for low, high, count in bars[["low", "high", "count"]].itertuples(index=False):
            values = raw.obs[quantity]
            # Five digits are written: leave out edges that stand for themselves only nearly.
            if (
                not np.isclose(values, low, rtol=1e-3).any()
                and not np.isclose(values, high, rtol=1e-3).any()
            ):
                assert ((values >= low) & (values < high)).sum() == count


def test_kept_molecules_are_a_share_of_the_transcripts():
    left = {"transcripts_decoded": 900, "transcripts_under_tissue": 800}
    left |= {"transcripts_assigned": 400, "all": 10, "umi_kept": 200}
    account = pd.DataFrame({"stage": "counting", "rule": left.keys(), "left": left.values()})
    account.loc[account["rule"] == "all", "stage"] = "filter"
    table = quality_table(account, pd.DataFrame(index=range(10)), [])
    share = table[table["panel"] == "steps"].set_index("label")["share"]
    assert share.to_dict() == {
        "transcripts_under_tissue": 1, "transcripts_assigned": 0.5, "umi_kept": 0.25
    }  # fmt: skip


def test_steps_are_called_what_they_are():
    """What is counted in grown cells, or shared by area, is not said to lie in nuclei."""
    left = {"bins_under_tissue": 90, "bins_touching_one_nucleus": 50, "umi_under_tissue": 400}
    left |= {"umi_in_touched_bins": 300, "umi_assigned": 200, "all": 10, "umi_kept": 100}
    account = pd.DataFrame({"stage": "counting", "rule": left.keys(), "left": left.values()})
    account.loc[account["rule"] == "all", "stage"] = "filter"
    table = quality_table(account, pd.DataFrame(index=range(10)), [])
    steps = table[table["panel"] == "steps"]
    assert [readable_step(step) for step in steps["label"]] == [
        "molecules under tissue", "in touched bins", "assigned to one unit", "in kept units",
        "bins under tissue", "touching one nucleus",
    ]  # fmt: skip
    assert steps["share"].round(2).tolist() == [1, 0.75, 0.5, 0.25, 1, 0.56]


def test_an_image_alone_has_areas_only(tmp_path, repository):
    units = ad.AnnData(
        sparse.csr_matrix((40, 0), dtype=np.int32),
        obs=pd.DataFrame({"area_um2": np.linspace(1, 60, 40)}, index=[str(i) for i in range(40)]),
    )
    add_quality(units)
    units.uns[RECORD_KEY] = record(platform="image", um_per_px=0.5, accounting={})
    write_h5ad(units, tmp_path / "raw.h5ad")
    filter_units.main(tmp_path / "raw.h5ad", SETTINGS, tmp_path / "u.h5ad", tmp_path / "a.tsv")
    outputs = [tmp_path / "q.png", tmp_path / "q.tsv"]
    plot_quality.main(
        tmp_path / "raw.h5ad",
        tmp_path / "a.tsv",
        "s",
        SETTINGS,
        *palette_files(repository),
        outputs,
    )
    table = pd.read_csv(outputs[1], sep="\t")
    assert set(table["panel"]) == {"units", "cuts", "area_um2"}


@pytest.fixture
def nuclei():
    rng = np.random.default_rng(0)
    centre = np.concatenate([rng.uniform(0, 1000, (300, 2)), rng.normal(700, 40, (300, 2))])
    outlines = shapely.buffer(shapely.points(centre), rng.uniform(2, 5, 600))
    return gpd.GeoDataFrame({"area_um2": shapely.area(outlines)}, geometry=outlines)


def test_each_window_lies_in_the_one_before_and_holds_nuclei(nuclei):
    centre = shapely.get_coordinates(shapely.centroid(np.asarray(nuclei.geometry)))
    windows = choose_windows(centre, (1000.0, 1000.0))
    assert [window.width_um for window in windows] == [1000, 400, 100]
    boxes = [shapely.box(*window.bounds) for window in windows]
    assert shapely.covers(boxes[0], boxes[1])
    assert shapely.covers(boxes[1], boxes[2])
    table = overlay_table(nuclei, windows, None)
    assert (table["n_nuclei"] > 0).all()
    assert table["n_nuclei"].tolist() == [
        shapely.contains_properly(box, shapely.points(centre)).sum() for box in boxes
    ]


def test_density_is_that_of_the_tissue(nuclei):
    centre = shapely.get_coordinates(shapely.centroid(np.asarray(nuclei.geometry)))
    whole = choose_windows(centre, (1000.0, 1000.0))[:1]
    assert overlay_table(nuclei, whole, None)["nuclei_per_mm2"][0] == pytest.approx(600)
    half = overlay_table(nuclei, whole, np.array([shapely.box(0, 0, 1000, 500)]))
    assert half["nuclei_per_mm2"][0] == pytest.approx(2 * (centre[:, 1] < 500).sum())
    assert half["n_nuclei"][0] == 600
    glass = overlay_table(nuclei, whole, np.array([shapely.box(2000, 0, 2100, 500)]))
    assert np.isnan(glass["nuclei_per_mm2"][0])


@pytest.mark.parametrize("size_px", [(300, 260), (120, 90)])
def test_overlay_is_drawn(tmp_path, repository, nuclei, size_px):
    image = tmp_path / "image.ome.tif"
    write_rescaled(Slide(image, tissue_image(*size_px), 1.0), 1.0, 1.0, image)
    on_image = nuclei[nuclei.within(shapely.box(0, 0, size_px[1], size_px[0]))]
    on_image.to_parquet(tmp_path / "nuclei.parquet")
    outputs = [tmp_path / f"nuclei.{ending}" for ending in ("pdf", "png", "tsv")]
    plot_nuclei.main(
        image, tmp_path / "nuclei.parquet", None, 1.0, *palette_files(repository), outputs
    )
    table = pd.read_csv(outputs[2], sep="\t")
    assert table["zoom"].tolist() == [0, 1, 2]
    assert table["n_nuclei"][0] == len(on_image)
    assert outputs[1].read_bytes()[:4] == b"\x89PNG"
