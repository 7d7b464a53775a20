"""Numbers and lists in words, in the one format that the whole report has."""

import math
from collections.abc import Iterable, Sequence

NOTHING = "–"  # a value that there is none of
NARROW = "\u202f"  # a space that does not break, between a number and its unit
PLURALS = {"nucleus": "nuclei"}


def number(value: float | None, digits: int = 3) -> str:
    """A score with a fixed number of digits; a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def whole(value: float | None) -> str:
    """A count, with commas between thousands."""
    return NOTHING if value is None or not math.isfinite(value) else f"{round(value):,}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share in per cent; small ones keep a digit, and none but 0 is written as 0 %."""
    if share is None or not math.isfinite(share):
        return NOTHING
    value = 100 * share
    if digits == 0 and 0 < value < 0.1:
        return f"<{NARROW}0.1{NARROW}%"
    if digits == 0 and (0 < value < 1 or 99 < value < 100):
        digits = 1
    return f"{value:.{digits}f}{NARROW}%".replace("-", "−")


def span(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval, or a dash where it has no ends."""
    if number(low) == NOTHING or number(high) == NOTHING:
        return NOTHING
    return f"{number(low, digits)} to {number(high, digits)}"


def plural(noun: str) -> str:
    """The plural of what is counted here."""
    return PLURALS.get(noun, noun if noun.endswith("s") else f"{noun}s")


def counted(n: int, noun: str) -> str:
    """ "1 section", "2 sections", "57,600 nuclei"."""
    return f"{whole(n)} {noun if n == 1 else plural(noun)}"


def spelt(n: int) -> str:
    """A count as a sentence begins with it: in letters up to ten."""
    words = ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"]
    return words[n] if n < len(words) else whole(n)


def listed(names: Iterable[object], limit: int | None = None) -> str:
    """ "a, b and c"; beyond `limit` names "a, b and 7 others"."""
    words = [str(name) for name in names]
    if limit is not None and len(words) > limit:
        words = [*words[:limit], f"{len(words) - limit} others"]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f}{NARROW}s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes}{NARROW}min"
    return f"{minutes // 60}{NARROW}h {minutes % 60:02d}{NARROW}min"


def is_or_are(names: Sequence[object]) -> str:
    return "is" if len(names) == 1 else "are"
