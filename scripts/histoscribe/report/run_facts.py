"""Facts of a run as plain values, which a rule's `params` can hold.

Light on purpose: the Snakefile imports it.
"""

from dataclasses import asdict
from pathlib import Path

from histoscribe.experiments import BASELINES
from histoscribe.folds import Fold
from histoscribe.report.facts import (
    GIVEN,
    GROWN,
    SEGMENTED,
    ExperimentFacts,
    FoldFacts,
    RunFacts,
    SectionFacts,
)
from histoscribe.run import Run, Section


def run_facts(
    run: Run, folds: dict[str, Fold], config: dict, given: dict[tuple[str, str], Path]
) -> dict:
    """RunFacts as plain values, for a rule's `params`.

    `given` holds the files of outlines that need no segmentation, by sample and name.
    """
    own = [name for name in run.experiments if name not in BASELINES]
    is_modelled = bool(config["bundle"]) or any(fold.training for fold in folds.values())
    facts = RunFacts(
        name=config["run"],
        sections=[_section(section, config, given) for section in run.sections.values()],
        experiments=[
            ExperimentFacts(
                name=name,
                kind=experiment.model["kind"],
                is_baseline=name in BASELINES,
                members=list(experiment.model_settings.get("members", {})),
                encoders=list(experiment.features.encoders),
                use=list(experiment.features.use),
                columns=experiment.features.columns,
                neighbours_um=list(experiment.features.neighbours_um),
                shuffled=experiment.features.shuffled,
                settings=experiment.model_settings,
            )
            for name, experiment in run.experiments.items()
        ],
        folds=[
            FoldFacts(
                name,
                list(fold.training),
                list(fold.validation),
                list(fold.tested),
                fold.blocks is not None,
            )
            for name, fold in folds.items()
        ],
        first=own[0] if own and is_modelled else None,
        bundle=config["bundle"],
        config={key: value for key, value in config.items() if key != "pathvars"},
    )
    return asdict(facts)


def is_simulated(section: Section, config: dict) -> bool:
    """Whether the run made the section itself."""
    return Path("results") / config["run"] / "simulated" in section.image.parents


def _section(section: Section, config: dict, given: dict[tuple[str, str], Path]) -> SectionFacts:
    return SectionFacts(
        sample=section.sample,
        donor=section.donor,
        platform=section.platform,
        unit=section.unit,
        split=section.split,
        group=section.group,
        image=str(section.image),
        outlines=_outlines(section, given),
        is_simulated=is_simulated(section, config),
    )


def _outlines(section: Section, given: dict[tuple[str, str], Path]) -> str | None:
    """Where a section's outlines come from: given, segmented, or cells grown from either."""
    if section.unit == "nucleus":
        return GIVEN if (section.sample, "nuclei") in given else SEGMENTED
    if section.unit == "cell":
        return GIVEN if (section.sample, "cells") in given else GROWN
    return None
