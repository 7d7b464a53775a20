"""Which settings of a run are its own."""

from collections.abc import Iterator
from dataclasses import dataclass

NOT_SET = "–"
TOLD_ELSEWHERE = ("run", "simulation", "datasets")  # in the title, and in all settings


@dataclass(frozen=True)
class Setting:
    """A key of the config with the run's value and the default's, as text."""

    key: str
    value: str
    default: str


def own_settings(config: dict, defaults: dict) -> list[Setting]:
    """Keys whose values differ from those in config/config.yaml, in the order of the config.

    The run's name and the sections that it makes are left out.
    """
    before = dict(_flat(defaults))
    return [
        Setting(key, _text(value), _text(before[key]) if key in before else NOT_SET)
        for key, value in _flat(config)
        if (key not in before or before[key] != value) and key.split(".")[0] not in TOLD_ELSEWHERE
    ]


def _flat(settings: dict, path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in settings.items():
        at = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict) and value:
            yield from _flat(value, at)
        else:
            yield at, value


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value)
