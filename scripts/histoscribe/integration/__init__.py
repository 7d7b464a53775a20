"""Many sections in one latent space with shared spatial factors: INSPIRE.

Source: Zhao et al., Nat Genet 2026, doi 10.1038/s41588-026-02579-x.
"""
