"""Folds: who is trained on and tested in each, and which settings are refused before any job."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from section_files import tissue_image, write_tiff, write_visium_hd

from histoscribe.adapted.reach import reach_um
from histoscribe.block_split import BlockSplit
from histoscribe.errors import UserError
from histoscribe.experiments import FeatureChoice, merge, resolve_experiments
from histoscribe.folds import fold_problems, resolve_folds, widest_um
from histoscribe.run import Run, Section, load_run

ROWS = [
    ("a", "d1", "train"),
    ("b", "d2", "train"),
    ("c", "d2", "train"),
    ("v", "d3", "validation"),
    ("t", "d4", "test"),
    ("p", "d4", "predict"),
]


@pytest.fixture(scope="module")
def defaults(repository):
    return yaml.safe_load((repository / "config/config.yaml").read_text())


def section(sample, donor, split, image=None):
    image = Path(image or f"{sample}.tif")
    return Section(
        sample,
        donor,
        "visium_hd",
        Path(sample),
        image,
        None,
        "bin",
        split,
        None,
        None,
        None,
        None,
        {},
    )


def folds_of(defaults, rows=ROWS, overrides=None, **changes):
    config = merge(defaults, changes)
    sections = {row[0]: section(*row) for row in rows}
    run = Run(sections, resolve_experiments(config, overrides or {"full": {}}))
    return resolve_folds(run, config)


def problems_of(defaults, rows=ROWS, overrides=None, **changes):
    sections = [section(*row) for row in rows]
    return fold_problems(sections, merge(defaults, changes), overrides or {"full": {}})


def sides(folds):
    return {name: (fold.training, fold.tested) for name, fold in folds.items()}


def test_holdout_is_the_split_of_the_sheet(defaults):
    (fold,) = folds_of(defaults).values()
    assert (fold.name, fold.training, fold.tested) == ("holdout", ("a", "b", "c"), ("t",))
    assert fold.validation == ("v",)
    assert fold.blocks is None


def test_donors_and_sections_take_turns(defaults):
    assert sides(folds_of(defaults, folds={"scheme": "donor"})) == {
        "donor-d1": (("b", "c"), ("a", "t")),
        "donor-d2": (("a",), ("b", "c", "t")),
    }
    by_section = folds_of(defaults, folds={"scheme": "section"})
    assert list(by_section) == ["section-a", "section-b", "section-c"]
    assert sides(by_section)["section-b"] == (("a", "c"), ("b", "t"))
    assert {fold.validation for fold in by_section.values()} == {("v",)}


def test_block_folds_cut_every_training_section(defaults):
    settings = {"scheme": "blocks", "n_folds": 3, "block_um": 500}
    folds = folds_of(defaults, folds=settings, seed=7)
    assert list(folds) == ["blocks-1", "blocks-2", "blocks-3"]
    assert folds["blocks-2"].blocks == BlockSplit(1, 3, 500, 128, 7)
    assert sides(folds)["blocks-2"] == (("a", "b", "c"), ("a", "b", "c", "t"))
    wider = folds_of(defaults, folds={**settings, "buffer_um": 300})
    assert wider["blocks-1"].blocks.buffer_um == 300


@pytest.mark.parametrize("scheme", ["donor", "section", "blocks"])
def test_where_nothing_is_trained_there_is_one_fold(defaults, scheme):
    for rows, bundle in ((ROWS, "model.safetensors"), (ROWS[4:], None), ([], None)):
        folds = folds_of(defaults, rows, folds={"scheme": scheme}, bundle=bundle)
        assert list(folds) == ["holdout"]
        assert problems_of(defaults, rows, folds={"scheme": scheme}, bundle=bundle) == []


def test_the_buffer_is_as_wide_as_any_encoder_in_use_sees(defaults):
    config = deepcopy(defaults)

    def widest(encoders, neighbours_um=()):
        use = ["local", "global"]
        return widest_um(config, [FeatureChoice(encoders, use, None, list(neighbours_um), False)])

    assert widest(["morphology"]) == 128
    assert widest(["morphology"], [20, 50]) == 128 + 2 * 50
    config["features"]["encoders"]["nuclei"] = {"kind": "nuclei", "radius_um": 200}
    assert widest(["morphology", "nuclei"]) == 400
    assert widest(["morphology", "nuclei"], [30]) == 400 + 2 * 30
    reach = reach_um(1, 0.5)
    assert widest(["adapted", "morphology"]) == 64 + reach > 128
    overrides = {"full": {}, "own": {"features": {"encoder": ["adapted", "morphology"]}}}
    folds = folds_of(config, overrides=overrides, folds={"scheme": "blocks"})
    assert folds["blocks-1"].blocks.buffer_um == 64 + reach
    (words,) = problems_of(config, ROWS, overrides, folds={"scheme": "blocks", "buffer_um": 200})
    assert f"folds/buffer_um: found 200 um; expected at least {64 + reach:g} um" in words
    overrides = {"far": {"features": {"neighbours_um": [100]}}}
    folds = folds_of(config, overrides=overrides, folds={"scheme": "blocks"})
    assert folds["blocks-1"].blocks.buffer_um == 128 + 2 * 100


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (ROWS[1:], {"folds": {"scheme": "donor"}}, "found one donor (d2) with split train"),
        (ROWS[2:], {"folds": {"scheme": "section"}}, "found one section (c) with split train"),
        (ROWS, {"folds": {"scheme": "section"}}, "several sections of donor d2, in a run of"),
        ([*ROWS, ("e", "a/b", "train")], {"folds": {"scheme": "donor"}}, "found 'a/b', after"),
        (
            ROWS,
            {"folds": {"scheme": "blocks"}, "stain": {"method": "macenko"}},
            "found blocks with stain.method macenko",
        ),
        (ROWS, {"folds": {"scheme": "blocks", "buffer_um": 127}}, "expected at least 128 um"),
        (
            [*ROWS, ("e", "d1", "train", "b.tif")],
            {"folds": {"scheme": "donor"}},
            "b.tif in training and in test",
        ),
        (
            [*ROWS, ("e", "d1", "train", "./x/../a.tif")],
            {"folds": {"scheme": "blocks"}},
            "fold blocks-1, samples a and e",
        ),
    ],
)
def test_problems(defaults, rows, changes, message):
    (words,) = problems_of(defaults, rows, **changes)
    assert message in words


def test_holdout_has_no_problems_of_folds(defaults):
    changes = {"stain": {"method": "macenko"}, "folds": {"buffer_um": 1}}
    assert problems_of(defaults, ROWS, **changes) == []


def test_problems_of_folds_come_with_all_others(defaults, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_visium_hd(tmp_path / "a")
    write_tiff(tmp_path / "a/image.tif", tissue_image(200, 300), 0.5)
    (tmp_path / "experiments.yaml").write_text("full: {}\n")
    (tmp_path / "samples.tsv").write_text(
        "sample\tdonor\tplatform\tpath\timage\tum_per_px\tunit\tsplit\n"
        "a\td1\tvisium_hd\ta\ta/image.tif\t99\tbin\ttrain\n"
    )
    shipped = defaults["segmentation"]["segmenters"]["histoscribe_he"]["folder"]
    paths = {"samples": "samples.tsv", "experiments": "experiments.yaml"}
    config = merge(defaults, {**paths, "folds": {"scheme": "donor"}})
    segmenters = config["segmentation"]["segmenters"]
    segmenters["histoscribe_he"]["folder"] = str(repository / shipped)
    for part, key in (("programs", "sets"), ("annotation", "markers")):
        config[part] = {**config[part], key: [str(repository / p) for p in config[part][key]]}
    with pytest.raises(UserError, match="2 problems") as caught:
        load_run(config, repository / "workflow/schemas")
    assert "found um_per_px 99" in str(caught.value)
    assert "found one donor (d1)" in str(caught.value)
