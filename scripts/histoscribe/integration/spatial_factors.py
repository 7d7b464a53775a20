"""Spatial factors: counts of units as shares of programs of genes that all sections have.

The Poisson factors of INSPIRE (Zhao et al., Nat Genet 2026, Methods).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from histoscribe import torch_setup
from histoscribe.integration import losses
from histoscribe.integration.gene_shares import Counted, refit_shares
from histoscribe.integration.together import Together

LEAST_SHARE_OF_GENE = 1e-7
LEARNING_RATE = 5e-3  # of factors read off a latent space that stays as it is
N_STEPS = 1000
UNITS_A_STEP = 2048
UNITS_AT_ONCE = 20_000


class SpatialFactors(nn.Module):
    """Factors read off a latent space (n, latent_width), and what genes they are made of."""

    def __init__(self, together: Together, n_factors: int, latent_width: int) -> None:
        super().__init__()
        n_sections, n_genes = together.measured.shape
        self.to_factors = nn.Linear(latent_width, n_factors)
        self.basis = nn.Parameter(0.1 * torch.randn(n_factors, n_genes))
        self.section_gene = nn.Parameter(torch.zeros(n_sections, n_genes))
        self._start_at_means(together)

    def _start_at_means(self, together: Together) -> None:
        """Begin with each section's mean expression explained, so that factors learn the rest."""
        total = together.gene_totals() + LEAST_SHARE_OF_GENE
        share = total / total.sum(axis=1, keepdims=True)
        weight = together.measured / np.maximum(together.measured.sum(axis=0), 1)
        mean = np.maximum((share * weight).sum(axis=0), LEAST_SHARE_OF_GENE)
        offset = np.where(together.measured, np.log(share / mean), 0.0)
        with torch.no_grad():
            self.basis.add_(torch.from_numpy(np.log(mean)))
            self.section_gene.copy_(torch.from_numpy(offset))

    def proportions(self, latent: torch.Tensor) -> torch.Tensor:
        """Shares of the factors in each unit, (n, n_factors); rows sum to 1."""
        return functional.softmax(self.to_factors(latent), dim=1)

    def loadings(self) -> torch.Tensor:
        """Shares of the genes in each factor, (n_factors, n_genes); rows sum to 1."""
        return functional.softmax(self.basis, dim=1)

    def log_rate(self, proportions: torch.Tensor, section: torch.Tensor) -> torch.Tensor:
        """Logarithm of each gene's share of a unit's molecules, (n, n_genes)."""
        share = proportions @ self.loadings()
        return torch.log(share + losses.LEAST_SHARE) + self.section_gene[section]


@dataclass(frozen=True)
class Fitted:
    """What factors are, float32.

    `proportions` (n_units, n_factors) and `loadings` (n_factors, n_genes) are shares, rows sum to
    1; `log_offset` (n_sections, n_genes) the logarithms of what a section's rates are multiplied
    with, NaN where it does not measure a gene.
    """

    proportions: np.ndarray
    loadings: np.ndarray
    log_offset: np.ndarray


def fit_factors(
    together: Together, latent: np.ndarray, n_factors: int, evenness_weight: float, seed: int
) -> Fitted:
    """Factors of a latent space that stays as it is, (n_units, width) float32.

    It is in units of its usual spread. Gradient steps find where factors are, and the genes' shares
    are then estimated once more from the counts (gene_shares).
    """
    torch.manual_seed(seed)
    device = torch_setup.device()
    factors = SpatialFactors(together, n_factors, latent.shape[1]).to(device)
    optimiser = torch.optim.Adamax(factors.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, N_STEPS)
    measured = torch.from_numpy(together.measured.astype(np.float32)).to(device)
    rng = np.random.default_rng(seed)
    n_drawn = min(UNITS_A_STEP, together.n_units)
    for _ in range(N_STEPS):
        rows = rng.choice(together.n_units, n_drawn, replace=False)
        section = torch.from_numpy(together.section[rows]).to(device)
        counts = torch.from_numpy(together.counts[rows].toarray()).to(device)
        proportions = factors.proportions(torch.from_numpy(latent[rows]).to(device))
        log_rate = factors.log_rate(proportions, section)
        loss = losses.poisson(log_rate, counts, measured[section])
        loss = loss + evenness_weight * losses.evenness(proportions)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    shares = np.empty((together.n_units, n_factors), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, together.n_units, UNITS_AT_ONCE):
            part = slice(start, start + UNITS_AT_ONCE)
            shares[part] = factors.proportions(torch.from_numpy(latent[part]).to(device)).cpu()
        start, offset = (x.cpu().numpy() for x in (factors.loadings(), factors.section_gene))
    offset = np.where(together.measured, offset, np.nan)
    own = [together.section == number for number in range(len(together.names))]
    counted = [
        Counted(together.counts[its], shares[its].astype(np.float64), log_offset)
        for its, log_offset in zip(own, offset, strict=True)
    ]
    return Fitted(shares, refit_shares(start, counted).astype(np.float32), offset)
