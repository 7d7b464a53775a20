"""What one caution of the report is."""

from dataclasses import dataclass

WARNING, NOTE = "warning", "note"


@dataclass(frozen=True)
class Caution:
    """`level` is WARNING or NOTE; `anchor` the part of the page that tells more."""

    level: str
    title: str
    text: str
    anchor: str
