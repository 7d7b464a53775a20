"""Genotypes that a config asks for: what stands in them, and what is wrong with them."""

from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from made_up_cells import made_up_places
from scipy import sparse

from histoscribe.errors import UserError
from histoscribe.genome.cells import read_cells
from histoscribe.genome.entries import check_genotypes, genotype_entries

ENCODERS = {
    "plain": {"kind": "plain"}, "taught": {"kind": "adapted"}, "umi": {"kind": "totals"},
}  # fmt: skip
ANNOTATED = {"measured": {"tested"}, "predicted": {"tested", "new"}}


@pytest.fixture
def run():
    def section(is_measured, labels=None, dna=None):
        return SimpleNamespace(is_measured=is_measured, labels=labels, dna=dna)

    sections = {
        "tested": section(True, dna="dna.tsv"), "labelled": section(True, "labels.csv"),
        "new": section(False),
    }  # fmt: skip
    return SimpleNamespace(sections=sections)


@pytest.fixture
def folder(tmp_path):
    for name in ("cells.h5ad", "dna.tsv"):
        (tmp_path / name).touch()
    return tmp_path


def check(folder, run, n_proving=2, **entry):
    config = {"features": {"encoder": ["plain", "taught"]}, "genotypes": {"g": entry}}
    entries = genotype_entries(config, folder)
    check_genotypes(entries, run, ENCODERS, ANNOTATED, n_proving)
    return entries["g"]


def test_an_entry_has_its_usual_values(folder, run):
    entry = check(folder, run, sample="tested", reference=["T"])
    assert (entry.cells, entry.encoder, entry.expression) == ("types", "plain", "measured")
    assert entry.is_inferred and not entry.is_predicted and entry.among == ()
    given = check(folder, run, file="cells.h5ad", cells="kind", clones="dna", dna="dna.tsv")
    assert (given.file, given.dna) == (folder / "cells.h5ad", folder / "dna.tsv")
    assert given.encoder is None and not given.is_inferred


GOOD = [
    {"sample": "tested", "clones": "dna"},
    {"sample": "labelled", "cells": "labels", "reference": ["T"], "among": ["tumour"]},
    {"sample": "new", "expression": "predicted", "reference": ["T"]},
    {"file": "cells.h5ad", "cells": "kind", "reference": ["T"], "features": ["shape_*"]},
]


@pytest.mark.parametrize("entry", GOOD)
def test_what_can_be_made_is_taken(folder, run, entry):
    check(folder, run, **entry)


OWN = {"file": "cells.h5ad", "cells": "kind", "reference": ["T"]}
OF_SAMPLE = {"sample": "tested", "reference": ["T"]}
WRONG = [
    ({"reference": ["T"]}, "genotypes/g: found neither sample nor file"),
    ({**OWN, "sample": "tested"}, "genotypes/g: found both sample and file"),
    ({**OWN, "file": "absent.h5ad"}, "g/file: found no file at .*absent.h5ad"),
    ({**OWN, "clones": "dna", "dna": "absent.tsv"}, "g/dna: found no file at .*absent.tsv"),
    ({**OWN, "clones": "dna"}, "g/dna: found none; expected a file of DNA"),
    ({**OWN, "dna": "dna.tsv"}, "g/dna: found .*dna.tsv; .* Say clones: dna, or leave"),
    ({"file": "cells.h5ad", "reference": ["T"]}, "g/cells: found types; .*column of the file's"),
    ({**OWN, "expression": "predicted"}, "g/expression: found predicted; expected measured"),
    ({**OWN, "encoder": "plain"}, "g/encoder: found plain; expected none"),
    ({"file": "cells.h5ad", "cells": "kind"}, "g/reference: found none; expected names of cells"),
    ({**OWN, "among": ["a", "T"]}, "genotypes/g: found T in reference and among"),
    ({**OF_SAMPLE, "sample": "new"}, "g/sample: found new; .*measured section: labelled, tested"),
    ({**OF_SAMPLE, "sample": "labelled", "expression": "predicted"},
     "g/sample: found labelled; expected a predicted section: new, tested"),
    ({**OF_SAMPLE, "encoder": "taught"}, "g/encoder: found taught; .* no expression taught: plain"),
    ({**OF_SAMPLE, "encoder": "umi"}, "g/encoder: found umi"),
    ({**OF_SAMPLE, "features": ["x"]}, "g/features: found .*x.*; .* is for a file"),
    ({**OF_SAMPLE, "dna": "dna.tsv"}, "g/dna: found .*dna.tsv; .*stands in the sheet"),
    ({**OF_SAMPLE, "cells": "kind"}, "g/cells: found kind; expected types or labels"),
    ({**OF_SAMPLE, "cells": "labels"}, "g/cells: found labels; expected labels of tested"),
    ({**OF_SAMPLE, "sample": "labelled"}, "g/cells: found types; .* that has them: tested"),
    ({"sample": "labelled", "cells": "labels", "clones": "dna"},
     "g/clones: found dna; expected DNA of labelled in the sheet"),
    ({"sample": "tested", "clones": "dna", "expression": "predicted"},
     "g/expression: found predicted; expected measured. DNA is set"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "words"), WRONG)
def test_what_is_wrong_is_said(folder, run, entry, words):
    with pytest.raises(UserError, match=words) as caught:
        check(folder, run, **entry)
    assert len(str(caught.value).splitlines()) == 1


def test_predictions_need_a_proof(folder, run):
    entry = {"sample": "new", "expression": "predicted", "reference": ["T"]}
    with pytest.raises(UserError, match="g/expression: found predicted; expected held-out"):
        check(folder, run, n_proving=0, **entry)


def test_all_that_is_wrong_is_said_at_once(folder, run):
    with pytest.raises(UserError) as caught:
        check(folder, run, file="absent.h5ad", expression="predicted", encoder="plain")
    assert len(str(caught.value).splitlines()) == 5


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_cells_of_a_file_are_read_however_they_are_stored(tmp_path, form, dtype):
    rng = np.random.default_rng(0)
    counts = rng.poisson(2, (60, 30))
    counts[5] = 0
    kind = np.array(["tumour", "T", "unknown", None, "NA"], dtype=object)[np.arange(60) % 5]
    file = ad.AnnData(form(counts.astype(dtype)), obs=pd.DataFrame({"kind": kind}))
    file.obs_names = [f"c{i}" for i in range(60)]
    file.var = made_up_places(1, 30)[[]]
    file.obsm["spatial"] = rng.uniform(0, 100, (60, 3))
    file.write_h5ad(tmp_path / "cells.h5ad")
    found = read_cells(tmp_path / "cells.h5ad", "kind", None, False, 0, "here")
    known = np.flatnonzero((np.arange(60) % 5 < 2) & (np.arange(60) != 5))
    assert list(found.names) == [f"c{i}" for i in known]
    assert np.array_equal(found.counts.toarray(), counts[known])
    assert set(found.kind) == {"tumour", "T"} and found.xy_um.shape == (len(known), 2)
    with pytest.raises(UserError, match="here/cells: found type; expected a column of obs: kind"):
        read_cells(tmp_path / "cells.h5ad", "type", None, False, 0, "here")


def test_genes_that_occur_twice_are_refused(tmp_path):
    file = ad.AnnData(np.ones((30, 4), dtype=np.float32), obs=pd.DataFrame({"kind": ["a"] * 30}))
    file.obs_names, file.var_names = [f"c{i}" for i in range(30)], ["A", "A", "B", "C"]
    file.obsm["spatial"] = np.ones((30, 2))
    file.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(UserError, match="1 genes that occur more than once"):
        read_cells(tmp_path / "cells.h5ad", "kind", None, False, 0, "here")
