"""Labels that are known of integrated units: of the sheet's files, or of a column of an .h5ad."""

from pathlib import Path

import pandas as pd

from histoscribe.annotation.labels import UNLABELLED, read_labels
from histoscribe.errors import UserError, problem
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad


def known_labels(
    obs: pd.DataFrame, files: dict[str, Path], tables: dict[str, Path], column: str | None
) -> pd.Series:
    """The label of each unit of `obs` (section, unit), (n_units,) text; NaN where there is none.

    `files` are the sections' .h5ad by name, and `tables` the files of labels of some of them; where
    a section has none, `column` of its file's obs is taken, if there is such a column. Raises
    UserError where `column` is in no file.
    """
    found, has_column = [], False
    for name, path in files.items():
        own = obs.loc[obs["section"] == name, "unit"]
        units = read_h5ad(path, ())[own.to_numpy()]
        labels = pd.Series(index=units.obs_names, dtype=object)
        if name in tables:
            facts = recall(units.uns)
            labels = read_labels(tables[name], units, facts["unit_size_um"], facts["um_per_px"])
        elif column is not None and column in units.obs:
            has_column = True
            labels = units.obs[column].astype(object)
            labels = labels.map(str, na_action="ignore")
            labels = labels.mask(labels.str.lower().isin(UNLABELLED))
        found.append(pd.Series(labels.to_numpy(dtype=object), index=own.index))
    if column is not None and not has_column and not tables:
        raise UserError(
            problem("integrations, label", f"no column {column} in obs of any section",
                    "a column with labels of some units", "Correct its name, or leave it out.")
        )  # fmt: skip
    return pd.concat(found).reindex(obs.index)
