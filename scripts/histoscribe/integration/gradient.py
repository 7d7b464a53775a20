"""A development or a disease followed along ordered groups of sections, with sections as the units
of statistics: many units of one section say no more than that section about its group."""

from dataclasses import dataclass
from itertools import combinations
from math import factorial, prod

import numpy as np
import pandas as pd
from scipy import stats

MAX_RELABELLINGS = 10_000
RIDGE = 0.1  # of the variance of a standardised dimension
COLUMNS_AT_ONCE = 500
RELABELLED_AT_ONCE = 500
TIE = 1e-9
LEAST_MOLECULES = 10  # of a gene in a replicate, on average; else it is not tested
GRADIENT_COLUMNS = ["kind", "name", "rho", "slope", "p", "q", "least_p"]


@dataclass(frozen=True)
class Replicates:
    """What is counted once: the sections of one donor in one group.

    `table` has a row a section with section, group, donor, rank (from 0, of its group) and
    replicate (its number).
    """

    table: pd.DataFrame

    @classmethod
    def of(cls, sections: pd.DataFrame, order: list[str]) -> "Replicates":
        """Of `sections` (section, group, donor), all of whose groups are in `order`."""
        table = sections.sort_values(
            "group", key=lambda group: group.map(order.index), kind="stable", ignore_index=True
        )
        table["rank"] = table["group"].map(order.index)
        table["replicate"] = table.groupby(["group", "donor"], sort=False).ngroup()
        return cls(table)

    @property
    def rank(self) -> np.ndarray:
        """The group's rank, (n_replicates,)."""
        return self.table.groupby("replicate")["rank"].first().to_numpy()

    def means(self, by_section: pd.DataFrame) -> pd.DataFrame:
        """Means over each replicate's sections of `by_section`, whose index is sections."""
        ordered = by_section.loc[self.table["section"]]
        return ordered.groupby(self.table["replicate"].to_numpy()).mean()

    def sums(self, by_section: pd.DataFrame) -> pd.DataFrame:
        """Sums over each replicate's sections; NaN where one of them has none."""
        ordered = by_section.loc[self.table["section"]]
        by_replicate = ordered.groupby(self.table["replicate"].to_numpy())
        return by_replicate.apply(lambda its: its.sum(skipna=False))


def relabellings(rank: np.ndarray, seed: int) -> tuple[np.ndarray, bool]:
    """Ranks dealt out to replicates, (n, n_replicates), and whether these are all ways to do so.

    All ways, each once, where there are 10,000 or fewer; else as many random ones.
    """
    sizes = np.unique(rank, return_counts=True)[1]
    n_ways = factorial(len(rank)) // prod(factorial(int(size)) for size in sizes)
    if n_ways <= MAX_RELABELLINGS:
        return np.array(list(_ways(sorted(rank.tolist())))), True
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(rank, (MAX_RELABELLINGS, 1)), axis=1), False


def _ways(ranks: list[int]) -> list[list[int]]:
    """All different orders of `ranks`, which are sorted."""
    if len(set(ranks)) < 2:
        return [ranks]
    lowest, rest = ranks[0], [rank for rank in ranks if rank != ranks[0]]
    ways = []
    for places in combinations(range(len(ranks)), len(ranks) - len(rest)):
        for way in _ways(rest):
            others = iter(way)
            ways.append([lowest if i in places else next(others) for i in range(len(ranks))])
    return ways


def along_groups(values: pd.DataFrame, rank: np.ndarray, seed: int) -> pd.DataFrame:
    """How each column of `values` (n_replicates, n) goes with the rank of groups, (n_replicates,).

    A row a column, in their order: name, rho (Spearman), slope (least squares, per step of rank),
    p, q, least_p. p is two-sided, by dealing ranks out to replicates in all ways, or in 10,000
    random ones; q is Benjamini and Hochberg's over columns; least_p is the smallest p that these
    replicates could give the column. NaN where a column is constant.
    """
    dealt, is_whole = relabellings(rank, seed)
    expected = _standardised(stats.rankdata(dealt, axis=1))
    own = _standardised(stats.rankdata(rank)[None])[0]
    ranked = _standardised(stats.rankdata(values.to_numpy(), axis=0).T).T
    rho, p, least_p = (np.full(values.shape[1], np.nan) for _ in range(3))
    for start in range(0, values.shape[1], COLUMNS_AT_ONCE):
        here = slice(start, start + COLUMNS_AT_ONCE)
        rho[here] = own @ ranked[:, here]
        chance = np.abs(expected @ ranked[:, here])
        p[here] = _tail(chance, np.abs(rho[here]), is_whole)
        least_p[here] = _tail(chance, chance.max(axis=0), is_whole)
    varies = (ranked != 0).any(axis=0)
    centred = rank - rank.mean()
    slope = centred @ values.to_numpy() / (centred @ centred)
    table = pd.DataFrame(
        {"name": values.columns, "rho": rho, "slope": slope, "p": p, "q": np.nan,
         "least_p": least_p}
    )  # fmt: skip
    table.loc[~varies, ["rho", "p", "least_p"]] = np.nan
    if varies.any():
        table.loc[varies, "q"] = stats.false_discovery_control(table.loc[varies, "p"])
    return table


def _tail(chance: np.ndarray, reached: np.ndarray, is_whole: bool) -> np.ndarray:
    """Share of relabellings (n, n_columns) that reach as far; of random ones one more in both."""
    n_reaching = (chance >= reached - TIE).sum(axis=0)
    return n_reaching / len(chance) if is_whole else (n_reaching + 1) / (len(chance) + 1)


def _standardised(rows: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and length 1, NaN left out; zeros where constant."""
    n_known = np.maximum(np.isfinite(rows).sum(axis=1, keepdims=True), 1)
    centred = rows - np.nansum(rows, axis=1, keepdims=True) / n_known
    length = np.sqrt(np.nansum(centred**2, axis=1, keepdims=True))
    return centred / np.where(length > TIE, length, np.inf)


@dataclass(frozen=True)
class UnseenOrder:
    """Ridge regressions of the groups' rank on the latent space of units, each without one donor.

    Groups weigh the same, since else a fit without a section would lean away from its group; so do
    the replicates of a group, and the sections of a replicate. Of units only `means` (n_replicates,
    width) and mean outer products `squares` (n_replicates, width, width) are kept, so that fitting
    to relabelled ranks costs no pass over units; `donor` (n_replicates,).
    """

    means: np.ndarray
    squares: np.ndarray
    donor: np.ndarray

    @classmethod
    def of(cls, latent: np.ndarray, section: np.ndarray, replicates: Replicates) -> "UnseenOrder":
        """`latent` (n_units, width) of sections named in `section` (n_units,)."""
        table = replicates.table
        n, width = table["replicate"].nunique(), latent.shape[1]
        means, squares = np.zeros((n, width)), np.zeros((n, width, width))
        share = 1 / table.groupby("replicate")["section"].transform("size")
        for row, weight in zip(table.itertuples(), share, strict=True):
            own = latent[section == row.section].astype(np.float64)
            means[row.replicate] += weight * own.mean(axis=0)
            squares[row.replicate] += weight * (own.T @ own) / len(own)
        return cls(means, squares, table.groupby("replicate")["donor"].first().to_numpy())

    def fit_without(self, donor: str, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slopes (n, width) and intercepts (n,) by the other donors' replicates, for `rank` (n,
        n_replicates); NaN where these lack a group."""
        kept = self.donor != donor
        means, ranks = self.means[kept], rank[:, kept]
        is_of = ranks[:, :, None] == np.unique(rank)  # (n, n_kept, n_groups)
        sizes = is_of.sum(axis=1)
        weight = (is_of / np.maximum(sizes, 1)[:, None]).sum(axis=2) / sizes.shape[1]
        centre = weight @ means
        middle = (weight * ranks).sum(axis=1)
        together = (weight * ranks) @ means - middle[:, None] * centre
        covariance = np.tensordot(weight, self.squares[kept], axes=1)
        covariance -= centre[:, :, None] * centre[:, None, :]
        own = np.arange(means.shape[1])
        covariance[:, own, own] += np.maximum(RIDGE * covariance[:, own, own], TIE)
        slopes = np.linalg.solve(covariance, together[:, :, None])[:, :, 0]
        slopes[(sizes == 0).any(axis=1)] = np.nan
        return slopes, middle - (centre * slopes).sum(axis=1)

    def scores(self, rank: np.ndarray) -> np.ndarray:
        """Mean predicted rank of each replicate, by others alone, (n, n_replicates), for `rank` of
        that shape; NaN where none can be."""
        scores = np.empty(rank.shape)
        for start in range(0, len(rank), RELABELLED_AT_ONCE):
            rows = slice(start, start + RELABELLED_AT_ONCE)
            for donor in dict.fromkeys(self.donor):
                slopes, intercept = self.fit_without(donor, rank[rows])
                own = self.donor == donor
                scores[rows, own] = slopes @ self.means[own].T + intercept[:, None]
        return scores

    def of_units(
        self, latent: np.ndarray, section: np.ndarray, replicates: Replicates
    ) -> np.ndarray:
        """Predicted rank of each unit by other donors alone, (n_units,); NaN in other sections."""
        scored = np.full(len(latent), np.nan)
        for donor, its in replicates.table.groupby("donor"):
            slopes, intercept = self.fit_without(donor, replicates.rank[None])
            own = np.isin(section, its["section"])
            scored[own] = latent[own] @ slopes[0] + intercept[0]
        return scored

    def agreement(self, rank: np.ndarray, seed: int) -> dict[str, float]:
        """How predicted ranks of replicates go with their own `rank` (n_replicates,).

        Keys rho, slope, p and least_p, as of along_groups, but p is one-sided, and the regressions
        are fitted anew to every relabelling.
        """
        dealt, is_whole = relabellings(rank, seed)
        scores = self.scores(rank[None])[0]
        rho = float(_spearman(scores[None], rank[None])[0])
        if not np.isfinite(rho):
            return dict.fromkeys(("rho", "slope", "p", "least_p"), np.nan)
        chance = _spearman(self.scores(dealt), dealt)
        chance = chance[np.isfinite(chance)]
        extra = 0 if is_whole else 1
        n = len(chance) + extra
        seen = np.isfinite(scores)
        return {
            "rho": rho,
            "slope": np.polyfit(rank[seen], scores[seen], 1)[0],
            "p": ((chance >= rho - TIE).sum() + extra) / n,
            "least_p": 1 / n if extra else (chance >= chance.max() - TIE).sum() / n,
        }


def _spearman(values: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Spearman's rho of rows (n, n_replicates) where both are known; NaN where fewer than three are
    or do not vary."""
    known = np.isfinite(values)
    ranked = [stats.rankdata(np.where(known, x, np.inf), axis=1) for x in (values, rank)]
    own, theirs = (_standardised(np.where(known, x, np.nan)) for x in ranked)
    rho = np.nansum(own * theirs, axis=1)
    vary = (np.nan_to_num(own) != 0).any(axis=1) & (np.nan_to_num(theirs) != 0).any(axis=1)
    return np.where((known.sum(axis=1) > 2) & vary, rho, np.nan)


def pseudo_bulk(totals: pd.DataFrame) -> pd.DataFrame:
    """log2 of molecules per million, (n_replicates, n_genes), of sums over a replicate's units.

    As Law et al., Genome Biol 2014: half a molecule is added to each gene. Genes that a replicate
    does not measure (NaN), and those of fewer than ten molecules a replicate, are left out.
    """
    shared = totals.loc[:, totals.notna().all()]
    kept = shared.loc[:, shared.mean() >= LEAST_MOLECULES]
    return np.log2(kept.add(0.5).div(shared.sum(axis=1) + 1, axis=0) * 1e6)


def section_means(
    factors: np.ndarray, section: np.ndarray, domain: np.ndarray
) -> dict[str, pd.DataFrame]:
    """Mean proportions of factors (n_units, n_factors) and shares of domains, a row a section."""
    names = [f"factor_{number + 1}" for number in range(factors.shape[1])]
    shares = pd.crosstab(section, domain, normalize="index")
    return {
        "factor": pd.DataFrame(factors, columns=names).groupby(section).mean(),
        "domain": shares.set_axis([f"domain_{name}" for name in shares], axis=1),
    }


def follow_groups(
    by_kind: dict[str, pd.DataFrame],
    unseen: UnseenOrder,
    replicates: Replicates,
    order: list[str],
    seed: int,
) -> pd.DataFrame:
    """What goes along the groups in `order`, a row a factor, domain or gene, by kind and rising p.

    `by_kind` has tables (n_replicates, n). The first row, of kind `order`, is the predicted rank's.
    Columns: GRADIENT_COLUMNS, n_sections, n_replicates, and the mean of each group.
    """
    rank = replicates.rank
    order_row = {"kind": "order", "name": "latent", **unseen.agreement(rank, seed)}
    tables = [pd.DataFrame([order_row], columns=GRADIENT_COLUMNS)]
    for kind, own in by_kind.items():
        found = along_groups(own, rank, seed).assign(kind=kind)
        means = own.groupby(rank).mean().T.set_axis([f"mean {group}" for group in order], axis=1)
        found = found.join(means, on="name")
        # Few sections give many the same p.
        strength = found[["rho", "slope"]].abs().assign(p=found["p"])
        by = strength.sort_values(["p", "rho", "slope"], ascending=[True, False, False]).index
        tables.append(found.loc[by])
    followed = pd.concat([table.dropna(axis=1, how="all") for table in tables], ignore_index=True)
    followed.insert(2, "n_sections", len(replicates.table))
    followed.insert(3, "n_replicates", len(rank))
    first = ["kind", "name", "n_sections", "n_replicates", *GRADIENT_COLUMNS[2:]]
    rest = [column for column in followed if column not in first]
    return followed.reindex(columns=[*first, *rest])
