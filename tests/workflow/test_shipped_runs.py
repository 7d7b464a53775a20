"""Every shipped run plans: its sheet, config and experiments hold together."""

import pytest
from section_files import tissue_image, write_tiff
from test_demo import jobs_of

from histoscribe.experiments import BASELINES


@pytest.fixture(scope="module")
def workplace(new_workplace):
    return new_workplace("shipped", is_whole=True)


def test_demo_plans(workplace):
    jobs = jobs_of(workplace.run("-n", "--configfile", "config/demo/config.yaml"))
    assert jobs["simulate_section"] == jobs["segment_nuclei"] == jobs["stitch_nuclei"] == 3
    assert jobs["train_model"] == 3 + len(BASELINES)
    assert "import_nuclei" not in jobs and "tune_model" not in jobs


def test_a_predicted_section_is_integrated_with_measured_ones(workplace):
    entry = {"measured": ["section-1", "section-2"], "predicted": ["section-3"]}
    config = workplace.write_config(
        "integrated", base="config/demo/config.yaml", integrations={"both": entry}
    )
    words = workplace.run("-n", "--configfile", config)
    jobs = jobs_of(words)
    assert jobs["integrate_sections"] == jobs["find_domains"] == jobs["interpret_factors"] == 1
    assert jobs["transfer_labels"] == 1 and "infer_genes" not in jobs
    rule = words.split("rule integrate_sections:")[1].split("output:")[0]
    assert "predicted/section-3.h5ad" in rule and "sections/section-3" not in rule
    assert "sections/section-1/units.h5ad" in rule


def test_demo_plans_to_tune_its_experiments(workplace):
    arguments = ["-n", "tune", "--configfile", "config/demo/config.yaml"]
    jobs = jobs_of(workplace.run(*arguments))
    assert jobs["tune_model"] == 3
    assert "train_model" not in jobs and "predict_expression" not in jobs
    path = workplace.folder / "line.yaml"
    path.write_text("line: {model: {kind: ridge}}\n")
    words = workplace.fail(*arguments, "--config", f"experiments={path.name}")
    assert "experiments to tune: found line (ridge); expected one with a model.kind of" in words


def test_formats_say_what_is_handed_over(workplace):
    """Of the tested section, and of one that is only predicted; not of those trained on."""
    folder = workplace.folder
    sheet = (folder / "config/demo/samples.tsv").read_text().splitlines()
    columns = sheet[0].split("\t")
    row = {"sample": "slide-9", "donor": "p9", "platform": "image", "unit": "nucleus"}
    row |= {"image": "slide.tif", "um_per_px": "0.5", "split": "predict"}
    sheet.append("\t".join(row.get(column, "") for column in columns))
    (folder / "samples.tsv").write_text("\n".join(sheet) + "\n")
    write_tiff(folder / "slide.tif", tissue_image(64, 64), 0.5)
    for formats, expected in (
        (["qupath", "spatialdata"], {"export_qupath": 2, "export_spatialdata": 2}),
        (["xenium_explorer"], {"export_xenium_explorer": 2}),
        ([], {}),
    ):
        config = workplace.write_config(
            "exports",
            base="config/demo/config.yaml",
            samples="samples.tsv",
            export={"formats": formats},
        )
        jobs = jobs_of(workplace.run("-n", "--configfile", config))
        assert {name: n for name, n in jobs.items() if name.startswith("export_")} == expected
    config = workplace.write_config("exports", export={"formats": ["ome"]})
    assert "expected spatialdata, qupath or xenium_explorer" in workplace.fail(
        "-n", "--configfile", config
    )


def test_prts_mouse_brain_plans(workplace):
    jobs = jobs_of(workplace.run("-n", "--configfile", "config/prts-mouse-brain/config.yaml"))
    for name, count in {
        "retrieve_dataset": 2,
        "retrieve_encoder": 1,
        "retrieve_segmenter": 1,
        "segment_nuclei": 8,
        "stitch_nuclei": 2,
        "adapt_encoder": 1,  # the untrained one
        "train_model": 4 + len(BASELINES),
    }.items():
        assert jobs[name] == count


@pytest.mark.parametrize("run", ["kidney", "her2st", "her2st-nuclei"])
def test_real_runs_plan_or_say_what_is_missing(workplace, run, real_data):
    finished = workplace.snakemake(
        "-n", "--configfile", f"config/{run}/config.yaml", "--config", f"data_dir={real_data}"
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    words = workplace.fail(
        "-n", "--configfile", f"config/{run}/config.yaml", "--config", "data_dir=no"
    )
    assert "set HISTOSCRIBE_DATA to the folder of the data" in words


def test_the_default_sheet_asks_for_rows(workplace):
    assert "no row with split train" in workplace.fail("-n")


def test_the_segmenter_plans(workplace, real_data):
    jobs = jobs_of(
        workplace.run(
            "-n", "segmenter", "--configfile", "config/segmenter/config.yaml",
            "--config", f"data_dir={real_data}",
        )
    )  # fmt: skip
    assert jobs["simulate_section"] == 47
    assert jobs["train_segmenter"] == jobs["evaluate_segmenter"] == 1
