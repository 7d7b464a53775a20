"""A network for all genes at once, fitted to counts.

Hidden layers, then a decoder of low rank: genes share `rank` patterns, as sparse genes need. What
is fitted are the counts themselves, as Poisson or negative binomial (Lopez et al., Nat Methods
2018) about a rate times the unit's total, so that a unit of few molecules weighs less. Several
members, trained from different seeds, are averaged.
"""

import logging
from collections.abc import Iterator
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
N_CHECKS = 20  # of the validation loss
WARM_UP = 0.1  # share of the steps in which the learning rate rises
MIN_RATE = 1e-4  # of the common total; keeps logarithms finite


class MultitaskNetwork(nn.Module):
    """(n_units, n_features) -> logarithm of the rate of each gene, (n_units, n_genes)."""

    def __init__(
        self, n_features: int, n_genes: int, hidden: list[int], rank: int, dropout: float
    ) -> None:
        super().__init__()
        widths = [n_features, *hidden]
        layers = []
        for before, after in pairwise(widths):
            layers += [
                nn.Linear(before, after),
                nn.LayerNorm(after),
                nn.GELU(),
                nn.Dropout(dropout),
            ]
        self.body = nn.Sequential(*layers)
        self.patterns = nn.Linear(widths[-1], rank)
        self.genes = nn.Linear(rank, n_genes)
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.genes(self.patterns(self.body(features)))


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Train the members; each keeps the state that does best on the validation units.

    `settings`: hidden, rank, dropout, likelihood (poisson, negative_binomial), learning_rate,
    weight_decay, batch_size, max_epochs and max_steps (whichever comes first), n_members.
    """
    torch_setup.set_threads(threads)
    counts = np.expm1(training.expression) * training.exposure[:, None]
    tensors = {}
    for member in range(settings["n_members"]):
        state = _train_member(training, counts, settings, seed + member)
        tensors |= {f"member.{member}.{name}": value for name, value in state.items()}
    return tensors


def _train_member(
    training: TrainingUnits, counts: np.ndarray, settings: dict, seed: int
) -> dict[str, np.ndarray]:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    device = torch_setup.device()
    network = (
        MultitaskNetwork(
            training.features.shape[1],
            counts.shape[1],
            settings["hidden"],
            settings["rank"],
            settings["dropout"],
        )
        .to(device)
        .train()
    )
    rows = np.flatnonzero(training.usable)
    mean_rate = counts[rows].sum(axis=0) / training.exposure[rows].sum()
    with torch.no_grad():
        network.genes.weight.mul_(0.1)
        network.genes.bias.copy_(torch.from_numpy(np.log(np.maximum(mean_rate, MIN_RATE))))
    optimiser = torch.optim.AdamW(
        network.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    batch = min(settings["batch_size"], len(rows))
    n_steps = min(settings["max_steps"], settings["max_epochs"] * (len(rows) // batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings["learning_rate"], total_steps=n_steps, pct_start=WARM_UP
    )

    def loss_of(part: np.ndarray) -> torch.Tensor:
        log_rate = network(torch.from_numpy(training.features[part]).to(device))
        count = torch.from_numpy(counts[part]).to(device)
        exposure = torch.from_numpy(training.exposure[part]).to(device)
        log_mean = log_rate.clamp(np.log(MIN_RATE), 15) + exposure.log()[:, None]
        if settings["likelihood"] == "poisson":
            return (log_mean.exp() - count * log_mean).mean()
        return _negative_binomial(log_mean, count, network.log_dispersion)

    validation = np.flatnonzero(training.validation)
    check_every = -(-n_steps // N_CHECKS)
    best_loss, best_state = np.inf, None
    shuffled = _endless(rows, batch, rng)
    for step in tqdm(range(1, n_steps + 1), desc="steps", disable=None):
        optimiser.zero_grad(set_to_none=True)
        loss_of(next(shuffled)).backward()
        optimiser.step()
        schedule.step()
        if step % check_every and step < n_steps:
            continue
        network.eval()
        with torch.inference_mode():
            pieces = np.array_split(validation, -(-len(validation) // UNITS_AT_ONCE))
            losses = [float(loss_of(piece)) * len(piece) for piece in pieces]
        network.train()
        loss = sum(losses) / len(validation)
        LOG.info("step %d of %d: validation loss %.6f", step, n_steps, loss)
        if loss < best_loss:
            best_loss = loss
            best_state = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    if best_state is None:
        raise ArithmeticError("the loss was never finite; lower model.multitask.learning_rate")
    return {name: value.numpy() for name, value in best_state.items()}


def _endless(rows: np.ndarray, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows in batches, all of them in a new order each time round; an odd rest is left out."""
    while True:
        shuffled = rng.permutation(rows)
        for start in range(0, len(rows) - batch + 1, batch):
            yield shuffled[start : start + batch]


def _negative_binomial(
    log_mean: torch.Tensor, count: torch.Tensor, log_dispersion: torch.Tensor
) -> torch.Tensor:
    """Mean negative log-likelihood, with variance mean + dispersion * mean^2, up to a constant."""
    size = torch.exp(-log_dispersion)
    log_total = functional.softplus(log_mean + log_dispersion) - log_dispersion  # log(size + mean)
    log_size = -log_dispersion
    likelihood = (
        torch.lgamma(count + size)
        - torch.lgamma(size)
        + size * (log_size - log_total)
        + count * (log_mean - log_total)
    )
    return -likelihood.mean()


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """log1p of the mean rate of the members, and the probability of a count at the usual total."""
    device = torch_setup.device()
    members: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        _, number, name = key.split(".", 2)
        members.setdefault(number, {})[name] = torch.from_numpy(np.ascontiguousarray(value))
    rate = probability = 0
    x = torch.from_numpy(features).to(device)
    for state in members.values():
        network = MultitaskNetwork(
            features.shape[1],
            len(state["genes.bias"]),
            settings["hidden"],
            settings["rank"],
            settings["dropout"],
        )
        network.load_state_dict(state)
        network.to(device).eval()
        with torch.inference_mode():
            own = network(x).clamp(np.log(MIN_RATE), 15).exp()
            if settings["likelihood"] == "poisson":
                none = torch.exp(-own)
            else:
                dispersion = network.log_dispersion.exp()
                none = torch.exp(-torch.log1p(dispersion * own) / dispersion)
        rate = rate + own.cpu().numpy() / len(members)
        probability = probability + (1 - none).cpu().numpy() / len(members)
    return Prediction(np.log1p(rate), probability)
