"""Two labellings of the same units held against each other."""

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from histoscribe.annotation.levels import CLUSTER
from histoscribe.annotation.naming import UNKNOWN

NAMED_FROM = 0.9  # share of units whose given label is a name that predictions could bear
AGREEMENT_COLUMNS = [
    "reference", "level", "n_units", "share_compared", "n_reference", "n_predicted", "ari", "nmi",
    "accuracy", "accuracy_by_chance", "balanced_accuracy", "kappa",
]  # fmt: skip


def agreement(
    reference: pd.Series,
    predicted: pd.Series,
    name: str,
    level: str,
    vocabulary: set[str] | None = None,
) -> dict[str, object]:
    """Scores of two labellings of the same units; missing labels are left out, and counted.

    A reference of "unknown" is no truth, and is left out, too; where it is predicted, it is wrong.
    Accuracy, the accuracy that the two sets of shares would reach by chance, balanced accuracy
    (mean over the reference's labels) and kappa are of labels with the same names, and NaN where
    the labellings share none, and of clusters, whose numbers mean nothing. `vocabulary` are the
    names that predictions could bear, for a reference with names of its own: where less than 90 %
    of the units have one of these, no accuracy is given. Names are the same in any case of letters.
    Keys: AGREEMENT_COLUMNS.
    """
    known = reference.notna() & (reference.astype(object) != UNKNOWN)
    both = known.to_numpy() & predicted.notna().to_numpy()
    a, b = (s.astype(str).to_numpy()[both] for s in (reference, predicted))
    row: dict[str, object] = dict.fromkeys(AGREEMENT_COLUMNS, np.nan)
    row |= {"reference": name, "level": level, "n_units": int(both.sum())}
    row["share_compared"] = float(both.mean()) if len(both) else np.nan
    if not both.any():
        return row
    row |= {"n_reference": len(np.unique(a)), "n_predicted": len(np.unique(b))}
    row |= {"ari": adjusted_rand_score(a, b), "nmi": normalized_mutual_info_score(a, b)}
    a, b = (np.char.lower(side.astype(str)) for side in (a, b))
    if vocabulary is None:
        is_nameable = bool(set(a) & set(b))
    else:
        is_nameable = np.isin(a, [word.lower() for word in vocabulary]).mean() >= NAMED_FROM
    if level != CLUSTER and is_nameable:
        labels = np.unique(np.concatenate([a, b]))
        shares = [np.array([(side == label).mean() for label in labels]) for side in (a, b)]
        accuracy, chance = float((a == b).mean()), float(shares[0] @ shares[1])
        row |= {"accuracy": accuracy, "accuracy_by_chance": chance}
        row["balanced_accuracy"] = np.mean([(b[a == x] == x).mean() for x in np.unique(a)])
        row["kappa"] = (accuracy - chance) / (1 - chance) if chance < 1 else np.nan
    return row


def confusion(reference: pd.Series, predicted: pd.Series) -> pd.DataFrame:
    """Units of each pair of labels: reference, predicted, n_units, share (of the reference's).

    Rows and columns that neither side has are absent; pairs without units are 0.
    """
    both = reference.notna() & predicted.notna()
    a, b = reference[both].astype(str), predicted[both].astype(str)
    order = list(dict.fromkeys([*a.value_counts().index, *b.value_counts().index]))
    counts = pd.crosstab(a.to_numpy(), b.to_numpy()).reindex(
        index=[x for x in order if x in set(a)], columns=[x for x in order if x in set(b)]
    )
    counts.index.name, counts.columns.name = "reference", "predicted"
    long = counts.stack().rename("n_units").reset_index()
    long["share"] = long["n_units"] / long.groupby("reference")["n_units"].transform("sum")
    return long
