"""Figures: functions from frames and arrays to matplotlib figures; no files are read here."""
