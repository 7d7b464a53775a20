"""What a prediction says of its own trust: written into the section's `.h5ad`."""

import logging

import anndata as ad
import numpy as np

from histoscribe.models import Prediction
from histoscribe.uncertainty.conformal import interval_ends, intervals_of
from histoscribe.uncertainty.domain import OUT_OF_DOMAIN, WARN_MEDIAN, WARN_SHARE
from histoscribe.uncertainty.trust import trust_grade

log = logging.getLogger(__name__)

GRADED_BY = ("unseen_pcc", "unseen_pcc_low", "unseen_pcc_high", "unseen_ceiling", "unseen_skill")


def annotate(
    predicted: ad.AnnData,
    prediction: Prediction,
    uncertainty: dict[str, np.ndarray],
    with_intervals: bool,
) -> None:
    """Write what the bundle's `uncertainty` says into `predicted`, as far as it says it.

    obs: domain_percentile, out_of_domain. var: trust and the scores it follows from, and the
    training mean. varm: the calibration of the intervals. layers, where `with_intervals`: lower
    and upper.
    """
    if prediction.domain_percentile is not None:
        strange = prediction.domain_percentile > OUT_OF_DOMAIN
        predicted.obs["domain_percentile"] = prediction.domain_percentile
        predicted.obs["out_of_domain"] = strange
        median = np.median(prediction.domain_percentile)
        log.info(
            "%.1f %% of %d units are stranger than 99 %% of the training units, half of them than "
            "%.0f %%",
            100 * strange.mean(),
            len(strange),
            100 * median,
        )
        if strange.mean() > WARN_SHARE or median > WARN_MEDIAN:
            log.warning(
                "The section is unlike those the model learnt from: do not trust the prediction. "
                "Are tissue, stain and resolution those of the training sections?"
            )
    for name in ("training_mean", *GRADED_BY):
        if name in uncertainty:
            predicted.var[name] = uncertainty[name]
    if all(name in uncertainty for name in GRADED_BY):
        predicted.var["trust"] = trust_grade(*(uncertainty[name] for name in GRADED_BY))
    intervals = intervals_of(uncertainty)
    if intervals is not None:
        predicted.varm.update(intervals.arrays())
        if with_intervals:
            ends = interval_ends(intervals, prediction.expression)
            predicted.layers["lower"], predicted.layers["upper"] = ends
