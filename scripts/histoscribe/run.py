"""A run as its sheet and config describe it, checked as a whole before any job starts.

Light on purpose: the Snakefile imports it. `load_run` either returns a `Run` or raises one
UserError that lists every problem found.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from histoscribe.config_checks import (
    NAME,
    RESERVED,
    config_problems,
    encoder_problems,
    tile_problems,
)
from histoscribe.errors import UserError, problem
from histoscribe.experiments import Experiment, encoders_of, merge, resolve_experiments
from histoscribe.folds import fold_problems
from histoscribe.gene_names import overlay_problems
from histoscribe.platforms import UNITS, has_spots, measured_files, other_names
from histoscribe.sheet import Row, read_sheet
from histoscribe.units import PLAUSIBLE_UM_PER_PX

DATA_VARIABLE = "HISTOSCRIBE_DATA"
RETRIEVED = Path("resources/retrieved")
UNSCORED = ("predict", "none")  # neither trained on nor scored
DNA_ENDINGS = (".tsv", ".csv", ".txt", ".geojson", ".json")  # plain or gzipped
DNA_BINARY = (".parquet", ".h5ad")


@dataclass(frozen=True)
class Section:
    """One row of the sample sheet, with paths resolved; None where the sheet is silent."""

    sample: str
    donor: str
    platform: str
    path: Path | None
    image: Path
    um_per_px: float | None
    unit: str
    split: str
    polygons: Path | None
    group: str | None
    labels: Path | None
    dna: Path | None
    measured: dict[str, Path]

    @property
    def has_spots(self) -> bool:
        """Whether spots were measured, with which its nuclei or cells are compared."""
        return has_spots(self.platform, self.unit)

    @property
    def is_measured(self) -> bool:
        """Whether its units have molecules of their own."""
        return self.platform != "image" and not self.has_spots


@dataclass(frozen=True)
class Run:
    """Sections by sample and experiments by name, in the order of their files."""

    sections: dict[str, Section]
    experiments: dict[str, Experiment]

    def samples(self, *splits: str) -> list[str]:
        """Samples of the given splits, in sheet order."""
        return [name for name, section in self.sections.items() if section.split in splits]


def load_run(config: dict, schemas: Path) -> Run:
    """Check config, sheet and experiments against the schemas in `schemas` and each other."""
    problems = _schema_problems(config, schemas / "config.schema.yaml", "config")
    if problems:  # nothing further can be trusted
        raise UserError(_report(problems))
    sheet_path = Path(config["samples"])
    rows, problems = read_sheet(sheet_path)
    overrides, more = _read_experiments(config["experiments"], schemas)
    problems += more
    if problems:
        raise UserError(_report(problems))
    for line, row in rows:
        problems += _schema_problems(
            row, schemas / "samples.schema.yaml", f"{sheet_path} line {line}"
        )
    if problems:
        raise UserError(_report(problems))
    sections = [(line, _section(row, config)) for line, row in rows]
    problems += _sheet_problems(sections, str(sheet_path), config)
    problems += config_problems(config)
    problems += overlay_problems(
        config["figures"]["overlay_genes"],
        [section.measured for _, section in sections],
        config["bundle"] and Path(config["bundle"]),
    )
    problems += tile_problems(config, sorted({(s.platform, s.unit) for _, s in sections}))
    problems += fold_problems([section for _, section in sections], config, overrides)
    for name, override in overrides.items():
        problems += _experiment_problems(name, merge(config, override or {}), schemas)
        own = (override or {}).get("features", {})
        where = f"{config['experiments']}, experiment {name}"
        for encoder in encoders_of(own) if "encoder" in own else []:
            problems += encoder_problems(encoder, config["features"]["encoders"], where)
    if problems:
        raise UserError(_report(problems))
    experiments = resolve_experiments(config, overrides)
    return Run({section.sample: section for _, section in sections}, experiments)


def _report(problems: list[str]) -> str:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    listed = "\n".join(f"  {i}. {text}" for i, text in enumerate(problems, 1))
    return f"{count} in the sample sheet or config; nothing was run.\n{listed}"


def _schema_problems(instance: object, schema_path: Path, where: str) -> list[str]:
    problems = []
    for error in _validator(schema_path).iter_errors(instance):
        at = "/".join(str(part) for part in error.absolute_path)
        place = f"{where}, {at}" if at else where
        expected = error.schema.get("description", "what config/README.md says")
        problems.append(problem(place, error.message, expected, "Correct it."))
    return problems


@cache
def _validator(schema_path: Path) -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load(schema_path.read_text()))


def _read_experiments(source: object, schemas: Path) -> tuple[dict, list[str]]:
    path = Path(str(source))
    try:
        overrides = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        return {}, [
            problem(str(path), f"no readable YAML ({error})", "experiments", "Correct experiments.")
        ]
    return overrides, _schema_problems(overrides, schemas / "experiments.schema.yaml", str(path))


def data_folder(config: dict) -> Path:
    """The folder from which the sheet's relative paths start."""
    folder = Path(config["data_dir"])
    if config["data_dir"] != "." and os.environ.get(DATA_VARIABLE):
        folder = Path(os.environ[DATA_VARIABLE])
    return folder


def _section(row: Row, config: dict) -> Section:
    folder = data_folder(config)

    def resolve(cell: str) -> Path | None:
        return folder / row[cell] if cell in row else None

    path = resolve("path")
    return Section(
        sample=row["sample"],
        donor=row["donor"],
        platform=row["platform"],
        path=path,
        image=resolve("image"),
        um_per_px=row.get("um_per_px"),
        unit=row["unit"],
        split=row["split"],
        polygons=resolve("polygons"),
        group=row.get("group"),
        labels=resolve("labels"),
        dna=resolve("dna"),
        measured=measured_files(
            row["platform"], path or ".", row["unit"], config["units"]["bin_um"]
        ),
    )


def is_made_by_a_rule(path: Path, config: dict) -> bool:
    """Whether a file need not be there yet: it is simulated or retrieved by this run."""
    made = [RETRIEVED / name for name in config["datasets"]]
    made += [Path(f"results/{config['run']}/simulated/{name}") for name in config["simulation"]]
    return any(folder in path.parents or folder == path for folder in made)


def _sheet_problems(sections: list[tuple[int, Section]], sheet: str, config: dict) -> list[str]:
    problems = []
    seen: dict[str, int] = {}
    for line, section in sections:
        where = f"{sheet} line {line}, sample {section.sample}"
        if section.sample in seen:
            problems.append(
                problem(
                    where,
                    f"the sample of line {seen[section.sample]} again",
                    "each sample once",
                    "Rename or remove one of them.",
                )
            )
        seen.setdefault(section.sample, line)
        problems += _row_problems(where, section, config)
    problems += _split_problems([section for _, section in sections], sheet, config)
    problems += _shared_files(sections, sheet)
    return problems


def _row_problems(where: str, section: Section, config: dict) -> list[str]:
    problems = []
    files = {"image": section.image, **section.measured}
    given = {"polygons": section.polygons, "labels": section.labels, "dna": section.dna}
    files |= {role: path for role, path in given.items() if path is not None}
    for role, path in files.items():
        if not path.is_file() and not is_made_by_a_rule(path, config):
            names = other_names(section.platform, role)
            problems.append(
                problem(
                    where,
                    f"no {role} file at {path}",
                    f"a file named {' or '.join(names)}" if names else "a file",
                    "Correct the path"
                    + (
                        f", or set {DATA_VARIABLE} to the folder of the data."
                        if config["data_dir"] != "."
                        else "."
                    ),
                )
            )
    if section.dna is not None and not _is_dna_file(section.dna):
        endings = ", ".join((*DNA_ENDINGS, *DNA_BINARY))
        problems.append(
            problem(where, f"dna {section.dna.name}", f"a file named *{endings}", "Save it so.")
        )
    if section.unit not in UNITS[section.platform]:
        problems.append(
            problem(
                where,
                f"unit {section.unit} on platform {section.platform}",
                " or ".join(UNITS[section.platform]),
                "Choose a unit that the platform has.",
            )
        )
    if not section.is_measured and section.split not in UNSCORED:
        found = f"split {section.split} on platform {section.platform}, where nothing was measured"
        mend = "Change the split."
        if section.has_spots:
            found = (
                f"split {section.split} for the unit {section.unit} on platform "
                f"{section.platform}, whose molecules belong to spots"
            )
            mend = "Change the split, or the unit to spot."
        problems.append(problem(where, found, " or ".join(UNSCORED), mend))
    if not section.is_measured and section.split == "none" and section.unit == "bin":
        problems.append(
            problem(
                where,
                "split none for bins of an image where nothing was measured: nothing to do for it",
                "unit nucleus or cell, which are segmented, or split predict",
                "Change the unit or the split.",
            )
        )
    if section.platform != "image" and section.path is None:
        problems.append(problem(where, "no path", "the platform's output folder", "Fill it in."))
    low, high = PLAUSIBLE_UM_PER_PX
    if section.um_per_px is not None and not low <= section.um_per_px <= high:
        problems.append(
            problem(
                where,
                f"um_per_px {section.um_per_px:g}",
                f"{low} to {high} um per pixel",
                "It is um per pixel, not pixels per um; 20x scans have about 0.5, 40x about 0.25.",
            )
        )
    return problems


def _is_dna_file(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(DNA_BINARY) or name.removesuffix(".gz").endswith(DNA_ENDINGS)


def _split_problems(sections: list[Section], sheet: str, config: dict) -> list[str]:
    problems = []
    is_modelled = any(s.split != "none" for s in sections)
    of_files = config["integrations"] or config["morphology_maps"] or config["genotypes"]
    is_modelled |= not sections and not of_files
    trains = any(s.split == "train" for s in sections)
    if is_modelled and not trains and config["bundle"] is None:
        problems.append(
            problem(
                sheet,
                "no row with split train",
                "at least one section to train on, or a trained model",
                "Add a row, set bundle in the config to a model.safetensors, or give every row "
                "split none to prepare sections alone.",
            )
        )
    units = {s.unit for s in sections}
    if len(units) > 1:
        problems.append(
            problem(sheet, "units " + ", ".join(sorted(units)), "one kind a run", "Split the run.")
        )
    splits_of: dict[str, set[str]] = {}
    for section in sections:
        if section.split not in UNSCORED:
            splits_of.setdefault(section.donor, set()).add(section.split)
    if len(splits_of) > 1:
        problems += [
            problem(
                f"{sheet}, donor {donor}",
                "sections with split " + " and ".join(sorted(splits)),
                "each donor in one split, where there are several donors",
                "A donor on both sides would flatter the scores; move its sections.",
            )
            for donor, splits in splits_of.items()
            if len(splits) > 1
        ]
    return problems


def _shared_files(sections: list[tuple[int, Section]], sheet: str) -> list[str]:
    """Problems of one image or measurement in two splits; predicting on it again is no harm."""
    problems = []
    first: dict[tuple[str, Path], tuple[int, str]] = {}
    for line, section in sections:
        if section.split in UNSCORED:
            continue
        # `path` has several spellings of one folder; the files in it have one.
        measured = list(section.measured.values()) if section.path is not None else []
        for role, path in [("image", section.image), *(("path", file) for file in measured[:1])]:
            key = (role, path.resolve())
            other_line, other_split = first.setdefault(key, (line, section.split))
            if other_split != section.split:
                problems.append(
                    problem(
                        f"{sheet} line {line}, sample {section.sample}",
                        f"with split {section.split} the {role} of line {other_line}, "
                        f"which has split {other_split}",
                        "each section in one split",
                        "Scores on what a model was trained on say nothing; remove one row.",
                    )
                )
    return problems


def _experiment_problems(name: str, merged: dict, schemas: Path) -> list[str]:
    """Problems of one experiment, with `merged` the config under its overrides."""
    where = f"{merged['experiments']}, experiment {name}"
    problems = _schema_problems(merged, schemas / "config.schema.yaml", where)
    if name in RESERVED or not NAME.match(name):
        problems.append(
            problem(
                where,
                "a name that is reserved or holds odd characters",
                "letters, digits, '.', '_' and '-'; not " + ", ".join(RESERVED),
                "Rename it.",
            )
        )
    panel = merged["genes"]["panel"]
    if panel is not None and not (data_folder(merged) / panel).is_file():
        problems.append(
            problem(
                f"{where}, genes/panel",
                f"no file at {data_folder(merged) / panel}",
                "a file with one gene a line",
                "Correct the path.",
            )
        )
    return problems
