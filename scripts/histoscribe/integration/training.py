"""Training the networks of INSPIRE on batches of units, and what they make of all units.

As published, the game of encoder and discriminators is won by these after some 2,000 steps, and
results hang on seed and step. Here it stays in balance, and noise is not learnt by heart:
sections are first brought onto each other by matching units, which leaves little to tell apart; the
encoder starts at components of what is left that neighbours share, not at chance; discriminators
are narrow, take several steps for one of the encoder, so that none runs ahead, and weigh less than
what is to be decoded; what a half of a unit's neighbours shows is decoded into the other half,
through a latent space with noise; and learning rates fall to nothing over a number of steps that
settings and the number of units fix, the one rule for stopping.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from torch import nn
from tqdm import tqdm

from histoscribe import torch_setup
from histoscribe.errors import UserError, problem
from histoscribe.integration import losses
from histoscribe.integration.checkpoint import Checkpoint
from histoscribe.integration.neighbourhoods import Neighbourhoods, deal_out, part_of
from histoscribe.integration.neighbours import mean_over_neighbours
from histoscribe.integration.network import Discriminator, IntegrationNetwork
from histoscribe.integration.spatial_factors import SpatialFactors
from histoscribe.integration.together import Together

LOG = logging.getLogger(__name__)
WARM_UP_STEPS = 100
CHECKPOINT_STEPS = 100
UNITS_AT_ONCE = 1024
LEAST_DRAWN = 32  # of a section at a step
LEAST_SPREAD = 1e-6
STARTED_FROM = 5000  # units
GENES_A_DIMENSION = 4  # or more: small panels have few programs, and the rest is noise
LEAST_SHARED = 0.3  # of a component's variance, by halves of neighbours
WIDE = 4  # times the latent width: components that those of the start are looked for in


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the networks and their training; the paper's values where it gives them.

    `encoder` auto takes attention for up to `attention_up_to` units in all, and convolution over
    `n_convolutions` steps for more. `pairs` are the sections that discriminators tell apart:
    consecutive ones, all pairs, or each from `reference`. The latent space is no wider than a
    quarter of the genes. Training ends after `n_steps`, or once units were drawn `most_epochs`
    times on average, so that few units are not learnt by heart.
    `mixing_rounds` and `mixing_penalty` are those of soft_clusters.mix_sections, after training.
    """

    n_networks: int = 5
    encoder: str = "auto"
    attention_up_to: int = 20_000
    n_convolutions: int = 2
    n_factors: int = 20
    latent_width: int = 32
    hidden_width: int = 512
    discriminator_width: int = 128
    discriminator_steps: int = 3
    pairs: str = "consecutive"
    reference: str | None = None
    n_steps: int = 1500
    most_epochs: int = 350
    units_a_section: int = 256
    units_a_step: int = 2048
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    latent_noise: float = 1.0
    geometry_weight: float = 0.02
    evenness_weight: float = 5.0
    adversarial_weight: float = 0.1
    mixing_rounds: int = 1
    mixing_penalty: float = 1.0


def pairs_of(names: list[str], settings: TrainingSettings) -> list[tuple[int, int]]:
    """Numbers of the sections that each discriminator tells apart."""
    numbers = range(len(names))
    if settings.pairs == "consecutive":
        return list(pairwise(numbers))
    if settings.pairs == "all":
        return list(combinations(numbers, 2))
    if settings.reference not in names:
        raise UserError(
            problem("integration.training.reference", str(settings.reference),
                    "one of " + ", ".join(names), "Name one of the sections that are integrated.")
        )  # fmt: skip
    reference = names.index(settings.reference)
    return [(reference, number) for number in numbers if number != reference]


def uses_attention(n_units: int, settings: TrainingSettings) -> bool:
    if settings.encoder == "auto":
        return n_units <= settings.attention_up_to
    return settings.encoder == "attention"


class Trainer:
    """The networks of sections together, one step after the other.

    `offset` (n_sections, n_genes) is what Together.offsets finds.
    """

    def __init__(
        self, together: Together, offset: np.ndarray, settings: TrainingSettings, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self.together, self.settings, self.seed = together, settings, seed
        self.device = torch_setup.device()
        self.units = [np.flatnonzero(together.section == s) for s in range(len(together.names))]
        self.neighbourhoods = Neighbourhoods(
            together.log_values(), together.section, offset, together.measured
        )
        self.attends = uses_attention(together.n_units, settings)
        self.reach = together.graph
        if not self.attends:
            self.reach = mean_over_neighbours(together.graph, settings.n_convolutions)
        some = np.sort(np.random.default_rng(seed).permutation(together.n_units)[:STARTED_FROM])
        self.neighbourhoods.scale_to_length(some, mean_over_neighbours(together.graph, 1)[some])
        per_section = max(settings.units_a_step // len(self.units), LEAST_DRAWN)
        self.n_drawn = min(settings.units_a_section, per_section)
        a_step = sum(min(self.n_drawn, len(own)) for own in self.units)
        enough = settings.most_epochs * together.n_units // a_step
        self.n_steps = max(min(settings.n_steps, enough), 1)
        self.measured = torch.from_numpy(together.measured.astype(np.float32)).to(self.device)
        self.width = min(settings.latent_width, max(len(together.genes) // GENES_A_DIMENSION, 2))
        self.network = IntegrationNetwork(
            len(together.genes), len(together.names), self.width, settings.hidden_width
        ).to(self.device)
        self.factors = SpatialFactors(together, settings.n_factors, self.width)
        self.factors.to(self.device)
        self._start_at_components(some)
        self.pairs = pairs_of(together.names, settings)
        self.discriminators = nn.ModuleList(
            Discriminator(self.width, settings.discriminator_width) for _ in self.pairs
        ).to(self.device)
        self.optimiser = torch.optim.Adamax(
            [*self.network.parameters(), *self.factors.parameters()],
            settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.opponent = torch.optim.Adam(self.discriminators.parameters(), settings.learning_rate)

    def _start_at_components(self, rows: np.ndarray) -> None:
        """Begin with components of features that both halves of units' neighbours show.

        Those are left out of whose variance the halves share too little, so that noise has no part
        in the start.
        """
        rng = np.random.default_rng(self.seed)
        batches = np.array_split(rows, -(-len(rows) // UNITS_AT_ONCE))
        with torch.inference_mode():
            features = torch.cat([self.features(batch) for batch in batches]).cpu().numpy()
            halves = [self.two_views(batch, rng) for batch in batches]
        n_wide = min(WIDE * self.width, *features.shape)
        wide = PCA(n_wide, random_state=self.seed).fit(features)
        one, other = (
            wide.transform(torch.cat(half).cpu().numpy()) for half in zip(*halves, strict=True)
        )
        shared = (one.T @ other + other.T @ one) / (2 * len(rows))
        variance, turn = np.linalg.eigh(shared)
        largest = np.argsort(-variance)[: self.width]
        whole = (wide.transform(features) @ turn[:, largest]).var(axis=0)
        is_shared = variance[largest] > LEAST_SHARED * whole
        is_shared[0] = True  # a start from nothing would not move
        found = wide.mean_, turn[:, largest[is_shared]].T @ wide.components_
        self.network.start_at(*(_tensor(x, self.device) for x in found))

    def features(self, rows: np.ndarray) -> torch.Tensor:
        """Features of some units averaged over their neighbours, (n_rows, n_genes)."""
        if self.attends:
            neighbours = self.neighbourhoods.neighbours(rows, self.reach, self.device)
            return self.network.attend(neighbours)
        return _tensor(self.neighbourhoods.means(rows, self.reach[rows]), self.device)

    def two_views(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of some units from one half of their neighbours, and from the other."""
        some = self.reach[rows]
        masks = deal_out(some.indptr, rng)
        if not self.attends:
            views = (self.neighbourhoods.means(rows, part_of(some, mask)) for mask in masks)
            return tuple(_tensor(view, self.device) for view in views)
        neighbours = self.neighbourhoods.neighbours(rows, self.reach, self.device)
        one, other = neighbours.parts(masks)
        with torch.no_grad():
            target = self.network.attend(other)
        return self.network.attend(one), target

    def step(self, number: int) -> dict[str, float]:
        """One step of both sides; the terms of the loss, and what share is told apart."""
        s = self.settings
        rng = np.random.default_rng([self.seed, number])
        drawn = [rng.choice(own, min(self.n_drawn, len(own)), replace=False) for own in self.units]
        parts = [slice(*ends) for ends in pairwise(np.cumsum([0, *map(len, drawn)]))]
        rows = np.concatenate(drawn)
        section = torch.from_numpy(self.together.section[rows]).to(self.device)
        measured = self.measured[section]
        counts = _tensor(self.together.counts[rows].toarray(), self.device)
        features, target = self.two_views(rows, rng)
        latent = self.network.encode(features)
        for _ in range(s.discriminator_steps):
            told = self._discriminate(latent.detach(), parts, number)
        noise = _tensor(rng.standard_normal(tuple(latent.shape), dtype=np.float32), self.device)
        scale = usual_spread(latent.detach())
        noisy = latent + s.latent_noise * scale * noise
        proportions = self.factors.proportions(noisy / scale)
        log_rate = self.factors.log_rate(proportions, section)
        decoded = self.network.decode(noisy, section)
        terms = {
            "reconstruction": losses.reconstruction(decoded, target, measured),
            "poisson": losses.poisson(log_rate, counts, measured),
            "geometry": s.geometry_weight * losses.geometry(latent, target),
            "evenness": s.evenness_weight * losses.evenness(proportions),
            "adversarial": s.adversarial_weight * self._adversarial(latent, parts, number),
        }
        self.optimiser.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        self.optimiser.step()
        return {name: float(value.detach()) for name, value in terms.items()} | {"told": told}

    def _discriminate(self, latent: torch.Tensor, parts: list[slice], number: int) -> float:
        """A step of the discriminators; the share of units that they tell rightly."""
        loss, shares = 0.0, []
        for first, second in self._logits(latent, parts):
            loss = loss + losses.telling_apart(first, second, number > WARM_UP_STEPS)
            shares.append(((first > 0).float().mean() + (second < 0).float().mean()) / 2)
        self.opponent.zero_grad(set_to_none=True)
        loss.backward()
        self.opponent.step()
        return float(torch.stack(shares).mean().detach())

    def _adversarial(self, latent: torch.Tensor, parts: list[slice], number: int) -> torch.Tensor:
        """Loss of the encoder: what discriminators would lose if sections changed places."""
        self.discriminators.requires_grad_(False)
        loss = sum(
            losses.telling_apart(-first, -second, number > WARM_UP_STEPS)
            for first, second in self._logits(latent, parts)
        )
        self.discriminators.requires_grad_(True)
        return loss

    def _logits(
        self, latent: torch.Tensor, parts: list[slice]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Logits of each pair's two sections, (n,) each."""
        for discriminator, (one, other) in zip(self.discriminators, self.pairs, strict=True):
            yield tuple(discriminator(latent[parts[s]])[:, 0] for s in (one, other))

    def train(self, kept: Checkpoint) -> list[dict[str, float]]:
        """All steps, or what is left of them after those `kept`; terms of the loss at each."""
        done, history = kept.resume()
        for number in tqdm(range(done + 1, self.n_steps + 1), desc="steps", disable=None):
            for optimiser in (self.optimiser, self.opponent):
                for group in optimiser.param_groups:
                    group["lr"] = self._learning_rate(number)
            history.append({"step": number, **self.step(number)})
            if number % CHECKPOINT_STEPS == 0 or number == self.n_steps:
                recent = pd.DataFrame(history[-CHECKPOINT_STEPS:]).mean()
                told = ", ".join(f"{k} {v:.4g}" for k, v in recent.items() if k != "step")
                LOG.info("step %d: %s", number, told)
                if not np.isfinite(recent).all():
                    raise UserError(
                        problem("training of the integration", f"at step {number}: {told}",
                                "a loss that is a number", "Lower integration.training."
                                "learning_rate.")
                    )  # fmt: skip
                kept.store(number, history)
        return history

    def _learning_rate(self, step: int) -> float:
        """Cosine decay to nothing."""
        return self.settings.learning_rate * 0.5 * (1 + np.cos(np.pi * (step - 1) / self.n_steps))

    def latent(self) -> np.ndarray:
        """Latent space of all units, (n_units, width) float32."""
        n_units = self.together.n_units
        latent = np.empty((n_units, self.width), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, n_units, UNITS_AT_ONCE):
                rows = np.arange(start, min(start + UNITS_AT_ONCE, n_units))
                latent[rows] = self.network.encode(self.features(rows)).cpu().numpy()
        return latent


def usual_spread(latent: torch.Tensor) -> torch.Tensor:
    """By how much units differ in a dimension, root mean square over dimensions."""
    return latent.var(dim=0).mean().sqrt() + LEAST_SPREAD


def _tensor(values: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)
