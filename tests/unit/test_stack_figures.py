"""The figure of a stack: nothing overlaps, and sections in doubt are said to be so."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from figure_text import drawn_texts, overlapping, width_mm

from histoscribe.figures.panels import WIDTH_MM
from histoscribe.figures.stack import draw_stack, stacked_units
from histoscribe.figures.style import save_figure, use_style

EDGE = 12
DOUBT = (
    "the sections hardly agree (0.12); another place fits nearly as well (0.10, 0.09); "
    "the mirror image fits nearly as well (0.10, 0.10)"
)


@pytest.fixture
def stack():
    """Three sections of a block: the reference, one that was turned, one in doubt."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(EDGE), np.arange(EDGE)))
    xy_um = 20.0 * np.column_stack([x, y])
    names = ["block-7_slide-01_left", "two", "three"]
    turned_um = xy_um @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + 4000
    nowhere_um = np.full_like(xy_um, np.nan)
    units = ad.AnnData(obs=pd.DataFrame(index=[str(i) for i in range(3 * EDGE**2)]))
    units.obs["section"] = pd.Categorical(np.repeat(names, EDGE**2), categories=names)
    units.obs["unit"] = np.tile(np.arange(EDGE**2).astype(str), 3)
    units.obs["domain"] = pd.Categorical(np.tile(1 + x // 4 + 3 * (y // 6), 3))
    units.obs["is_placed"] = units.obs["section"] != "three"
    units.obsm["spatial"] = np.vstack([xy_um, turned_um, turned_um])
    depth_um = np.repeat([0.0, 10.0, 20.0], EDGE**2)
    placed_um = np.vstack([xy_um, xy_um, nowhere_um])
    units.obsm["spatial_3d"] = np.column_stack([placed_um, depth_um])
    return units


@pytest.fixture
def alignments(stack):
    return pd.DataFrame(
        {
            "section": stack.obs["section"].cat.categories,
            "depth_um": [0.0, 10.0, 20.0],
            "aligned_to": ["", "block-7_slide-01_left", "two"],
            "rotation_deg": [0.0, -143.0, 90.0],
            "is_reflected": [False, True, False],
            "largest_warp_um": [0.0, 41.3, 0.0],
            "score": [np.nan, 0.91, 0.12],
            "domains_before": [np.nan, np.nan, 0.3],
            "domains_after": [np.nan, 0.81, 0.2],
            "domains_by_chance": [np.nan, 0.17, 0.17],
            "is_trusted": [True, True, False],
            "doubt": ["", "", DOUBT],
        }
    )


def test_a_stack_is_drawn(stack, alignments, repository, tmp_path):
    use_style(repository / "resources/matplotlibrc")
    shown = stacked_units(stack)
    page = draw_stack(shown, alignments, "Stack of block 7")
    words = " ".join(text for text, _ in drawn_texts(page.figure))
    for told in ("mirrored, turned by -143°", "bent by up to 41 µm", "not placed: the sections"):
        assert told in words
    assert overlapping(page.figure) == []
    assert width_mm(page.figure) < WIDTH_MM + 2
    save_figure(page.figure, shown, [tmp_path / "stack.png", tmp_path / "stack.tsv"])
    table = pd.read_csv(tmp_path / "stack.tsv", sep="\t")
    assert table.loc[table["section"] == "three", "stack_x_um"].isna().all()
    assert table.loc[table["section"] == "two", "stack_z_um"].eq(10).all()


def test_a_stack_of_many_sections_stays_on_the_page(stack, alignments, repository):
    use_style(repository / "resources/matplotlibrc")
    names = [f"section-{number}" for number in range(8)]
    shown = pd.concat(
        [stacked_units(stack).iloc[: EDGE**2].assign(section=name) for name in names]
    ).reset_index(drop=True)
    rows = alignments.iloc[[0] + 7 * [1]].assign(section=names, depth_um=10.0 * np.arange(8))
    page = draw_stack(shown, rows.reset_index(drop=True), "Eight sections")
    assert overlapping(page.figure) == []
    assert width_mm(page.figure) < WIDTH_MM + 2
