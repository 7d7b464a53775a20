"""Genotypes of files alone: from a config to clones, segments and what goes with them."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from made_up_cells import change_of_arms, made_up_cells, made_up_places
from simulated_units import NORMAL, PLACE, simulated_units

from histoscribe.genome.appearance import FEATURE_COLUMNS
from histoscribe.genome.association import GENE_COLUMNS
from histoscribe.genome.phenotypes import CARRIER_COLUMNS, DOSAGE_COLUMNS
from histoscribe.genome.segments import SEGMENT_COLUMNS

SEED = 4  # whose small section has tumour enough for two clones
GTF = (
    "{chromosome}\tmade\tgene\t{start}\t{end}\t.\t+\t.\t"
    'gene_id "ENSG{i:011d}"; gene_name "{gene}";\n'
)


def write_gtf(path, genes):
    rows = genes.reset_index(names="gene").to_dict("records")
    path.write_text("".join(GTF.format(i=i, **row) for i, row in enumerate(rows)))


@pytest.fixture(scope="module")
def truth():
    """Nuclei of a simulated section with two clones."""
    return simulated_units(SEED, SEED, 600, 600, n_clones=2)


@pytest.fixture(scope="module")
def workplace(new_workplace, truth):
    place = new_workplace("genotypes")
    rng = np.random.default_rng(0)
    cells = truth.copy()
    clone = cells.obs["true_clone"]
    cells.obs["shape_size"] = (clone == "clone 2") + 0.7 * rng.normal(size=cells.n_obs)
    cells.obs["shape_noise"] = rng.normal(size=cells.n_obs)
    del cells.varm
    cells.write_h5ad(place.folder / "cells.h5ad")
    write_gtf(place.folder / "genes.gtf", truth.var[list(PLACE)])
    mice = truth.var[list(PLACE)].set_axis([f"{g.capitalize()}Rik" for g in truth.var_names])
    write_gtf(place.folder / "mouse.gtf", mice)
    dna = pd.DataFrame({"unit": cells.obs_names, "clone": clone.replace("none", "normal")})
    dna["TP53"] = np.where(clone == "none", "wt", np.where(clone == "clone 1", "mut", ""))
    dna["chr1"] = np.where(clone == "clone 1", 3, 2)
    dna.to_csv(place.folder / "dna.tsv", sep="\t", index=False)
    dna.assign(unit="other_" + dna["unit"]).to_csv(
        place.folder / "other.tsv", sep="\t", index=False
    )
    one = made_up_cells(change_of_arms(made_up_places()) * 0 + 1)
    plain = ad.AnnData(one.counts, obs=pd.DataFrame({"true_type": one.kind}, one.names))
    plain.var_names, plain.obsm["spatial"] = one.var.index, one.xy_um
    plain.write_h5ad(place.folder / "plain.h5ad")
    write_gtf(place.folder / "plain.gtf", one.var)
    return place


INFERRED = {
    "file": "cells.h5ad", "cells": "true_type", "reference": list(NORMAL), "among": ["tumour"],
    "features": ["shape_*"],
}  # fmt: skip
DNA = {"file": "cells.h5ad", "cells": "true_type", "clones": "dna", "dna": "dna.tsv"}
COPY_NUMBER = {"positions": "genes.gtf"}
ASSOCIATION = {"n_maps": 100, "block_um": 60, "buffer_um": 10}


def config(workplace, name, copy_number=None, **genotypes):
    return workplace.write_config(
        name,
        run=name,
        genotypes=genotypes,
        copy_number={**COPY_NUMBER, **(copy_number or {})},
        association=ASSOCIATION,
    )


def tables(name, genotype, *chosen):
    return [f"results/{name}/genotypes/{genotype}/{table}" for table in chosen]


def read(path):
    return pd.read_csv(path, sep="\t")


@pytest.fixture(scope="module")
def results(workplace):
    """Clones inferred and clones given, of the same cells."""
    asked = [
        *tables("both", "inferred", "carriers.tsv", "clones.tsv", "units.tsv.gz"),
        *tables("both", "given", "carriers.tsv"),
    ]
    workplace.run(*asked, "--configfile", config(workplace, "both", inferred=INFERRED, given=DNA))
    return workplace.folder / "results/both/genotypes"


def test_clones_are_inferred(results, truth):
    clones = read(results / "inferred/clones.tsv")
    assert (
        len(clones) == 2 and clones["n_units"].sum() == (truth.obs["true_type"] == "tumour").sum()
    )
    segments = read(results / "inferred/segments.tsv")
    assert list(segments.columns) == ["clone", "beside", *SEGMENT_COLUMNS]
    copies = ad.read_h5ad(results / "inferred/copies.h5ad")
    true = truth.obs.loc[copies.obs_names, "true_clone"]
    found = pd.crosstab(true, copies.obs["clone"]).to_numpy()
    assert max(np.trace(found), np.trace(found[::-1])) > 0.9 * found.sum()
    # These molecules did not make the clones: about half of all.
    share = copies.X.sum() / truth[copies.obs_names].X.sum()
    assert share == pytest.approx(0.5, abs=0.02)
    assert copies.obsm["copy_profile"].shape == (copies.n_obs, len(copies.uns["windows"]))


@pytest.mark.parametrize("name", ["inferred", "given"])
def test_tables_have_their_columns(results, name):
    folder = results / name
    carriers = read(folder / "carriers.tsv")
    assert list(carriers.columns) == CARRIER_COLUMNS and len(carriers)
    genes = read(folder / "genes.tsv")
    places = ["chromosome", "start", "end", "log2_copies", "segment"]
    assert list(genes.columns) == ["genotype", *GENE_COLUMNS, *places]
    assert list(read(folder / "dosage.tsv").columns) == DOSAGE_COLUMNS
    assert list(read(folder / "image.tsv").columns) == ["genotype", *FEATURE_COLUMNS]
    units = read(folder / "units.tsv.gz")
    assert list(units.columns[:4]) == ["unit", "x_um", "y_um", "kind"] and "clone" in units


def test_what_goes_with_clones_is_found(results):
    image = read(results / "inferred/image.tsv").set_index("feature")
    assert image["told_counts"].to_dict() == {"shape_size": True, "shape_noise": False}
    given = read(results / "given/carriers.tsv").set_index("genotype")
    # One question: the two clones of the tumour, since other kinds are of none. TP53 is unknown
    # in clone 2 and differs between kinds alone.
    assert given.index.tolist() == ["clone 1"]
    assert given.loc["clone 1", "also"] == "chr1 altered"
    assert given.loc["clone 1", "kinds"] == "tumour"
    assert given["n_features"].isna().all() and read(results / "given/image.tsv").empty
    assert given.loc["clone 1", "n_altered_genes"] > 20


def test_a_table_of_another_section_is_refused(workplace):
    entry = {**DNA, "dna": "other.tsv"}
    asked = tables("other", "given", "carriers.tsv")
    said = workplace.fail(*asked, "--configfile", config(workplace, "other", given=entry))
    assert "other.tsv: found" in said and "another section" in said


def test_normal_cells_that_are_not_there_are_named(workplace):
    entry = {**INFERRED, "reference": ["fibrocyte"]}
    asked = tables("absent", "inferred", "clones.tsv")
    said = workplace.fail(*asked, "--configfile", config(workplace, "absent", inferred=entry))
    assert "genotypes/inferred/reference: found 0 units of fibrocyte; expected 20 or more" in said
    assert "fibroblast (" in said


def test_positions_of_another_species_are_refused(workplace):
    settings = {"positions": "mouse.gtf"}
    asked = tables("mouse", "inferred", "clones.tsv")
    path = config(workplace, "mouse", settings, inferred=INFERRED)
    said = workplace.fail(*asked, "--configfile", path)
    assert "mouse.gtf: found positions of 0.0% of 600 genes" in said
    assert "another species or another naming?" in said


def test_one_clone_leaves_nothing_to_compare(workplace):
    """That expression shows but one clone is a finding, and the run goes on."""
    entry = {"file": "plain.h5ad", "cells": "true_type", "reference": ["T", "B"]}
    entry["copy_number"] = {"positions": "plain.gtf"}
    asked = tables("one", "plain", "carriers.tsv")
    workplace.run(*asked, "--configfile", config(workplace, "one", plain=entry))
    folder = workplace.folder / "results/one/genotypes/plain"
    assert len(read(folder / "clones.tsv")) == 1
    for table in ("carriers", "genes", "dosage", "image"):
        assert read(folder / f"{table}.tsv").empty
    said = (workplace.folder / "results/one/logs/associate_genotype/plain.log").read_text()
    assert "genotypes/plain: no two clones to set beside each other" in said


def test_a_config_is_checked_before_anything_runs(workplace):
    said = workplace.fail("--configfile", config(workplace, "odd", g={**DNA, "clone": "dna"}))
    assert "genotypes/g" in said and "clone" in said
    wrong = {"file": "absent.h5ad", "cells": "true_type"}
    said = workplace.fail("--configfile", config(workplace, "wrong", g=wrong))
    assert "genotypes/g/file: found no file at" in said
    assert "genotypes/g/reference: found none" in said
    few = config(workplace, "few", {"n_shuffles": 99}, inferred=INFERRED)
    said = workplace.fail(*tables("few", "inferred", "clones.tsv"), "--configfile", few)
    assert "n_shuffles 99, whose least p is 0.01" in said
