"""The network of PRTS: is a gene expressed in this unit, and at what level?

Wen et al., Research 2025, doi 10.34133/research.0961, Methods: hidden layers 512, 512, 1024, 1024
with leaky ReLU, batch normalisation and dropout 0.1; two linear outputs a gene; class-weighted
classification plus weighted regression; AdamW; early stopping. The published code differs from
the text (focal loss, masked regression, other rates); the text is followed here.
"""

import logging
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from histoscribe import torch_setup
from histoscribe.models import Prediction, TrainingUnits

LOG = logging.getLogger(__name__)
UNITS_AT_ONCE = 8192
# A gene seen in one unit of a thousand would otherwise weigh that unit 500-fold.
MAX_CLASS_WEIGHT = 20.0


class PrtsNetwork(nn.Module):
    """(n_units, n_features) -> logits of being expressed and levels, (n_units, n_genes) each."""

    def __init__(self, n_features: int, n_genes: int, hidden: list[int], dropout: float) -> None:
        super().__init__()
        widths = [n_features, *hidden]
        self.body = nn.Sequential(
            *(
                layer
                for before, after in pairwise(widths)
                for layer in (
                    nn.Linear(before, after),
                    nn.BatchNorm1d(after),
                    nn.LeakyReLU(),
                    nn.Dropout(dropout),
                )
            )
        )
        self.expressed = nn.Linear(widths[-1], n_genes)
        self.level = nn.Linear(widths[-1], n_genes)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.body(features)
        return self.expressed(hidden), self.level(hidden)


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Train with early stopping on the validation units; the best epoch's weights are kept.

    `settings`: hidden, dropout, learning_rate, weight_decay, batch_size, max_epochs, patience,
    regression_weight.
    """
    torch.manual_seed(seed)
    torch_setup.set_threads(threads)
    device = torch_setup.device()
    highest = training.expression[training.usable].max(axis=0)
    scale = np.where(highest > 0, highest, 1.0)  # an unseen gene must not blow up the loss
    n_genes = training.expression.shape[1]
    network = PrtsNetwork(
        training.features.shape[1], n_genes, settings["hidden"], settings["dropout"]
    ).to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    prevalence = (training.expression[training.usable] > 0).mean(axis=0)
    weight_of = {
        True: np.clip(0.5 / np.maximum(prevalence, 1e-6), None, MAX_CLASS_WEIGHT),
        False: np.clip(0.5 / np.maximum(1 - prevalence, 1e-6), None, MAX_CLASS_WEIGHT),
    }
    class_weight = {
        key: torch.as_tensor(w, dtype=torch.float32, device=device) for key, w in weight_of.items()
    }
    scale_t = torch.as_tensor(scale, dtype=torch.float32, device=device)

    def loss_of(rows: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(training.features[rows]).to(device)
        y = torch.from_numpy(training.expression[rows]).to(device)
        expressed = (y > 0).float()
        weight = torch.where(y > 0, class_weight[True], class_weight[False])
        logits, level = network(x)
        classification = functional.binary_cross_entropy_with_logits(logits, expressed, weight)
        regression = (weight * (level - y / scale_t) ** 2).mean()
        return classification + settings["regression_weight"] * regression

    rng = np.random.default_rng(seed)
    training_rows = np.flatnonzero(training.usable)
    validation_rows = np.flatnonzero(training.validation)
    best_loss, best_state, since_best = np.inf, None, 0
    for epoch in tqdm(range(settings["max_epochs"]), desc="epochs", disable=None):
        network.train()
        shuffled = rng.permutation(training_rows)
        for rows in _batches(shuffled, settings["batch_size"]):
            optimiser.zero_grad(set_to_none=True)
            loss_of(rows).backward()
            optimiser.step()
        network.eval()
        with torch.inference_mode():
            losses = [
                (float(loss_of(rows)), len(rows))
                for rows in _batches(validation_rows, UNITS_AT_ONCE)
            ]
        loss = sum(value * n for value, n in losses) / len(validation_rows)
        LOG.info("epoch %d: validation loss %.5f", epoch + 1, loss)
        if loss < best_loss:
            best_loss, since_best = loss, 0
            best_state = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
        else:
            since_best += 1
            if since_best >= settings["patience"]:
                break
    if best_state is None:
        raise ArithmeticError("the loss was never finite; lower model.prts.learning_rate")
    tensors = {f"network.{key}": value.numpy() for key, value in best_state.items()}
    shift = np.log(weight_of[True] / weight_of[False])
    return {
        **tensors,
        "scale": scale.astype(np.float32),
        "log_odds_shift": shift.astype(np.float32),
    }


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """Level where expressed (`gated`) or share x level (`expected`), back in log1p units.

    The class weights make the network answer as if half of the units expressed each gene; that
    balanced answer gates the level, as in the paper. The probability that is returned has the
    weights undone, so that it means what it says.
    """
    state = {
        key.removeprefix("network."): torch.from_numpy(np.ascontiguousarray(value))
        for key, value in tensors.items()
        if key.startswith("network.")
    }
    scale = tensors["scale"]
    network = PrtsNetwork(features.shape[1], len(scale), settings["hidden"], settings["dropout"])
    network.load_state_dict(state)
    device = torch_setup.device()
    network.to(device).eval()
    with torch.inference_mode():
        logits, level = network(torch.from_numpy(features).to(device))
        balanced = torch.sigmoid(logits).cpu().numpy()
        shift = torch.from_numpy(tensors["log_odds_shift"]).to(device)
        probability = torch.sigmoid(logits - shift).cpu().numpy()
        level = np.maximum(level.cpu().numpy(), 0) * scale
    gate = balanced if settings["output"] == "expected" else balanced > 0.5
    return Prediction(level * gate, probability)


def _batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows in pieces of `size`; a last piece of one row joins its neighbour (batch norm)."""
    pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces
