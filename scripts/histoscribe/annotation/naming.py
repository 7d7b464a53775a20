"""Names of clusters from marker tables, with a score and a runner-up."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

UNKNOWN = "unknown"
NAMED_COLUMNS = [
    "cluster", "n_units", "share", "type", "broad_class", "score", "runner_up", "runner_up_score",
    "is_ambiguous", "is_dropped", "markers",
]  # fmt: skip


@dataclass(frozen=True)
class NamingSettings:
    """What counts as evidence, and when a name is given.

    A gene counts where its adjusted P is below `adjusted_p_below` and its |log2 fold change| at
    least `abs_log2fc_from` (the paper's 0.25), in `min_share` of the units or more on the side
    where it is higher: ten of 2,000 bins with a CD3D make no T cells of them. Fold changes are cut
    at `max_log2fc`. A name needs a score of `min_score` and `min_markers` markers that stand out;
    else the cluster is unknown. It is ambiguous where the runner-up reaches `ambiguous_from` of the
    score.
    """

    adjusted_p_below: float = 0.01
    abs_log2fc_from: float = 0.25
    min_share: float = 0.02
    max_log2fc: float = 3.0
    min_markers: int = 2
    min_score: float = 2.0
    ambiguous_from: float = 0.8
    n_listed: int = 6


def score_types(
    ranked: pd.DataFrame, table: pd.DataFrame, settings: NamingSettings
) -> pd.DataFrame:
    """How well each type's markers stand out in each cluster, (clusters, types).

    `ranked` (of `cells.markers`); `table` has set (the type), measured (the gene as the data spell
    it, NaN where absent) and weight. The score is the weighted z of the markers' fold changes
    against all genes of the cluster (PAGE; Kim and Volsky, BMC Bioinformatics 2005, doi
    10.1186/1471-2105-6-144). A marker of several types counts for each by as much less. Types with
    fewer than `min_markers` genes in the data are left out.
    """
    evidence = _evidence(ranked, settings)
    weights = marker_weights(table, evidence.columns, settings.min_markers)
    centred = evidence.to_numpy() - evidence.to_numpy().mean(axis=1, keepdims=True)
    spread = np.maximum(centred.std(axis=1, keepdims=True), 1e-9)
    w = weights.to_numpy()
    scores = (centred / spread) @ w / np.sqrt((w**2).sum(axis=0))
    return pd.DataFrame(scores, index=evidence.index, columns=weights.columns)


def marker_weights(table: pd.DataFrame, genes: pd.Index, min_markers: int) -> pd.DataFrame:
    """Weight of each gene as a marker of each type, (genes, types); types with enough of them."""
    present = table[table["measured"].isin(genes)]
    weights = present.pivot_table(
        index="measured", columns="set", values="weight", aggfunc="max", fill_value=0.0
    ).reindex(genes, fill_value=0.0)
    weights = weights.loc[:, (weights > 0).sum() >= min_markers]
    return weights.div(np.maximum((weights > 0).sum(axis=1), 1), axis=0)


def name_clusters(
    ranked: pd.DataFrame,
    sizes: np.ndarray,
    is_kept: np.ndarray,
    table: pd.DataFrame,
    settings: NamingSettings,
) -> pd.DataFrame:
    """One row a cluster: its type, broad class, score, runner-up and the markers that name it.

    `sizes` and `is_kept` (n_clusters,) say how many units each has, and whether it was kept;
    `table` also has broad_class. Where only one cluster is kept nothing stands out, and it is
    unknown. Columns: NAMED_COLUMNS.
    """
    share = sizes / max(int(sizes.sum()), 1)
    rows = []
    scores = score_types(ranked, table, settings) if len(ranked) else pd.DataFrame()
    classes = table.drop_duplicates("set").set_index("set")["broad_class"]
    evidence = _evidence(ranked, settings) if len(ranked) else pd.DataFrame()
    own = marker_weights(table, evidence.columns, settings.min_markers) > 0
    for cluster, (n_units, kept) in enumerate(zip(sizes, is_kept, strict=True)):
        row = {"cluster": cluster, "n_units": int(n_units), "share": share[cluster]}
        row |= {"type": UNKNOWN, "broad_class": UNKNOWN, "score": np.nan, "runner_up": ""}
        row |= {"runner_up_score": np.nan, "is_ambiguous": False, "is_dropped": not kept}
        row |= {"markers": ""}
        if kept and cluster in scores.index and scores.shape[1]:
            strength = evidence.loc[cluster]
            n_standing = (strength > 0).astype(float) @ own.loc[strength.index]
            best = scores.loc[cluster][n_standing >= settings.min_markers]
            best = best.sort_values(ascending=False, kind="stable")
            row |= _best_two(best)
            if row["score"] >= settings.min_score:
                name = best.index[0]
                row |= {"type": name, "broad_class": classes[name] or name}
                row["is_ambiguous"] = bool(
                    row["runner_up_score"] >= settings.ambiguous_from * row["score"]
                )
                mine = strength[own.loc[strength.index, name] & (strength > 0)]
                strongest = mine.sort_values(ascending=False, kind="stable")
                row["markers"] = ",".join(strongest.index[: settings.n_listed])
        rows.append(row)
    return pd.DataFrame(rows, columns=NAMED_COLUMNS)


def name_units(cluster: np.ndarray, named: pd.DataFrame, units: pd.Index) -> pd.DataFrame:
    """Cluster, type, broad class and score of each unit, and whether another type is as likely.

    NaN (not ambiguous) for units of dropped clusters.

    `cluster` (n_units,), -1 for those; `named` of `name_clusters`, a row a cluster in order.
    """
    kept = cluster >= 0
    frame = pd.DataFrame(index=units)
    frame["cluster"] = pd.Categorical(
        np.where(kept, cluster.astype(str), None), categories=map(str, np.unique(cluster[kept]))
    )
    for column in ("type", "broad_class"):
        names = named[column].to_numpy(dtype=object)
        frame[column] = pd.Categorical(np.where(kept, names[cluster], None))
    frame["type_score"] = np.where(kept, named["score"].to_numpy(dtype=np.float32)[cluster], np.nan)
    frame["is_ambiguous"] = kept & named["is_ambiguous"].to_numpy(dtype=bool)[cluster]
    return frame


def _best_two(falling: pd.Series) -> dict[str, object]:
    """The score of the best type, and the second with its own, of scores in falling order."""
    row: dict[str, object] = {}
    if len(falling):
        row["score"] = float(falling.iloc[0])
    if len(falling) > 1:
        row |= {"runner_up": falling.index[1], "runner_up_score": float(falling.iloc[1])}
    return row


def _evidence(ranked: pd.DataFrame, settings: NamingSettings) -> pd.DataFrame:
    """Fold changes that count, (clusters, genes); 0 for those that do not."""
    counts = (ranked["adjusted_p"] < settings.adjusted_p_below) & (
        ranked["log2_fold_change"].abs() >= settings.abs_log2fc_from
    )
    higher = ranked["share_in"].where(ranked["log2_fold_change"] > 0, ranked["share_out"])
    counts &= higher >= settings.min_share
    cut = ranked["log2_fold_change"].clip(-settings.max_log2fc, settings.max_log2fc)
    shown = ranked.assign(evidence=cut.where(counts, 0.0))
    return shown.pivot(index="cluster", columns="gene", values="evidence")
