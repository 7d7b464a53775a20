"""Gene programs: how strongly units express them, and which terms lists of genes are rich in."""
