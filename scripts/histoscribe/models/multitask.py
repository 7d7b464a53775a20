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
CACHED_VALUES = 1 << 20
MIN_STEPS = 200
WARM_UP = 0.1  # share of the steps in which the learning rate rises
MIN_RATE = 1e-4  # of the common total; keeps logarithms finite
MAX_LOG_RATE = 15.0


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


def _network(n_features: int, n_genes: int, settings: dict) -> MultitaskNetwork:
    return MultitaskNetwork(
        n_features, n_genes, settings["hidden"], settings["rank"], settings["dropout"]
    )


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Train the members on all units, for a number of steps settled by how many these are.

    `settings`: hidden, rank, dropout, likelihood (poisson, negative_binomial), learning_rate,
    weight_decay, batch_size, max_epochs, max_steps, n_members. The learning rate falls to nothing,
    so that no units need be set apart to say when to stop.
    """
    torch_setup.set_threads(threads)
    everything = np.arange(len(training.features))
    tensors = {}
    for member in range(settings["n_members"]):
        state = _train_member(training, everything, settings, seed + member)
        tensors |= {f"member.{member}.{name}": value for name, value in state.items()}
    return tensors


def refit(
    training: TrainingUnits, chosen: np.ndarray, settings: dict, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """One member trained on the chosen units, (n_units,) bool: no better than all of them."""
    del tensors
    state = _train_member(training, np.flatnonzero(chosen), settings, seed=0)
    return {f"member.0.{name}": value for name, value in state.items()}


def _train_member(
    training: TrainingUnits, rows: np.ndarray, settings: dict, seed: int
) -> dict[str, np.ndarray]:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    device = torch_setup.device()
    n_genes = training.expression.shape[1]
    network = _network(training.features.shape[1], n_genes, settings).to(device)
    with torch.no_grad():
        network.genes.weight.mul_(0.1)
        network.genes.bias.copy_(torch.from_numpy(np.log(_mean_rate(training, rows))))
    optimiser = torch.optim.AdamW(
        network.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    batch = min(settings["batch_size"], len(rows))
    n_steps = n_steps_of(len(rows) // batch, settings)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings["learning_rate"], total_steps=n_steps, pct_start=WARM_UP
    )
    shuffled = _endless(rows, batch, rng)
    losses = []
    for step in tqdm(range(1, n_steps + 1), desc="steps", disable=None):
        part = next(shuffled)
        exposure = torch.from_numpy(training.exposure[part]).to(device)
        count = torch.expm1(torch.from_numpy(training.expression[part]).to(device))
        count *= exposure[:, None]
        log_rate = network(torch.from_numpy(training.features[part]).to(device))
        log_mean = log_rate.clamp(np.log(MIN_RATE), MAX_LOG_RATE) + exposure.log()[:, None]
        if settings["likelihood"] == "poisson":
            loss = (log_mean.exp() - count * log_mean).mean()
        else:
            loss = _negative_binomial(log_mean, count, network.log_dispersion)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % max(n_steps // 10, 1) == 0:
            recent = np.mean(losses[-max(n_steps // 10, 1) :])
            LOG.info("step %d of %d: loss %.5f", step, n_steps, recent)
    if not np.isfinite(losses[-1]):
        raise ArithmeticError("the loss is not finite; lower model.multitask.learning_rate")
    return {name: value.cpu().numpy() for name, value in network.state_dict().items()}


def n_steps_of(n_batches: int, settings: dict) -> int:
    """Steps for a round of `n_batches`: few units are soon learnt by heart, many need no more."""
    by_epochs = max(settings["max_epochs"] * n_batches, MIN_STEPS)
    return min(by_epochs, settings["max_steps"])


def _mean_rate(training: TrainingUnits, rows: np.ndarray) -> np.ndarray:
    """Molecules of each gene over the exposure of the units, (n_genes,) float32."""
    total = np.zeros(training.expression.shape[1])
    for start in range(0, len(rows), UNITS_AT_ONCE):
        part = rows[start : start + UNITS_AT_ONCE]
        total += training.exposure[part] @ np.expm1(training.expression[part])
    mean = total / training.exposure[rows].sum()
    return np.maximum(mean, MIN_RATE).astype(np.float32)


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
    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        _, number, name = key.split(".", 2)
        states.setdefault(number, {})[name] = torch.from_numpy(np.ascontiguousarray(value))
    members = []
    for state in states.values():
        with torch.device("meta"):  # weights are given, none need be drawn
            network = _network(features.shape[1], len(state["genes.bias"]), settings)
        network.load_state_dict(state, assign=True)
        members.append(network.to(device).eval())
    n_genes = len(members[0].genes.bias)
    expression, probability = np.empty((2, len(features), n_genes), dtype=np.float32)
    # Few units at once and in place: the passes over all genes then stay in the cache.
    at_once = max(CACHED_VALUES // n_genes, 1) if device.type == "cpu" else UNITS_AT_ONCE
    for start in range(0, len(features), at_once):
        part = slice(start, start + at_once)
        with torch.inference_mode():
            rate, detected = _mean_of(
                members, torch.from_numpy(features[part]).to(device), settings
            )
            expression[part] = rate.log1p_().cpu().numpy()
            probability[part] = detected.cpu().numpy()
    return Prediction(expression, probability)


def _mean_of(
    members: list[MultitaskNetwork], features: torch.Tensor, settings: dict
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean rate and mean probability of a count, both (n_units, n_genes)."""
    rate = none = None
    for network in members:
        own = network(features).clamp_(np.log(MIN_RATE), MAX_LOG_RATE).exp_()
        rate = own.clone() if rate is None else rate.add_(own)
        if settings["likelihood"] == "poisson":
            own_none = own.neg_().exp_()
        else:
            dispersion = network.log_dispersion.exp()
            own_none = own.mul_(dispersion).log1p_().div_(-dispersion).exp_()
        none = own_none if none is None else none.add_(own_none)
    return rate.div_(len(members)), none.div_(-len(members)).add_(1)
