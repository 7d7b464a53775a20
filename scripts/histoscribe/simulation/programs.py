"""Gene programs: the biology that all sections with one `program_seed` share."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .cell_types import DOMAIN_NAMES, TYPE_NAMES
from .gene_catalogue import (
    BACKGROUND_FAMILIES,
    DOMAIN_MARKERS,
    HOUSEKEEPING,
    LINEAGE_MARKERS,
    MITOCHONDRIAL,
    STATE_MARKERS,
    TYPE_MARKERS,
)
from .nuclei import Nuclei
from .settings import stream

# Program -> mean and standard deviation of the log base rate; other genes: -1.05, 0.5.
BASE_LEVELS = {"housekeeping": (0.55, 0.6), "mitochondrial": (0.70, 0.5), "background": (-0.9, 0.6)}
# Effect of one unit of a state on its markers, relative to their strength.
STATE_EFFECTS = {"proliferation": 0.30, "activation": 0.20, "maturity": 0.85}
# (type, its relative, share of the relative's marker effects that it has too)
SISTERS: tuple[tuple[str, str, float], ...] = (
    ("t_cell", "b_cell", 0.10),
    ("b_cell", "germinal_centre_b", 0.25),
    ("germinal_centre_b", "b_cell", 0.45),
    ("plasma_cell", "b_cell", 0.20),
    ("suprabasal_epithelial", "basal_epithelial", 0.30),
    ("basal_epithelial", "suprabasal_epithelial", 0.15),
    ("tumour", "luminal_epithelial", 0.40),
    ("luminal_epithelial", "tumour", 0.20),
    ("myoepithelial", "basal_epithelial", 0.40),
    ("endothelial", "fibroblast", 0.10),
    ("smooth_muscle", "myoepithelial", 0.25),
    ("smooth_muscle", "fibroblast", 0.12),
    ("adipocyte", "fibroblast", 0.15),
)


@dataclass
class GenePrograms:
    """Effects on the natural log of a gene's expression; columns as `genes`.

    Attributes:
        genes: index symbol; columns `gene_id`, `program` (of which it is a marker).
        base: (genes,) log base rate.
        by_type: (types, genes). by_domain: (domains, genes).
        proliferation, activation, maturity: (genes,) effect per unit of state.
        dispersion: (genes,) factor on the NB dispersion.
        is_mitochondrial: (genes,).
    """

    genes: pd.DataFrame
    base: np.ndarray
    by_type: np.ndarray
    by_domain: np.ndarray
    proliferation: np.ndarray
    activation: np.ndarray
    maturity: np.ndarray
    dispersion: np.ndarray
    is_mitochondrial: np.ndarray


def _catalogue() -> list[tuple[str, str]]:
    """All named genes as (symbol, program), the first mention of a symbol counting."""
    groups = [("mitochondrial", MITOCHONDRIAL)]
    groups += [(f"type:{name}", markers) for name, markers in TYPE_MARKERS.items()]
    groups += [(f"lineage:{name}", markers) for name, (markers, _) in LINEAGE_MARKERS.items()]
    groups += [(f"domain:{name}", markers) for name, markers in DOMAIN_MARKERS.items()]
    groups += [(f"state:{name}", markers) for name, markers in STATE_MARKERS.items()]
    groups += [("housekeeping", HOUSEKEEPING)]
    seen: dict[str, str] = {}
    for program, markers in groups:
        for symbol in markers.split():
            seen.setdefault(symbol, program)
    return list(seen.items())


def _panel(n_genes: int) -> pd.DataFrame:
    """The first `n_genes`: mitochondrial genes, then the programs in turn, then background."""
    named = pd.DataFrame(_catalogue(), columns=["symbol", "program"])
    turn = named.groupby("program").cumcount().to_numpy()
    turn[(named["program"] == "mitochondrial").to_numpy()] = -1
    named = named.iloc[np.argsort(turn, kind="stable")]
    if n_genes < 13 + named["program"].nunique() - 1:
        raise ValueError(
            f"n_genes is {n_genes}; a panel needs 13 mitochondrial genes and one gene a program"
        )
    n_more = max(0, n_genes - len(named))
    known, families = set(named["symbol"]), itertools.cycle(BACKGROUND_FAMILIES)
    numbered = (f"{family}{11 + i // 12}" for i, family in enumerate(families))
    fill = list(itertools.islice((name for name in numbered if name not in known), n_more))
    more = pd.DataFrame({"symbol": fill, "program": "background"})
    panel = pd.concat([named, more], ignore_index=True).iloc[:n_genes]
    # Alphabetical, so that nothing can be guessed from a gene's place.
    panel = panel.sort_values("symbol").set_index("symbol")
    panel.index.name = None
    return panel


def make_programs(program_seed: int, n_genes: int) -> GenePrograms:
    """Draw the programs; a gene's effects depend on the seed and its symbol, not on the panel."""
    full = _panel(max(n_genes, len(_catalogue())))
    symbols, programs = full.index.to_numpy(), full["program"].to_numpy()
    n = len(full)
    draws = np.stack([stream(program_seed, f"gene {s}").normal(size=3) for s in symbols])
    spread = np.stack(
        [stream(program_seed, f"types {s}").normal(size=len(TYPE_NAMES)) for s in symbols]
    )
    strength = np.zeros(n)  # log fold change of a marker where its program is on
    for program in np.unique(programs):
        members = np.flatnonzero(programs == program)
        order = members[np.argsort(draws[members, 1])]
        strength[order] = np.linspace(1.4, 3.7, len(members))

    base = -1.05 + 0.5 * draws[:, 0]
    for program, (level, spread_of_level) in BASE_LEVELS.items():
        mine = programs == program
        base[mine] = level + spread_of_level * draws[mine, 0]
    by_type = 0.16 * spread.T  # every gene differs a little between types
    for index, name in enumerate(TYPE_NAMES):
        mine = programs == f"type:{name}"
        by_type[index, mine] += strength[mine]
    for one, other, share in SISTERS:
        mine = programs == f"type:{other}"
        by_type[TYPE_NAMES.index(one), mine] += share * strength[mine]
    for lineage, (_, members) in LINEAGE_MARKERS.items():
        mine = programs == f"lineage:{lineage}"
        for name in members:
            index = TYPE_NAMES.index(name)
            by_type[index, mine] += 0.75 * strength[mine] + 0.3 * spread[mine, index]
    by_domain = np.zeros((len(DOMAIN_NAMES), n))
    for domain in DOMAIN_MARKERS:
        mine = programs == f"domain:{domain}"
        by_domain[DOMAIN_NAMES.index(domain), mine] = 0.65 * strength[mine]
    state = {name: np.zeros(n) for name in STATE_MARKERS}
    for name, per_unit in STATE_EFFECTS.items():
        mine = programs == f"state:{name}"
        state[name][mine] = per_unit * strength[mine]

    used = full.index.get_indexer(_panel(n_genes).index)
    ids = [f"ENSG9{_stable_number(symbol):010d}" for symbol in symbols[used]]
    return GenePrograms(
        genes=pd.DataFrame(
            {"gene_id": ids, "program": pd.Categorical(programs[used])}, index=symbols[used]
        ),
        base=base[used],
        by_type=by_type[:, used],
        by_domain=by_domain[:, used],
        **{name: effect[used] for name, effect in state.items()},
        dispersion=np.exp(0.5 * draws[used, 2]),
        is_mitochondrial=programs[used] == "mitochondrial",
    )


def _stable_number(symbol: str) -> int:
    """A number for a symbol that is the same everywhere; makes ids outside Ensembl's own range."""
    value = 0
    for character in symbol.encode():
        value = (value * 131 + character) % 10**10
    return value


def donor_effect(donor_seed: int, genes: pd.DataFrame, batch_sd: float) -> np.ndarray:
    """Log effect of the donor on each gene, (genes,)."""
    return batch_sd * np.array([stream(donor_seed, f"batch {s}").normal() for s in genes.index])


def expected_composition(
    nuclei: Nuclei,
    programs: GenePrograms,
    donor: np.ndarray,
    copy_effect: np.ndarray | None = None,
) -> np.ndarray:
    """Expected share of each gene in a nucleus's RNA, (nuclei, genes), rows sum to 1.

    log rate = base + type + domain + states + stress (mitochondrial) + donor + copies, where
    `copy_effect` (clones + 1, genes) is that of each clone, the first row of no clone.
    """
    log_rate = (
        programs.base
        + donor
        + programs.by_type[nuclei.type_index]
        + programs.by_domain[nuclei.domain]
    )
    log_rate += np.outer(nuclei.proliferation, programs.proliferation)
    log_rate += np.outer(nuclei.activation, programs.activation)
    log_rate += np.outer(nuclei.maturity, programs.maturity)
    log_rate += np.outer(1.3 * nuclei.stressed, programs.is_mitochondrial)
    if copy_effect is not None:
        log_rate += copy_effect[nuclei.clone]
    rate = np.exp(log_rate)
    return rate / rate.sum(1, keepdims=True)
