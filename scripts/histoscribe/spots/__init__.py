"""Predicted nuclei or cells of a section against the spots that were measured on it.

`membership` says which units lie in which spot, `aggregation` sums their predictions over it,
`comparison` scores the sums against the measured spots and says what units add to them
(Wen et al. 2025, the aggregation of predicted cells over Visium spots).

A prediction is log1p of a rate: molecules of a gene among `target_sum` molecules of its unit. Rates
add up, logarithms do not, so sums are taken of expm1 of predictions. How many molecules a unit held
is not predicted: in a sum, units count alike or by the area of their outline (`weights`), and the
sum over the genes, `predicted_total`, follows from the number and area of units above all. Spot by
spot, both sides are therefore divided by their own total over the shared genes before log1p.
"""
