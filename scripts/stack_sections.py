"""Bring adjacent sections of one block into one frame, and stack them in 3D."""

import logging
from pathlib import Path

import anndata as ad
import numpy as np

from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.stacking.agreement import alignment_table
from histoscribe.stacking.settings import StackingSettings
from histoscribe.stacking.stack import align_stack, middle_of, stacked_positions
from histoscribe.storage import read_h5ad, write_h5ad, written_whole

LOG = logging.getLogger(__name__)
KEPT = ("spatial", "latent", "factors")


def main(
    units_path: Path,
    names: list[str],
    spacing_um: float,
    reference: str | None,
    settings: StackingSettings,
    stack_path: Path,
    table_path: Path,
) -> None:
    units = read_h5ad(units_path)
    reference = reference or middle_of(names)
    rows = {name: np.flatnonzero(units.obs["section"] == name) for name in names}
    xy_um = {name: units.obsm["spatial"][own] for name, own in rows.items()}
    sections = {name: (xy_um[name], units.obsm["latent"][own]) for name, own in rows.items()}
    alignments = align_stack(sections, settings, reference)
    for name, alignment in alignments.items():
        if not alignment.is_trusted:
            LOG.warning("section %s is not placed in the stack: %s", name, alignment.doubt)
    domain = units.obs["domain"].astype(str).to_numpy()
    domains = {name: domain[own] for name, own in rows.items()}
    table = alignment_table(xy_um, domains, alignments, reference, spacing_um)
    stacked = stacked_positions(xy_um, alignments, spacing_um)
    position_um = np.empty((units.n_obs, 3))
    for name, own in rows.items():
        position_um[own] = stacked[name]
    obs = units.obs.copy()
    obs["is_placed"] = np.isfinite(position_um).all(axis=1)
    stack = ad.AnnData(
        obs=obs, obsm={key: units.obsm[key] for key in KEPT} | {"spatial_3d": position_um}
    )
    stack.uns[RECORD_KEY] = record(
        sections=names, reference=reference, spacing_um=spacing_um, warp=settings.warp,
        reflection=settings.allow_reflection,
        alignments={name: alignment.to_dict() for name, alignment in alignments.items()},
    )  # fmt: skip
    write_h5ad(stack, stack_path)
    with written_whole(table_path) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.5g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        stack = snakemake.params.stack
        main(
            units_path=Path(snakemake.input.units),
            names=snakemake.params.names,
            spacing_um=stack["spacing_um"],
            reference=stack["reference"],
            settings=StackingSettings(warp=stack["warp"], allow_reflection=stack["reflection"]),
            stack_path=Path(snakemake.output.stack),
            table_path=Path(snakemake.output.alignments),
        )
