"""What a run was asked to do, as plain values for the report.

Light on purpose: the Snakefile imports it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from histoscribe.experiments import BASELINES

if TYPE_CHECKING:
    from histoscribe.folds import Fold
    from histoscribe.run import Run, Section

GIVEN, SEGMENTED, GROWN = "given", "segmented", "grown"


@dataclass(frozen=True)
class SectionFacts:
    """A row of the sheet. `outlines` says where those of its units come from, where they have any.

    `is_simulated`: it was made by this run.
    """

    sample: str
    donor: str
    platform: str
    unit: str
    split: str
    group: str | None
    image: str
    outlines: str | None
    is_simulated: bool

    @property
    def is_measured(self) -> bool:
        return self.platform != "image"


@dataclass(frozen=True)
class ExperimentFacts:
    """An experiment. `members`: the kinds of a stacked model; `settings` those of its kind."""

    name: str
    kind: str
    is_baseline: bool
    members: list[str]
    encoders: list[str]
    columns: list[str] | None
    neighbours_um: list[float]
    settings: dict


@dataclass(frozen=True)
class FoldFacts:
    """A split by sample names; `is_cut` where blocks of the training sections are tested."""

    name: str
    training: list[str]
    validation: list[str]
    tested: list[str]
    is_cut: bool


@dataclass(frozen=True)
class RunFacts:
    """A run as its files describe it. `first` is the experiment that is drawn, if there is one."""

    name: str
    sections: list[SectionFacts]
    experiments: list[ExperimentFacts]
    folds: list[FoldFacts]
    first: str | None
    bundle: str | None
    config: dict

    @property
    def unit(self) -> str:
        """What an expression profile belongs to; a run has one kind."""
        return self.sections[0].unit if self.sections else "unit"

    def section(self, sample: str) -> SectionFacts:
        return next(section for section in self.sections if section.sample == sample)

    def experiment(self, name: str) -> ExperimentFacts:
        return next(experiment for experiment in self.experiments if experiment.name == name)

    def samples(self, *splits: str) -> list[str]:
        return [section.sample for section in self.sections if section.split in splits]

    @property
    def tested(self) -> list[tuple[str, str]]:
        """(fold, sample) of all that is scored."""
        return [(fold.name, sample) for fold in self.folds for sample in fold.tested]

    @property
    def learnt_from(self) -> list[str]:
        """Samples that any fold learns from, each once, in sheet order."""
        seen = {sample for fold in self.folds for sample in (*fold.training, *fold.validation)}
        return [section.sample for section in self.sections if section.sample in seen]

    @staticmethod
    def of(plain: dict) -> "RunFacts":
        """Facts from what `run_facts` gave."""
        return RunFacts(
            **{
                **plain,
                "sections": [SectionFacts(**section) for section in plain["sections"]],
                "experiments": [ExperimentFacts(**one) for one in plain["experiments"]],
                "folds": [FoldFacts(**fold) for fold in plain["folds"]],
            }
        )


def run_facts(
    run: "Run", folds: "dict[str, Fold]", config: dict, given: "dict[tuple[str, str], Path]"
) -> dict:
    """RunFacts as plain values, for a rule's `params`.

    `given` holds the files of outlines that need no segmentation, by sample and name.
    """
    own = [name for name in run.experiments if name not in BASELINES]
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
                columns=experiment.features.columns,
                neighbours_um=list(experiment.features.neighbours_um),
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
        first=own[0] if own else None,
        bundle=config["bundle"],
        config={key: value for key, value in config.items() if key != "pathvars"},
    )
    return asdict(facts)


def _section(
    section: "Section", config: dict, given: "dict[tuple[str, str], Path]"
) -> SectionFacts:
    made = Path("results") / config["run"] / "simulated"
    return SectionFacts(
        sample=section.sample,
        donor=section.donor,
        platform=section.platform,
        unit=section.unit,
        split=section.split,
        group=section.group,
        image=str(section.image),
        outlines=_outlines(section, given),
        is_simulated=made in section.image.parents,
    )


def _outlines(section: "Section", given: "dict[tuple[str, str], Path]") -> str | None:
    """Where a section's outlines come from: given, segmented, or cells grown from either."""
    if section.unit == "nucleus":
        return GIVEN if (section.sample, "nuclei") in given else SEGMENTED
    if section.unit == "cell":
        return GIVEN if (section.sample, "cells") in given else GROWN
    return None
