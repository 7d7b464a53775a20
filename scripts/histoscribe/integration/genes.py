"""Which genes sections are integrated on: variable where they are measured, and shared."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

from histoscribe.errors import UserError, problem
from histoscribe.integration.sections import Section

LOG = logging.getLogger(__name__)
LEAST_GENES = 10
LEAST_UNITS_WITH = 3  # a gene found in fewer says nothing of a section


def shared_genes(sections: list[Section], n_variable: int, small_panel: int) -> list[str]:
    """Genes that vary in every section that measures them, and that two sections or more measure.

    A section's variable genes are its `n_variable` highest by seurat_v3 (Stuart et al., Cell 2019);
    all that are found at all where the section is predicted or measures no more than `small_panel`.
    Of sections that all measure a gene this is the intersection of their variable genes. In the
    order of the first section that has them. Raises UserError where a section shares fewer than 10.
    """
    measured = {name for section in sections for name in section.genes}
    order = list(dict.fromkeys(name for section in sections for name in section.genes))
    n_measuring = pd.Series(0, index=order)
    n_varying = pd.Series(0, index=order)
    for section in sections:
        n_measuring[section.genes] += 1
        n_varying[_variable_genes(section, n_variable, small_panel)] += 1
    chosen = n_measuring.index[(n_measuring >= 2) & (n_varying == n_measuring)]
    for section in sections:
        n_shared = int(section.genes.isin(chosen).sum())
        if n_shared < LEAST_GENES:
            raise UserError(
                problem(
                    f"section {section.name}",
                    f"{n_shared} of its {len(section.genes):,} genes (such as "
                    f"{', '.join(map(str, section.genes[:3]))}) shared with another section and "
                    "variable wherever they are measured",
                    f"{LEAST_GENES} or more",
                    "Are the sections of one species, with the same kind of gene names? If so, "
                    "raise integration.n_variable_genes.",
                )
            )
    LOG.info("%d of %d genes of %d sections chosen", len(chosen), len(measured), len(sections))
    return list(chosen)


def _variable_genes(section: Section, n_variable: int, small_panel: int) -> pd.Index:
    n_with = np.bincount(section.counts.indices, minlength=len(section.genes))
    found = n_with >= LEAST_UNITS_WITH
    if section.is_predicted or len(section.genes) <= small_panel:
        return section.genes[found]
    counts = ad.AnnData(section.counts[:, found], var=pd.DataFrame(index=section.genes[found]))
    n_top = min(n_variable, counts.n_vars)
    sc.pp.highly_variable_genes(counts, flavor="seurat_v3", n_top_genes=n_top)
    return counts.var_names[counts.var["highly_variable"]]
