"""Set the stain that all sections are brought to: the training sections' mean, or a model's own."""

import json
from pathlib import Path

from histoscribe.errors import UserError, problem
from histoscribe.joblog import job_log
from histoscribe.models.bundle import read_bundle
from histoscribe.stain_normalisation import StainReference, fit_reference, read_section_stain
from histoscribe.storage import written_whole


def main(stains: list[Path], bundle: Path | None, method: str, output: Path) -> None:
    if bundle:
        reference = reference_of(bundle, method)
    else:
        reference = fit_reference([read_section_stain(path) for path in stains], method)
    with written_whole(output) as partial:
        partial.write_text(json.dumps(reference.to_dict()))


def reference_of(bundle: Path, method: str) -> StainReference:
    """The reference that a model was trained with. Raises UserError where it had another method."""
    encoders = read_bundle(bundle).encoders
    stain = next(iter(encoders.values())).get("stain")
    used = stain["method"] if stain else "none"
    if used != method:
        raise UserError(
            problem(
                "config, stain/method",
                f"{method}, but the model {bundle} was trained with {used}",
                used,
                "Set stain.method to it.",
            )
        )
    return StainReference.from_dict(stain, str(bundle))


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            stains=[Path(path) for path in snakemake.input.get("stains", [])],
            bundle=Path(bundle) if (bundle := snakemake.input.get("bundle")) else None,
            method=snakemake.params.method,
            output=Path(snakemake.output[0]),
        )
