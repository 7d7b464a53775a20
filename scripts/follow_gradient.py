"""Follow ordered groups of integrated sections: units' order by others, and what changes."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.integration.gradient import (
    Replicates,
    UnseenOrder,
    follow_groups,
    pseudo_bulk,
    section_means,
)
from histoscribe.integration.sections import read_section
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole

LOG = logging.getLogger(__name__)


def main(
    units_path: Path,
    parts: list[dict],
    paths: list[Path],
    order: list[str],
    seed: int,
    table_path: Path,
    units_table_path: Path,
    sections_path: Path,
) -> None:
    facts = pd.DataFrame(parts).rename(columns={"name": "section"})
    replicates = Replicates.of(facts[["section", "group", "donor"]], order)
    LOG.info("%d sections, %d replicates", len(facts), len(replicates.rank))
    groups_of = facts.groupby("donor")["group"].nunique()
    several = groups_of.index[groups_of > 1]
    if len(several):
        LOG.warning(
            "donors in several groups (%s): p takes these as independent, and is too small",
            ", ".join(map(str, several)),
        )
    units = read_h5ad(units_path)
    section = units.obs["section"].astype(str).to_numpy()
    latent = units.obsm["latent"]
    unseen = UnseenOrder.of(latent, section, replicates)
    table = pd.DataFrame(
        {
            "section": section,
            "unit": units.obs["unit"].to_numpy(),
            "group": pd.Series(section).map(facts.set_index("section")["group"]).to_numpy(),
            "x_um": units.obsm["spatial"][:, 0],
            "y_um": units.obsm["spatial"][:, 1],
            "gradient": unseen.of_units(latent, section, replicates),
        }
    ).dropna(subset="group")
    without = table.loc[table["gradient"].isna(), "section"].unique()
    if len(without):
        LOG.warning("no order in %s: no other donor has their group", ", ".join(without))
    values = section_means(units.obsm["factors"], section, units.obs["domain"].to_numpy())
    totals = pd.DataFrame(
        {part["name"]: gene_totals(part, path) for part, path in zip(parts, paths, strict=True)}
    ).T
    by_kind = {kind: replicates.means(own) for kind, own in values.items()}
    by_kind["gene"] = pseudo_bulk(replicates.sums(totals))
    followed = follow_groups(by_kind, unseen, replicates, order, seed)
    of_order = table.groupby("section")["gradient"].mean()
    by_section = replicates.table.join(
        pd.concat([of_order, *values.values()], axis=1), on="section"
    )
    for made, path in (
        (followed, table_path), (table, units_table_path), (by_section, sections_path)
    ):  # fmt: skip
        with written_whole(path) as partial:
            made.to_csv(partial, sep="\t", index=False, float_format="%.6g")


def gene_totals(part: dict, path: Path) -> pd.Series:
    """Molecules of each gene in a section."""
    section = read_section(part["name"], path, part["is_predicted"], part["unit"])
    totals = np.asarray(section.counts.sum(axis=0, dtype=np.float64)).ravel()
    return pd.Series(totals, section.genes)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units_path=Path(snakemake.input.units),
            parts=snakemake.params.parts,
            paths=[Path(path) for path in snakemake.input.sections],
            order=snakemake.params.order,
            seed=snakemake.params.seed,
            table_path=Path(snakemake.output.table),
            units_table_path=Path(snakemake.output.units),
            sections_path=Path(snakemake.output.sections),
        )
