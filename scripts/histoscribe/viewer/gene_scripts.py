"""One script a gene: its measured and predicted values, and how sure the prediction is."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from histoscribe.viewer.data_scripts import write_data_script
from histoscribe.viewer.predictions import SectionPrediction
from histoscribe.viewer.quantise import colour_cut, highest, quantise

N_TOP = 5  # genes named for a unit
UNSHOWN = np.uint16(0xFFFF)


class TopGenes:
    """The genes of each unit that stand out most from the section, found a few at a time."""

    def __init__(self, n_units: int) -> None:
        self.gene = np.full((n_units, N_TOP), UNSHOWN)
        self._score = np.zeros((n_units, N_TOP), dtype=np.float32)

    def add(self, numbers: list[int], values: np.ndarray) -> None:
        """Consider genes of these numbers, `values` (n_units, n_genes); only what is above 0."""
        spread = np.maximum(values.std(axis=0), 1e-9)
        score = (values - values.mean(axis=0)) / spread
        score[values <= 0] = 0
        scores = np.concatenate([self._score, score], axis=1)
        genes = np.broadcast_to(np.array(numbers, dtype=np.uint16), values.shape)
        genes = np.concatenate([self.gene, genes], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :N_TOP]
        self._score = np.take_along_axis(scores, best, axis=1)
        self.gene = np.where(self._score > 0, np.take_along_axis(genes, best, axis=1), UNSHOWN)


def write_gene_scripts(
    prediction: SectionPrediction, genes: list[str], is_measured: bool, folder: Path
) -> dict[str, np.ndarray]:
    """Write {number}.js of each gene into `folder`; numbers count from 0 in the order given.

    Returns the numbers of the genes that stand out in each unit, (n_units, N_TOP) uint16, by
    "predicted" and "measured". File names never hold a gene's name.
    """
    folder.mkdir(parents=True)
    number_of = {gene: number for number, gene in enumerate(genes)}
    has_intervals = prediction.has_layer("lower") and prediction.has_layer("upper")
    kinds = ["predicted", *(["measured"] if is_measured else [])]
    top = {kind: TopGenes(prediction.units.n_obs) for kind in kinds}
    with tqdm(total=len(genes), desc="genes", disable=None) as progress:
        for group in prediction.blocks_of_genes(genes):
            values = {"predicted": prediction.predicted(group)}
            if is_measured:
                values["measured"] = prediction.measured(group)
            if prediction.has_layer("probability"):
                values["probability"] = prediction.predicted(group, "probability")
            if has_intervals:
                values["width"] = prediction.predicted(group, "upper")
                values["width"] -= prediction.predicted(group, "lower")
            numbers = [number_of[gene] for gene in group]
            for kind in kinds:
                top[kind].add(numbers, values[kind])
            for column, gene in enumerate(group):
                one = {kind: block[:, column] for kind, block in values.items()}
                _write_gene(folder / f"{number_of[gene]}.js", number_of[gene], one)
                progress.update()
    return {kind: best.gene for kind, best in top.items()}


def _write_gene(path: Path, number: int, values: dict[str, np.ndarray]) -> None:
    """`high` brings bytes back to values; `cut` ends the colours of each kind of value."""
    high = {kind: 1.0 if kind == "probability" else highest(v) for kind, v in values.items()}
    cut = {kind: 1.0 if kind == "probability" else colour_cut(v) for kind, v in values.items()}
    if "measured" in values:
        cut["difference"] = colour_cut(np.abs(values["predicted"] - values["measured"]))
    stored = {kind: quantise(each, high[kind]) for kind, each in values.items()}
    write_data_script(path, f"gene/{number}", {"high": high, "cut": cut}, stored)
