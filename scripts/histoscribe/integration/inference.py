"""Genes that a section never measured, from like units of the sections that did."""

from dataclasses import replace

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA

from histoscribe.errors import UserError, problem
from histoscribe.integration.borrowing import like_units
from histoscribe.integration.sections import Section

N_COMPONENTS = 30
UNITS = 20_000  # of either side drawn to score, where there are more
LEAST_SPREAD = 1e-6
SCORE_COLUMNS = ["section", "gene", "share_of_units_with", "pcc_latent", "pcc_genes", "pcc_nearest"]


def log_expression(section: Section, genes: list[str], library: float) -> sparse.csr_matrix:
    """log1p of counts scaled to a `library` of molecules, (n_units, n_genes) sparse float32."""
    total = section.totals()
    scale = np.divide(library, total, out=np.zeros_like(total), where=total > 0)
    place = section.genes.get_indexer(genes)
    values = (sparse.diags(scale) @ section.counts[:, place]).tocsr().astype(np.float32)
    np.log1p(values.data, out=values.data)
    return values


def infer_genes(
    position: np.ndarray,
    donors: list[Section],
    donor_positions: list[np.ndarray],
    genes: list[str],
    n_neighbours: int,
) -> np.ndarray:
    """Expression of `genes` in units at `position` (n_units, width): (n_units, n_genes) float32.

    The weighted mean of log1p values (at the donors' median library) over the `n_neighbours` most
    alike units of the `donors` that measure a gene. Raises UserError for a gene that none does.
    """
    measures = np.vstack([section.genes.get_indexer(genes) >= 0 for section in donors])
    lacking = [gene for gene, n in zip(genes, measures.sum(axis=0), strict=True) if n == 0]
    if lacking:
        raise UserError(
            problem("infer_genes, genes", ", ".join(lacking[:10]),
                    "genes that a section not under into measures", "Correct the names.")
        )  # fmt: skip
    library = float(np.median(np.concatenate([donor.totals() for donor in donors])))
    inferred = np.empty((len(position), len(genes)), dtype=np.float32)
    for pattern in np.unique(measures, axis=1).T:
        chosen = np.flatnonzero((measures == pattern[:, None]).all(axis=0))
        names = [genes[number] for number in chosen]
        able = [number for number, does in enumerate(pattern) if does]
        values = sparse.vstack([log_expression(donors[n], names, library) for n in able])
        among = np.vstack([donor_positions[n] for n in able])
        weights = like_units(position, among, n_neighbours)
        inferred[:, chosen] = (weights @ values).toarray()
    return inferred


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
            problem("integration.inference.n_hidden", f"{n_hidden} of {len(able)} genes that "
                    f"{', '.join(into)} and another section find", "half of them or fewer",
                    "Lower it, or write 0 to score nothing.")
        )  # fmt: skip
    return sorted(np.random.default_rng(seed).choice(able, n_hidden, replace=False))


def without_genes(section: Section, genes: list[str]) -> Section:
    """A section as if it had never measured `genes`."""
    kept = np.flatnonzero(~section.genes.isin(genes))
    return replace(section, counts=section.counts[:, kept], genes=section.genes[kept])


def standardised(sections: list[Section], genes: list[str], seed: int) -> list[np.ndarray]:
    """Components of genes standardised in each section, (n_units, N_COMPONENTS) of each.

    What nearest-neighbour transfer without integration goes by.
    """
    parts = []
    for section in sections:
        values = log_expression(section, genes, float(np.median(section.totals()))).toarray()
        values -= values.mean(axis=0)
        parts.append(values / np.maximum(values.std(axis=0), LEAST_SPREAD))
    n_components = min(N_COMPONENTS, len(genes) - 1)
    joined = PCA(n_components, random_state=seed).fit_transform(np.vstack(parts))
    return np.split(joined, np.cumsum([len(part) for part in parts])[:-1])
