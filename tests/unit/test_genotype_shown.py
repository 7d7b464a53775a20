"""How a genotype is drawn, and how it is told in the report."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_text import drawn_texts, overlapping, width_mm
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from report_run import CONFIG, REPOSITORY, TEMPLATES, page_of, results_of, run_of

from histoscribe.figures.copy_profile import (
    COLOURS,
    chromosome_lengths,
    dna_profile,
    inferred_profiles,
    short_segment,
)
from histoscribe.figures.genotype import (
    FEW_BLOCKS,
    NO_FEATURES,
    NO_SEGMENTS,
    ONE_CLONE,
    MappedGenotype,
    draw_genotype,
    first_genotype,
    state_colours,
    states,
)
from histoscribe.figures.maps import MappedUnits
from histoscribe.figures.panels import wrapped
from histoscribe.figures.style import use_style
from histoscribe.figures.volcano import named_places, senses
from histoscribe.figures.windows import window_of
from histoscribe.genome.segments import ELSEWHERE, GAIN, LOSS
from histoscribe.report.genotypes import genotype_cautions, genotype_views
from histoscribe.report.methods import methods
from histoscribe.report.references import read_references
from histoscribe.report.results import GenotypeTables, Results, read_genotypes

SEGMENTS = ["chr2:1000000-90000000", "chr17:25000000-83000000", "chr3"]
CALLED = [f"{SEGMENTS[0]} gain", f"{SEGMENTS[1]} loss"]
IMAGE = {
    "image_accuracy": 0.8, "image_low": 0.7, "image_high": 0.9, "image_by_chance": 0.52,
    "image_p": 0.01, "n_features": 2,
}  # fmt: skip
WORKS = {"tirosh", "infercnvpy", "overlap", "viladomat"}


def carriers(**changes):
    row = {
        "genotype": "clone 1", "also": np.nan, "n_carriers": 60, "n_others": 40, "n_unmatched": 3,
        "kinds": "carcinoma", "n_genes_tested": 40, "n_genes": 4, "slope": np.nan,
        "slope_low": np.nan, "slope_high": np.nan, "n_altered_genes": 0, **IMAGE,
    }  # fmt: skip
    return pd.DataFrame([{**row, **changes}])


def genes(is_inferred):
    rng = np.random.default_rng(0)
    names = [*CALLED, ELSEWHERE, ELSEWHERE] if is_inferred else [*SEGMENTS, ELSEWHERE]
    shift = np.array([0.6, -1.0, 0.0, 0.0])[np.arange(40) % 4]
    p = np.where(np.arange(40) < 4, 1e-5, rng.uniform(0.05, 1, 40))
    return pd.DataFrame(
        {
            "genotype": "clone 1", "gene": [f"GENE{i}" for i in range(40)],
            "log2_fold_change": np.where(np.arange(40) < 4, [1.5, -1.4, 1.3, 1.2] * 10, 0.1),
            "p": p, "q": np.where(np.arange(40) < 4, 0.001, 0.9), "chromosome": "chr3",
            "start": 1e6, "end": 9e7, "log2_copies": np.nan if is_inferred else shift,
            "segment": names * 10,
        }
    )  # fmt: skip


def dosage(is_inferred):
    names = CALLED if is_inferred else SEGMENTS
    n = len(names)
    copies = [np.nan] * n if is_inferred else [0.6, -1.0, 0.0]
    return pd.DataFrame(
        {"genotype": "clone 1", "segment": [*names, ELSEWHERE], "n_genes": 10,
         "log2_copies": [*copies, 0.0], "log2_ratio": [*[0.5, -0.9, 0.05][:n], 0.01],
         "standard_error": 0.1}
    )  # fmt: skip


def image():
    return pd.DataFrame(
        {"genotype": "clone 1", "feature": [f"tile_64um_feature_{i}" for i in range(7)],
         "difference": [0.9, -0.8, 0.7, 0.6, 0.5, -0.9, 0.8],
         "told_counts": [False, False, False, False, False, True, True]}
    )  # fmt: skip


def segments(n_clones=2):
    rows = []
    for clone, sign in (("clone 1", 1), ("clone 2", -1))[:n_clones]:
        for beside in ("normal cells", "other clones")[:n_clones]:
            call = ("gain" if sign > 0 else "loss") if beside == "other clones" else None
            rows += [
                (clone, beside, "chr2", 1, 9e7, 9, 0.5 * sign, 0.1, 0.4 * sign, call),
                (clone, beside, "chr10", 1, 9e7, 9, 0.02, 0.1, 0.0, None),
            ]
    columns = ["clone", "beside", "chromosome", "start", "end", "n_genes", "log2_ratio"]
    return pd.DataFrame(rows, columns=[*columns, "standard_error", "held_out_log2_ratio", "call"])


def clones(n_clones=2):
    table = pd.DataFrame(
        {"clone": ["clone 1", "clone 2"], "n_units": [60, 40], "share": [0.6, 0.4],
         "p": [0.0025, 0.0025], "found_again": [0.75, 0.5], "n_gains": [1, 0], "n_losses": [0, 1],
         "p_beside_normal": [0.2, 0.001]}
    )  # fmt: skip
    return table.head(n_clones)


def units():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {"x_um": rng.uniform(0, 900, 120), "y_um": rng.uniform(0, 600, 120),
         "kind": ["carcinoma"] * 100 + ["T cell"] * 20,
         "clone": ["clone 1"] * 60 + ["clone 2"] * 40 + ["normal"] * 20,
         "TP53": [1.0] * 50 + [0.0] * 49 + [np.nan] + [0.0] * 20,
         "chr3": [3.0] * 30 + [2.0] * 90, "image: clone 1": 1.0},
        index=pd.Index([f"u{i}" for i in range(120)], name="unit"),
    )  # fmt: skip


@pytest.fixture
def page():
    """Draws a page from tables; `picture` of the H&E unless it is taken away."""
    use_style(REPOSITORY / "resources/matplotlibrc")

    def draw(is_inferred, table, own_dosage=None, with_picture=True, of=None):
        of = units() if of is None else of
        own = dosage(is_inferred) if own_dosage is None else own_dosage
        shown = first_genotype(table, genes(is_inferred), own, image(), of)
        xy_um = of[["x_um", "y_um"]].to_numpy()
        picture = np.full((20, 30, 3), 200, dtype=np.uint8) if with_picture else None
        mapped = MappedGenotype(
            MappedUnits(xy_um, 10.0), states(of, shown.row), window_of(xy_um, 10.0), picture
        )
        if is_inferred:
            profiles = inferred_profiles(segments(2 if len(table) else 1))
            lengths = chromosome_lengths(segments())
        else:
            profiles = dna_profile(shown.dosage, shown.name)
            lengths = {"chr2": 2e8, "chr3": 2e8, "chr17": 8e7}
        return draw_genotype(shown, mapped, profiles, lengths, is_inferred, 0.05, "title")

    yield draw
    plt.close("all")


def words_of(drawn):
    return " ".join(text for text, _ in drawn_texts(drawn.figure))


def test_the_states_of_units_that_are_compared():
    table = units()
    clone = states(table, {"genotype": "clone 1", "kinds": "carcinoma"})
    assert clone.value_counts().to_dict() == {"clone 1": 60, "clone 2": 40}
    mutation = states(table, {"genotype": "TP53", "kinds": "carcinoma, T cell"})
    assert mutation.value_counts().to_dict() == {"others": 69, "carriers": 50}
    altered = states(table, {"genotype": "chr3 altered", "kinds": "T cell"})
    assert altered.value_counts().to_dict() == {"others": 20}
    named = table.rename(columns={"clone": "subclone"})
    assert states(named, {"genotype": "subclone: clone 2", "kinds": "carcinoma"}).nunique() == 2
    assert states(table, None).nunique() == 3


def test_rare_clones_share_a_colour():
    state = pd.Series([f"clone {i}" for i in range(9) for _ in range(20 - i)] + [np.nan])
    shown, colours = state_colours(state)
    assert len(colours) == 8 == len(set(colours.values()))
    assert (shown == "other clones").sum() == 13 + 12
    assert list(state_colours(pd.Series(["others", "carriers"]))[1]) == ["carriers", "others"]


def test_profiles_are_beside_other_clones_where_there_are_some():
    one, two = inferred_profiles(segments())
    assert one.title == "clone 1 beside other clones"
    assert one.table["call"].tolist() == ["gain", ""] and two.table["call"].tolist() == ["loss", ""]
    assert one.table["mark"].tolist() == [0.4, 0.0]
    (alone,) = inferred_profiles(segments(1))
    assert alone.title == "clone 1 beside normal cells"
    assert list(chromosome_lengths(segments())) == ["chr2", "chr10"]


def test_profiles_of_dna_are_copies():
    (profile,) = dna_profile(dosage(False), "clone 1")
    assert profile.table["value"].tolist() == [0.6, -1.0, 0.0]
    assert profile.table["call"].tolist() == ["gain", "loss", ""]
    assert profile.table["chromosome"].tolist() == ["chr2", "chr17", "chr3"]
    assert np.isnan(profile.table["start"].iloc[2])
    assert dna_profile(dosage(False).tail(1), "clone 1") == []
    assert short_segment("chr12:74627386-132120915 gain") == "chr12:75–132 Mb"
    assert short_segment("chr3") == "chr3"


def test_genes_lie_in_gains_and_losses():
    for is_inferred in (True, False):
        assert senses(genes(is_inferred))[:4].tolist() == [GAIN, LOSS, ELSEWHERE, ELSEWHERE]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 40)), min_size=1, max_size=25))
def test_names_of_genes_do_not_overlap(points):
    at_mm = np.array(points)
    names = [f"GENE{i}" for i in range(len(points))]
    found = named_places(at_mm, np.arange(len(points)), names, 52, 42, np.ones(len(points), bool))
    corners = np.array(list(found.values())).reshape(-1, 2)
    apart = np.abs(corners[:, None] - corners[None])
    apart[np.arange(len(corners)), np.arange(len(corners))] = np.inf
    assert ((apart[..., 0] >= 4) | (apart[..., 1] >= 2)).all()


def test_lines_fit_their_width():
    assert wrapped("a b", 100, 6) == ["a b"]
    lines = wrapped("word " * 20 + "x\u00a0y", 30, 6)
    assert len(lines) > 2 and lines[-1].endswith("x\u00a0y")


@pytest.mark.parametrize("is_inferred", [True, False])
def test_a_genotype_is_drawn(page, is_inferred):
    slope = {} if is_inferred else {"slope": 0.9, "slope_low": 0.8, "slope_high": 1.0}
    drawn = page(is_inferred, carriers(also="chr3 altered", **slope))
    assert overlapping(drawn.figure) == [] and width_mm(drawn.figure) < 186
    words = words_of(drawn)
    assert "the one genotype" in words and "clone 1 (carriers)" in words and "chr3 altered" in words
    assert "4 of 40 with q < 0.05" in words and "GENE0" in words
    assert "0.80 (0.70 to 0.90)" in words and "2 of 7 count" in words
    by_label = {axes.get_xlabel(): axes for axes in drawn.figure.axes}
    filled = by_label["difference (sd)"].collections[-1].get_facecolors()
    assert [tuple(colour) for colour in filled[:3]] == [to_rgba("black")] * 2 + [to_rgba("white")]
    if is_inferred:
        assert "not known" in words and "clone 2 beside other clones" in words
        assert "chr2:1–90 Mb" in words
    else:
        assert "slope 0.90" in words
        line = by_label["log2 copies, carriers to others"].lines[1]
        assert np.diff(line.get_ydata())[0] / np.diff(line.get_xdata())[0] == pytest.approx(0.9)


def test_segments_are_drawn_where_they_lie(page):
    drawn = page(True, carriers())
    first = next(axes for axes in drawn.figure.axes if axes.get_ylabel() == "log2 ratio")
    lines = [line for line in first.lines if line.get_color() == COLOURS[GAIN]]
    assert lines[0].get_ydata().tolist() == [0.5, 0.5]
    assert lines[0].get_xdata().tolist() == [1, 9e7]


def test_panels_say_why_they_are_empty(page):
    few = dict.fromkeys(IMAGE, np.nan)
    drawn = page(False, carriers(**few), dosage(False).tail(1), with_picture=False)
    words = words_of(drawn)
    assert overlapping(drawn.figure) == []
    assert NO_SEGMENTS in words and "too few blocks" in words and "H&E" not in words
    assert FEW_BLOCKS.split()[0] in words
    bare = page(False, carriers(**few), of=units().drop(columns="image: clone 1"))
    assert NO_FEATURES.split(" are ")[0] in words_of(bare)
    one = page(True, carriers().iloc[:0])
    assert ONE_CLONE in words_of(one) and overlapping(one.figure) == []


def report_of(entry, **tables):
    usual = {
        "carriers": carriers(), "genes": genes("clones" in tables),
        "dosage": dosage("clones" in tables), "image": image(),
    }  # fmt: skip
    facts = run_of(config={**CONFIG, "genotypes": {"g": entry}})
    return facts, results_of(facts, genotypes={"g": GenotypeTables(**{**usual, **tables})})


INFERRED = {"sample": "s3", "reference": ["fibroblast"], "among": ["carcinoma"]}


def test_two_clones_are_told_as_an_inference():
    facts, results = report_of(INFERRED, clones=clones(), segments=segments())
    (view,) = genotype_views(facts, results)
    words = " ".join(view.paragraphs)
    assert "Expression shows 2 clones in 100 units of s3: 60 and 40 units." in words
    assert "p 0.0025" in words and "clone 1 has 1 gain and 0 losses" in words
    assert "Other halvings of the molecules show them in 75\u202f% and 50\u202f% of cases." in words
    assert "no alleles and no absolute copies" in words and "mutation can't be seen" in words
    assert "60 carriers were set beside 40 others of the same kind nearby (carcinoma)" in words
    assert "4 of 40 genes differ (q < 0.05): GENE0, GENE1, GENE2 and GENE3, 2 of them" in words
    assert "How many copies there are is not known" in words
    assert "The image alone tells it in tissue unseen (balanced accuracy 0.800" in words
    assert view.rows[0]["genes"] == "4 / 40" and view.rows[0]["slope"] == "–"
    titles = [caution.title for caution in genotype_cautions(facts, results)]
    assert titles == [
        "Clones are inferred from expression",
        "Alterations shared by all units of g could not be shown",
    ]
    page = page_of(facts, results)
    assert 'href="#genotypes"' in page and 'id="genotypes"' in page
    assert "#genotypes" not in page_of(run_of(), results_of(run_of()))


def test_one_clone_is_no_genotype():
    facts, results = report_of(
        INFERRED, carriers=carriers().iloc[:0], clones=clones(1), segments=segments(1)
    )
    (view,) = genotype_views(facts, results)
    assert view.paragraphs[0].startswith(
        "Expression does not show more than one clone in 60 units of s3."
    )
    assert view.rows == [] and "Beside the other clones" not in " ".join(view.paragraphs)
    titles = [caution.title for caution in genotype_cautions(facts, results)]
    assert "Clones are inferred from expression" not in titles
    page_of(facts, results)


def test_predicted_expression_is_warned_of():
    facts, results = report_of(
        {**INFERRED, "expression": "predicted"}, clones=clones(), segments=segments()
    )
    first = next(iter(genotype_cautions(facts, results)))
    assert (first.level, first.title) == ("warning", "Clones from predicted expression")


def test_dna_is_told_with_its_dosage():
    slope = {"slope": 0.9, "slope_low": 0.8, "slope_high": 1.0, "n_altered_genes": 20}
    many = pd.concat([carriers(also="chr3 altered", **slope)] * 30, ignore_index=True)
    facts, results = report_of({"sample": "s3", "clones": "dna"}, carriers=many)
    (view,) = genotype_views(facts, results)
    words = " ".join(view.paragraphs)
    assert "30 genotypes of s3, by DNA." in words and "inference" not in words
    assert "No more are looked at" not in words
    assert "The same units tell chr3 altered." in words
    assert "with a slope of 0.900 (95\u202f% interval 0.800 to 1.000" in words
    assert (len(view.rows), view.n_left_out) == (25, 5)
    assert "5 more genotypes in genotypes/g/carriers.tsv" in page_of(facts, results)
    own = {"sample": "s3", "clones": "dna", "association": {"max_genotypes": 30}}
    (view,) = genotype_views(*report_of(own, carriers=many))
    assert view.paragraphs[0].endswith("No more are looked at (association.max_genotypes).")
    assert list(genotype_cautions(facts, results)) == []


@pytest.mark.parametrize(
    ("entry", "changes", "words"),
    [
        ({"sample": "s3"}, dict.fromkeys(IMAGE, np.nan), "too few blocks to say"),
        ({"file": "a.h5ad"}, dict.fromkeys(IMAGE, np.nan), "The image was not asked"),
        ({"sample": "s3"}, {"image_p": 0.2}, "That the image alone tells it could not be shown"),
        ({"sample": "s3"}, {"image_low": 0.45}, "could not be shown"),
        ({"sample": "s3"}, {"image_low": np.nan}, "could not be shown"),
    ],
)
def test_what_the_image_does_not_tell(entry, changes, words):
    facts, results = report_of({**entry, "clones": "dna"}, carriers=carriers(**changes))
    (view,) = genotype_views(facts, results)
    assert words in " ".join(view.paragraphs)
    assert "no dosage can be given" in " ".join(view.paragraphs)


def test_methods_and_works_follow_what_was_done():
    facts, results = report_of(INFERRED, clones=clones(), segments=segments())
    found = methods(facts, results, {})
    assert set(found.cited) >= WORKS and set(read_references(TEMPLATES / "references.bib")) >= WORKS
    assert "Copies along the genome (g) were inferred" in "\n".join(found.paragraphs)
    facts, results = report_of({"sample": "s3", "clones": "dna"})
    given_dna = methods(facts, results, {})
    assert WORKS & set(given_dna.cited) == {"overlap", "viladomat"}
    assert "Genotypes were those of given DNA." in "\n".join(given_dna.paragraphs)
    assert not WORKS & set(methods(run_of(), Results(), {}).cited)


def test_tables_are_read_by_their_folder(tmp_path):
    (tmp_path / "g").mkdir()
    paths = [tmp_path / "g" / f"{name}.tsv" for name in ("carriers", "genes", "dosage", "image")]
    tables = (carriers(), genes(False), dosage(False), image())
    for path, table in zip(paths, tables, strict=True):
        table.to_csv(path, sep="\t", index=False)
    found = read_genotypes(paths)["g"]
    assert found.clones is None and len(found.genes) == 40
