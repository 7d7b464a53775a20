"""Training: units of the training sections, a scaler fitted on them, and the chosen model."""

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse

from histoscribe.adapted.encoder import AdaptedEncoder
from histoscribe.errors import UserError, problem
from histoscribe.experiments import FeatureChoice
from histoscribe.expression import exposures, targets
from histoscribe.models import TrainingUnits
from histoscribe.models.bundle import (
    Bundle,
    encoder_identity,
    is_refitted,
    model_of,
    require_same_encoders,
)
from histoscribe.models.inputs import inputs_of, standardise
from histoscribe.splits import TRAIN, block_folds, outside_buffer, units_in_role
from histoscribe.storage import read_h5ad
from histoscribe.uncertainty.calibration import CalibrationSettings, calibrate


@dataclass(frozen=True)
class TrainingSettings:
    """What to train on and how validation units are set apart where no section is for that.

    `features`: which of them. For kinds that stop early, `validation_fraction` of the units, in
    blocks of `block_um`, say when; units whose tiles (`tile_um`) reach into them do not train.
    `miscoverage` is the share of measured values that may lie outside the intervals.
    """

    features: FeatureChoice
    target_sum: float | str
    tile_um: float
    block_um: float
    validation_fraction: float
    miscoverage: float = 0.1


@dataclass(frozen=True)
class SectionData:
    """Filtered units of one section with their features by encoder."""

    name: str
    units: ad.AnnData
    features: dict[str, ad.AnnData]
    validates: bool

    @property
    def encoders(self) -> dict[str, dict]:
        """Identities of the encoders by name."""
        return {name: encoder_identity(described) for name, described in self.features.items()}


@dataclass(frozen=True)
class Prepared:
    """Units to learn from, and how they came about.

    `fitted_on` (n_units,) bool says which units of all sections these are; `feature_mean` and
    `feature_scale` (n_features,) are what features were standardised by.
    """

    training: TrainingUnits
    fitted_on: np.ndarray
    feature_mean: np.ndarray
    feature_scale: np.ndarray


def read_sections(
    units: list[Path],
    features: list[Path],
    encoders: list[str],
    validates: dict[str, bool],
    blocks: dict | None,
) -> list[SectionData]:
    """Read the sections that a fold learns from, named and in the order of `validates`.

    `features` are the files of the first section by each encoder, then of the next. Of sections
    that train, only units that the fold's `blocks` (of a BlockSplit, or None) let train are kept.
    """
    by_section = iter(features)
    return [
        SectionData(
            name,
            units_in_role(read_h5ad(file), None if is_validation else blocks, TRAIN),
            {encoder: read_h5ad(next(by_section)) for encoder in encoders},
            is_validation,
        )
        for (name, is_validation), file in zip(validates.items(), units, strict=True)
    ]


def prepare(
    sections: list[SectionData],
    genes: list[str],
    kind: str,
    settings: TrainingSettings,
    seed: int,
) -> Prepared:
    """What a model of the kind learns from.

    Sections that validate serve early stopping only. Raises UserError when sections come from
    different encoders or nothing is left to train on.
    """
    for section in sections[1:]:
        require_same_encoders(section.encoders, sections[0].encoders, f"features of {section.name}")
    features = np.vstack(
        [
            _features_of(s, settings.features, np.random.default_rng([seed, i]))
            for i, s in enumerate(sections)
        ]
    )
    expression = np.vstack([targets(s.units, genes, settings.target_sum) for s in sections])
    exposure = np.concatenate([exposures(s.units, settings.target_sum) for s in sections])
    xy_um = np.vstack([np.asarray(s.units.obsm["spatial"]) for s in sections])
    section = np.repeat(np.arange(len(sections)), [s.units.n_obs for s in sections])
    set_apart = np.repeat([s.validates for s in sections], [s.units.n_obs for s in sections])
    trains = ~set_apart
    # Scalers see every unit that may train; set-apart sections stay unseen.
    mean = features[trains].mean(axis=0, dtype=np.float64)
    scale = features[trains].std(axis=0, dtype=np.float64)
    scale = np.where(scale > 1e-8 * np.maximum(np.abs(mean), 1), scale, 1.0)
    features = standardise(features, mean, scale)
    if is_refitted(kind):  # needs no units to say when to stop
        validation, usable, fitted_on = ~trains, trains, trains
    else:
        validation, usable = _validation_units(xy_um, section, set_apart, settings, seed)
        fitted_on = np.ones(len(trains), dtype=bool)
    training = TrainingUnits(
        features=features[fitted_on],
        expression=expression[fitted_on],
        exposure=exposure[fitted_on],
        xy_um=xy_um[fitted_on],
        section=section[fitted_on],
        validation=validation[fitted_on],
        usable=usable[fitted_on],
        tile_um=settings.tile_um,
    )
    return Prepared(training, fitted_on, mean, scale)


def train(
    sections: list[SectionData],
    genes: list[str],
    kind: str,
    model_settings: dict,
    settings: TrainingSettings,
    seed: int,
    threads: int,
    adapted: dict[str, AdaptedEncoder],
) -> Bundle:
    """Fit one model on the training sections.

    The `adapted` encoders that gave features, by name, become part of the model. Raises UserError
    as `prepare` does.
    """
    prepared = prepare(sections, genes, kind, settings, seed)
    training, fitted_on = prepared.training, prepared.fitted_on
    tensors = model_of(kind).fit(training, model_settings, seed, threads)
    uncertainty = calibrate(
        training,
        sparse.vstack([sparse.csr_matrix(s.units[:, genes].X) for s in sections])[fitted_on],
        np.concatenate([s.units.obs["umi"].to_numpy() for s in sections])[fitted_on],
        kind,
        model_settings,
        tensors,
        CalibrationSettings(settings.miscoverage, settings.block_um, settings.target_sum),
        seed,
    )
    return Bundle(
        kind=kind,
        settings=model_settings,
        tensors=tensors,
        genes=genes,
        encoders=sections[0].encoders,
        adapted=adapted,
        use=settings.features.use,
        columns=settings.features.columns,
        neighbours_um=settings.features.neighbours_um,
        feature_mean=prepared.feature_mean,
        feature_scale=prepared.feature_scale,
        target_sum=settings.target_sum,
        provenance={
            "sections": {s.name: "validation" if s.validates else "train" for s in sections},
            "n_units_training": sum(s.units.n_obs for s in sections if not s.validates),
            "seed": seed,
        },
        uncertainty=uncertainty,
    )


def _features_of(
    section: SectionData, choice: FeatureChoice, rng: np.random.Generator
) -> np.ndarray:
    """What a model sees of a section's units, (n_units, n_inputs)."""
    rows = list(section.units.obs_names)
    inputs = inputs_of(section.features, choice.use, choice.columns, choice.neighbours_um, rows)
    return rng.permutation(inputs) if choice.shuffled else inputs


def _validation_units(
    xy_um: np.ndarray,
    section: np.ndarray,
    set_apart: np.ndarray,
    settings: TrainingSettings,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Units for early stopping and units that may train beside them, (n_units,) bool each."""
    if set_apart.any():
        return set_apart, ~set_apart
    n_folds = max(2, round(1 / settings.validation_fraction))
    validation = block_folds(xy_um, section, settings.block_um, n_folds, seed) == 0
    usable = outside_buffer(xy_um, section, validation, settings.tile_um)
    if not validation.any() or not usable.any():
        raise UserError(
            problem(
                "training.block_um and features.tile_um",
                f"{settings.block_um:g} and {settings.tile_um:g} um, which leave "
                f"{usable.sum()} units to train and {validation.sum()} to validate",
                "both above zero",
                "Make blocks smaller, or name a validation section in the sheet.",
            )
        )
    return validation, usable
