"""Leaks from what is tested to what is learnt from, sought in the files of a fold.

Each check says what it looked at and what it found. Scores of a fold with a leak say nothing, so a
single one stops the run.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from histoscribe.errors import UserError, problem
from histoscribe.provenance import names_digest

FINE, LEAK = "fine", "LEAK"
COLUMNS = ["what", "found", "verdict"]
PIECES, PIECE_BYTES = 64, 2**20
POSITION_STEP_UM = 0.01


@dataclass(frozen=True)
class FoldSection:
    """A section of a fold as its files are.

    `image` is the digest of its image. `names`, `xy_um` (n_units, 2) and `umi` are of its units;
    `trains` and `tested` (n_units,) bool say which are trained on and scored; where it `validates`,
    its units tell training when to stop.
    """

    donor: str
    image: str
    names: np.ndarray
    xy_um: np.ndarray
    umi: np.ndarray
    trains: np.ndarray
    tested: np.ndarray
    validates: bool

    @property
    def learns(self) -> np.ndarray:
        """Units that training sees, (n_units,) bool."""
        return self.trains | self.validates

    @property
    def content(self) -> str:
        """Digest of the places and totals of units, whatever their names and order."""
        places = np.rint(self.xy_um / POSITION_STEP_UM).astype(np.int64)
        rows = np.column_stack([places, np.rint(self.umi).astype(np.int64)])
        return hashlib.sha256(rows[np.lexsort(rows.T)].tobytes()).hexdigest()


@dataclass(frozen=True)
class Finding:
    """One row of leakage.tsv, and what to do where it is a leak."""

    what: str
    found: str
    verdict: str
    remedy: str = ""


def image_digest(path: Path) -> str:
    """Digest of an image file: its size and pieces from its beginning to its end.

    Slides can have many GB; two of one size that agree in all pieces are one image.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in np.linspace(0, max(size - PIECE_BYTES, 0), PIECES).astype(np.int64):
            file.seek(int(start))
            digest.update(file.read(PIECE_BYTES))
    return digest.hexdigest()


def check_fold(
    sections: dict[str, FoldSection],
    widest_um: float,
    chosen_on: dict[str, pd.DataFrame],
    learnt_from: dict[str, dict[str, str]],
) -> list[Finding]:
    """All checks of a fold.

    `widest_um` is what the widest encoder sees; `chosen_on` the tables of gene sets; `learnt_from`
    for each adapted encoder the digests of the units of its sections.
    """
    return [
        check_donors(sections),
        check_windows(sections, widest_um),
        check_images(sections),
        check_units(sections),
        *(check_genes(sections, name, table) for name, table in chosen_on.items()),
        *(check_encoder(sections, name, units) for name, units in learnt_from.items()),
    ]


def require_no_leak(fold: str, findings: list[Finding]) -> None:
    """Raise one UserError that names every leak."""
    leaks = [finding for finding in findings if finding.verdict == LEAK]
    if leaks:
        listed = "\n".join(
            problem(f"  {i}. {leak.what}", leak.found, "nothing shared", leak.remedy)
            for i, leak in enumerate(leaks, 1)
        )
        raise UserError(f"fold {fold} leaks from test to training; no model was trained.\n{listed}")


def check_donors(sections: dict[str, FoldSection]) -> Finding:
    """A donor on both sides, where there are several."""
    what = "donors of training and test"
    if len({s.donor for s in sections.values()}) == 1:
        return Finding(what, "one donor in all", FINE)
    learning = {s.donor for s in sections.values() if s.learns.any()}
    cut = [name for name, s in sections.items() if s.learns.any() and s.tested.any()]
    tested = {s.donor for n, s in sections.items() if s.tested.any() and n not in cut}
    shared = sorted(learning & tested)
    if shared:
        remedy = "Move its sections to one side in the sample sheet."
        return Finding(what, f"donor {', '.join(shared)} on both sides", LEAK, remedy)
    words = f"; {', '.join(cut)} cut into blocks, tested within the donor" if cut else ""
    return Finding(what, f"no donor on both sides{words}", FINE)


def check_windows(sections: dict[str, FoldSection], widest_um: float) -> Finding:
    """Training and tested units of one image that lie so near that an encoder sees both."""
    what = f"windows of {widest_um:g} um around units of one image"
    nearest = {}
    for (one, a), (other, b) in product(sections.items(), repeat=2):
        if a.learns.any() and b.tested.any() and (one == other or a.image == b.image):
            tree = cKDTree(b.xy_um[b.tested])
            distance, _ = tree.query(a.xy_um[a.learns], p=np.inf)
            nearest[one, other] = float(distance.min())
    if not nearest:
        return Finding(what, "no image on both sides", FINE)
    (one, other), least_um = min(nearest.items(), key=lambda item: item[1])
    found = f"training units of {one} {least_um:.1f} um from tested units of {other}"
    if least_um < widest_um:
        return Finding(what, found, LEAK, "Raise folds.buffer_um, or test another section.")
    return Finding(what, found, FINE)


def check_images(sections: dict[str, FoldSection]) -> Finding:
    """One image under two names."""
    return _check_twins(sections, "image files of training and test", lambda s: s.image)


def check_units(sections: dict[str, FoldSection]) -> Finding:
    """One measurement under two names."""
    what = "places and molecules of units in training and test"
    return _check_twins(sections, what, lambda s: s.content if len(s.names) else None)


def _check_twins(
    sections: dict[str, FoldSection], what: str, key: Callable[[FoldSection], str | None]
) -> Finding:
    keys = {name: key(section) for name, section in sections.items()}
    learning = [name for name, s in sections.items() if s.learns.any() and keys[name]]
    tested = [name for name, s in sections.items() if s.tested.any() and keys[name]]
    twins = [
        f"{one} and {other}"
        for one, other in product(learning, tested)
        if one != other and keys[one] == keys[other]
    ]
    if twins:
        remedy = "They are one section; remove one from the sample sheet."
        return Finding(what, f"the same in {'; '.join(twins)}", LEAK, remedy)
    return Finding(what, "no two alike", FINE)


def check_genes(
    sections: dict[str, FoldSection], gene_set: str, chosen_on: pd.DataFrame
) -> Finding:
    """Genes chosen on units other than the training units."""
    what = f"units that the gene set {gene_set} was chosen on"
    if chosen_on.empty:
        return Finding(what, "given, not chosen", FINE)
    digests = dict(zip(chosen_on["sample"], chosen_on["names_digest"], strict=True))
    return _check_digests(sections, what, digests, "Delete the gene set's folder and run again.")


def check_encoder(
    sections: dict[str, FoldSection], encoder: str, learnt_from: dict[str, str]
) -> Finding:
    """An adapted encoder that learnt from units other than the training units."""
    what = f"units that the encoder {encoder} learnt from"
    return _check_digests(sections, what, learnt_from, "Delete encoder.safetensors and run again.")


def _check_digests(
    sections: dict[str, FoldSection], what: str, found: dict[str, str], remedy: str
) -> Finding:
    """Compare digests of names of units by section with those of the training units."""
    training = {n: names_digest(s.names[s.trains]) for n, s in sections.items() if s.trains.any()}
    different = [n for n in {**training, **found} if training.get(n) != found.get(n)]
    if different:
        found_words = f"others than the training units in {', '.join(different)}"
        return Finding(what, found_words, LEAK, remedy)
    n_units = sum(int(s.trains.sum()) for s in sections.values())
    return Finding(what, f"the {n_units} training units of {', '.join(training)}", FINE)


def table_of(findings: list[Finding]) -> pd.DataFrame:
    """leakage.tsv: one row a check."""
    return pd.DataFrame([(f.what, f.found, f.verdict) for f in findings], columns=COLUMNS)
