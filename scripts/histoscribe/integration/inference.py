"""Genes that a section never measured, from the sections that did.

Expression is regressed on where units lie in the latent space, which knows their surroundings, and
on their own expression of the genes that all sections measure, standardised in each section.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.utils.sparsefuncs import mean_variance_axis

from histoscribe.errors import UserError, problem
from histoscribe.evaluation.scores import pearson
from histoscribe.integration.borrowing import like_units
from histoscribe.integration.log_values import log_values, usual_total
from histoscribe.integration.sections import Section, some_units

UNITS_OF_ONE, UNITS_OF_ALL = 20_000, 60_000  # drawn to regress on and to score
GENES_AT_ONCE = 1000
LEAST_SHARED = 10
UNITS_AT_ONCE = 10_000
N_COMPONENTS = 30
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1)  # by unit, relative to the features' variance
N_STRIPS = 5
N_LIKE = 30  # units whose mean stands for transfer without regression
LEAST_SPREAD = 1e-6
SCORE_COLUMNS = ["section", "gene", "share_of_units_with", "pcc", "pcc_like_units", "pcc_nearest"]


@dataclass(frozen=True)
class Described:
    """A section with what its units are known by: `latent` and `own`, (n_units, width) each."""

    section: Section
    latent: np.ndarray
    own: np.ndarray

    def features(self) -> np.ndarray:
        """Both, each of a variance of 1 in all if units are like those of all sections."""
        return np.hstack([self.latent, self.own])


def describe(
    sections: list[Section],
    latents: list[np.ndarray],
    genes: list[str],
    asked: list[str],
    seed: int,
) -> list[Described]:
    """Sections with their units' places in the latent space and in components of `genes`.

    `latents` (n_units, width) each; `genes` that some section lacks, or that are `asked` for, are
    left out. Raises UserError where fewer than 10 are left.
    """
    able = set.intersection(*(set(section.genes) for section in sections)) - set(asked)
    shared = [gene for gene in genes if gene in able]
    if len(shared) < LEAST_SHARED:
        raise UserError(
            problem("infer_genes", f"{len(shared)} genes that are integrated on and that "
                    f"{', '.join(s.name for s in sections)} all measure", f"{LEAST_SHARED} or more",
                    "Leave out the section whose panel is another.")
        )  # fmt: skip
    owns = standardised(sections, shared, seed)
    scale = [np.sqrt(np.vstack(parts).var(axis=0).sum()) for parts in (latents, owns)]
    return [
        Described(section, latent / scale[0], own / scale[1])
        for section, latent, own in zip(sections, latents, owns, strict=True)
    ]


def donors_of(parts: list[dict], name: str, into: list[str]) -> list[dict]:
    """Parts that may lend genes to the section `name`: of other tissue, and not under `into`."""
    tissue = {part["name"]: part["tissue"] for part in parts}
    donors = [p for p in parts if p["name"] not in into and p["tissue"] != tissue[name]]
    if not donors:
        raise UserError(
            problem(f"infer_genes, into {name}", "no other tissue among the sections", "another "
                    "section that measures more genes", "Add one, or leave infer_genes out.")
        )  # fmt: skip
    return donors


def drawn_units(
    section: Section, latent: np.ndarray, n_sections: int, seed: int
) -> tuple[Section, np.ndarray]:
    """Some units of a section and their places in the latent space.

    At most 20,000, or fewer where `n_sections` would have more than 60,000 together.
    """
    n_drawn = min(UNITS_OF_ONE, UNITS_OF_ALL // n_sections)
    drawn = np.sort(np.random.default_rng(seed).permutation(section.n_units)[:n_drawn])
    return some_units(section, drawn), latent[drawn]


def log_expression(section: Section, genes: list[str]) -> sparse.csr_matrix:
    """log1p of counts scaled to the section's usual total, (n_units, n_genes) sparse float32.

    The section measures all `genes`.
    """
    total = section.totals()
    return log_values(section.counts[:, _place(section, genes)], total, usual_total(total))


def log_expression_alike(sections: list[Section], genes: list[str]) -> list[sparse.csr_matrix]:
    """log1p of counts of sections, all scaled to one usual total, (n_units, n_genes) sparse each.

    Totals are over what all sections measure, so that one of a small panel is on the scale of the
    others. All measure all `genes`.
    """
    common = list(set.intersection(*(set(section.genes) for section in sections)))
    totals = [
        section.counts @ section.genes.isin(common).astype(np.float64) for section in sections
    ]
    usual = usual_total(np.concatenate(totals))
    return [
        log_values(section.counts[:, _place(section, genes)], total, usual)
        for section, total in zip(sections, totals, strict=True)
    ]


def _place(section: Section, genes: list[str]) -> np.ndarray:
    place = section.genes.get_indexer(genes)
    if (place < 0).any():
        raise ValueError(f"{section.name} lacks some of the genes")
    return place


def standardised(sections: list[Section], genes: list[str], seed: int) -> list[np.ndarray]:
    """Components of genes standardised in each section, (n_units, N_COMPONENTS) of each.

    What a section measures more or less of than another, as a whole, is taken out.
    """
    rng = np.random.default_rng(seed)
    values, moments, drawn = [], [], []
    for section in sections:
        its = log_expression(section, genes)
        mean, variance = mean_variance_axis(its, axis=0)
        spread = np.maximum(np.sqrt(variance), LEAST_SPREAD)
        some = rng.permutation(section.n_units)[: UNITS_OF_ONE // len(sections)]
        values.append(its)
        moments.append((mean, spread))
        drawn.append((its[some].toarray() - mean) / spread)
    n_components = min(N_COMPONENTS, len(genes) - 1)
    components = PCA(n_components, random_state=seed).fit(np.vstack(drawn))
    parts = []
    for its, (mean, spread) in zip(values, moments, strict=True):
        starts = range(0, its.shape[0], UNITS_AT_ONCE)
        dense = (its[start : start + UNITS_AT_ONCE].toarray() for start in starts)
        parts.append(np.vstack([components.transform((d - mean) / spread) for d in dense]))
    return parts


def infer_genes(receiver: Described, donors: list[Described], genes: list[str]) -> np.ndarray:
    """Expression of `genes` in a section's units, (n_units, n_genes) float32.

    By ridge regression of log1p values (see log_expression_alike) in those `donors` that measure a
    gene; its penalty is the one that predicts held-out strips of the donors best. Raises UserError
    for a gene that none measures.
    """
    features = receiver.features()
    inferred = np.empty((len(features), len(genes)), dtype=np.float32)
    for chosen, able in _measuring(donors, genes):
        names = [genes[number] for number in chosen]
        known = np.vstack([donor.features() for donor in able])
        values = log_expression_alike([donor.section for donor in able], names)
        strips = np.concatenate([strips_of(donor.section.xy_um) for donor in able])
        dense = sparse.vstack(values).toarray()
        inferred[:, chosen] = _regressed(known, dense, strips, features)
    return np.maximum(inferred, 0.0)


def _measuring(
    donors: list[Described], genes: list[str]
) -> Iterator[tuple[np.ndarray, list[Described]]]:
    """Numbers of genes that the same donors measure, some at once, and these donors."""
    measures = np.vstack([donor.section.genes.get_indexer(genes) >= 0 for donor in donors])
    lacking = [gene for gene, n in zip(genes, measures.sum(axis=0), strict=True) if n == 0]
    if lacking:
        raise UserError(
            problem("infer_genes, genes", ", ".join(lacking[:10]),
                    "genes that a section not under into measures", "Correct the names.")
        )  # fmt: skip
    for pattern in np.unique(measures, axis=1).T:
        chosen = np.flatnonzero((measures == pattern[:, None]).all(axis=0))
        able = [donor for donor, does in zip(donors, pattern, strict=True) if does]
        for start in range(0, len(chosen), GENES_AT_ONCE):
            yield chosen[start : start + GENES_AT_ONCE], able


def strips_of(xy_um: np.ndarray) -> np.ndarray:
    """The strip of each unit, (n_units,): as many in each, along the longer side of the section."""
    along = xy_um[:, np.ptp(xy_um, axis=0).argmax()]
    return np.argsort(np.argsort(along, kind="stable")) * N_STRIPS // len(along)


def _regressed(
    known: np.ndarray, values: np.ndarray, strips: np.ndarray, features: np.ndarray
) -> np.ndarray:
    """Values (n_units, n_genes) at `features` from those of `known` units."""
    scores = np.zeros(len(PENALTIES))
    for strip in range(N_STRIPS):
        held = strips == strip
        for number, penalty in enumerate(PENALTIES):
            guessed = _ridge(known[~held], values[~held], known[held], penalty)
            scores[number] += pearson(values[held], guessed).mean()
    return _ridge(known, values, features, PENALTIES[int(scores.argmax())])


def _ridge(
    known: np.ndarray, values: np.ndarray, features: np.ndarray, penalty: float
) -> np.ndarray:
    fitted = Ridge(penalty * len(known)).fit(known, values)
    return fitted.predict(features).reshape(len(features), -1)


def transferred_genes(
    receiver: Described, donors: list[Described], genes: list[str], n_like: int
) -> np.ndarray:
    """Genes as means over the `n_like` units most alike in genes both measure, (n_units, n_genes).

    Transfer from neighbours, without integration or regression: what inference is held against.
    """
    transferred = np.empty((len(receiver.own), len(genes)), dtype=np.float32)
    for chosen, able in _measuring(donors, genes):
        names = [genes[number] for number in chosen]
        values = sparse.vstack(log_expression_alike([donor.section for donor in able], names))
        weights = like_units(receiver.own, np.vstack([donor.own for donor in able]), n_like)
        transferred[:, chosen] = (weights @ values).toarray()
    return transferred
