"""A run's sheet and config, checked as a whole before any job starts."""

import copy

import pytest
import yaml
from section_files import tissue_image, write_tiff, write_visium, write_visium_hd

from histoscribe.errors import UserError
from histoscribe.experiments import BASELINES
from histoscribe.platforms import measured_files, own_nuclei
from histoscribe.run import load_run

HEADER = "sample donor platform path image um_per_px unit split"


@pytest.fixture
def folder(tmp_path, monkeypatch, repository):
    """A folder with three sections, a sheet and the shipped config and experiments."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        write_visium_hd(tmp_path / name)
        write_tiff(tmp_path / name / "image.tif", tissue_image(200, 300), 0.5)
    (tmp_path / "experiments.yaml").write_text("full: {}\nlocal-only: {features: {use: [local]}}\n")
    return tmp_path


@pytest.fixture
def config(repository, folder):
    settings = yaml.safe_load((repository / "config" / "config.yaml").read_text())
    shipped = settings["segmentation"]["segmenters"]["histoscribe_he"]
    shipped["folder"] = str(repository / shipped["folder"])
    programs = settings["programs"]
    programs["sets"] = [str(repository / path) for path in programs["sets"]]
    annotation = settings["annotation"]
    annotation["markers"] = [str(repository / path) for path in annotation["markers"]]
    return {**settings, "samples": "samples.tsv", "experiments": "experiments.yaml"}


def row(sample, donor, split, **changes):
    cells = {
        "sample": sample,
        "donor": donor,
        "platform": "visium_hd",
        "path": sample,
        "image": f"{sample}/image.tif",
        "um_per_px": "",
        "unit": "bin",
        "split": split,
    }
    return {**cells, **changes}


GOOD = [row("a", "d1", "train"), row("b", "d1", "train"), row("c", "d2", "test")]


def write_sheet(folder, rows):
    columns = list(dict.fromkeys(column for r in rows for column in r)) or HEADER.split()
    lines = ["\t".join(columns), *("\t".join(r.get(c, "") for c in columns) for r in rows)]
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")


def load(config, folder, rows, repository):
    write_sheet(folder, rows)
    return load_run(config, repository / "workflow" / "schemas")


def problems_of(config, folder, rows, repository):
    with pytest.raises(UserError) as caught:
        load(config, folder, rows, repository)
    return str(caught.value)


def test_a_good_sheet(config, folder, repository):
    run = load(config, folder, GOOD, repository)
    assert run.samples("train") == ["a", "b"]
    assert run.samples("test") == ["c"]
    assert list(run.experiments) == ["full", "local-only", *BASELINES]
    assert run.sections["a"].measured["matrix"].is_file()
    assert {e.gene_set for e in run.experiments.values()} == {"default"}


@pytest.mark.parametrize(
    "name", ["dna.tsv", "dna.csv.gz", "dna.GeoJSON", "dna.h5ad", "dna.parquet"]
)
def test_dna_lies_where_the_sheet_says(config, folder, repository, name):
    (folder / name).touch()
    sections = load(config, folder, [{**GOOD[0], "dna": name}, *GOOD[1:]], repository).sections
    assert [section.dna and section.dna.name for section in sections.values()] == [name, None, None]


def test_experiments_with_other_genes_have_their_own_gene_set(config, folder, repository):
    (folder / "experiments.yaml").write_text(
        "full: {}\nfew: {genes: {max_genes: 9}}\nfew-prts: {genes: {max_genes: 9}, "
        "model: {kind: prts, prts: {dropout: 0.3}}}\n"
    )
    run = load(config, folder, GOOD, repository)
    assert run.experiments["few-prts"].gene_set == "few"
    assert run.experiments["few-prts"].model_settings["dropout"] == 0.3
    assert run.experiments["few-prts"].model_settings["hidden"] == [512, 512, 1024, 1024]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**GOOD[0], "colour": "x"}, *GOOD[1:]], "the unknown column 'colour'"),
        ([GOOD[0], GOOD[0], GOOD[2]], "the sample of line 2 again"),
        ([row("a", "d1", "train", image="no.tif"), GOOD[2]], "no image file at no.tif"),
        ([row("a", "d1", "train", path="nowhere"), GOOD[2]], "no matrix file at nowhere"),
        (
            [row("a", "d1", "train", platform="stereoseq", path="a"), GOOD[2]],
            "no molecules file at a/*.gem.gz; expected a file named *.gem or *.gem.gz or *.gef",
        ),
        (
            [row("a", "d1", "train", platform="stereoseq", path="no.gem", unit="spot"), GOOD[2]],
            "unit spot on platform stereoseq; expected nucleus or cell or bin",
        ),
        ([row("a", "d1", "train", dna="no.tsv"), GOOD[2]], "no dna file at no.tsv"),
        ([row("a", "d1", "train", dna="a/image.tif"), GOOD[2]], "dna image.tif; expected a file"),
        ([GOOD[2]], "no row with split train"),
        ([], "no row with split train"),
        ([row("a", "d1", "train"), row("b", "d1", "test"), row("c", "d2", "test")], "donor d1"),
        ([row("a", "d1", "train", um_per_px="50")], "um_per_px 50"),
        ([row("a", "d1", "train", um_per_px="0,5")], "um_per_px: found '0,5'"),
        ([row("a", "d1", "train", unit="spot")], "unit spot on platform visium_hd"),
        ([row("a", "d1", "train", platform="image")], "split train on platform image"),
        ([row("a", "d", "none", platform="image", path="")], "nothing to do for it"),
        ([row("a", "d1", "train", platform="merfish")], "platform: found 'merfish'"),
        ([row("a/../b", "d1", "train")], "letters, digits"),
        ([row("a", "", "train")], "'donor' is a required property"),
        ([GOOD[0], row("b", "d1", "train", unit="nucleus")], "one kind a run"),
    ],
)
def test_each_problem_is_named(config, folder, repository, rows, message):
    assert message in problems_of(config, folder, rows, repository)


def test_one_donor_only_may_stand_on_both_sides(config, folder, repository):
    rows = [row("a", "d1", "train"), row("c", "d1", "test")]
    assert load(config, folder, rows, repository).samples("test") == ["c"]


@pytest.mark.parametrize("role", ["image", "path"])
@pytest.mark.parametrize("donors", [("d1", "d1"), ("d1", "d2")])
def test_one_section_is_not_in_two_splits(config, folder, repository, role, donors):
    """Whatever the name, the donor and the spelling of the path."""
    same = {"image": "./b/../a/image.tif", "path": "a/binned_outputs"}[role]
    rows = [row("a", donors[0], "train"), row("c", donors[1], "test", **{role: same})]
    words = problems_of(config, folder, rows, repository)
    assert words.startswith("one problem")
    assert f"line 3, sample c: found with split test the {role} of line 2" in words
    rows[1]["split"] = "predict"
    assert load(config, folder, rows, repository).samples("predict") == ["c"]


def test_one_image_may_serve_two_rows_of_a_split(config, folder, repository):
    rows = [GOOD[0], row("b", "d1", "train", image="a/image.tif"), GOOD[2]]
    assert load(config, folder, rows, repository).samples("train") == ["a", "b"]


def test_lines_are_counted_as_an_editor_does(config, folder, repository):
    write_sheet(folder, [GOOD[0], row("b", "d1", "train", um_per_px="99"), GOOD[2]])
    path = folder / "samples.tsv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join(["# mine", "", header, lines[0], "", "# b", *lines[1:], ""]))
    with pytest.raises(UserError, match="line 7, sample b: found um_per_px 99"):
        load_run(config, repository / "workflow" / "schemas")


@pytest.mark.parametrize("donor", ["NA", "None"])
def test_a_donor_of_any_name(config, folder, repository, donor):
    rows = [row("a", donor, "train"), row("c", donor, "test")]
    assert load(config, folder, rows, repository).sections["a"].donor == donor


def test_all_problems_come_at_once_with_their_lines(config, folder, repository):
    rows = [
        row("a", "d1", "train", image="no.tif", um_per_px="99"),
        row("a", "d2", "train", unit="spot"),
        row("c", "d2", "test"),
    ]
    text = problems_of(config, folder, rows, repository)
    assert text.startswith("6 problems")
    for part in ("line 2, sample a", "line 3, sample a", "donor d2", "99", "no.tif", "spot"):
        assert part in text


SEGMENTER = {"simulated": ["a", "b"], "stained": "d"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "'colour' was unexpected"),
        ({"image": {"um_per_px": -1}}, "image/um_per_px"),
        ({"features": {"use": ["globe"]}}, "'globe' is not one of"),
        ({"features": {"encoder": "uni"}}, "features/encoder: found uni"),
        ({"model": {"kind": "forest"}}, "'forest' is not one of"),
        ({"bundle": "no.safetensors"}, "config, bundle"),
        ({"genes": {"panel": "no.txt"}}, "no file at no.txt"),
        ({"samples": "no.tsv"}, "no readable table"),
        ({"features": {"tile_um": 31}}, "features/tile_um: found 31 um; expected at least 32 um"),
        ({"features": {"tile_um": 4}}, "8 to 2000 um"),
        ({"units": {"bin_um": 130}}, "at least 130 um, for a bin"),
        ({"units": {"bin_um": 0.3}}, "expected the edge of a bin in um, from 0.5"),
        ({"units": {"bin_um": 12.5}}, "no matrix file at a/binned_outputs/square_12.5um"),
        ({"image": {"um_per_px": 12}}, "at least 192 um"),
        ({"segmentation": {"segmenter": "cellpose"}}, "segmentation/segmenter: found cellpose"),
        ({"units": {"counting": "nearest"}}, "'nearest' is not one of"),
        ({"tissue": {"min_saturation": 0.2}}, "found 0.2, above max_saturation 0.12"),
        ({"stain": {"method": "vahadane"}}, "'vahadane' is not one of"),
        ({"segmenter": {"training": {"epoch": 5}}}, "'epoch' is not one of"),
        ({"segmenter": {"simulated": ["a"], "stained": "d"}}, "1 simulated sections and d"),
        ({"segmenter": {**SEGMENTER, "test_simulated": ["b"]}}, "found b, on which it is trained"),
        ({"segmenter": {**SEGMENTER, "test_folders": {"d": 0.5}}}, "found d, on which it is"),
        ({"programs": {"sets": ["no.gmt"]}}, "programs/sets: found no file at no.gmt"),
        ({"annotation": {"markers": ["no.tsv"]}}, "annotation/markers: found no file at no.tsv"),
        ({"annotation": {"markers": []}}, "annotation/markers"),
        ({"programs": {"min_genes": 0}}, "programs/min_genes"),
        ({"enrichment": {"sets": ["no.gmt"]}}, "enrichment/sets: found no file at no.gmt"),
        ({"enrichment": {"obo": "samples.tsv"}}, "found one of them; expected both, or neither"),
        ({"enrichment": {"min_size": 900}}, "found 900, above max_size 500"),
        ({"segmenter": SEGMENTER}, "expected images to score the segmenter on"),
    ],
)
def test_config_problems(config, folder, repository, change, message):
    changed = copy.deepcopy(config)
    for key, value in change.items():
        changed[key] = {**changed[key], **value} if isinstance(value, dict) else value
    assert message in problems_of(changed, folder, GOOD, repository)


ADAPTED = {
    "kind": "adapted",
    "um_per_px": 1,
    "steps": 1,
    "n_networks": 2,
    "views": 1,
    "block_um": 640,
    "buffer_um": 64,
}


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"kind": "timm"}, "name, a timm model name or hf-hub id, where kind is timm"),
        ({"kind": "checkpoint"}, "file, a checkpoint file, where kind is checkpoint"),
        ({"kind": "checkpoint", "name": "x"}, "encoders/mine: found 'file' is a required"),
        ({"name": "x"}, "'kind' is a required property"),
        ({"kind": "checkpoint", "file": "no.pth"}, "features/encoders/mine/file: found no file"),
        (
            {**ADAPTED, "start": "imagenet", "tile_um": 64},
            "encoders/mine/tile_um: found 64 um; expected none where kind is adapted",
        ),
        ({**ADAPTED, "start": "uni"}, "encoders/mine/start: found uni; expected imagenet, random"),
        ({**ADAPTED, "start": "morphology"}, "encoders/mine/start: found morphology"),
    ],
)
def test_encoder_problems(config, folder, repository, encoder, message):
    config["features"]["encoder"] = "mine"
    config["features"]["encoders"]["mine"] = encoder
    words = problems_of(config, folder, GOOD, repository)
    assert message in words
    assert words.startswith("one problem")


@pytest.mark.parametrize(
    ("folder_of_model", "message"),
    [
        ("no/model", "segmenters/mine/folder: found no StarDist model at no/model"),
        (".", "found no StarDist model at .: it lacks thresholds.json, weights_best.h5; expected"),
        (None, "found none, and no published model of this name"),
    ],
)
def test_segmenter_problems(config, folder, repository, folder_of_model, message):
    shipped = config["segmentation"]["segmenters"]["histoscribe_he"]
    config["segmentation"]["segmenters"]["mine"] = {**shipped, "folder": folder_of_model}
    (folder / "config.json").write_text("{}")
    assert load(config, folder, GOOD, repository).samples("test") == ["c"]
    config["segmentation"]["segmenter"] = "mine"
    assert message in problems_of(config, folder, GOOD, repository)


def test_sections_alone_need_no_training(config, folder, repository):
    rows = [row("a", "d1", "none"), row("b", "d1", "none")]
    assert load(config, folder, rows, repository).samples("none") == ["a", "b"]
    rows.append(row("c", "d2", "test"))
    assert "no row with split train" in problems_of(config, folder, rows, repository)


def test_the_checkpoint_of_an_encoder_not_in_use_may_be_absent(config, folder, repository):
    (folder / "vit.pth").touch()
    config["features"]["encoders"] |= {
        "mine": {"kind": "checkpoint", "file": "vit.pth"},
        "other": {"kind": "checkpoint", "file": "no.pth"},
    }
    for encoder in ("mine", "morphology"):
        config["features"]["encoder"] = encoder
        assert load(config, folder, GOOD, repository).samples("test") == ["c"]


@pytest.mark.parametrize(("platform", "diameter_um"), [("legacy_st", 100), ("visium", 55)])
def test_a_spot_fits_into_the_tile(config, folder, repository, platform, diameter_um):
    config["features"]["tile_um"] = diameter_um - 1
    rows = [row("a", "d1", "train", platform=platform, unit="spot")]
    words = problems_of(config, folder, rows, repository)
    assert f"at least {diameter_um} um, for a spot" in words


def test_nuclei_over_spots_are_predicted_and_not_measured(config, folder, repository):
    hd = [row("a", "d1", "train", unit="nucleus"), row("b", "d1", "train", unit="nucleus")]
    for name in "ab":
        write_visium_hd(folder / name, bin_um=2)
    spots = row("s", "d2", "predict", platform="visium", path="s", unit="nucleus")
    spots["image"] = "a/image.tif"
    write_visium(folder / "s")
    section = load(config, folder, [*hd, spots], repository).sections["s"]
    assert section.has_spots
    assert not section.is_measured
    assert section.measured["matrix"].is_file()
    for split in ("train", "test", "validation"):
        words = problems_of(config, folder, [*hd, {**spots, "split": split}], repository)
        assert f"split {split} for the unit nucleus on platform visium, whose molecules" in words
        assert "expected predict or none" in words
        assert "or the unit to spot" in words
    whole = {**spots, "unit": "spot", "split": "train", "image": "c/image.tif"}
    section = load(config, folder, [whole], repository).sections["s"]
    assert section.is_measured
    assert not section.has_spots


def test_missing_positions_name_both_dialects(config, folder, repository):
    write_visium(folder / "s")
    (folder / "s/spatial/tissue_positions.csv").unlink()
    rows = [row("s", "d", "train", platform="visium", unit="spot", image="a/image.tif")]
    words = problems_of(config, folder, rows, repository)
    assert "no positions file at s/spatial/tissue_positions.csv" in words
    assert "tissue_positions.csv or tissue_positions.parquet or tissue_positions_list.csv" in words


def test_visium_needs_a_path(config, folder, repository):
    rows = [row("s", "d", "predict", platform="visium", unit="nucleus", path="")]
    assert "no path; expected the platform's output folder" in problems_of(
        config, folder, rows, repository
    )


@pytest.mark.parametrize("given_path", ["", "outs", "outs/binned_outputs"])
def test_own_nuclei_lie_beside_the_bins(tmp_path, given_path):
    write_visium_hd(tmp_path / "outs", bin_um=2)
    expected = tmp_path / "outs/segmented_outputs/nucleus_segmentations.geojson"
    assert own_nuclei("visium_hd", tmp_path / given_path) == expected


def test_what_a_rule_will_make_is_where_its_name_says(tmp_path):
    outs = tmp_path / "simulated"
    nuclei = outs / "segmented_outputs/nucleus_segmentations.geojson"
    matrix = outs / "binned_outputs/square_002um/filtered_feature_bc_matrix.h5"
    for path in (outs, outs / "binned_outputs"):
        assert own_nuclei("visium_hd", path) == nuclei
        assert measured_files("visium_hd", path, "nucleus", 8)["matrix"] == matrix
    assert own_nuclei("image", outs) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("full: {units: {bin_um: 2}}", "'units' was unexpected"),
        ("full: {features: {tile_um: 64}}", "'tile_um' was unexpected"),
        ("full: {features: {encoder: [morphology, uni]}}", "features/encoder: found uni"),
        ("full: {genes: {n_hgv: 3}}", "'n_hgv' was unexpected"),
        ("sections: {}", "reserved"),
        ("default: {genes: {max_genes: 9}}", "experiment default: found a name that is reserved"),
        ("training-mean: {model: {kind: ridge}}", "experiment training-mean"),
        ("pretrained: {}", "experiment pretrained"),
        ("full: [", "no readable YAML"),
        ("{}", "{}"),
    ],
)
def test_experiment_problems(config, folder, repository, text, message):
    (folder / "experiments.yaml").write_text(text)
    assert message in problems_of(config, folder, GOOD, repository)


def test_data_variable_moves_relative_paths(config, folder, repository, monkeypatch):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in "abc":
        (folder / name).rename(elsewhere / name)
    moved = {**config, "data_dir": "missing"}
    assert "HISTOSCRIBE_DATA" in problems_of(moved, folder, GOOD, repository)
    monkeypatch.setenv("HISTOSCRIBE_DATA", str(elsewhere))
    assert load(moved, folder, GOOD, repository).sections["a"].image.is_file()
