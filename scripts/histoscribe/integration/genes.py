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
SPANS = (0.3, 0.5, 0.7, 1.0)  # of the genes that each point of the curve of variances sees
LEAST_UNITS_WITH = 3  # a gene found in fewer says nothing of a section


def shared_genes(sections: list[Section], n_variable: int, small_panel: int) -> list[str]:
    """Genes that vary in every section that measures them, and that two sections or more measure.

    A section's variable genes are its `n_variable` highest by seurat_v3 (Stuart et al., Cell 2019);
    all that are found at all where the section is predicted, or measures no more than `small_panel`
    genes of other sections.
    Of sections that all measure a gene this is the intersection of their variable genes. In the
    order of the first section that has them. Raises UserError where a section shares fewer than 10.
    """
    measured = {name for section in sections for name in section.genes}
    order = list(dict.fromkeys(name for section in sections for name in section.genes))
    n_measuring = pd.Series(0, index=order)
    n_varying = pd.Series(0, index=order)
    for section in sections:
        n_measuring[section.genes] += 1
    for section in sections:
        n_shared = int((n_measuring[section.genes] >= 2).sum())
        if section.is_predicted or n_shared <= small_panel:
            n_varying[_found_genes(section)] += 1
        else:
            n_varying[_variable_genes(section, n_variable)] += 1
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
                    "raise integration.genes.n_variable.",
                )
            )
    LOG.info("%d of %d genes of %d sections chosen", len(chosen), len(measured), len(sections))
    return list(chosen)


def most_variable(sections: list[Section], among: list[str], n_genes: int) -> list[str]:
    """The genes `among` some that vary most by seurat_v3, in the sections that measure them.

    Ordered by the mean of their standardised variances, the largest first.
    """
    scores = pd.DataFrame(index=among)
    for section in sections:
        if section.genes.isin(among).any():
            scores[section.name] = _standardised_variance(section, _found_genes(section))
    mean = scores.mean(axis=1).dropna()
    return list(mean.sort_values(ascending=False, kind="stable").index[:n_genes])


def _found_genes(section: Section) -> pd.Index:
    n_with = np.bincount(section.counts.indices, minlength=len(section.genes))
    return section.genes[n_with >= LEAST_UNITS_WITH]


def _variable_genes(section: Section, n_variable: int) -> pd.Index:
    variance = _standardised_variance(section, _found_genes(section))
    return variance.index[:n_variable]


def _standardised_variance(section: Section, genes: pd.Index) -> pd.Series:
    """Variance of counts beyond what their mean leads to expect, by gene, the largest first.

    What a mean leads to expect is a local regression. It can't be solved where many genes are found
    equally often, as in sparse sections, and is then smoothed more. Raises UserError if no degree
    of smoothing helps.
    """
    own = section.counts[:, section.genes.get_indexer(genes)]
    counts = ad.AnnData(own, var=pd.DataFrame(index=genes))
    n_top = counts.n_vars
    for span in SPANS:
        try:
            sc.pp.highly_variable_genes(counts, flavor="seurat_v3", n_top_genes=n_top, span=span)
        except ValueError as error:  # of LOESS's own Fortran
            LOG.info("%s: no curve of variances over a span of %g (%s)", section.name, span, error)
        else:
            return counts.var["variances_norm"].sort_values(ascending=False, kind="stable")
    raise UserError(
        problem(f"section {section.name}", f"{n_top} genes whose variances follow no curve of "
                "their means", "sections with more molecules", "Leave it out, or use larger units.")
    )  # fmt: skip
