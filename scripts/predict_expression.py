"""Predict the expression of every unit of a section from its image features and a model."""

from pathlib import Path

import anndata as ad
import pandas as pd

from histoscribe.joblog import job_log
from histoscribe.models.bundle import predict, read_bundle
from histoscribe.provenance import RECORD_KEY, file_digest, recall, record
from histoscribe.storage import read_h5ad, write_h5ad
from histoscribe.uncertainty.prediction import annotate


def main(
    bundle_path: Path,
    features: dict[str, Path],
    units: Path,
    sample: str,
    intervals: bool,
    threads: int,
    output: Path,
) -> None:
    bundle = read_bundle(bundle_path)
    adata = read_h5ad(units)
    described = {name: read_h5ad(path) for name, path in features.items()}
    prediction = predict(bundle, described, list(adata.obs_names), f"sample {sample}", threads)
    predicted = ad.AnnData(
        prediction.expression, obs=adata.obs, var=pd.DataFrame(index=bundle.genes)
    )
    predicted.layers["probability"] = prediction.probability
    predicted.obsm["spatial"] = adata.obsm["spatial"]
    annotate(predicted, prediction, bundle.uncertainty, intervals)
    facts = recall(adata.uns)
    predicted.uns[RECORD_KEY] = record(
        sample=sample,
        model=bundle.kind,
        use=bundle.use,
        encoders=bundle.encoders,
        target_sum=bundle.target_sum,
        bundle_sha256=file_digest(bundle_path),
        trained_on=bundle.provenance,
        **{key: facts[key] for key in ("unit", "unit_shape", "unit_size_um", "um_per_px")},
    )
    write_h5ad(predicted, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            bundle_path=Path(snakemake.input.bundle),
            features=dict(
                zip(snakemake.params.encoders, map(Path, snakemake.input.features), strict=True)
            ),
            units=Path(snakemake.input.units),
            sample=snakemake.wildcards.sample,
            intervals=snakemake.params.intervals,
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
