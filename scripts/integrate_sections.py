"""Bring sections into one latent space, with spatial factors that they share."""

from dataclasses import asdict
from pathlib import Path

import anndata as ad
import pandas as pd

from histoscribe.integration.ensemble import checkpoints_in, integrate
from histoscribe.integration.genes import shared_genes
from histoscribe.integration.hiding import hidden_genes, without_genes
from histoscribe.integration.sections import check_together, read_section
from histoscribe.integration.spatial_factors import Fitted, fit_factors
from histoscribe.integration.together import Together, gather
from histoscribe.integration.training import TrainingSettings
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.storage import write_h5ad, written_whole


def main(
    parts: list[dict],
    paths: list[Path],
    genes: dict,
    neighbours: dict,
    training: TrainingSettings,
    seed: int,
    threads: int,
    hide: dict | None,
    latent_path: Path,
    loadings_path: Path | None,
    history_path: Path,
) -> None:
    """Factors are fitted where a path of loadings is given."""
    sections = [
        read_section(part["name"], path, part["is_predicted"], part["unit"])
        for part, path in zip(parts, paths, strict=True)
    ]
    check_together(sections)
    hidden: list[str] = []
    if hide is not None:
        hidden = hidden_genes(sections, hide["into"], hide["n_hidden"], seed)
        sections = [without_genes(s, hidden) if s.name in hide["into"] else s for s in sections]
    chosen = shared_genes(sections, genes["n_variable"], genes["small_panel"])
    together = gather(sections, chosen, neighbours["n_nearest"], neighbours["radius_um"])
    del sections  # with all their genes
    made = integrate(together, training, seed, threads, latent_path.parent)
    units = ad.AnnData(obs=together.obs(), obsm={"spatial": together.xy_um, "latent": made.latent})
    if loadings_path is not None:
        fitted = fit_factors(
            together, made.latent, training.n_factors, training.evenness_weight, seed
        )
        units.obsm["factors"] = fitted.proportions
        units.obsm["unintegrated"] = together.components(made.latent.shape[1], seed)
        write_loadings(fitted, together, loadings_path)
    units.uns[RECORD_KEY] = record(
        sections=parts, genes=genes, neighbours=neighbours, training=asdict(training), seed=seed,
        genes_used=chosen, hidden_genes=hidden,
    )  # fmt: skip
    write_h5ad(units, latent_path)
    with written_whole(history_path) as partial:
        made.history.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    for checkpoint in checkpoints_in(latent_path.parent):
        checkpoint.unlink()


def write_loadings(fitted: Fitted, together: Together, path: Path) -> None:
    """A row a gene: its share of each factor, and each section's offset (natural logarithm)."""
    factors = [f"factor_{number + 1}" for number in range(len(fitted.loadings))]
    loadings = pd.DataFrame(fitted.loadings.T, index=together.genes, columns=factors)
    offsets = pd.DataFrame(fitted.log_offset.T, index=together.genes, columns=together.names)
    table = loadings.join(offsets.add_prefix("log_offset "))
    with written_whole(path) as partial:
        table.rename_axis("gene").to_csv(partial, sep="\t", float_format="%.6g")


if __name__ == "__main__" and "snakemake" in globals():
    given = snakemake.output.get("loadings")
    with job_log(snakemake.log[0]):
        main(
            parts=snakemake.params.parts,
            paths=[Path(path) for path in snakemake.input.sections],
            genes=snakemake.params.genes,
            neighbours=snakemake.params.neighbours,
            training=TrainingSettings(**snakemake.params.training),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
            hide=snakemake.params.get("hide"),
            latent_path=Path(snakemake.output.latent),
            loadings_path=None if given is None else Path(given),
            history_path=Path(snakemake.output.history),
        )
