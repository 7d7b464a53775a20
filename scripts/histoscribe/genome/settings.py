"""Settings of the genome layer, from the config's plain values."""

import math

from histoscribe.errors import UserError, problem
from histoscribe.genome.clones import CloneSettings
from histoscribe.genome.comparison import MatchingSettings
from histoscribe.genome.copy_number import CopyNumberSettings
from histoscribe.genome.phenotypes import PhenotypeSettings
from histoscribe.genome.segments import SegmentSettings
from histoscribe.morphology_map.quadrants import MapSettings


def copy_number_settings(given: dict, where: str) -> CopyNumberSettings:
    """From config `copy_number`, but for what says where genes lie and what a proof needs.

    Raises UserError, naming `where`, for shuffles too few to find clones.
    """
    least_p = 1 / (1 + given["n_shuffles"])
    if least_p >= given["p_below"]:
        raise UserError(
            problem(
                f"{where}, copy_number",
                f"n_shuffles {given['n_shuffles']}, whose least p is {least_p:.3g}",
                f"a p below p_below, {given['p_below']:g}, for clones to be found",
                f"Set n_shuffles above {math.ceil(1 / given['p_below']) - 1}.",
            )
        )
    return CopyNumberSettings(
        pool_umi=given["pool_umi"],
        most_pooled=given["most_pooled"],
        least_count=given["least_count"],
        window_genes=given["window_genes"],
        max_units=given["max_units"],
        n_halvings=given["n_halvings"],
        exclude=tuple(given["exclude"]),
        clones=CloneSettings(
            least_units=given["least_units"],
            p_below=given["p_below"],
            n_shuffles=given["n_shuffles"],
        ),
        segments=SegmentSettings(least_genes=given["least_genes"], least_log2=given["least_log2"]),
    )


def phenotype_settings(given: dict, buffer_um: float) -> PhenotypeSettings:
    """From config `association`; `buffer_um` where that does not say."""
    own = given["buffer_um"]
    return PhenotypeSettings(
        q_below=given["q_below"],
        max_units=given["max_units"],
        max_genotypes=given["max_genotypes"],
        matching=MatchingSettings(
            reach_um=given["reach_um"],
            least_units=given["least_units"],
            n_maps=given["n_maps"],
        ),
        image=MapSettings(
            q_below=given["q_below"],
            least_nats=given["least_nats"],
            buffer_um=buffer_um if own is None else own,
            n_folds=given["n_folds"],
        ),
        block_um=given["block_um"],
    )
