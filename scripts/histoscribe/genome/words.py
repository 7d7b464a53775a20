"""Words of the config's genotypes."""

LABELS, TYPES = "labels", "types"  # what a section's cells are called by
INFERRED, DNA = "inferred", "dna"  # where clones come from
MEASURED, PREDICTED = "measured", "predicted"  # expression that clones are inferred from
