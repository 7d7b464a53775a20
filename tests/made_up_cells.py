"""Cells with counts along a made-up genome: two groups of a tumour that differ as the test says."""

import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.genome.cells import Cells

N_CHROMOSOMES, GENES_OF_EACH = 10, 60
N_GENES = N_CHROMOSOMES * GENES_OF_EACH
ARMS = {2: 1.5, 5: 0.5}  # times as much expression, by number of the chromosome
ALTERED = N_GENES * len(ARMS) // N_CHROMOSOMES


def made_up_places(n_chromosomes=N_CHROMOSOMES, genes_of_each=GENES_OF_EACH):
    """Genes in order along chr1, chr2, ..., a Mb apart."""
    chromosome = np.repeat([f"chr{i + 1}" for i in range(n_chromosomes)], genes_of_each)
    start = np.tile(np.arange(genes_of_each) * 1_000_000 + 1, n_chromosomes)
    names = [f"GENE{i}" for i in range(len(start))]
    columns = {"chromosome": chromosome.astype(object), "start": start, "end": start + 50_000}
    return pd.DataFrame(columns, index=names)


def change_of_arms(places):
    """Times as much expression of each gene, (n_genes,), with the copies of ARMS."""
    number = places["chromosome"].str[3:].astype(int)
    return number.map(ARMS).fillna(1.0).to_numpy()


def change_of_program(seed, n_genes=N_GENES):
    """The same changes, of genes all over the genome."""
    change = np.ones(n_genes)
    chosen = np.random.default_rng(seed).permutation(n_genes)[:ALTERED]
    change[chosen] = np.repeat(list(ARMS.values()), ALTERED // len(ARMS))
    return change


def made_up_cells(change, seed=0, n_tumour=300, n_normal=160, umi=300, places=None):
    """Tumour cells on a square, the right half of them with `change`, and normal cells, T and B.

    Groups are True in `facts["is_changed"]`, (n_cells,).
    """
    rng = np.random.default_rng(seed)
    places = made_up_places() if places is None else places
    n = n_tumour + n_normal
    xy_um = rng.uniform(0, 400, (n, 2))
    kind = np.array(["tumour"] * n_tumour + ["T"] * (n_normal // 2))
    kind = np.append(kind, ["B"] * (n - len(kind)))
    is_changed = (kind == "tumour") & (xy_um[:, 0] > 200)
    usual = rng.lognormal(0, 0.7, len(places))
    own = {name: usual * rng.lognormal(0, 0.3, len(places)) for name in ("tumour", "T", "B")}
    rate = np.array([own[name] for name in kind])
    rate[is_changed] *= change
    rate *= umi / rate.sum(axis=1, keepdims=True)
    names = pd.Index([f"cell_{i}" for i in range(n)])
    counts = sparse.csr_matrix(rng.poisson(rate).astype(np.float32))
    return Cells(counts, places, names, kind, xy_um, {"is_changed": is_changed})
