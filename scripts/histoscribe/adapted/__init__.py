"""The `adapted` encoder: a small network trained further on the run's own sections.

It looks at the tissue around a unit and foretells the unit's expression of the genes that vary
most (`genes`); the leading components of what is foretold are the unit's features, from which any
model then learns genes. Several networks are trained, each without one part of every training
section, so that a training unit is described by a network that has not seen its expression
(cross-fitting); other sections are described by the mean of all networks.
"""
