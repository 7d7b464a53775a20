"""The report of a run: one self-contained page that says what to trust, and why."""
