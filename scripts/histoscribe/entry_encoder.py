"""The encoder whose features an entry of the config looks at. Light: the Snakefile imports it.

Entries of `morphology_maps` and `genotypes` are of a sample, with the features of an encoder, or of
a file that brings its own.
"""

from histoscribe.errors import problem

TAUGHT = ("adapted", "totals")  # kinds of encoders that expression taught


def entry_encoder(config: dict, given: dict) -> str | None:
    """The encoder of the entry `given`: of a sample the run's first, unless it names one."""
    usual = config["features"]["encoder"]
    usual = usual if isinstance(usual, str) else usual[0]
    return given.get("encoder", usual if given.get("file") is None else None)


def encoder_problems(encoder: str | None, is_file: bool, encoders: dict, where: str) -> list[str]:
    """What is wrong with the encoder of the entry `where`: at most one problem."""
    where = f"{where}/encoder"
    if is_file:
        remedy = "Leave encoder out: a file brings its own features."
        return [] if encoder is None else [problem(where, encoder, "none", remedy)]
    usable = [name for name, known in encoders.items() if known["kind"] not in TAUGHT]
    expected = f"an encoder of the image that no expression taught: {', '.join(usable)}"
    return [] if encoder in usable else [problem(where, encoder, expected, "Name one of these.")]
