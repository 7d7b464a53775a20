"""Which morphology-gene maps a run makes, as its config says. Light: the Snakefile imports it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from histoscribe.entry_encoder import encoder_problems, entry_encoder
from histoscribe.errors import UserError, problem

if TYPE_CHECKING:
    from histoscribe.run import Run

LABELS, TYPES, PROGRAM = "labels", "types", "program:"


@dataclass(frozen=True)
class MapEntry:
    """One map: of a `sample` of the sheet with features of `encoder`, or of a `file` of its own.

    `question` is labels, types or program:NAME of a sample, or a column of the file's obs;
    `features` are obsm keys and obs columns of the file.
    """

    name: str
    question: str
    sample: str | None
    encoder: str | None
    file: Path | None
    features: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"config, morphology_maps/{self.name}"

    @property
    def program(self) -> str | None:
        """The gene program that is asked for, if one is."""
        return self.question.removeprefix(PROGRAM) if self.question.startswith(PROGRAM) else None


def map_entries(config: dict, data_dir: Path) -> dict[str, MapEntry]:
    """The entries of `morphology_maps` by name; a sample without encoder has the run's first."""
    entries = {}
    for name, given in config["morphology_maps"].items():
        file = given.get("file")
        entries[name] = MapEntry(
            name,
            given["question"],
            given.get("sample"),
            entry_encoder(config, given),
            None if file is None else data_dir / file,
            tuple(given.get("features", ())),
        )
    return entries


def check_maps(
    entries: dict[str, MapEntry], run: "Run", encoders: dict, annotated: set[str], scored: set[str]
) -> None:
    """Raise one UserError with all that is wrong with the maps a config asks for.

    `annotated` are samples whose measured cell types are found, `scored` those whose measured gene
    programs are.
    """
    problems = []
    for entry in entries.values():
        if (entry.sample is None) == (entry.file is None):
            problems.append(
                problem(entry.where, "both sample and file" if entry.file else "neither sample nor "
                        "file", "one of them", "Name a section of the sheet, or an .h5ad.")
            )  # fmt: skip
        elif entry.file is not None:
            problems += _file_problems(entry)
        else:
            problems += _sample_problems(entry, run, annotated, scored)
        problems += encoder_problems(entry.encoder, entry.file is not None, encoders, entry.where)
    if problems:
        raise UserError("\n".join(problems))


def _file_problems(entry: MapEntry) -> list[str]:
    problems = []
    if not entry.file.is_file():
        remedy = "Correct the path; it starts from data_dir."
        problems.append(
            problem(f"{entry.where}/file", f"no file at {entry.file}", "an .h5ad", remedy)
        )
    if entry.question in entry.features:
        problems.append(
            problem(f"{entry.where}/features", f"the question, {entry.question}", "others",
                    "Leave it out.")
        )  # fmt: skip
    if not entry.features:
        expected = "keys of obsm or columns of obs that hold image features"
        problems.append(problem(f"{entry.where}/features", "none", expected, "Name them."))
    return problems


def _sample_problems(
    entry: MapEntry, run: "Run", annotated: set[str], scored: set[str]
) -> list[str]:
    measured = [name for name, section in run.sections.items() if section.is_measured]
    if entry.sample not in measured:
        expected = f"a measured section: {', '.join(measured) or 'there is none'}"
        return [problem(f"{entry.where}/sample", entry.sample, expected, "Correct the name.")]
    problems = []
    if entry.features:
        remedy = "Leave features out: of a sample they are the encoder's."
        problems.append(
            problem(f"{entry.where}/features", ", ".join(entry.features), "none", remedy)
        )
    where = f"{entry.where}/question"
    if entry.question == LABELS and run.sections[entry.sample].labels is None:
        remedy = "Fill the sheet's column labels, or ask something else."
        problems.append(problem(where, LABELS, f"labels of {entry.sample} in the sheet", remedy))
    elif entry.question == TYPES and entry.sample not in annotated:
        remedy = "Cell types are found for tested sections, with annotation.enabled."
        problems.append(problem(where, TYPES, _of(annotated), remedy))
    elif entry.program is not None and entry.sample not in scored:
        remedy = "Programs are scored for tested sections, with sets in programs.sets."
        problems.append(problem(where, entry.question, _of(scored), remedy))
    elif entry.question not in (LABELS, TYPES) and entry.program is None:
        expected = f"{LABELS}, {TYPES} or {PROGRAM}NAME"
        problems.append(problem(where, entry.question, expected, "Ask one of these."))
    return problems


def _of(samples: set[str]) -> str:
    return f"a section that has them: {', '.join(sorted(samples)) or 'none has'}"
