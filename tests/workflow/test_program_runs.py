"""Gene programs and terms through the real workflow, on two small sections of bins."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from section_files import tissue_image, write_tiff, write_visium_hd

from histoscribe.expression import targets
from histoscribe.provenance import RECORD_KEY, record

pytestmark = pytest.mark.slow
COLUMNS = ["sample", "donor", "platform", "path", "image", "um_per_px", "unit", "split"]
SETS = [
    ("first", "GENE3,GENE4,GENE5,GENE11", "", ""),
    ("panel", "GENE3,GENE4,GENE6", "", ""),
    ("other", "GENE9,GENE10,GENE11", "", ""),
    ("mouse", "Gene3,Gene4,Gene5", "mouse", ""),
    ("brain", "GENE3,GENE4,GENE5", "", "Brain"),
    ("empty", "", "", ""),
]


@pytest.fixture(scope="module")
def workplace(new_workplace):
    workplace = new_workplace("programs", is_whole=True)
    rows = []
    for seed, (sample, split) in enumerate((("a", "train"), ("b", "test"))):
        folder = workplace.folder / sample
        write_visium_hd(folder, n_rows=30, n_cols=40, seed=seed)
        write_tiff(folder / "image.tif", tissue_image(560, 760, seed), 0.5)
        rows.append((sample, sample, "visium_hd", sample, f"{sample}/image.tif", "", "bin", split))
    pd.DataFrame(rows, columns=COLUMNS).to_csv(
        workplace.folder / "samples.tsv", sep="\t", index=False
    )
    sets = pd.DataFrame(SETS, columns=["set", "genes", "species", "organ"])
    sets.to_csv(workplace.folder / "sets.tsv", sep="\t", index=False)
    (workplace.folder / "terms.gmt").write_text("term one\tna\tGENE3\tGENE4\nterm two\tna\tGENE9\n")
    (workplace.folder / "panel.txt").write_text("".join(f"GENE{i}\n" for i in range(3, 8)))
    (workplace.folder / "experiments.yaml").write_text(yaml.safe_dump({"full": {}}))
    workplace.settings = {
        "run": "x",
        "samples": "samples.tsv",
        "experiments": "experiments.yaml",
        "genes": {"panel": "panel.txt"},
        "programs": {"sets": ["sets.tsv"], "smoothing_um": 16},
        "enrichment": {"sets": ["terms.gmt"], "min_size": 1},
    }
    workplace.config = workplace.write_config("x", **workplace.settings)
    workplace.results = workplace.folder / "results/x"
    return workplace


PROGRAM_RULES = ("score_programs", "compare_programs", "plot_programs")


@pytest.fixture(scope="module")
def predicted(workplace):
    """A prediction of five genes: the measured levels and noise. No model is trained for it."""
    made = [f"results/x/sections/b/{name}" for name in ("units.h5ad", "image.ome.tif")]
    workplace.run(*made, "--configfile", workplace.config)
    units = ad.read_h5ad(workplace.folder / made[0])
    genes = [f"GENE{i}" for i in range(3, 8)]
    levels = targets(units, genes, "median")
    levels += np.random.default_rng(0).normal(0, 0.3, levels.shape).astype(np.float32)
    prediction = ad.AnnData(levels, obs=units.obs, var=pd.DataFrame(index=genes))
    prediction.layers["probability"] = levels
    prediction.obsm["spatial"] = units.obsm["spatial"]
    prediction.uns[RECORD_KEY] = record(unit_size_um=8.0, target_sum=10.0)
    path = workplace.results / "full/holdout/predicted/b.h5ad"
    path.parent.mkdir(parents=True)
    prediction.write_h5ad(path)


def test_scores_agreement_and_maps(workplace, predicted):
    pairs = [f"results/x/programs/full/holdout/b.{e}" for e in ("scores.parquet", "agreement.tsv")]
    figures = [f"results/x/figures/programs/full/holdout/b.{e}" for e in ("png", "pdf", "tsv")]
    rules = ["--allowed-rules", *PROGRAM_RULES, "--"]
    workplace.run("--configfile", workplace.config, *rules, *pairs, *figures)
    folder = workplace.results / "programs"
    measured = pd.read_parquet(folder / "measured/b.scores.parquet")
    predicted = pd.read_parquet(folder / "full/holdout/b.scores.parquet")
    assert list(measured.columns) == ["x_um", "y_um", "first", "panel", "other"]
    assert list(predicted.columns) == ["x_um", "y_um", "first", "panel"]
    assert measured.index.equals(predicted.index) and len(measured) == 1200
    assert np.isfinite(measured).all(axis=None) and np.isfinite(predicted).all(axis=None)
    sets = pd.read_csv(folder / "full/holdout/b.sets.tsv", sep="\t").set_index("set")
    assert sets.loc["first", ["n_genes", "n_present"]].tolist() == [4, 3]
    assert "fewer than 3" in sets.loc["other", "reason"]
    assert "of mouse genes" in sets.loc["mouse", "reason"]
    assert sets.loc["empty", "reason"] == "no gene in the set"
    assert "brain" not in sets.index  # no organ is named in the config
    agreement = pd.read_csv(folder / "full/holdout/b.agreement.tsv", sep="\t")
    assert agreement["set"].tolist() == ["first", "panel"]
    row = agreement.set_index("set").loc["first"]
    pcc = np.corrcoef(measured["first"], predicted["first"])[0, 1]
    assert row["pcc"] == pytest.approx(pcc, abs=1e-4)
    assert 0.5 < row["pcc"] < 1
    assert row[["n_measured", "n_predicted"]].tolist() == [4, 3]
    drawn = pd.read_csv(workplace.folder / figures[2], sep="\t")
    assert drawn["unit"].tolist() == predicted.index.tolist()
    assert drawn["measured_panel"].tolist() == pytest.approx(measured["panel"].tolist(), abs=1e-4)


def test_terms_of_clusters(workplace):
    """Markers as annotate_cells writes them; only the rules of terms may run."""
    folder = workplace.results / "annotated/measured"
    folder.mkdir(parents=True, exist_ok=True)
    genes = [f"GENE{i}" for i in range(3, 12)]
    rows = [
        (cluster, gene, 2.0 if (gene in ("GENE3", "GENE4")) == (cluster == 0) else -1.0)
        for cluster in (0, 1)
        for gene in genes
    ]
    markers = pd.DataFrame(rows, columns=["cluster", "gene", "log2_fold_change"])
    markers.assign(z=markers["log2_fold_change"], adjusted_p=0.001).to_csv(
        folder / "b.markers.tsv", sep="\t", index=False
    )
    pd.DataFrame({"cluster": [0, 1], "type": ["podocyte", "unknown"], "is_dropped": False}).to_csv(
        folder / "b.clusters.tsv", sep="\t", index=False
    )
    target = "results/x/figures/terms/measured/b.tsv"
    rules = ["--allowed-rules", "enrich_terms", "plot_terms", "--"]
    workplace.run("--configfile", workplace.config, *rules, target)
    found = pd.read_csv(workplace.results / "enriched/measured/b.tsv", sep="\t")
    first = found.iloc[0]
    assert first[["group", "term", "n_overlap", "n_background"]].tolist() == [0, "term one", 2, 9]
    assert first["p"] == pytest.approx(1 / 36)  # 1 of the pairs of nine genes
    assert (workplace.folder / target).with_suffix(".png").stat().st_size > 1000


def test_gene_sets_that_do_not_fit_stop_the_run_with_one_message(workplace, predicted):
    """What else does not fit is told as well (unit tests of programs and gene sets)."""
    (workplace.folder / "mouse.gmt").write_text("a\tna\tGene3\tGene4\tGene5\tGene6\n")
    programs = {"sets": ["mouse.gmt"]}
    config = workplace.write_config("bad", **{**workplace.settings, "programs": programs})
    target = "results/x/programs/measured/b.scores.parquet"
    rules = ["--allowed-rules", "score_programs", "--"]
    said = workplace.fail("--force", "--configfile", config, *rules, target)
    assert "looks like mouse symbols against" in said and "mouse.gmt" in said
    assert "Traceback" not in said
