"""HistoScribe: from an H&E-stained tissue section to its single-cell transcriptome."""

__version__ = "0.2.0"
