"""Folds: which sections, or which blocks of them, are trained on and tested together.

Light on purpose: the Snakefile imports it. Rows of split test are tested in every fold and rows of
split validation validate in every fold; the scheme says how the rows of split train take turns.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from histoscribe.adapted.reach import OWN_STARTS, reach_um
from histoscribe.block_split import BlockSplit
from histoscribe.config_checks import NAME
from histoscribe.errors import problem
from histoscribe.experiments import BASELINES, FeatureChoice, merge

if TYPE_CHECKING:
    from histoscribe.run import Run, Section

HOLDOUT = "holdout"


@dataclass(frozen=True)
class Fold:
    """One split into training and test, by sample names; `blocks` where training sections are cut.

    A section that is cut is tested too.
    """

    name: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    tested: tuple[str, ...]
    blocks: BlockSplit | None = None

    @property
    def learning(self) -> tuple[str, ...]:
        """What a model has seen: sections trained on, then those that say when to stop."""
        return self.training + self.validation


def resolve_folds(run: "Run", config: dict) -> dict[str, Fold]:
    """The folds of a run by name; one where nothing is trained."""
    own = [e.features for e in run.experiments.values() if e.name not in BASELINES]
    return _folds(list(run.sections.values()), config, widest_um(config, own))


def widest_um(config: dict, choices: Iterable[FeatureChoice]) -> float:
    """The widest tile or neighbourhood that the config, or one of `choices`, lets a unit see.

    Of an adapted encoder it is how far its network reaches from the units in a tile, so that no
    tested unit lies in what a training unit sees. Encoders of baselines alone don't count: to see
    more makes these but harder to beat.
    """
    features = config["features"]
    widest = 0.0
    for choice in (FeatureChoice.of(features), *choices):
        widths = [features["tile_um"]]
        for name in choice.encoders:
            encoder = features["encoders"].get(name, {"kind": "unknown"})
            if encoder["kind"] == "adapted" and encoder["start"] in OWN_STARTS:
                reach = reach_um(encoder["um_per_px"], config["image"]["um_per_px"])
                widths.append(reach + features["tile_um"] / 2)
            elif encoder["kind"] == "adapted":  # sees tiles, and means over the units in a tile
                base = features["encoders"].get(encoder["start"], {})
                widths.append(base.get("tile_um", features["tile_um"]) + features["tile_um"])
            widths += [2 * encoder.get("radius_um", 0), encoder.get("tile_um", 0)]
        widest = max(widest, max(widths) + 2 * max(choice.neighbours_um, default=0))
    return widest


def fold_problems(
    sections: list["Section"], config: dict, overrides: dict[str, dict | None]
) -> list[str]:
    """Problems of the folds that sheet and config ask for, with the experiments' `overrides`."""
    training = [section for section in sections if section.split == "train"]
    scheme = config["folds"]["scheme"]
    if scheme == HOLDOUT or config["bundle"] or not training:
        return []
    own = [(override or {}).get("features", {}) for override in overrides.values()]
    choices = [FeatureChoice.of(merge(config["features"], features)) for features in own]
    widest = widest_um(config, choices)
    problems = _scheme_problems(scheme, sections, training, config["samples"])
    if config["stain"]["method"] != "none":
        problems.append(
            problem(
                "config, folds/scheme",
                f"{scheme} with stain.method {config['stain']['method']}, whose reference comes "
                "from all rows of split train",
                "a reference that no tested section had a part in",
                "Set stain.method to none, or folds.scheme to holdout.",
            )
        )
    buffer_um = config["folds"]["buffer_um"]
    if scheme == "blocks" and buffer_um is not None and buffer_um < widest:
        problems.append(
            problem(
                "config, folds/buffer_um",
                f"{buffer_um:g} um",
                f"at least {widest:g} um, the widest tile or neighbourhood of an encoder in use",
                "Raise it, or set it to null.",
            )
        )
    return problems or _shared_sources(sections, _folds(sections, config, widest))


def _folds(sections: list["Section"], config: dict, widest: float) -> dict[str, Fold]:
    settings = config["folds"]
    rows = {s: [x for x in sections if x.split == s] for s in ("train", "validation", "test")}
    training, validation, tested = (tuple(x.sample for x in part) for part in rows.values())
    scheme = settings["scheme"]
    if scheme == HOLDOUT or config["bundle"] or not training:
        return {HOLDOUT: Fold(HOLDOUT, training, validation, tested)}
    folds = []
    if scheme == "blocks":
        buffer_um = widest if settings["buffer_um"] is None else settings["buffer_um"]
        n_folds, block_um = settings["n_folds"], settings["block_um"]
        for k in range(n_folds):
            blocks = BlockSplit(k, n_folds, block_um, buffer_um, config["seed"])
            both = training + tested
            folds.append(Fold(f"blocks-{k + 1}", training, validation, both, blocks))
    else:
        group_of = {x.sample: _group(scheme, x) for x in rows["train"]}
        for group in dict.fromkeys(group_of.values()):
            out = tuple(sample for sample in training if group_of[sample] == group)
            rest = tuple(sample for sample in training if group_of[sample] != group)
            folds.append(Fold(f"{scheme}-{group}", rest, validation, out + tested))
    return {fold.name: fold for fold in folds}


def _group(scheme: str, section: "Section") -> str:
    """What is held out together: sections of a donor, or one section."""
    return section.donor if scheme == "donor" else section.sample


def _scheme_problems(
    scheme: str, sections: list["Section"], training: list["Section"], sheet: str
) -> list[str]:
    problems = []
    groups = list(dict.fromkeys(_group(scheme, section) for section in training))
    if scheme != "blocks" and len(groups) < 2:
        problems.append(
            problem(
                f"config, folds/scheme {scheme}",
                f"one {scheme} ({groups[0]}) with split train in {sheet}",
                "two or more, which take turns",
                "Add rows, or set folds.scheme to blocks or holdout.",
            )
        )
    odd = [group for group in groups if not NAME.match(group)]
    if odd:
        problems.append(
            problem(
                f"{sheet}, column {scheme if scheme == 'donor' else 'sample'}",
                f"{', '.join(map(repr, odd))}, after which folds can't be named",
                "letters, digits, '.', '_' and '-', where folds.scheme is donor or section",
                "Rename.",
            )
        )
    scored = {s.donor for s in sections if s.split in ("train", "validation", "test")}
    donors = [section.donor for section in training]
    shared = [donor for donor in dict.fromkeys(donors) if donors.count(donor) > 1]
    if scheme == "section" and len(scored) > 1 and shared:
        problems.append(
            problem(
                "config, folds/scheme section",
                f"several sections of donor {', '.join(shared)}, in a run of several donors",
                "no donor on both sides",
                "Set folds.scheme to donor.",
            )
        )
    return problems


def _shared_sources(sections: list["Section"], folds: dict[str, Fold]) -> list[str]:
    """Problems of one image or measurement under two names on both sides of a fold."""
    files: dict[str, set[Path]] = {}
    for section in sections:
        measured = list(section.measured.values())[:1] if section.path is not None else []
        files[section.sample] = {path.resolve() for path in (section.image, *measured)}
    problems = {}
    for fold in folds.values():
        for one, other in product(fold.learning, fold.tested):
            pair = frozenset((one, other))
            if one != other and pair not in problems and files[one] & files[other]:
                shared = min(files[one] & files[other])
                problems[pair] = problem(
                    f"fold {fold.name}, samples {one} and {other}",
                    f"{shared} in training and in test",
                    "each section on one side",
                    "Remove one row.",
                )
    return list(problems.values())
