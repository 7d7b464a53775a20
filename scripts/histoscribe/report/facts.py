"""What a run was asked to do, as the report needs it."""

from dataclasses import dataclass

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
    use: list[str]
    columns: list[str] | None
    neighbours_um: list[float]
    shuffled: bool
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
    """A run as its files describe it. `first` is the experiment that is drawn, if any predicts."""

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
        """Facts from the plain values that `run_facts` made."""
        return RunFacts(
            **{
                **plain,
                "sections": [SectionFacts(**section) for section in plain["sections"]],
                "experiments": [ExperimentFacts(**one) for one in plain["experiments"]],
                "folds": [FoldFacts(**fold) for fold in plain["folds"]],
            }
        )
