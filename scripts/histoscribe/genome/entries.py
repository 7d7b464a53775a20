"""Which genotypes a run looks at, as its config says. Light: the Snakefile imports it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from histoscribe.entry_encoder import encoder_problems, entry_encoder
from histoscribe.errors import UserError, problem
from histoscribe.genome.words import DNA, INFERRED, LABELS, MEASURED, PREDICTED, TYPES

if TYPE_CHECKING:
    from histoscribe.run import Run


@dataclass(frozen=True)
class GenotypeEntry:
    """One genotype: of a `sample` of the sheet, or of a `file` with counts and `cells` in obs.

    `cells` are types or labels of a sample; of these `reference` are taken for normal, and clones
    are looked for `among` others (none: all others). `clones` are inferred, or from DNA.
    """

    name: str
    sample: str | None
    file: Path | None
    cells: str
    reference: tuple[str, ...]
    among: tuple[str, ...]
    clones: str
    dna: Path | None
    expression: str
    encoder: str | None
    features: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"config, genotypes/{self.name}"

    @property
    def is_inferred(self) -> bool:
        return self.clones == INFERRED

    @property
    def is_predicted(self) -> bool:
        return self.expression == PREDICTED


def genotype_entries(config: dict, data_dir: Path) -> dict[str, GenotypeEntry]:
    """The entries of `genotypes` by name; a sample without encoder has the run's first."""
    entries = {}
    for name, given in config["genotypes"].items():
        file, dna = given.get("file"), given.get("dna")
        entries[name] = GenotypeEntry(
            name=name,
            sample=given.get("sample"),
            file=None if file is None else data_dir / file,
            cells=given.get("cells", TYPES),
            reference=tuple(given.get("reference", ())),
            among=tuple(given.get("among", ())),
            clones=given.get("clones", INFERRED),
            dna=None if dna is None else data_dir / dna,
            expression=given.get("expression", MEASURED),
            encoder=entry_encoder(config, given),
            features=tuple(given.get("features", ())),
        )
    return entries


def check_genotypes(
    entries: dict[str, GenotypeEntry],
    run: "Run",
    encoders: dict,
    annotated: dict[str, set[str]],
    n_proving: int,
) -> None:
    """Raise one UserError with all that is wrong with the genotypes a config asks for.

    `annotated` are the samples whose measured, and whose predicted, cell types are found;
    `n_proving` tested sections on which predictions can be held against a measurement.
    """
    problems = []
    for entry in entries.values():
        if (entry.sample is None) == (entry.file is None):
            found = "both sample and file" if entry.file else "neither sample nor file"
            remedy = "Name a section of the sheet, or an .h5ad."
            problems.append(problem(entry.where, found, "one of them", remedy))
        elif entry.file is not None:
            problems += _file_problems(entry)
        else:
            problems += _sample_problems(entry, run, annotated, n_proving)
        problems += encoder_problems(entry.encoder, entry.file is not None, encoders, entry.where)
        if entry.is_inferred and not entry.reference:
            expected = "names of cells that are taken for normal"
            remedy = "Name those of stroma and immune cells, such as fibroblast and t cell."
            problems.append(problem(f"{entry.where}/reference", "none", expected, remedy))
        both = sorted(set(entry.reference) & set(entry.among))
        if both:
            remedy = "Leave them in one of the two."
            found = f"{', '.join(both)} in reference and among"
            problems.append(problem(entry.where, found, "cells that are normal or not", remedy))
    if problems:
        raise UserError("\n".join(problems))


def _file_problems(entry: GenotypeEntry) -> list[str]:
    problems = []
    for key, path in (("file", entry.file), ("dna", entry.dna)):
        if path is not None and not path.is_file():
            remedy = "Correct the path; it starts from data_dir."
            problems.append(problem(f"{entry.where}/{key}", f"no file at {path}", "a file", remedy))
    if entry.cells in (LABELS, TYPES):
        expected = "a column of the file's obs that says what its units are"
        problems.append(problem(f"{entry.where}/cells", entry.cells, expected, "Name it."))
    if entry.is_predicted:
        remedy = "Leave expression out: a file holds counts."
        problems.append(problem(f"{entry.where}/expression", PREDICTED, MEASURED, remedy))
    if entry.is_inferred and entry.dna is not None:
        remedy = "Say clones: dna, or leave the file out."
        problems.append(problem(f"{entry.where}/dna", str(entry.dna), "none to infer", remedy))
    if not entry.is_inferred and entry.dna is None:
        expected = "a file of DNA, since clones is dna"
        problems.append(problem(f"{entry.where}/dna", "none", expected, "Name it."))
    return problems


def _sample_problems(
    entry: GenotypeEntry, run: "Run", annotated: dict[str, set[str]], n_proving: int
) -> list[str]:
    kinds = "measured" if not entry.is_predicted else "predicted"
    there = {name for name, section in run.sections.items() if section.is_measured}
    if entry.is_predicted:
        there = annotated[PREDICTED]
    if entry.sample not in there:
        expected = f"a {kinds} section: {', '.join(sorted(there)) or 'there is none'}"
        return [problem(f"{entry.where}/sample", entry.sample, expected, "Correct the name.")]
    problems, section = [], run.sections[entry.sample]
    for key, given in (("features", entry.features), ("dna", entry.dna)):
        if given:
            remedy = "Leave it out: it is for a file. DNA of a section stands in the sheet."
            problems.append(problem(f"{entry.where}/{key}", str(given), "none", remedy))
    if entry.cells not in (LABELS, TYPES):
        expected = f"{TYPES} or {LABELS}"
        problems.append(problem(f"{entry.where}/cells", entry.cells, expected, "Name one."))
    elif entry.cells == LABELS and section.labels is None:
        remedy = "Fill the sheet's column labels, or take types."
        expected = f"labels of {entry.sample} in the sheet"
        problems.append(problem(f"{entry.where}/cells", LABELS, expected, remedy))
    elif entry.cells == TYPES and entry.sample not in annotated[entry.expression]:
        remedy = "Cell types are found for tested sections, with annotation.enabled."
        named = ", ".join(sorted(annotated[entry.expression])) or "none has"
        expected = f"a section that has them: {named}"
        problems.append(problem(f"{entry.where}/cells", TYPES, expected, remedy))
    if not entry.is_inferred and section.dna is None:
        remedy = "Fill the sheet's column dna, or infer clones from expression."
        expected = f"DNA of {entry.sample} in the sheet"
        problems.append(problem(f"{entry.where}/clones", DNA, expected, remedy))
    if entry.is_predicted and not entry.is_inferred:
        remedy = "DNA is set beside measured expression: leave expression out."
        problems.append(problem(f"{entry.where}/expression", PREDICTED, MEASURED, remedy))
    if entry.is_predicted and entry.is_inferred and not n_proving:
        expected = "held-out sections whose expression is measured, to prove that it works there"
        remedy = "Test on one or more sections (split test, or folds), or leave the entry out."
        problems.append(problem(f"{entry.where}/expression", PREDICTED, expected, remedy))
    return problems
