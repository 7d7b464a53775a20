"""What each genotype of a section goes with: genes, the dosage of segments, and the image."""

import logging
from dataclasses import dataclass, field

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.expression import log_normalised
from histoscribe.genome.appearance import (
    FEATURE_COLUMNS,
    features_told,
    told_by_image,
    within_kinds,
)
from histoscribe.genome.association import (
    GENE_COLUMNS,
    associate,
    matched_contrast,
    usual_reach_um,
)
from histoscribe.genome.cells import Cells
from histoscribe.genome.comparison import Comparison, MatchingSettings, comparisons
from histoscribe.genome.contrast import Contrast
from histoscribe.genome.dna import DnaFeatures
from histoscribe.genome.dosage import ALTERED_FROM, dosage
from histoscribe.genome.genotypes import Genotype, genotypes_of, log2_copies
from histoscribe.genome.segments import ELSEWHERE
from histoscribe.morphology_map.information import blocked_parts, usual_block_um
from histoscribe.morphology_map.quadrants import MapSettings

LOG = logging.getLogger(__name__)
IMAGE_KEYS = ("image_accuracy", "image_low", "image_high", "image_by_chance", "image_p")
CARRIER_COLUMNS = [
    "genotype", "also", "n_carriers", "n_others", "n_unmatched", "kinds", "n_genes_tested",
    "n_genes", "slope", "slope_low", "slope_high", "n_altered_genes", "n_features", *IMAGE_KEYS,
]  # fmt: skip
PLACE_COLUMNS = ["chromosome", "start", "end", "log2_copies", "segment"]
DOSAGE_COLUMNS = ["genotype", "segment", "n_genes", "log2_copies", "log2_ratio", "standard_error"]


@dataclass(frozen=True)
class PhenotypeSettings:
    """How genotypes are set beside genes (`matching`) and beside image features (`image`).

    Of more than `max_units` comparable units so many are drawn at random; of more than
    `max_genotypes` those with most units on the smaller side are looked at.
    """

    q_below: float = 0.05
    max_units: int = 20_000
    max_genotypes: int = 100
    least_share: float = 0.02
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    image: MapSettings = field(default_factory=MapSettings)
    block_um: float | None = None


@dataclass(frozen=True)
class Phenotypes:
    """Tables: a row a genotype (`carriers`), gene, segment (`dosage`), image feature and unit."""

    carriers: pd.DataFrame
    genes: pd.DataFrame
    dosage: pd.DataFrame
    image: pd.DataFrame
    units: pd.DataFrame


def find_phenotypes(
    cells: Cells,
    dna: DnaFeatures,
    places: pd.DataFrame,
    called: pd.DataFrame | None,
    features: pd.DataFrame | None,
    settings: PhenotypeSettings,
    target_sum: float | str,
    seed: int,
    where: str,
) -> Phenotypes:
    """Set each genotype of `dna` (of the units of `cells`) beside genes and image features.

    `places` (n_genes,) of the genes. `called` are inferred segments (clone, chromosome, start, end)
    where copies are not known. `features` (n_units, n_features) are of the same units, or None.
    Raises UserError where no kind of cells has carriers and others; of inferred clones tables are
    then empty, since expression may show but one.
    """
    is_inferred = called is not None
    found = _genotypes(dna, cells, settings.matching.least_units, is_inferred, where)
    tables = {name: [] for name in ("carriers", "genes", "dosage", "image")}
    units = pd.DataFrame(cells.xy_um, columns=["x_um", "y_um"])
    units.insert(0, "unit", cells.names)
    units["kind"] = cells.kind
    units = units.join(dna.table.reset_index(drop=True), rsuffix=" of the DNA")
    found = [one.thinned(settings.max_units, seed) for one in found]
    reach_um = settings.matching.reach_um or usual_reach_um(cells.xy_um)
    compared = comparisons(found, cells, reach_um, is_inferred, where)
    for one in _most_telling(compared, settings.max_genotypes, where):
        others = one.by_chance(settings.matching.n_maps, seed)
        row, genes, segments = _beside_genes(
            one, others, cells, dna, places, called, settings, target_sum
        )
        tables["genes"].append(genes)
        tables["dosage"].append(segments)
        if features is not None:
            facts, told, answers = _beside_image(one, others, features, settings, seed)
            row |= facts
            tables["image"].append(told)
            units[f"image: {one.genotype.name}"] = answers
        tables["carriers"].append(row)
    return Phenotypes(
        pd.DataFrame(tables["carriers"], columns=CARRIER_COLUMNS),
        _stacked(tables["genes"], ["genotype", *GENE_COLUMNS, *PLACE_COLUMNS]),
        _stacked(tables["dosage"], DOSAGE_COLUMNS),
        _stacked(tables["image"], ["genotype", *FEATURE_COLUMNS]),
        units,
    )


def _genotypes(
    dna: DnaFeatures, cells: Cells, least_units: int, is_inferred: bool, where: str
) -> list[Genotype]:
    """Genotypes with others of one kind beside them; none is an error, but of inferred ones."""
    found = genotypes_of(dna, cells.kind, least_units)
    if (dna.table.nunique() < 2).all() and not is_inferred:
        known = dna.table.dropna(axis=1, how="all")
        values = ", ".join(f"{name} {known[name].dropna().iloc[0]}" for name in known)
        raise UserError(
            problem(
                where,
                f"the same DNA of all {int(dna.is_known.sum())} units: {values[:200] or 'unknown'}",
                "two clones, or a mutation or segment that some units have and others don't",
                "There is nothing to set beside each other: leave the entry out.",
            )
        )
    if not found and is_inferred:
        LOG.warning("%s: no two clones to set beside each other: tables stay empty", where)
    elif not found:
        kinds = pd.Series(cells.kind).value_counts().head(10)
        named = ", ".join(f"{kind} ({n})" for kind, n in kinds.items())
        raise UserError(
            problem(
                where,
                f"no kind of cells with {least_units} carriers and {least_units} others of a "
                f"genotype, of {named}",
                "cells of one kind that differ in genotype",
                "Without them, composition would pose as genotype. Lower association.least_units?",
            )
        )
    return found


def _most_telling(compared: list[Comparison], most: int, where: str) -> list[Comparison]:
    """`most` of them, those with most units on the smaller side, in their order."""
    if len(compared) <= most:
        return compared
    LOG.warning(
        "%s: of %d genotypes the %d with most units on the smaller side are looked at "
        "(association.max_genotypes)", where, len(compared), most,
    )  # fmt: skip
    kept = np.argsort([-one.genotype.smaller_side for one in compared], kind="stable")[:most]
    return [compared[i] for i in np.sort(kept)]


def _stacked(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Tables of one form as one; with its columns alone where there is none."""
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _beside_genes(
    compared: Comparison,
    others: np.ndarray,
    cells: Cells,
    dna: DnaFeatures,
    places: pd.DataFrame,
    called: pd.DataFrame | None,
    settings: PhenotypeSettings,
    target_sum: float | str,
) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """A row of carriers, a table of genes and one of segments."""
    genotype, carrier, weights = compared.genotype, compared.carrier, compared.weights
    able = genotype.comparable
    counts = sparse.csr_matrix(cells.counts[able])
    share = np.asarray((counts > 0).mean(axis=0)).ravel()
    tested = np.flatnonzero(share >= settings.least_share)
    bare = ad.AnnData(counts, obs={"umi": np.asarray(counts.sum(axis=1)).ravel()})
    values = sparse.csr_matrix(log_normalised(bare, target_sum).X[:, tested], dtype=np.float64)
    names = cells.var.index[tested]
    genes = associate(values, names, weights, compared.weights_of(others))
    places = places.iloc[tested]
    whole = np.zeros(len(able))
    whole[able] = weights
    copies = log2_copies(dna, places, whole) if len(dna.segments) else np.full(len(tested), np.nan)
    segment = _segments_of(dna, places, copies, called, genotype)
    of = matched_contrast(sparse.csr_matrix(counts[:, tested]), weights, segment.astype(str))
    slope = dosage(of.at(np.isfinite(copies)), copies[np.isfinite(copies)])
    own = pd.DataFrame({"log2_copies": copies, "segment": segment}, index=names)
    genes = genes.join(places[["chromosome", "start", "end"]], on="gene").join(own, on="gene")
    genes.insert(0, "genotype", genotype.name)
    row = {
        "genotype": genotype.name,
        "also": "; ".join(genotype.names[1:]),
        "n_carriers": int(carrier.sum()),
        "n_others": int((~carrier).sum()),
        "n_unmatched": int((carrier & (weights <= 0)).sum()),
        "kinds": ", ".join(np.unique(compared.kind)),
        "n_genes_tested": len(genes),
        "n_genes": int((genes["q"] < settings.q_below).sum()),
        "slope": slope.slope,
        "slope_low": slope.low,
        "slope_high": slope.high,
        "n_altered_genes": slope.n_genes,
    }
    return row, genes, _dosage_of_segments(genotype.name, of, copies, segment)


def _segments_of(
    dna: DnaFeatures,
    places: pd.DataFrame,
    copies: np.ndarray,
    called: pd.DataFrame | None,
    genotype: Genotype,
) -> np.ndarray:
    """The altered segment of each gene, (n_genes,) text: elsewhere, or None without a place."""
    segment = np.full(len(places), ELSEWHERE, dtype=object)
    segment[places["chromosome"].isna()] = None
    if called is None:
        segments = dna.segments.reset_index(names="segment")
    else:
        segments = called[called["clone"].isin(genotype.names)].copy()
        ends = segments["start"].astype(str) + "-" + segments["end"].astype(str)
        segments["segment"] = segments["chromosome"] + ":" + ends + " " + segments["call"]
    middle = (places["start"] + places["end"]) / 2
    for one in segments.to_dict("records"):
        inside = (places["chromosome"] == one["chromosome"]).to_numpy()
        if not np.isnan(one["start"]):
            inside &= middle.between(one["start"], one["end"]).to_numpy()
        if called is not None or np.any(np.abs(copies[inside]) >= ALTERED_FROM):
            segment[inside] = one["segment"]
    return segment


def _dosage_of_segments(
    name: str, of: Contrast, copies: np.ndarray, segment: np.ndarray
) -> pd.DataFrame:
    """DOSAGE_COLUMNS: the weighted mean ratio of genes of each segment, and of those elsewhere."""
    rows = []
    for one in dict.fromkeys(s for s in segment if s is not None):
        inside = segment == one
        weight = of.weight[inside]
        ratio = np.average(of.log2_ratio[inside], weights=weight)
        shift = 0.0 if one == ELSEWHERE else float(np.mean(copies[inside]))
        rows.append((name, one, int(inside.sum()), shift, ratio, weight.sum() ** -0.5))
    return pd.DataFrame(rows, columns=DOSAGE_COLUMNS)


def _beside_image(
    compared: Comparison,
    others: np.ndarray,
    features: pd.DataFrame,
    settings: PhenotypeSettings,
    seed: int,
) -> tuple[dict, pd.DataFrame, np.ndarray]:
    """Facts of the image's answer, a row a feature, and the answer of each unit (1, 0, NaN)."""
    genotype, able = compared.genotype, compared.genotype.comparable
    values = features[able]
    seen = np.isfinite(values.to_numpy(dtype=np.float64)).all(axis=1)
    carrier = compared.carrier[seen]
    kind, xy_um = compared.kind[seen], compared.xy_um[seen]
    image, own = settings.image, within_kinds(values[seen], kind)
    answers = np.full(len(able), np.nan)
    empty = pd.DataFrame(columns=["genotype", *FEATURE_COLUMNS])
    untold = dict.fromkeys(IMAGE_KEYS, np.nan) | {"n_features": np.nan}
    if own.empty:
        LOG.warning("%s: no feature has values that vary within kinds of cells", genotype.name)
        return untold, empty, answers
    block_um = settings.block_um or usual_block_um(xy_um, image.buffer_um)
    parts = blocked_parts(xy_um, block_um, image.buffer_um, image.n_folds, seed)
    parts = [part for part in parts if 0 < carrier[part.learnt].sum() < len(part.learnt)]
    if len(parts) < 2:
        LOG.warning(
            "%s: units lie in too few blocks of %.4g um to predict from the image what was not "
            "learnt from", genotype.name, block_um,
        )  # fmt: skip
        return untold, empty, answers
    if not seen.all():  # as many of the units with features carry it by chance, too
        others = compared.by_chance(settings.matching.n_maps, seed, seen)
    told = features_told(own, carrier, others, parts, image)
    facts, found = told_by_image(own, carrier, others, xy_um, parts, block_um, seed)
    answers[np.flatnonzero(able)[seen]] = np.where(found >= 0, found, np.nan)
    told.insert(0, "genotype", genotype.name)
    return facts | {"n_features": int(told["told_counts"].sum())}, told, answers
