"""Which files of a run its report leads to.

Light on purpose: the Snakefile imports it.
"""

from collections.abc import Iterable
from urllib.parse import quote

SCORES, PREDICTIONS, MODELS, SECTIONS = "Scores", "Predictions", "Models", "Sections"


def run_links(
    is_scored: bool,
    predictions: Iterable[tuple[str, str, str]],
    models: Iterable[tuple[str, str]],
    sections: Iterable[str],
    exported: dict[str, str],
) -> list[dict[str, str]]:
    """Links from the results folder, in groups, as plain values for a rule's `params`.

    `predictions` are (experiment, fold, sample), `models` (experiment, fold); `exported` says of
    further files, by path below the results folder, what they are.
    """
    found = []

    def add(group: str, path: str, text: str = "") -> None:
        found.append({"group": group, "label": path, "href": quote(path), "text": text})

    if is_scored:
        add(SCORES, "summary.tsv", "one row an experiment, fold and section")
        add(SCORES, "comparisons.tsv", "differences between experiments, with intervals")
    for experiment, fold, sample in predictions:
        add(PREDICTIONS, f"{experiment}/{fold}/predicted/{sample}.h5ad")
    for experiment, fold in models:
        add(MODELS, f"{experiment}/{fold}/model.safetensors", "predicts on new slides (bundle)")
    for sample in sections:
        add(SECTIONS, f"sections/{sample}/units.h5ad", "raw counts of the units kept")
    for path, text in exported.items():
        add("For other tools", path, text)
    return found
