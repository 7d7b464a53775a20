"""The morphology-gene map: what image features tell of a question, and whether genes tell it, too.

Chelebian, Avenel & Waehlby, Nat Commun 2025, doi 10.1038/s41467-025-58989-8, put three things
beside each other: gene expression, morphology and a question. A feature of the morphology may share
information with the genes (overlap) and with the question (relevance); that makes four quadrants.
"""
