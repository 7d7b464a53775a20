"""Which sections a run integrates, as its config says. Light: the Snakefile imports it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from histoscribe.errors import UserError, problem

if TYPE_CHECKING:
    from histoscribe.run import Run

ALL = "all"
PREDICTED = "predicted"
LEAST_SECTIONS = 2
LEAST_GROUPS = 2
LEAST_GRADED = 3  # sections of a gradient; with two any order is as likely as not


@dataclass(frozen=True)
class Part:
    """One section of an integration: of the sheet, measured or predicted, or a file of its own.

    `sample` is its name in the sheet, None for a file; `unit` what its units are, None where nobody
    says, and so is `group`. Sections of one `donor` count once in statistics; a file without a
    donor is its own.
    """

    name: str
    sample: str | None
    is_predicted: bool
    path: Path | None
    unit: str | None
    group: str | None
    donor: str

    @property
    def tissue(self) -> str:
        """What is the same for a section as measured and as predicted."""
        return self.sample or self.name


def parts_of(entry: dict, run: "Run", predictable: list[str], data_dir: Path) -> list[Part]:
    """The sections that one entry of `integrations` names, in their order: measured ones, predicted
    ones, files. What it names in vain is left out (see check_integrations).

    `predictable` are samples that the run predicts.
    """
    parts = []
    for sample in _chosen(entry.get("measured"), _measured(run)):
        if sample in _measured(run):
            parts.append(_part_of(sample, sample, False, run))
    for sample in _chosen(entry.get("predicted"), predictable):
        if sample in predictable:
            parts.append(_part_of(f"{sample}.{PREDICTED}", sample, True, run))
    for name, file in (entry.get("files") or {}).items():
        path = data_dir / file["path"]
        facts = file.get("unit"), file.get("group"), file.get("donor", name)
        parts.append(Part(name, None, file.get("is_predicted", False), path, *facts))
    order = entry.get("order") or []
    return sorted(
        parts, key=lambda part: order.index(part.name) if part.name in order else len(order)
    )


def _part_of(name: str, sample: str, is_predicted: bool, run: "Run") -> Part:
    section = run.sections[sample]
    facts = section.unit, section.group, section.donor
    return Part(name, sample, is_predicted, None, *facts)


def graded_parts(parts: list[Part], order: list[str]) -> list[Part]:
    """The sections whose group is in `order`, in its order.

    Of one that is there both measured and predicted the measured one alone: it is the same tissue.
    """
    measured = {part.sample for part in parts if part.sample and not part.is_predicted}
    graded = [
        part for part in parts
        if part.group in order and not (part.is_predicted and part.sample in measured)
    ]  # fmt: skip
    return sorted(graded, key=lambda part: order.index(part.group))


def check_integrations(
    integrations: dict, usual: dict, run: "Run", predictable: list[str], data_dir: Path
) -> None:
    """Raise one UserError with all that is wrong with the entries of `integrations`.

    `usual` are the config's settings of all integrations.
    """
    problems = []
    for name, entry in integrations.items():
        where = f"config, integrations/{name}"
        problems += _unknown_samples(entry, where, _measured(run), predictable)
        problems += _absent_files(entry, where, data_dir)
        parts = parts_of(entry, run, predictable, data_dir)
        problems += _problems_together([part.name for part in parts], entry, where)
        problems += _reference_problems([part.name for part in parts], entry, usual, where)
        tissues = [part.tissue for part in parts]
        if "stack" in entry and len(set(tissues)) < len(tissues):
            twice = next(name for name in tissues if tissues.count(name) > 1)
            remedy = "Leave one of them out of the integration that is stacked."
            found = f"{twice} as measured and as predicted"
            problems.append(problem(f"{where}/stack", found, "each section once", remedy))
        if "gradient" in entry:
            problems += _gradient_problems(parts, entry["gradient"], f"{where}/gradient")
    if problems:
        raise UserError("\n".join(problems))


def _unknown_samples(
    entry: dict, where: str, measured: list[str], predictable: list[str]
) -> list[str]:
    problems = []
    for key, known in (("measured", measured), (PREDICTED, predictable)):
        unknown = [sample for sample in _chosen(entry.get(key), known) if sample not in known]
        if unknown:
            problems.append(
                problem(
                    f"{where}/{key}",
                    ", ".join(unknown),
                    f"sections that are {key}: {', '.join(known) or 'there are none'}",
                    "Correct the names, or write all.",
                )
            )
    return problems


def _absent_files(entry: dict, where: str, data_dir: Path) -> list[str]:
    paths = {name: data_dir / file["path"] for name, file in (entry.get("files") or {}).items()}
    return [
        problem(f"{where}/files/{name}", f"no file at {path}", "an .h5ad",
                "Correct the path; it starts from data_dir.")
        for name, path in paths.items() if not path.is_file()
    ]  # fmt: skip


def _problems_together(names: list[str], entry: dict, where: str) -> list[str]:
    """Too few sections, two of one name, an order of others, genes into others."""
    problems = []
    if len(names) < LEAST_SECTIONS:
        found = f"{len(names)} section" + ("s" if not names else f" ({names[0]})")
        remedy = "Name them under measured, predicted or files."
        problems.append(problem(where, found, "two or more", remedy))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        problems.append(
            problem(where, f"two sections named {twice}", "a name for each",
                    "Rename the one under files.")
        )  # fmt: skip
    order = entry.get("order")
    if order is not None and sorted(order) != sorted(names):
        remedy = "Name each section of the integration once."
        problems.append(problem(f"{where}/order", ", ".join(order), ", ".join(names), remedy))
    into = (entry.get("infer_genes") or {}).get("into", [])
    if into and not (set(into) <= set(names) and set(names) - set(into)):
        expected = f"some, but not all, of {', '.join(names)}"
        remedy = "Name the sections that lack genes which another one measures."
        problems.append(problem(f"{where}/infer_genes/into", ", ".join(into), expected, remedy))
    if "stack" in (entry.get("settings") or {}):
        remedy = "Move it there: it also says that the sections are to be stacked."
        problems.append(problem(f"{where}/settings", "stack", "stack beside settings", remedy))
    return problems


def _reference_problems(names: list[str], entry: dict, usual: dict, where: str) -> list[str]:
    """References that are not among the sections, or not given where one is needed."""
    own = (entry.get("settings") or {}).get("training") or {}
    training = usual["training"] | own
    references = []
    if training["pairs"] == "reference" or "reference" in own:
        is_needed = training["pairs"] == "reference"
        references.append(("settings/training/reference", training["reference"], is_needed))
    if "stack" in entry:
        stack = usual["stack"] | (entry["stack"] or {})
        references.append(("stack/reference", stack["reference"], False))
    remedy = "Name one of its sections, there or in integration."
    return [
        problem(f"{where}/{key}", str(reference), ", ".join(names), remedy)
        for key, reference, is_needed in references
        if reference not in names and (is_needed or reference is not None)
    ]


def _gradient_problems(parts: list[Part], order: list[str], where: str) -> list[str]:
    """Too few groups, groups that no section has, too few sections that have one."""
    if len(order) < LEAST_GROUPS:
        found = f"{len(order)} group" + ("s" if not order else f" ({order[0]})")
        remedy = "Name the groups of sections from first to last, or leave gradient out."
        return [problem(where, found, "two or more", remedy)]
    known = list(dict.fromkeys(part.group for part in parts if part.group is not None))
    unknown = [group for group in order if group not in known]
    if unknown:
        remedy = "Correct the names, or fill the sheet's column group (of files: group)."
        expected = f"groups of its sections: {', '.join(known) or 'none has one'}"
        return [problem(where, ", ".join(unknown), expected, remedy)]
    graded = graded_parts(parts, order)
    if len(graded) < LEAST_GRADED:
        found = f"{len(graded)} sections of these groups ({', '.join(p.name for p in graded)})"
        remedy = "Sections are what is counted: add some, or leave gradient out."
        return [problem(where, found, "three or more", remedy)]
    return []


def _chosen(named: list[str] | str | None, known: list[str]) -> list[str]:
    if named == ALL:
        return known
    return list(named or [])


def _measured(run: "Run") -> list[str]:
    return [name for name, section in run.sections.items() if section.is_measured]
