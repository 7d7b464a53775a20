"""How well a prediction agrees with the measurement of a section, and how well it could.

`section` scores one section with all the others: `scores` gene by gene, `ceiling` what is reachable
against such counts, `adjusted` what remains of the agreement without cell types or totals,
`clusters` the types where none are given, `spatial` whether maps look alike, `smoothing` the same
at coarser resolutions, `calibration` of probabilities, `gene_correlation` whether genes go
together as they should. `summary` makes the one row that a user reads first. All scores compare
log1p-normalised values over the units of one section.
"""
