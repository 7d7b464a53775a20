"""Reading the tables that steps write."""

from pathlib import Path

import pandas as pd

from histoscribe.errors import UserError, problem

NAMES = (
    *("sample", "experiment", "fold", "gene", "set", "term", "name", "factor", "group"),
    *("cluster", "type", "label", "reference", "names_digest", "section", "aligned_to", "doubt"),
)


def read_table(path: str | Path) -> pd.DataFrame:
    """A table that a step wrote; genes and samples named like missing values stay names.

    Columns of NAMES are text, where nothing is missing; elsewhere an empty cell is. Raises
    UserError where it can't be read.
    """
    try:
        header = pd.read_csv(path, sep="\t", nrows=0)
        return pd.read_csv(
            path,
            sep="\t",
            dtype={name: str for name in NAMES if name in header},
            keep_default_na=False,
            na_values={name: [""] for name in header if name not in NAMES},
        )
    except (OSError, ValueError) as error:
        raise UserError(
            problem(
                str(path),
                f"no readable table ({error})",
                "a .tsv that an earlier step wrote",
                "Delete it and run again.",
            )
        ) from error
