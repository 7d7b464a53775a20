"""Each kind of leak, planted; and folds without one."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from check_leakage import main, read_section
from histoscribe.adapted.encoder import AdaptedEncoder, AdaptedSettings, write_encoder
from histoscribe.errors import UserError
from histoscribe.gene_selection import GeneSettings, chosen_on
from histoscribe.leakage import FINE, LEAK, FoldSection, check_fold, image_digest
from histoscribe.provenance import names_digest

N = 200


def section(donor, seed, trains=False, tested=False, **changes):
    """A section of 800 um, trained on or tested as a whole."""
    rng = np.random.default_rng(seed)
    whole = FoldSection(
        donor=donor,
        image=f"image {seed}",
        names=np.array([f"unit-{i}" for i in range(N)]),
        xy_um=rng.uniform(0, 800, (N, 2)),
        umi=rng.poisson(30, N),
        trains=np.full(N, trains),
        tested=np.full(N, tested),
        validates=False,
    )
    return replace(whole, **changes)


def fold():
    """Two donors to train on, a third to test, a fourth to validate."""
    return {
        "a": section("d1", 1, trains=True),
        "b": section("d2", 2, trains=True),
        "t": section("d3", 3, tested=True),
        "v": section("d4", 4, validates=True),
    }


def verdicts(sections, widest_um=128.0, tables=None, encoders=None):
    found = check_fold(sections, widest_um, tables or {}, encoders or {})
    return {finding.what: (finding.verdict, finding.found) for finding in found}


def leaks(*arguments):
    return {what: words for what, (v, words) in verdicts(*arguments).items() if v == LEAK}


def digests(sections):
    return {name: names_digest(s.names[s.trains]) for name, s in sections.items() if s.trains.any()}


def test_a_clean_fold():
    sections = fold()
    units = digests(sections)
    table = pd.DataFrame({"sample": list(units), "names_digest": list(units.values())})
    found = verdicts(sections, 128.0, {"default": table, "panel": table[:0]}, {"adapted": units})
    assert len(found) == 7
    assert {verdict for verdict, _ in found.values()} == {FINE}
    assert found["units that the gene set panel was chosen on"][1] == "given, not chosen"
    assert "400 training units" in found["units that the encoder adapted learnt from"][1]


@pytest.mark.parametrize("name", ["a", "v"])
def test_a_shared_donor(name):
    """On both sides, whether the model is fitted to it or told by it when to stop."""
    sections = fold()
    sections[name] = replace(sections[name], donor="d3")
    assert leaks(sections) == {"donors of training and test": "donor d3 on both sides"}
    alone = {n: replace(s, donor="d") for n, s in sections.items()}
    assert leaks(alone) == {}


def cut(gap_um):
    """One section, tested right of a line and trained on `gap_um` left of it."""
    whole = section("d1", 1)
    x = whole.xy_um[:, 0] = np.where(np.arange(N) % 2, 0, 400 + gap_um)
    return {"a": replace(whole, trains=x == 0, tested=x > 0)}


def test_windows_that_overlap():
    what = "windows of 128 um around units of one image"
    found = leaks(cut(-300))
    assert found == {what: "training units of a 100.0 um from tested units of a"}
    assert leaks(cut(-272)) == {}
    assert leaks(cut(-272), 129.0)
    two = {"a": section("d", 1, trains=True), "b": section("d", 2, tested=True, image="image 1")}
    assert what in leaks(two)


def test_a_cut_section_is_tested_within_its_donor():
    sections = {**cut(0), "t": section("d2", 2, tested=True)}
    assert leaks(sections) == {}
    assert "a cut into blocks" in verdicts(sections)["donors of training and test"][1]
    sections["t"] = replace(sections["t"], donor="d1")
    sections["b"] = section("d2", 5, trains=True)
    assert list(leaks(sections)) == ["donors of training and test"]


def test_one_section_under_two_names():
    sections = fold()
    sections["t"] = replace(sections["t"], image="image 1", xy_um=sections["t"].xy_um + 5000)
    assert leaks(sections) == {"image files of training and test": "the same in a and t"}
    order = np.random.default_rng(0).permutation(N)
    a = sections["a"]
    sections["t"] = section(
        "d3", 3, tested=True, xy_um=a.xy_um[order], umi=a.umi[order], names=a.names + "x"
    )
    assert leaks(sections) == {
        "places and molecules of units in training and test": "the same in a and t"
    }


@pytest.mark.parametrize("spoil", ["one unit more", "a section more", "a section less"])
def test_genes_or_encoders_from_other_units(spoil):
    sections = fold()
    units = digests(sections)
    if spoil == "one unit more":
        units["b"] = names_digest([*sections["b"].names, "unit-of-test"])
    elif spoil == "a section more":
        units["t"] = names_digest(sections["t"].names)
    else:
        del units["a"]
    table = pd.DataFrame({"sample": list(units), "names_digest": list(units.values())})
    found = leaks(sections, 128.0, {"default": table}, {"adapted": units})
    name = {"one unit more": "b", "a section more": "t", "a section less": "a"}[spoil]
    words = f"others than the training units in {name}"
    assert found == {
        "units that the gene set default was chosen on": words,
        "units that the encoder adapted learnt from": words,
    }


def test_digests_of_images_tell_their_contents(tmp_path):
    data = np.random.default_rng(0).bytes(3 * 2**20)
    for name, content in (("a", data), ("b", data), ("c", data[:-1] + b"x"), ("d", data[:-1])):
        (tmp_path / name).write_bytes(content)
    found = {name: image_digest(tmp_path / name) for name in "abcd"}
    assert found["a"] == found["b"]
    assert len(set(found.values())) == 3
    (tmp_path / "empty").touch()
    assert image_digest(tmp_path / "empty")


def test_files_are_what_is_compared(tmp_path):
    """Through the entry: a clean cut is written down, a smaller buffer than the tile is refused."""
    rng = np.random.default_rng(0)
    units = ad.AnnData(sparse.csr_matrix(rng.poisson(3, (600, 4)), dtype=np.int32))
    units.obs["umi"] = np.asarray(units.X.sum(axis=1)).ravel()
    units.obsm["spatial"] = rng.uniform(0, 800, (600, 2))
    units.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "a.tif").write_bytes(b"image")
    blocks = {"held_out": 1, "n_folds": 2, "block_um": 200, "buffer_um": 50, "seed": 3}
    facts = {"name": "blocks-2", "training": ["a"], "validation": [], "tested": ["a"]}
    facts["blocks"] = blocks
    read = read_section("a", tmp_path / "a.h5ad", tmp_path / "a.tif", "d", facts)
    training = units[read.trains]
    chosen_on({"a": training}, GeneSettings()).to_csv(tmp_path / "genes.tsv", sep="\t")
    encoder = AdaptedEncoder(
        AdaptedSettings(um_per_px=1, steps=0, n_networks=1),
        [{"w": np.zeros(1, np.float32)}],
        "bin",
        {},
        {"a": names_digest(training.obs_names)},
    )
    write_encoder(encoder, tmp_path / "encoder.safetensors")
    arguments = {
        "fold": facts,
        "units": {"a": tmp_path / "a.h5ad"},
        "images": {"a": tmp_path / "a.tif"},
        "donors": {"a": "d"},
        "chosen_on": {"default": tmp_path / "genes.tsv"},
        "adapted": {"adapted": tmp_path / "encoder.safetensors"},
        "output": tmp_path / "leakage.tsv",
    }
    main(**arguments, widest_um=50.0)
    table = pd.read_csv(tmp_path / "leakage.tsv", sep="\t")
    assert table["verdict"].tolist() == [FINE] * 6
    (tmp_path / "leakage.tsv").unlink()
    with pytest.raises(UserError, match="fold blocks-2 leaks from test to training") as caught:
        main(**arguments, widest_um=60.0)
    assert "windows of 60 um" in str(caught.value)
    chosen_on({"a": units}, GeneSettings()).to_csv(tmp_path / "genes.tsv", sep="\t")
    with pytest.raises(UserError, match="gene set default was chosen on: found others than"):
        main(**arguments, widest_um=50.0)
    assert not (tmp_path / "leakage.tsv").exists()
