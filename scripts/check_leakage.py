"""Compare both sides of a fold in their files; stop the run where one reaches the other."""

from pathlib import Path

import anndata as ad
import numpy as np

from histoscribe.adapted.encoder import read_encoder
from histoscribe.block_split import BlockSplit
from histoscribe.joblog import job_log
from histoscribe.leakage import FoldSection, check_fold, image_digest, require_no_leak, table_of
from histoscribe.splits import TEST, TRAIN, unit_roles
from histoscribe.storage import written_whole
from histoscribe.tables import read_table


def read_section(sample: str, units: Path, image: Path, donor: str, fold: dict) -> FoldSection:
    adata = ad.read_h5ad(units, backed="r")  # the counts stay on disk
    xy_um = np.asarray(adata.obsm["spatial"])
    trains = np.full(adata.n_obs, sample in fold["training"])
    tested = np.full(adata.n_obs, sample in fold["tested"])
    if fold["blocks"] and sample in fold["training"]:
        roles = unit_roles(xy_um, BlockSplit(**fold["blocks"]))
        trains, tested = roles == TRAIN, roles == TEST
    section = FoldSection(
        donor=donor,
        image=image_digest(image),
        names=np.asarray(adata.obs_names),
        xy_um=xy_um,
        umi=adata.obs["umi"].to_numpy(),
        trains=trains,
        tested=tested,
        validates=sample in fold["validation"],
    )
    adata.file.close()
    return section


def main(
    fold: dict,
    units: dict[str, Path],
    images: dict[str, Path],
    donors: dict[str, str],
    widest_um: float,
    chosen_on: dict[str, Path],
    adapted: dict[str, Path],
    output: Path,
) -> None:
    findings = check_fold(
        {name: read_section(name, units[name], images[name], donors[name], fold) for name in units},
        widest_um,
        {name: read_table(path) for name, path in chosen_on.items()},
        {name: read_encoder(path, name).learnt_from for name, path in adapted.items()},
    )
    require_no_leak(fold["name"], findings)
    with written_whole(output) as partial:
        table_of(findings).to_csv(partial, sep="\t", index=False)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        facts, inputs = snakemake.params.facts, snakemake.input
        main(
            fold=facts["fold"],
            units=dict(zip(facts["donors"], map(Path, inputs.units), strict=True)),
            images={name: Path(path) for name, path in facts["images"].items()},
            donors=facts["donors"],
            widest_um=facts["widest_um"],
            chosen_on=dict(zip(facts["gene_sets"], map(Path, inputs.chosen_on), strict=True)),
            adapted=dict(zip(facts["adapted"], map(Path, inputs.get("adapted", [])), strict=True)),
            output=Path(snakemake.output[0]),
        )
