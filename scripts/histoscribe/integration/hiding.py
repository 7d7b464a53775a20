"""Genes hidden from sections that measure them, to see how well they are inferred."""

from dataclasses import replace

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.integration.sections import Section


def hidden_genes(sections: list[Section], into: list[str], n_hidden: int, seed: int) -> list[str]:
    """Genes to hide from the sections named `into`, to see how well they are inferred.

    Drawn at random from those that each of these sections and one other or more find at all.
    Raises UserError where hiding so many would leave fewer genes than are hidden.
    """
    receivers = [section for section in sections if section.name in into]
    donors = [section for section in sections if section.name not in into]
    found = {s.name: set(s.genes[np.unique(s.counts.indices)]) for s in sections}
    by_all = set.intersection(*(found[s.name] for s in receivers))
    by_any = set.union(*(found[s.name] for s in donors))
    able = [gene for gene in receivers[0].genes if gene in by_all & by_any]
    if len(able) < 2 * n_hidden:
        raise UserError(
            problem("integration.borrowing.n_hidden", f"{n_hidden} of {len(able)} genes that "
                    f"{', '.join(into)} and another section find", "half of them or fewer",
                    "Lower it, or write 0 to score nothing.")
        )  # fmt: skip
    return sorted(np.random.default_rng(seed).choice(able, n_hidden, replace=False))


def without_genes(section: Section, genes: list[str]) -> Section:
    """A section as if it had never measured `genes`."""
    kept = np.flatnonzero(~section.genes.isin(genes))
    return replace(section, counts=section.counts[:, kept], genes=section.genes[kept])
