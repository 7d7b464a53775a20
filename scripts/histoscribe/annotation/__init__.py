"""Cell states of measured and of predicted expression: clusters, their markers and their names."""
