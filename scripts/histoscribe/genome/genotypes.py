"""Genotypes, one at a time: a clone, a mutation, or segments altered in the same units."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoscribe.genome.dna import DnaFeatures

USUAL_COPIES = 2.0
SAME_FROM = 0.98  # of the units, that two genotypes tell apart alike
LEAST_COPIES = 0.1  # so that a lost segment has a logarithm


@dataclass(frozen=True)
class Genotype:
    """Which of the `comparable` units (n_units,) carry it; `names` of all that say the same."""

    names: tuple[str, ...]
    carrier: np.ndarray
    comparable: np.ndarray

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def smaller_side(self) -> int:
        """Comparable units that carry it, or those that don't, whichever are fewer."""
        n_carriers = int(self.carrier[self.comparable].sum())
        return min(n_carriers, int(self.comparable.sum()) - n_carriers)

    def thinned(self, most: int, seed: int) -> "Genotype":
        """With `most` comparable units at most, drawn at random."""
        rows = np.flatnonzero(self.comparable)
        if len(rows) <= most:
            return self
        kept = np.zeros(len(self.comparable), dtype=bool)
        kept[np.random.default_rng(seed).permutation(rows)[:most]] = True
        return Genotype(self.names, self.carrier & kept, kept)


def genotypes_of(dna: DnaFeatures, kind: np.ndarray, least_units: int) -> list[Genotype]:
    """Genotypes with carriers and others of one kind, `least_units` of each; each once.

    Clones first, then mutations, then segments of other than two copies. Those that tell (98 %
    of) the same units apart share a genotype: the two of two clones are one question.
    """
    found: list[Genotype] = []
    # A bit for each unit: of thousands of segments any two are set beside each other.
    all_able, all_held = (np.zeros((0, -(-len(kind) // 8)), dtype=np.uint8) for _ in range(2))
    for name, carrier, known in _candidates(dna):
        able = known & comparable(carrier, np.where(known, kind, ""), least_units)
        if not able.any():
            continue
        bits_able, bits_held = np.packbits(able), np.packbits(carrier & able)
        both = all_able & bits_able
        n_both = _n_bits(both)
        share_both = n_both / _n_bits(all_able | bits_able)
        alike = 1 - _n_bits((all_held ^ bits_held) & both) / np.maximum(n_both, 1)
        same = (share_both >= SAME_FROM) & (np.maximum(alike, 1 - alike) >= SAME_FROM)
        if same.any():
            place = int(same.argmax())
            if alike[place] >= SAME_FROM:
                one = found[place]
                found[place] = Genotype((*one.names, name), one.carrier, one.comparable)
        else:
            found.append(Genotype((name,), carrier & able, able))
            all_able, all_held = np.vstack([all_able, bits_able]), np.vstack([all_held, bits_held])
    return found


def _n_bits(packed: np.ndarray) -> np.ndarray:
    """How many bits of each row are set."""
    return np.bitwise_count(packed).sum(axis=1, dtype=np.int64)


def comparable(carrier: np.ndarray, kind: np.ndarray, least_units: int) -> np.ndarray:
    """Whether each unit (n_units,) is of a kind with `least_units` carriers and as many others.

    Units of no kind ("") are not.
    """
    table = pd.crosstab(kind, carrier).reindex(columns=[False, True], fill_value=0)
    enough = table.index[(table >= least_units).all(axis=1)]
    return np.isin(kind, enough[enough != ""])


def _candidates(dna: DnaFeatures):
    for column, values in dna.of_kind("clone").items():
        known = values.notna().to_numpy()
        for level in sorted(values.dropna().astype(str).unique()):
            name = level if column.lower() == "clone" else f"{column}: {level}"
            yield name, (values.astype(str) == level).to_numpy() & known, known
    for column, values in dna.of_kind("mutation").items():
        yield column, (values == 1).to_numpy(), values.notna().to_numpy()
    for column, values in dna.of_kind("segment").items():
        known = values.notna().to_numpy()
        yield f"{column} altered", (values != USUAL_COPIES).to_numpy() & known, known


def log2_copies(dna: DnaFeatures, places: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Log2 ratio of copies of carriers to others, (n_genes,); NaN without a known place.

    `weights` (n_units,) sum to 1 over carriers and to -1 over others; `places` (n_genes,) has
    chromosome, start and end. Genes outside all segments have two copies.
    """
    ratio = np.where(places["chromosome"].isna(), np.nan, 0.0)
    middle = ((places["start"] + places["end"]) / 2).to_numpy(dtype=np.float64)
    chromosome = places["chromosome"].to_numpy(dtype=object)
    for name, segment in dna.segments.iterrows():
        inside = chromosome == segment["chromosome"]
        if not np.isnan(segment["start"]):
            inside &= (middle >= segment["start"]) & (middle <= segment["end"])
        copies = dna.table[name].to_numpy(dtype=np.float64)
        sides = [_mean_copies(copies, np.clip(side, 0, None)) for side in (weights, -weights)]
        ratio[inside] = np.log2(sides[0] / sides[1])
    return ratio


def _mean_copies(copies: np.ndarray, weight: np.ndarray) -> float:
    """Mean copies of units by their weight (n_units,); two where none are known."""
    known = np.isfinite(copies) & (weight > 0)
    if not known.any():
        return USUAL_COPIES
    return max(float(np.average(copies[known], weights=weight[known])), LEAST_COPIES)
