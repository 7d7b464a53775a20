import base64
import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from histoscribe.type_colours import GREYS, read_type_colours, type_colours
from histoscribe.viewer.annotation import NONE, coded
from histoscribe.viewer.data_scripts import embedded_json, write_data_script
from histoscribe.viewer.gene_scripts import TopGenes
from histoscribe.viewer.gene_table import shown_genes
from histoscribe.viewer.quantise import colour_cut, dequantise, quantise


@given(st.lists(st.floats(0, 50, width=32), min_size=1), st.floats(0.01, 50))
def test_a_byte_brings_back_a_value_to_half_a_step(values, high):
    values = np.array(values, dtype=np.float32)
    returned = dequantise(quantise(values, high), high)
    assert np.abs(returned - np.minimum(values, high)).max() <= high / 510 * 1.001


def test_the_colour_range_ends_at_the_99th_percentile_or_the_maximum():
    assert colour_cut(np.arange(1001.0)) == pytest.approx(990)
    assert colour_cut(np.array([0.0] * 999 + [3.0])) == 3
    assert colour_cut(np.zeros(5)) == 1


@given(st.text() | st.dictionaries(st.text(), st.text() | st.floats() | st.none()))
def test_json_in_a_script_neither_ends_it_nor_changes(value):
    text = embedded_json(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    if isinstance(value, str):
        assert json.loads(text) == value


def test_a_data_script_holds_its_arrays(tmp_path):
    arrays = {
        "byte": np.array([1, 2, 3], dtype=np.uint8),
        "id": ["</script>", "two\nlines", "μ"],
        "place": np.array([[1.5, -2.5]], dtype=np.float32),
    }
    write_data_script(tmp_path / "a.js", "a", {"x": np.float32(1.5), "y": float("nan")}, arrays)
    text = (tmp_path / "a.js").read_text()
    name, facts, packed = json.loads("[" + text[len("HistoScribe.receive(") : -3] + "]")
    assert (name, facts["x"], facts["y"]) == ("a", 1.5, None)
    content = gzip.decompress(base64.b64decode(packed))
    held = {
        key: content[place["offset"] : place["offset"] + place["bytes"]]
        for key, place in facts["arrays"].items()
    }
    assert held["byte"] == bytes([1, 2, 3])
    assert held["id"].decode() == "</script>\ntwo lines\nμ"
    assert facts["arrays"]["place"]["offset"] % 4 == 0
    assert np.frombuffer(held["place"], "<f4").tolist() == [1.5, -2.5]


def test_genes_are_shown_best_first_and_the_others_counted():
    var = pd.DataFrame({"trust": "C", "unseen_pcc": [0.1, 0.3, 0.2]}, index=["a", "b", "c"])
    scores = pd.DataFrame(
        {"gene": ["a", "b", "c"], "pcc": [0.5, np.nan, 0.4], "trust": ["A", "D", "B"]}
    )
    measured = shown_genes([var], [scores], 2)
    assert measured.table.index.tolist() == ["a", "c"]
    assert measured.table["trust"].tolist() == ["A", "B"]
    assert measured.left_out == ["b"]
    # A grade counts more than the PCC; the shown ones are then ordered by PCC.
    doubted = shown_genes([var], [scores.assign(trust=["D", "A", "B"])], 2)
    assert doubted.table.index.tolist() == ["c", "b"]
    unmeasured = shown_genes([var], [], 10)
    assert unmeasured.table.index.tolist() == ["b", "c", "a"]
    assert unmeasured.table.loc["b", "pcc"] == 0.3
    assert unmeasured.left_out == []


def test_of_several_folds_the_common_genes_count_with_the_worst_grade():
    one = pd.DataFrame(index=["a", "b", "c"])
    two = pd.DataFrame(index=["c", "a"])
    scores = [
        pd.DataFrame({"gene": ["a", "b", "c"], "pcc": [0.2, 0.9, 0.5], "trust": ["A", "A", "A"]}),
        pd.DataFrame({"gene": ["c", "a"], "pcc": [0.3, 0.4], "trust": ["B", "C"]}),
    ]
    shown = shown_genes([one, two], scores, 5).table
    assert shown["pcc"].to_dict() == pytest.approx({"c": 0.4, "a": 0.3})
    assert shown["trust"].to_dict() == {"c": "B", "a": "C"}


def test_genes_that_stand_out_are_found_in_parts():
    rng = np.random.default_rng(0)
    values = rng.gamma(2, 1, (50, 12)).astype(np.float32)
    values[3, 7] = 40
    values[4] = 0
    top = TopGenes(50)
    top.add([7, 8, 9, 10, 11], values[:, 7:])
    top.add(list(range(7)), values[:, :7])
    assert top.gene[3, 0] == 7
    assert (top.gene[4] == 0xFFFF).all()
    score = (values - values.mean(axis=0)) / values.std(axis=0)
    above = [gene for gene in np.argsort(-score[0])[:5] if score[0, gene] > 0]
    assert top.gene[0, : len(above)].tolist() == above
    assert (top.gene[0, len(above) :] == 0xFFFF).all()


def test_codes_follow_the_number_of_units():
    names = pd.Series(["b", "a", "b", None], dtype="string")
    described, codes = coded(names, {"a": "#000001", "b": "#000002"}, {"b"})
    assert codes.tolist() == [0, 1, 0, NONE]
    assert [c["name"] for c in described["categories"]] == ["b", "a"]
    assert [c["n_units"] for c in described["categories"]] == [2, 1]
    assert described["n_without"] == 1


def test_more_names_than_codes_share_the_last_one():
    names = pd.Series([f"type {i:03d}" for i in range(300)], dtype="string")
    described, codes = coded(names, dict.fromkeys(names, "#000000"), set())
    assert len(described["categories"]) == 255
    assert described["categories"][-1] == {
        "name": "all others", "colour": "#7F7F7F", "n_units": 46
    }  # fmt: skip
    assert (codes == 254).sum() == 46


def test_names_have_the_same_colours_in_any_order():
    palette = ["#000001", "#000002", "#000003"]
    colours = type_colours(["b", "unknown", "a", "c", "d"], palette)
    assert colours == type_colours(["d", "c", "b", "a"], palette)
    assert [colours[name] for name in "abcd"] == [*palette, palette[0]]
    assert colours["unknown"] == GREYS["unknown"]


def linear_rgb(rgb):
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Machado et al. 2009: colour blindness of severity 1, on linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
}  # fmt: skip
TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


@pytest.mark.parametrize(("vision", "least"), [("usual", 0.08), *((v, 0.06) for v in VISIONS)])
def test_type_colours_can_be_told_apart(repository, vision, least):
    """Distances in OKLab; about 0.02 is just visible."""
    colours = read_type_colours(repository / "resources/type_colours.tsv")
    assert len(colours) >= 20
    shares = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]) / 255
    seen = np.clip(linear_rgb(shares) @ VISIONS[vision].T, 0, 1)
    lab = np.cbrt(seen @ TO_LMS.T) @ TO_LAB.T
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() >= least
