"""Copy number along the genome, inferred from expression beside that of normal cells.

An inference: relative to the cells called normal and to the usual number of copies, of stretches of
many genes, and of groups of units. Expression carries no alleles.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.genome.cells import Cells
from histoscribe.genome.clones import (
    Clones,
    CloneSettings,
    Genome,
    clone_names,
    clone_table,
    find_clones,
)
from histoscribe.genome.contrast import Contrast, alignment, contrast, summed, window_matrix
from histoscribe.genome.nuisance import DENSITY, in_a_family, traits, with_density
from histoscribe.genome.pooling import halves, n_pooled, neighbour_pools
from histoscribe.genome.positions import natural_order
from histoscribe.genome.profile import SEX_AND_MITOCHONDRIAL, CopyProfile, copy_profile
from histoscribe.genome.segments import (
    BESIDE_OTHERS,
    BESIDE_REFERENCE,
    SegmentSettings,
    find_segments,
)

LEAST_UNITS = 20
LEAST_GENES = 100
FEWER = 1 / 3  # of the pooled units, where clones are known and each unit is told its own
WINDOWS_OF_GENES = (10, 100)  # least and most genes of a window
WINDOW_SHARE = 1 / 60  # of all genes, between these


@dataclass(frozen=True)
class CopyNumberSettings:
    """Units are pooled with so many neighbours that they hold about `pool_umi` molecules.

    `most_pooled` units at most. Genes with a mean of less than `least_count` in a pool are left
    out, and those with names like `exclude`. `window_genes`: None, a sixtieth of the genes, 10 to
    100. `target_sum` that pools are scaled to. `max_units`: more are thinned out at random. Clones
    are looked for again in `n_halvings` other halvings of the molecules.
    """

    pool_umi: float = 5000.0
    most_pooled: int = 30
    least_count: float = 0.1
    window_genes: int | None = None
    target_sum: float = 10_000.0
    exclude: tuple[str, ...] = ()
    max_units: int = 20_000
    n_halvings: int = 4
    clones: CloneSettings = field(default_factory=CloneSettings)
    segments: SegmentSettings = field(default_factory=SegmentSettings)


@dataclass(frozen=True)
class InferredCopies:
    """What expression says of the copies of units that are looked at.

    Attributes:
        units: (n_units,) rows of the given cells.
        other_half: (n_units, n_genes) molecules that the clones were not made from.
        profile, clones: of these units.
        segments: a row a clone, what it is set `beside`, and segment.
        table: a row a clone.
        n_pooled: units that are pooled. n_genes: genes that are looked at.
    """

    units: np.ndarray
    other_half: sparse.csr_matrix
    profile: CopyProfile
    clones: Clones
    segments: pd.DataFrame
    table: pd.DataFrame
    n_pooled: int
    n_genes: int


def infer_copy_number(
    cells: Cells,
    places: pd.DataFrame,
    reference: list[str],
    among: list[str],
    settings: CopyNumberSettings,
    seed: int,
    where: str,
) -> InferredCopies:
    """Clones and segments of the units of the kinds `among`, beside those of `reference`.

    `places` has chromosome, start and end of each gene of `cells`, and the density of genes there,
    which else is counted among these alone. Raises UserError without normal cells, without others,
    and where too few genes can be placed.
    """
    rng = np.random.default_rng(seed)
    looked_at = _chosen(cells.kind, among, "among", settings.max_units, rng, where)
    normal = _chosen(cells.kind, reference, "reference", settings.max_units, rng, where)
    rows = np.concatenate([looked_at, normal])
    counts, kind, xy_um = cells.counts[rows], cells.kind[rows], cells.xy_um[rows]
    own = slice(len(looked_at))
    n = n_pooled(
        np.asarray(counts[own].sum(axis=1)).ravel(), settings.pool_umi, settings.most_pooled
    )
    one, other = halves(counts, seed)
    other_half = other[own]
    if DENSITY not in places:
        places = with_density(places, places)
    families = in_a_family(places.index, settings.exclude)
    places = genome_order(places[~families])
    columns = cells.var.index.get_indexer(places.index)
    kept = np.asarray(counts[own].mean(axis=0)).ravel()[columns] * n >= settings.least_count
    if kept.sum() < LEAST_GENES:
        raise UserError(
            problem(
                where,
                f"{kept.sum()} of {len(kept)} genes with a place have {settings.least_count:g} "
                f"molecules or more in pools of {n} units",
                f"{LEAST_GENES} or more",
                "Copies can't be inferred from so small a panel; or raise copy_number.pool_umi.",
            )
        )
    places, columns = places[kept], columns[kept]
    counts, one, other = (matrix[:, columns] for matrix in (counts, one, other))
    usual_window = int(np.clip(len(places) * WINDOW_SHARE, *WINDOWS_OF_GENES))
    window_genes = settings.window_genes or usual_window
    beside = (reference, places, window_genes, settings.target_sum)

    def profile_of(units: np.ndarray, matrix: sparse.csr_matrix) -> CopyProfile:
        """Of some of the units looked at, pooled among each other."""
        of = np.concatenate([units, np.arange(len(looked_at), len(rows))])
        pools = neighbour_pools(xy_um[of], kind[of], n)
        profile = copy_profile(pools @ matrix[of], kind[of], *beside)
        return CopyProfile(profile.values[: len(units)], profile.windows)

    profile = profile_of(np.arange(len(looked_at)), counts)
    genome = Genome(
        list(places.groupby("chromosome", sort=False).indices.values()),
        window_matrix(places, profile.windows, max(window_genes // 10, 1)),
        traits(places, np.asarray(counts[own].sum(axis=0)).ravel()),
        settings.segments,
    )
    few = neighbour_pools(xy_um[own], kind[own], int(np.ceil(n * FEWER)))

    def clones_of(one: sparse.csr_matrix, other: sparse.csr_matrix) -> Clones:
        """By two halves of the molecules."""
        return find_clones(
            lambda units: profile_of(units, one).values,
            one[own], other[own], few, genome, settings.clones, seed,
        )  # fmt: skip

    found = clones_of(one, other)
    again = [
        clones_of(*halves(counts, [seed, 1 + number])).clone
        for number in range(settings.n_halvings)
    ]
    segments, p_beside = _segments(counts, other, found, genome, places, settings, seed)
    beside_normal = segments[segments["beside"] == BESIDE_REFERENCE]
    table = clone_table(found, beside_normal, again).assign(p_beside_normal=p_beside)
    return InferredCopies(looked_at, other_half, profile, found, segments, table, n, len(places))


def genome_order(places: pd.DataFrame) -> pd.DataFrame:
    """Autosomal genes of `places` with a known place, by chromosome (natural order) and start."""
    known = places.dropna(subset=["chromosome"]).astype({"chromosome": object})
    known = known[~known["chromosome"].isin(SEX_AND_MITOCHONDRIAL)]
    key = known["chromosome"].map(natural_order)
    return known.assign(key=key).sort_values(["key", "start", "end"]).drop(columns="key")


def _chosen(
    kind: np.ndarray, names: list[str], key: str, most: int, rng: np.random.Generator, where: str
) -> np.ndarray:
    """Rows of units of these kinds, sorted; at most `most`, at random."""
    rows = np.flatnonzero(np.isin(kind, names))
    if len(rows) < LEAST_UNITS:
        there = pd.Series(kind).value_counts()
        listed = ", ".join(f"{name} ({n})" for name, n in there.head(15).items())
        raise UserError(
            problem(
                f"{where}/{key}",
                f"{len(rows)} units of {', '.join(names) or 'no kind'}",
                f"{LEAST_UNITS} or more; the section has {listed}",
                "Name kinds of cells that are there.",
            )
        )
    if len(rows) > most:
        rows = np.sort(rng.permutation(rows)[:most])
    return rows


def _segments(
    counts: sparse.csr_matrix,
    other: sparse.csr_matrix,
    clones: Clones,
    genome: Genome,
    places: pd.DataFrame,
    settings: CopyNumberSettings,
    seed: int,
) -> tuple[pd.DataFrame, list[float]]:
    """Segments of each clone, beside normal cells and other clones; and p beside normal cells.

    Rows of the counts are the units of the clones, then normal cells. Segments are of all
    molecules and must be there in the half that did not make the clones.
    """
    n_normal = counts.shape[0] - len(clones.clone)
    by_all = np.concatenate([clones.clone, np.full(n_normal, -1)])
    by_half = np.concatenate([clones.of_half, np.full(n_normal, -1)])
    found, p_beside = [], []
    for number, name in enumerate(clone_names(len(clones.p))):
        besides = [(BESIDE_REFERENCE, [-1])]
        others = [i for i in range(len(clones.p)) if i != number]
        if others:
            besides.append((BESIDE_OTHERS, others))
        for beside, numbers in besides:
            whole = _contrast_of(counts, by_all, number, numbers, genome)
            held_out = _contrast_of(other, by_half, number, numbers, genome)
            table = find_segments(whole, held_out, places, settings.segments, seed)
            table.insert(0, "beside", beside)
            table.insert(0, "clone", name)
            found.append(table)
            if beside == BESIDE_REFERENCE:
                n_shuffles = settings.clones.n_shuffles
                _, p = alignment([held_out], genome.windows, n_shuffles, seed)
                p_beside.append(float(p[0]))
    return pd.concat(found, ignore_index=True), p_beside


def _contrast_of(
    counts: sparse.csr_matrix,
    label: np.ndarray,
    number: int,
    besides: list[int],
    genome: Genome,
) -> Contrast:
    """Contrast of the units of one label and those of others."""
    sides = label == number, np.isin(label, besides)
    return contrast(*(summed(counts, side) for side in sides), genome.known)
