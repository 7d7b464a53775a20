"""How far a prediction can be trusted: intervals, strangeness of units, grades of genes.

`conformal`, `domain` and `trust` are arrays in, arrays out; `held_out` and `calibration` fill them
when a model is trained; `prediction` and `judgement` use them on a section.
"""
