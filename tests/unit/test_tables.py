import numpy as np
import pandas as pd
import pytest

from histoscribe.errors import UserError
from histoscribe.tables import read_table


def test_tables_keep_genes_that_are_called_na(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("gene\tpcc\ttrust\nNA\t\tA\nNAN\t0.5\t\n1\t0.2\tB\n")
    table = read_table(path)
    assert table["gene"].tolist() == ["NA", "NAN", "1"]
    assert np.isnan(table["pcc"][0]) and pd.isna(table["trust"][1])


def test_names_of_digits_stay_text(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("names_digest\tset\tcluster\tn\n0000567890123456\t1\t02\t3\n")
    assert read_table(path).iloc[0].tolist() == ["0000567890123456", "1", "02", 3]


def test_what_is_no_table_is_said(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("")
    with pytest.raises(UserError, match="no readable table"):
        read_table(path)
