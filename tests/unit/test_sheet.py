"""The sample sheet as text: what is read as it is, and what is refused."""

import pytest

from histoscribe.sheet import REQUIRED_COLUMNS, read_sheet

TEXT = "\t".join([*REQUIRED_COLUMNS, "group"])
CELLS = "a\td\tvisium_hd\ta\ta.tif\t0.5\tbin\ttrain\tg"


def sheet_of(folder, text, encoding="utf-8"):
    path = folder / "sheet.tsv"
    path.write_bytes(text.encode(encoding))
    return read_sheet(path)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (TEXT + "\t", CELLS + "\t"),
        (TEXT, CELLS + "\t\t "),
        (TEXT + "\t\t", CELLS),
        ("\ufeff" + TEXT, CELLS),
        (TEXT + "\r", CELLS + "\r"),
        (TEXT, "\t" * 9 + "\n" + CELLS),
    ],
    ids=["trailing tabs", "in the row", "in the header", "BOM", "CRLF", "a row of tabs"],
)
def test_what_a_spreadsheet_leaves_behind_does_no_harm(tmp_path, header, line):
    rows, problems = sheet_of(tmp_path, f"{header}\n{line}\n")
    assert problems == []
    (_, cells), *others = rows
    assert others == []
    assert (cells["sample"], cells["um_per_px"], cells["group"]) == ("a", 0.5, "g")
    assert list(cells) == TEXT.split("\t")


def test_optional_columns_may_come_in_any_order(tmp_path):
    text = f"{TEXT}\tdna\tlabels\n{CELLS}\tdna.tsv\n{CELLS}\t\tlabels.tsv\n"
    rows, problems = sheet_of(tmp_path, text)
    assert problems == []
    assert [(cells.get("dna"), cells.get("labels")) for _, cells in rows] == [
        ("dna.tsv", None),
        (None, "labels.tsv"),
    ]


def test_cells_are_plain_text(tmp_path):
    for column, text in {
        "donor": ["NA", "None", "nan", "007", "#1", "patient #3"],
        "group": ['5" core', '"', "a #b"],
    }.items():
        for cell in text:
            line = CELLS.replace("\td\t", f"\t{cell}\t") if column == "donor" else CELLS[:-1] + cell
            rows, problems = sheet_of(tmp_path, f"{TEXT}\n{line}\n{CELLS}\n")
            assert problems == []
            assert [number for number, _ in rows] == [2, 3]
            assert rows[0][1][column] == cell
            assert rows[0][1]["split"] == "train"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{TEXT}\n#\n{CELLS}\tx\ty\n", "line 3: found 'x', 'y' in a column without a name"),
        (f"{TEXT}\tsample\n{CELLS}\n", "more than one column sample"),
        ("# nothing\n", "no line with text"),
        (TEXT.replace("\t", ","), "the unknown column 'sample,donor"),
    ],
)
def test_problems_of_form(tmp_path, text, message):
    _, problems = sheet_of(tmp_path, text)
    assert message in problems[0]


def test_another_encoding_is_said(tmp_path):
    _, problems = sheet_of(tmp_path, TEXT, "utf-16")
    assert "UTF-8" in problems[0]
