"""What the networks of INSPIRE are trained for. Zhao et al., Nat Genet 2026, Methods."""

import torch
from torch.nn import functional

from histoscribe.integration.network import MAX_LOGIT

LEAST_SHARE = 1e-12  # keeps logarithms finite


def reconstruction(decoded: torch.Tensor, features: torch.Tensor, measured: torch.Tensor):
    """Mean length of what decoding leaves over; tensors (n, n_genes), `measured` 1 or 0."""
    return torch.linalg.vector_norm((decoded - features) * measured, dim=1).mean()


def poisson(log_rate: torch.Tensor, counts: torch.Tensor, measured: torch.Tensor):
    """Mean negative log-likelihood of units' counts, up to a constant; tensors (n, n_genes).

    A unit's library size is its total over the genes that its section measures.
    """
    library = counts.sum(dim=1, keepdim=True)
    expected = library * (log_rate.exp() * measured)
    return (expected - counts * log_rate).sum(dim=1).mean()


def evenness(proportions: torch.Tensor):
    """The Dirichlet-like prior on mean proportions of factors: large where one is never used."""
    return -torch.log(proportions.mean(dim=0) + LEAST_SHARE).mean()


def geometry(latent: torch.Tensor, features: torch.Tensor):
    """How far cosine similarities of latents are from those of features, within the batch.

    The squared difference of both (n, n) matrices, over n, computed from widths alone:
    |ZZ' - XX'|^2 = |Z'Z|^2 - 2 |Z'X|^2 + |X'X|^2 for rows of length 1.
    """
    z, x = functional.normalize(latent), functional.normalize(features)
    if len(x) < x.shape[1]:
        return (z @ z.T - x @ x.T).square().sum() / len(x)
    squares = [(one.T @ other).square().sum() for one, other in ((z, z), (z, x), (x, x))]
    return (squares[0] - 2 * squares[1] + squares[2]) / len(x)


def telling_apart(first: torch.Tensor, second: torch.Tensor, is_warm: bool):
    """Cross-entropy of a discriminator from logits of its first and second section, (n,) each.

    Once warm, logits are cut at +-5: units that it tells for certain have no gradient, so what is
    in one section alone is not forced onto the other.
    """
    if is_warm:
        first, second = first.clamp(-MAX_LOGIT, MAX_LOGIT), second.clamp(-MAX_LOGIT, MAX_LOGIT)
    return functional.softplus(-first).mean() + functional.softplus(second).mean()
