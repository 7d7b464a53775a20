"""Whether clones can be inferred from predictions: shown on sections that were measured, or not."""

import pandas as pd
from sklearn.metrics import adjusted_rand_score

from histoscribe.errors import UserError, problem
from histoscribe.genome.copy_number import InferredCopies

PROOF_COLUMNS = ["sample", "n_units", "n_measured", "n_predicted", "ari"]


def proof_row(
    sample: str,
    measured: InferredCopies,
    measured_names: pd.Index,
    predicted: InferredCopies,
    predicted_names: pd.Index,
) -> dict:
    """PROOF_COLUMNS of one section: numbers of clones by either, and how they agree.

    Names (n_units,) are of all cells; the adjusted Rand index is over units that both look at.
    """
    one = pd.Series(measured.clones.clone, index=measured_names[measured.units])
    other = pd.Series(predicted.clones.clone, index=predicted_names[predicted.units])
    both = one.index.intersection(other.index)
    return {
        "sample": sample,
        "n_units": len(both),
        "n_measured": len(measured.clones.p),
        "n_predicted": len(predicted.clones.p),
        "ari": float(adjusted_rand_score(one[both], other[both])) if len(both) else 0.0,
    }


def check_proof(proof: pd.DataFrame, least: float, where: str) -> None:
    """Raise UserError unless predictions gave the clones of every section that has some."""
    telling = proof[(proof["n_measured"] > 1) | (proof["n_predicted"] > 1)]
    if not (proof["n_measured"] > 1).any():
        found = "one clone in every held-out section: nothing to prove it on"
    elif (telling["ari"] < least).any():
        worst = telling.loc[telling["ari"].idxmin()]
        found = (
            f"an ARI of {worst['ari']:.2f} between clones from predicted and from measured "
            f"expression of {worst['sample']} ({worst['n_predicted']} and {worst['n_measured']} "
            f"clones of {worst['n_units']} units)"
        )
    else:
        return
    raise UserError(
        problem(
            where,
            found,
            f"an ARI of {least:g} or more on every held-out section with two clones or more",
            "Copies can't be told from predictions here: remove the entry, or measure the section.",
        )
    )
