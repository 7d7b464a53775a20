"""Copies of invasive HER2+ breast cancer from its expression, beside the spots that hold none.

HER2+ tumours have more copies of ERBB2 (chr17:39.7 Mb); no DNA of these four is at hand.
"""

import pandas as pd
import yaml
from labelled_spots import her2st

from histoscribe.genome.cells import Cells
from histoscribe.genome.copy_number import infer_copy_number
from histoscribe.genome.nuisance import with_density
from histoscribe.genome.positions import place_genes, read_positions
from histoscribe.genome.segments import GAIN
from histoscribe.genome.settings import copy_number_settings

CANCER = "invasive cancer"
NORMAL = ("adipose tissue", "breast glands", "connective tissue", "immune infiltrate")
ERBB2 = ("chr17", 39_700_000)
COLUMNS = ["clone", "beside", "chromosome", "start", "end", "log2_ratio", "call"]


def holds_erbb2(segments):
    chromosome, place = ERBB2
    inside = (segments["start"] <= place) & (segments["end"] >= place)
    return (segments["chromosome"] == chromosome) & inside


def test_the_amplicon_of_her2_is_seen(real_data, repository):
    config = yaml.safe_load((repository / "config/config.yaml").read_text())
    settings = copy_number_settings(config["copy_number"], "config")
    known = read_positions(repository / "resources/human_genes.tsv.gz")
    gained = []
    for section, labels in her2st(real_data):
        var = pd.DataFrame(index=section.genes)
        places = with_density(place_genes(var, known, "positions"), known)
        cells = Cells(section.counts, var, section.units, labels, section.xy_um, {})
        found = infer_copy_number(cells, places, list(NORMAL), [CANCER], settings, 0, section.name)
        print(section.name, found.table.round(4).to_string(), sep="\n")
        called = found.segments[found.segments["call"] != ""]
        print(called.loc[called["chromosome"] == ERBB2[0], COLUMNS].to_string(), flush=True)
        own = called[holds_erbb2(called)]
        gained.append((own["call"] == GAIN).any())
    assert sum(gained) >= 2, gained
