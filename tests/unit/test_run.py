import copy

import pytest
import yaml
from section_files import tissue_image, write_tiff, write_visium_hd

from histoscribe.errors import UserError
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
    assert list(run.experiments) == ["full", "local-only", "training-mean"]
    assert run.sections["a"].measured["matrix"].is_file()
    assert {e.gene_set for e in run.experiments.values()} == {"default"}


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
        ([GOOD[2]], "no row with split train"),
        ([], "no row with split train"),
        ([row("a", "d1", "train"), row("b", "d1", "test"), row("c", "d2", "test")], "donor d1"),
        ([row("a", "d1", "train", um_per_px="50")], "um_per_px 50"),
        ([row("a", "d1", "train", um_per_px="0,5")], "um_per_px: found '0,5'"),
        ([row("a", "d1", "train", unit="spot")], "unit spot on platform visium_hd"),
        ([row("a", "d1", "train", platform="image")], "split train on platform image"),
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
    ],
)
def test_config_problems(config, folder, repository, change, message):
    changed = copy.deepcopy(config)
    for key, value in change.items():
        changed[key] = {**changed[key], **value} if isinstance(value, dict) else value
    assert message in problems_of(changed, folder, GOOD, repository)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("full: {units: {bin_um: 2}}", "'units' was unexpected"),
        ("full: {features: {encoder: hipt}}", "'encoder' was unexpected"),
        ("full: {genes: {n_hgv: 3}}", "'n_hgv' was unexpected"),
        ("sections: {}", "reserved"),
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
