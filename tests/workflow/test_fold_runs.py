"""Folds through the real DAG, on small hand-written sections."""

import json
import re
import shutil

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from section_files import tissue_image, write_tiff, write_visium_hd
from tiny_encoder import write_tiny_encoder

from histoscribe.models.bundle import read_bundle

pytestmark = pytest.mark.slow
BIN_UM, N_ACROSS = 16, 24
EVERYTHING = {"adjusted_p_below": 1, "abs_log2fc_from": 0, "n_pcs": 5}  # nearly any gene is chosen


@pytest.fixture(scope="module")
def workplace(new_workplace):
    """Two sections, a copy of the first, and one experiment."""
    workplace = new_workplace("folds")
    for seed, name in enumerate(("a", "b")):
        folder = workplace.folder / name
        write_visium_hd(
            folder, n_rows=N_ACROSS, n_cols=N_ACROSS, bin_um=BIN_UM, n_genes=16, seed=seed
        )
        edge_px = N_ACROSS * BIN_UM * 2 + 80
        write_tiff(folder / "image.tif", tissue_image(edge_px, edge_px, seed), 0.5)
    shutil.copytree(workplace.folder / "a", workplace.folder / "copy-of-a")
    (workplace.folder / "experiments.yaml").write_text("full: {}\n")
    return workplace


def share_sections(workplace, run, samples):
    """Take over sections that an earlier run has prepared, for time: all prepare them alike."""
    results = workplace.folder / "results"
    for sample in samples:
        made = [path.parent for path in results.glob(f"*/sections/{sample}/units.h5ad")]
        folder = results / run / "sections" / sample
        if made and not folder.exists():
            shutil.copytree(made[0], folder)


def configure(workplace, run, rows, **changes):
    """A config for the rows (sample, donor, split); the arguments of snakemake."""
    share_sections(workplace, run, [sample for sample, *_ in rows])
    lines = ["sample\tdonor\tplatform\tpath\timage\tum_per_px\tunit\tsplit"]
    lines += [f"{s}\t{d}\tvisium_hd\t{s}\t{s}/image.tif\t\tbin\t{split}" for s, d, split in rows]
    (workplace.folder / f"{run}.tsv").write_text("\n".join(lines) + "\n")
    settings = {
        "run": run,
        "samples": f"{run}.tsv",
        "experiments": "experiments.yaml",
        "units": {"bin_um": BIN_UM},
        "features": {"tile_um": 40},
        "model": {"kind": "ridge", "ridge": {"block_um": 60}},
        "training": {"block_um": 60},
        "genes": EVERYTHING,
        "evaluation": {"n_replicates": 100, "block_um": 60, "smoothing_um": []},
        "prediction": {"intervals": False},
        **changes,
    }
    return ["--configfile", workplace.write_config(run, **settings)]


def test_blocks_of_one_section_take_turns(workplace):
    workplace.keep_baselines("training-mean", "random-weights")
    folds = {"scheme": "blocks", "n_folds": 2, "block_um": 100}
    export = {"formats": ["qupath"]}
    arguments = configure(workplace, "blocks", [("a", "d1", "train")], folds=folds, export=export)
    drawn = "figures/gene_maps/full/blocks-2/a.tsv"
    made = ["summary.tsv", "exported/a.qupath.geojson", drawn]
    made += ["figures/accuracy.tsv", "figures/ablation.tsv", "figures/totals/full/blocks-1/a.tsv"]
    targets = [f"results/blocks/{name}" for name in made]
    workplace.run(*targets, *arguments)
    results = workplace.folder / "results/blocks"
    summary = pd.read_csv(results / "summary.tsv", sep="\t")
    rows = summary[["experiment", "fold", "sample"]].apply(tuple, axis=1).tolist()
    names = ["full", "training-mean", "random-weights"]
    assert rows == [(e, f, "a") for e in names for f in ("blocks-1", "blocks-2")]
    units = ad.read_h5ad(results / "sections/a/units.h5ad")
    assert summary[summary["experiment"] == "full"]["n_units"].sum() == units.n_obs
    for fold in ("blocks-1", "blocks-2"):
        leakage = pd.read_csv(results / f"folds/{fold}/leakage.tsv", sep="\t")
        assert set(leakage["verdict"]) == {"fine"}
        assert leakage["what"].str.contains("encoder random").any()
        chosen_on = pd.read_csv(results / f"genes/default/{fold}/chosen_on.tsv", sep="\t")
        bundle = read_bundle(results / f"full/{fold}/model.safetensors")
        assert bundle.provenance["n_units_training"] == chosen_on["n_units"].item()
        predicted = ad.read_h5ad(results / f"full/{fold}/predicted/a.h5ad")
        assert predicted.obs_names.equals(units.obs_names)
        n_tested = summary.set_index(["experiment", "fold"]).loc[("full", fold), "n_units"]
        assert n_tested < units.n_obs - chosen_on["n_units"].item()
    assert len(pd.read_csv(results / drawn, sep="\t")) == n_tested
    for name in ("accuracy", "ablation"):
        table = pd.read_csv(results / f"figures/{name}.tsv", sep="\t")
        assert {"a, fold blocks-1", "a, fold blocks-2"} <= set(table["sample"])
    exported = json.loads((results / "exported/a.qupath.geojson").read_text())["features"]
    assert [feature["properties"]["name"] for feature in exported] == list(units.obs_names)
    assert "Nothing to be done" in workplace.run(*targets, *arguments)
    # Genes of a new experiment are checked; that trains no other model anew.
    more = "full: {}\nfew: {genes: {max_genes: 2}}\n"
    (workplace.folder / "experiments.yaml").write_text(more)
    words = workplace.run("-n", *arguments)
    (workplace.folder / "experiments.yaml").write_text("full: {}\n")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", words, flags=re.MULTILINE))
    for rule in ("select_genes", "check_leakage", "train_model", "predict_expression"):
        assert counts[rule] == "2"


def test_tuning_learns_from_training_units_and_goes_on(workplace):
    """In the folds of the run above, whose sections, features and genes it shares."""
    workplace.keep_baselines("training-mean", "random-weights")
    few_steps = {
        "kind": "multitask",
        "multitask": {"hidden": [16], "batch_size": 8, "max_epochs": 1},
    }
    experiments = {"full": {}, "deep": {"model": few_steps}}
    (workplace.folder / "experiments.yaml").write_text(yaml.safe_dump(experiments))
    folds = {"scheme": "blocks", "n_folds": 2, "block_um": 100}
    results = workplace.folder / "results/blocks"
    best = "results/blocks/deep/blocks-1/tuning/best.yaml"
    tables = []
    for n_trials in (1, 2):
        changes = {"folds": folds, "tuning": {"n_trials": n_trials}}
        workplace.run(best, *configure(workplace, "blocks", [("a", "d1", "train")], **changes))
        tables.append(pd.read_csv(results / "deep/blocks-1/tuning/trials.tsv", sep="\t"))
        log = (results / "logs/tune_model/deep.blocks-1.log").read_text()
        chosen_on = pd.read_csv(results / "genes/default/blocks-1/chosen_on.tsv", sep="\t")
        assert f"{chosen_on['n_units'].item()} training units in" in log
    (workplace.folder / "experiments.yaml").write_text("full: {}\n")
    trials, more = tables
    assert trials["hidden"].tolist() == ["[16]"]
    pd.testing.assert_frame_equal(more[:1], trials)
    assert len(more) == 2
    override = yaml.safe_load((workplace.folder / best).read_text())
    assert str(override["model"]["multitask"]["hidden"]) in set(more["hidden"])


def test_sections_take_turns(workplace):
    workplace.keep_baselines()
    rows = [("a", "d1", "train"), ("b", "d2", "train")]
    arguments = configure(workplace, "sections", rows, folds={"scheme": "section"})
    workplace.run("results/sections/summary.tsv", *arguments)
    results = workplace.folder / "results/sections"
    summary = pd.read_csv(results / "summary.tsv", sep="\t")
    expected = [("full", f"section-{s}", s) for s in ("a", "b")]
    assert list(zip(summary.experiment, summary.fold, summary["sample"], strict=True)) == expected
    assert (summary["n_units"] == N_ACROSS**2).all()
    for tested, trained in (("a", "b"), ("b", "a")):
        fold = f"section-{tested}"
        chosen_on = pd.read_csv(results / f"genes/default/{fold}/chosen_on.tsv", sep="\t")
        assert chosen_on["sample"].tolist() == [trained]
        bundle = read_bundle(results / f"full/{fold}/model.safetensors")
        assert bundle.provenance["sections"] == {trained: "train"}
        leakage = pd.read_csv(results / f"folds/{fold}/leakage.tsv", sep="\t")
        assert set(leakage["verdict"]) == {"fine"}


def test_a_copy_under_another_name_and_donor_stops_the_run(workplace):
    rows = [("a", "d1", "train"), ("copy-of-a", "d2", "test")]
    model = "results/leak/full/holdout/model.safetensors"
    words = workplace.fail(model, *configure(workplace, "leak", rows))
    assert "fold holdout leaks from test to training; no model was trained" in words
    assert "image files of training and test: found the same in a and copy-of-a" in words
    assert "Traceback" not in words
    for path in (model, "results/leak/folds/holdout/leakage.tsv"):
        assert not (workplace.folder / path).exists()


def test_a_finetuned_encoder_and_neighbours_go_with_the_model(workplace):
    """Trained on one section, the model predicts another, in its run and from its file alone."""
    workplace.keep_baselines("training-mean")
    if not (workplace.folder / "resources/retrieved/encoders/tiny").exists():
        write_tiny_encoder(workplace.folder / "resources/retrieved/encoders/tiny")
    tuned = {"kind": "adapted", "start": "tiny", "rank": 2, "um_per_px": 0.5, "steps": 5}
    tuned |= {"n_networks": 2, "views": 2, "block_um": 100, "buffer_um": 8}
    features = {
        "encoder": ["tuned", "tiny"],
        "use": ["local", "global", "mean"],
        "neighbours_um": [30],
        "tile_um": 40,
        "encoders": {"tiny": {"kind": "timm", "name": "tiny"}, "tuned": tuned},
    }
    rows = [("a", "d1", "train"), ("b", "d2", "test")]
    predicted = "full/holdout/predicted/b.h5ad"
    workplace.run(
        f"results/tuned/{predicted}", *configure(workplace, "tuned", rows, features=features)
    )
    model = "results/tuned/full/holdout/model.safetensors"
    bundle = read_bundle(workplace.folder / model)
    n_components, n_tokens = 2 * 16, 3 * 24  # no more components than genes
    assert bundle.feature_mean.shape == (n_components + 2 * n_tokens,)
    assert bundle.adapted["tuned"].settings.is_finetuned
    again = predicted.replace("full", "pretrained")
    rows = [("b", "d2", "test")]
    changes = {"features": features, "bundle": model}
    workplace.run(f"results/again/{again}", *configure(workplace, "again", rows, **changes))
    results = workplace.folder / "results"
    first, second = (
        ad.read_h5ad(results / "tuned" / predicted),
        ad.read_h5ad(results / "again" / again),
    )
    np.testing.assert_allclose(first.X, second.X, atol=1e-5)
