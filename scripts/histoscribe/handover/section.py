"""What is known of a section's units, brought together from the files of a run."""

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.expression import targets
from histoscribe.provenance import RECORD_KEY, recall
from histoscribe.splits import TEST, units_in_role

MEASURED, PREDICTED = "measured", "predicted"
ANNOTATED_COLUMNS = ("type", "broad_class", "type_score")
SCORES = ("pcc", "ceiling")
LAYERS = ("probability", "lower", "upper")
UNMEASURED = "image"  # the platform of a section that was only photographed


@dataclass(frozen=True)
class Section:
    """A section's units: all that were kept (`units`, raw counts), and those that were predicted.

    `predicted.X` is predicted, `predicted.layers["measured"]` measured log1p expression, where
    anything was measured; `predicted.obs` holds the annotation, `predicted.var` the trust and
    the scores of the genes. `um_per_px` is that of the slide as the user gave it.
    """

    sample: str
    unit: str
    unit_shape: str
    unit_size_um: float
    um_per_px: float
    is_measured: bool
    units: ad.AnnData
    predicted: ad.AnnData


def gather_section(
    units: ad.AnnData,
    predictions: list[ad.AnnData],
    blocks: list[dict | None],
    scores: list[pd.DataFrame],
    annotations: dict[str, list[pd.DataFrame]],
) -> Section:
    """Bring a section together; one prediction, `blocks`, and scores for each fold that tests it.

    Where folds cut the section, each gives the units that it tested, and only genes that all of
    them predict are kept. `annotations` are frames of units by what was annotated, measured or
    predicted. Raises UserError where predicted units are not those of the section.
    """
    facts = recall(units.uns)
    tested = [units_in_role(p, b, TEST) for p, b in zip(predictions, blocks, strict=True)]
    predicted = _joined(tested)
    where = f"sample {facts['sample']}"
    absent = ~predicted.obs_names.isin(units.obs_names)
    if absent.any():
        raise UserError(
            problem(
                f"{where}, predictions",
                f"{absent.sum()} units (such as {predicted.obs_names[absent][0]})",
                "units that are in the section's units.h5ad",
                "Run the prediction again.",
            )
        )
    order = units.obs_names[units.obs_names.isin(predicted.obs_names)]
    if not predicted.obs_names.equals(order):
        predicted = predicted[order].copy()
    is_measured = facts["platform"] != UNMEASURED
    if is_measured:
        target_sum = recall(predictions[0].uns)["target_sum"]
        # The median that counts are scaled to is that of the section, not of the tested part.
        measured = targets(units, list(predicted.var_names), target_sum)
        predicted.layers[MEASURED] = measured[units.obs_names.get_indexer(order)]
    predicted.var = predicted.var.join(_mean_scores(scores))
    predicted.obs = _annotated(predicted.obs, annotations)
    return Section(
        sample=facts["sample"],
        unit=facts["unit"],
        unit_shape=facts["unit_shape"],
        unit_size_um=facts["unit_size_um"],
        um_per_px=facts["um_per_px"],
        is_measured=is_measured,
        units=units,
        predicted=predicted,
    )


def best_genes(var: pd.DataFrame, n: int) -> list[str]:
    """The `n` genes to look at first: by PCC where it was measured, else by trust and by the
    PCC on held-out training tissue. In the order of `var` where nothing tells them apart."""
    ranks = pd.DataFrame(index=var.index)
    ranks["pcc"] = -var["pcc"] if "pcc" in var else np.nan
    ranks["trust"] = var["trust"].astype(str) if "trust" in var else ""
    ranks["unseen"] = -var["unseen_pcc"] if "unseen_pcc" in var else np.nan
    return list(ranks.sort_values(list(ranks), kind="stable").index[:n])


def _joined(tested: list[ad.AnnData]) -> ad.AnnData:
    """The units of all folds, each once, with the genes that all of them predict."""
    kept = [_slim(each) for each in tested]
    if len(kept) == 1:
        return kept[0]
    joined = ad.concat(kept, join="inner")
    joined = joined[~joined.obs_names.duplicated()].copy()
    grades = [fold.var["trust"].astype(str) for fold in kept if "trust" in fold.var]
    if grades:  # the worst of a gene's grades: A is best
        joined.var["trust"] = (
            pd.concat(grades, axis=1, join="inner").max(axis=1).reindex(joined.var_names)
        )
    joined.uns[RECORD_KEY] = kept[0].uns[RECORD_KEY]
    return joined


def _slim(predicted: ad.AnnData) -> ad.AnnData:
    """A prediction without what only the workflow reads."""
    return ad.AnnData(
        predicted.X,
        obs=predicted.obs.copy(),
        var=predicted.var.copy(),
        layers={name: predicted.layers[name] for name in LAYERS if name in predicted.layers},
        obsm={"spatial": np.asarray(predicted.obsm["spatial"], dtype=np.float64)},
        uns={RECORD_KEY: predicted.uns[RECORD_KEY]},
    )


def _mean_scores(scores: list[pd.DataFrame]) -> pd.DataFrame:
    """The genes' scores, averaged over folds; no columns where nothing was scored."""
    if not scores:
        return pd.DataFrame()
    table = pd.concat([each.set_index("gene")[list(SCORES)] for each in scores])
    return table.groupby(level=0).mean()


def _annotated(obs: pd.DataFrame, annotations: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """`obs` with measured_type, predicted_type ...; units without an annotation have none."""
    obs = obs.copy()
    for source, frames in annotations.items():
        for column in ANNOTATED_COLUMNS if frames else ():
            values = pd.concat([frame[column].astype(object) for frame in frames])
            values = values[~values.index.duplicated()].reindex(obs.index)
            is_number = column.endswith("_score")
            obs[f"{source}_{column}"] = (
                values.astype(np.float32) if is_number else pd.Categorical(values)
            )
    return obs
