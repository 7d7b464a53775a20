"""The sample sheet as text: tab-separated cells under a header, each row with its line number.

Nothing is guessed: every cell stays the text it is ("NA", quotes), a `#` begins a comment only
at the start of a line, and lines are counted as an editor counts them. Light: the Snakefile
imports it.
"""

from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from histoscribe.errors import problem

REQUIRED_COLUMNS = ["sample", "donor", "platform", "path", "image", "um_per_px", "unit", "split"]
COLUMNS = [*REQUIRED_COLUMNS, "polygons", "group", "labels", "dna"]
Row = dict[str, str | float]


def read_sheet(path: Path) -> tuple[list[tuple[int, Row]], list[str]]:
    """Line number and filled cells of each row, and the problems of the sheet's form.

    `um_per_px` becomes a number where it is one; what cells mean is for the schema to check.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        return [], [_no_table(path, str(error))]
    table = [
        (number, [cell.strip() for cell in line.split("\t")])
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not table:
        return [], [_no_table(path, "no line with text")]
    (_, columns), *cells = table
    rows, problems = [], _header_problems(path, columns)
    for number, texts in cells:
        problems += _stray_cells(path, number, columns, texts)
        # A row may be shorter than the header: what is absent is empty.
        filled = zip(columns, texts, strict=False)
        row: Row = {column: text for column, text in filled if column and text}
        with suppress(KeyError, ValueError):  # the schema says what is wrong with the text
            row["um_per_px"] = float(row["um_per_px"])
        rows.append((number, row))
    return rows, problems


def _no_table(path: Path, reason: str) -> str:
    return problem(
        str(path),
        f"no readable table ({reason})",
        "a sample sheet, tab-separated text in UTF-8",
        "Correct samples in the config, or save the sheet as such.",
    )


def _header_problems(path: Path, columns: list[str]) -> list[str]:
    problems = []
    named = [column for column in columns if column]
    unknown = [column for column in named if column not in COLUMNS]
    missing = [column for column in REQUIRED_COLUMNS if column not in named]
    repeated = sorted({column for column in named if named.count(column) > 1})
    if unknown:
        problems.append(
            problem(
                str(path),
                "the unknown column " + ", ".join(repr(c) for c in unknown),
                "only " + " ".join(COLUMNS),
                "Remove or rename it; columns are separated by tabs.",
            )
        )
    if missing:
        problems.append(
            problem(
                str(path),
                "no column " + ", ".join(missing),
                " ".join(REQUIRED_COLUMNS),
                "Add it; columns are separated by tabs.",
            )
        )
    if repeated:
        problems.append(
            problem(
                str(path),
                "more than one column " + ", ".join(repeated),
                "each column once",
                "Remove or rename the others.",
            )
        )
    return problems


def _stray_cells(path: Path, number: int, columns: list[str], texts: list[str]) -> list[str]:
    """The problem of cells without a named column; empty ones (trailing tabs) do no harm."""
    paired = zip_longest(columns, texts, fillvalue="")
    stray = [text for column, text in paired if text and not column]
    if not stray:
        return []
    return [
        problem(
            f"{path} line {number}",
            f"{', '.join(map(repr, stray))} in a column without a name",
            f"no more than the {sum(map(bool, columns))} cells that the header names",
            "Remove it, or a tab too many before it.",
        )
    ]
