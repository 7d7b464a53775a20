"""The networks of INSPIRE: encoder, decoder, and discriminators of sections.

Zhao et al., Nat Genet 2026, Methods. Two departures keep the maths and drop the cost: a unit's
neighbourhood is averaged before the linear layer, with which it commutes, and attention is taken
over a list of neighbours rather than an n x n matrix.
"""

import warnings

import torch
from torch import nn
from torch.nn import functional

from histoscribe.integration.neighbourhoods import Neighbours

SECTION_WIDTH = 4  # of the decoder's embedding of a section
MAX_LOGIT = 5.0  # of a discriminator; units beyond are unlike the other section, and left so


class IntegrationNetwork(nn.Module):
    """Encoder and decoder of all sections.

    `features` (n, n_genes) are values of Neighbourhoods averaged over each unit's neighbours,
    `section` (n,) its number. The latent space is (n, latent_width).
    """

    def __init__(self, n_genes: int, n_sections: int, latent_width: int, hidden_width: int) -> None:
        super().__init__()
        self.gene_weights = nn.Linear(n_genes, hidden_width)
        self.of_unit = nn.Parameter(torch.randn(hidden_width) * hidden_width**-0.5)
        self.of_neighbour = nn.Parameter(torch.randn(hidden_width) * hidden_width**-0.5)
        self.to_latent = nn.Linear(hidden_width, latent_width)
        self.section_embedding = nn.Parameter(0.1 * torch.randn(n_sections, SECTION_WIDTH))
        self.from_latent = nn.Linear(latent_width + SECTION_WIDTH, hidden_width)
        self.to_genes = nn.Linear(hidden_width, n_genes)

    def start_at(self, mean: torch.Tensor, directions: torch.Tensor) -> None:
        """Begin with components of the features, as if encoder and decoder were linear.

        `mean` (n_genes,), `directions` (n, n_genes) of length 1. Each passes through a pair of
        hidden units of opposite sign: elu(x) - elu(-x) rises everywhere, with a slope of 2 at 0 and
        of 1 far off. All other hidden units begin without effect.
        """
        n = min(len(directions), self.to_latent.out_features, self.to_latent.in_features // 2)
        one, other, directions = slice(0, n), slice(n, 2 * n), directions[:n]
        with torch.no_grad():
            for part, sign in ((one, 1.0), (other, -1.0)):
                self.gene_weights.weight[part] = sign * directions
                self.gene_weights.bias[part] = -sign * (directions @ mean)
            for layer in (self.to_latent, self.to_genes):
                layer.weight.zero_()
                layer.bias.zero_()
            self.from_latent.weight[: 2 * n] = 0.0
            self.from_latent.bias[: 2 * n] = 0.0
            self.to_genes.bias.copy_(mean)
            numbers = torch.arange(n)
            for part, sign in ((one, 1.0), (other, -1.0)):
                self.to_latent.weight[numbers, numbers + part.start] = sign
                self.from_latent.weight[numbers + part.start, numbers] = 0.5 * sign
                self.to_genes.weight[:, part] = 0.5 * sign * directions.T

    def attend(self, neighbours: Neighbours) -> torch.Tensor:
        """Features of units averaged over their neighbours by attention, (n_units, n_genes).

        Attention's logits are within +-0.5, so no neighbour outweighs another by more than e.
        """
        weight = self.gene_weights.weight
        query = neighbours.values[neighbours.own] @ (weight.T @ self.of_unit)
        key = neighbours.values @ (weight.T @ self.of_neighbour)
        logit = torch.sigmoid(query[neighbours.unit] + key[neighbours.neighbour]) - 0.5
        share = logit.exp()
        total = torch.zeros_like(query).index_add(0, neighbours.unit, share)
        return WeightedMean.apply(share / total[neighbours.unit], neighbours)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        return self.to_latent(functional.elu(self.gene_weights(features)))

    def decode(self, latent: torch.Tensor, section: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([latent, self.section_embedding[section]], dim=1)
        return self.to_genes(functional.elu(self.from_latent(joined)))


class WeightedMean(torch.autograd.Function):
    """Weighted sums of neighbours' values, with gradients for the weights alone."""

    @staticmethod
    def forward(ctx, weight: torch.Tensor, neighbours: Neighbours) -> torch.Tensor:
        ctx.neighbours = neighbours
        n_units = len(neighbours.own)
        ends = torch.arange(n_units + 1, device=weight.device)
        shape = n_units, len(neighbours.values)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            weights = torch.sparse_csr_tensor(
                torch.searchsorted(neighbours.unit, ends), neighbours.neighbour, weight, shape,
                check_invariants=False,
            )  # fmt: skip
            return weights @ neighbours.values

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        n = ctx.neighbours
        return (gradient[n.unit] * n.values[n.neighbour]).sum(dim=1), None


class Discriminator(nn.Sequential):
    """Logit of a latent vector coming from the first of two sections rather than the second."""

    def __init__(self, latent_width: int, hidden_width: int) -> None:
        super().__init__(
            nn.Linear(latent_width, hidden_width),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_width, hidden_width),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_width, 1),
        )
