"""Integration on labelled sections, over five seeds: how well domains are found and sections mix.

STARmap mouse cortex (three sections, four layers) and legacy spatial transcriptomics of HER2+
breast tumours (four patients, seven regions). Settings are the defaults, the same for both. Scored
as usual: Gaussian mixture of one shape, Leiden clustering at the resolution that gives as many
clusters as there are labels ("undetermined", which is not scored, being one: 4 and 7), by one run
as usual and by the best of ten as domains are made (steady), iLISI and cLISI with perplexity 30.
"""

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from labelled_spots import her2st
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from histoscribe.annotation.embedding import import_umap
from histoscribe.clustering import leiden, steady_leiden
from histoscribe.integration.domains import mixture_domains
from histoscribe.integration.ensemble import integrate
from histoscribe.integration.genes import shared_genes
from histoscribe.integration.mixing import lisi
from histoscribe.integration.sections import Section, check_together
from histoscribe.integration.together import gather
from histoscribe.integration.training import TrainingSettings

SEEDS = range(5)
NEAREST = {"cell": 20, "spot": 4}  # the defaults
UNDETERMINED = "undetermined"


def starmap(data):
    for path in sorted((data / "starmap_mpfc").glob("*.h5ad")):
        units = ad.read_h5ad(path)
        counts = sparse.csr_matrix(units.X, dtype=np.float32)
        xy_um = units.obsm["spatial"].astype(float)
        made = Section(path.stem, counts, units.var_names, units.obs_names, xy_um, False, "cell")
        yield made, units.obs["domain"].astype(str).to_numpy()


def clusters(latent, n_clusters, way):
    """Clusters at the resolution, found by halving, that gives as many as there are labels.

    On scanpy's graph; `way` is leiden or steady_leiden.
    """
    units = ad.AnnData(obs=pd.DataFrame(index=[str(i) for i in range(len(latent))]))
    units.obsm["latent"] = latent
    import_umap()  # which scanpy does, too
    sc.pp.neighbors(units, use_rep="latent", n_neighbors=15, random_state=0)
    graph = sparse.csr_matrix(units.obsp["connectivities"])
    low, high = 0.01, 3.0
    for _ in range(18):
        middle = (low + high) / 2
        found = way(graph, middle, 0)
        n_found = found.max() + 1
        if n_found == n_clusters:
            break
        low, high = (middle, high) if n_found < n_clusters else (low, middle)
    return found


def scores(latent, section, label):
    """ARI and NMI of both clusterings, and both LISI: means over units."""
    known = label != UNDETERMINED
    n_labels = len(np.unique(label))
    row = {}
    for way, found in (
        ("gmm", mixture_domains(latent, n_labels, seed=0)),
        ("leiden", clusters(latent, n_labels, leiden)),
        ("steady", clusters(latent, n_labels, steady_leiden)),
    ):
        row[f"{way}_ari"] = adjusted_rand_score(label[known], found[known])
        row[f"{way}_nmi"] = normalized_mutual_info_score(label[known], found[known])
    row["ilisi"] = lisi(latent, section).mean()
    row["clisi"] = lisi(latent[known], label[known]).mean()
    return row


def over_seeds(name, read, data, n_variable=3000, small_panel=1000):
    sections, labels = zip(*read(data), strict=True)
    check_together(list(sections))
    genes = shared_genes(list(sections), n_variable, small_panel)
    together = gather(list(sections), genes, NEAREST, None)
    label = np.concatenate(labels)
    rows = []
    for seed in SEEDS:
        made = integrate(together, TrainingSettings(), seed, threads=1)
        rows.append(scores(made.latent, together.section, label))
        told = " ".join(f"{key} {value:.3f}" for key, value in rows[-1].items())
        print(f"{name}, {len(genes)} genes, seed {seed}: {told}", flush=True)
    table = pd.DataFrame(rows)
    print(f"{name}: mean and standard deviation over seeds", table.agg(["mean", "std"]), sep="\n")
    return table


def test_layers_of_the_cortex_are_found_in_three_mice(real_data):
    table = over_seeds("STARmap", starmap, real_data)
    mean = table.mean()
    assert mean["gmm_ari"] > 0.80
    assert mean["leiden_ari"] > 0.68
    assert mean["ilisi"] >= 2.1
    assert mean["clisi"] <= 1.20
    assert table[["gmm_ari", "steady_ari"]].std().max() < 0.03  # one run varies by itself


def test_regions_of_tumours_are_found_in_four_patients(real_data):
    table = over_seeds("her2st", her2st, real_data)
    mean = table.mean()
    assert mean["leiden_ari"] > 0.29
    assert mean["leiden_nmi"] > 0.312
    assert mean["ilisi"] > 1.9
    assert table["leiden_ari"].std() < 0.03
