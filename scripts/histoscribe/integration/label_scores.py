"""How well labels taken from other sections agree with those that a section has itself."""

import numpy as np
import pandas as pd

from histoscribe.annotation.labellings import agreement, confusion

ALL = "all"
MEASURES = ["ari", "nmi", "accuracy", "accuracy_by_chance", "balanced_accuracy", "kappa"]
SCORE_COLUMNS = ["space", "section", "n_units", "n_labels", "n_labels_elsewhere", *MEASURES]


def label_scores(
    space: str, section: np.ndarray, tissue: np.ndarray, label: pd.Series, transferred: pd.Series
) -> list[dict[str, object]]:
    """A row (SCORE_COLUMNS) for each section with labels of its own, and one of all together.

    `label` and `transferred` (n_units,), NaN for none; the latter never from the own `tissue`
    (n_units,), which is the same for a section as measured and as predicted, so that its own labels
    are unseen. `n_labels_elsewhere` counts its labels that other tissue has: those that it has not
    can't be transferred. Empty where no section can be scored.
    """
    both = (label.notna() & transferred.notna()).to_numpy()
    rows = []
    known = pd.DataFrame({"label": label, "tissue": tissue}).dropna().astype(str)
    n_tissues = known.groupby("label")["tissue"].nunique()
    for name in [*pd.unique(section[both]), ALL] if both.any() else []:
        own = both & (section == name) if name != ALL else both
        labels = label[own].astype(str)
        measured = agreement(labels, transferred[own].astype(str), name, "label")
        row = {"space": space, "section": name, "n_units": int(own.sum())}
        row |= {"n_labels": labels.nunique()}
        row["n_labels_elsewhere"] = int((n_tissues[labels.unique()] > 1).sum())
        rows.append(row | {key: measured[key] for key in MEASURES})
    return rows


def label_confusion(section: np.ndarray, label: pd.Series, transferred: pd.Series) -> pd.DataFrame:
    """Units by own and transferred label: against (section, or all), reference, predicted, ..."""
    both = (label.notna() & transferred.notna()).to_numpy()
    parts = []
    for name in [*pd.unique(section[both]), ALL] if both.any() else []:
        own = both & (section == name) if name != ALL else both
        part = confusion(label[own], transferred[own])
        part.insert(0, "against", name)
        parts.append(part)
    columns = ["against", "reference", "predicted", "n_units", "share"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
