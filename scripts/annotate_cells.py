"""Cluster a section's units by measured or by predicted expression, and name the clusters."""

from dataclasses import asdict
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from histoscribe.annotation.cells import (
    ClusterSettings,
    cluster_units,
    describe_measured,
    describe_predicted,
    markers,
)
from histoscribe.annotation.marker_table import read_markers
from histoscribe.annotation.naming import NamingSettings, name_clusters, name_units
from histoscribe.annotation.transfer import (
    read_reference,
    transfer_to_clusters,
    transfer_to_units,
)
from histoscribe.expression import log_normalised
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.splits import TEST, units_in_role
from histoscribe.storage import read_h5ad, write_h5ad, written_whole


def main(
    expression: Path,
    is_measured: bool,
    tables: list[Path],
    organs: list[str],
    broad_classes: dict[str, str],
    blocks: dict | None,
    clustering: ClusterSettings,
    naming: NamingSettings,
    target_sum: float | str,
    seed: int,
    outputs: dict[str, Path],
    reference: Path | None = None,
    reference_label: str = "cell_type",
) -> None:
    units = units_in_role(read_h5ad(expression, ("probability",)), blocks, TEST)
    table = read_markers(tables, organs, broad_classes, units.var_names)
    if is_measured:
        pcs = describe_measured(units, clustering, target_sum)
        values = log_normalised(units, target_sum)
    else:
        values = ad.AnnData(
            np.asarray(units.X, dtype=np.float32), obs=units.obs[[]], var=units.var[[]]
        )
        if "probability" in units.layers:
            values.layers["probability"] = units.layers["probability"]
        pcs = describe_predicted(values.X, clustering)
    found = cluster_units(pcs, clustering, seed)
    ranked = markers(values, found.cluster)
    named = name_clusters(ranked, found.sizes, found.is_kept, table, naming)
    annotated = ad.AnnData(obs=name_units(found.cluster, named, units.obs_names))
    if reference is not None:
        known = read_reference(reference, reference_label, values, seed)
        carried = transfer_to_clusters(known, values, found.cluster)
        named = named.join(carried, on="cluster")
        annotated.obs = annotated.obs.join(transfer_to_units(known, values, found.cluster))
    annotated.obsm["X_pca"], annotated.obsm["X_umap"] = found.pcs, found.umap
    annotated.obsm["spatial"] = np.asarray(units.obsm["spatial"])
    facts = {k: v for k, v in recall(units.uns).items() if k not in ("versions", "target_sum")}
    annotated.uns[RECORD_KEY] = record(
        **facts, clustering=asdict(clustering), naming=asdict(naming), seed=seed,
        reference=reference and {"file": reference.name, "label": reference_label},
    )  # fmt: skip
    write_h5ad(annotated, outputs["units"])
    for name, written in (("clusters", named), ("markers", ranked)):
        with written_whole(outputs[name]) as partial:
            pd.DataFrame(written).to_csv(partial, sep="\t", index=False, float_format="%.5g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]), threadpool_limits(snakemake.threads):
        main(
            expression=Path(snakemake.input.expression),
            is_measured=snakemake.params.is_measured,
            tables=[Path(path) for path in snakemake.input.markers],
            organs=snakemake.params.organs,
            broad_classes=snakemake.params.broad_classes,
            blocks=snakemake.params.blocks,
            clustering=ClusterSettings(**snakemake.params.clustering),
            naming=NamingSettings(**snakemake.params.naming),
            target_sum=snakemake.params.target_sum,
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            reference=Path(path) if (path := snakemake.input.get("reference")) else None,
            reference_label=snakemake.params.reference_label,
        )
