"""The levels at which units are labelled, and the units that two annotations share."""

import anndata as ad

BROAD, TYPE, CLUSTER = "broad_class", "type", "cluster"


def shared_units(measured: ad.AnnData, predicted: ad.AnnData) -> tuple[ad.AnnData, ad.AnnData]:
    """Both annotations on the units that they share, in the order of the measured one."""
    names = measured.obs_names.intersection(predicted.obs_names, sort=False)
    return measured[names].copy(), predicted[names].copy()
