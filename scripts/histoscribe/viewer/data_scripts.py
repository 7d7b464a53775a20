"""Facts and arrays as scripts: all that a page opened from disk may load.

A script calls `HistoScribe.receive(name, facts, bytes)`. Arrays follow each other in one run of
bytes, little-endian, compressed by gzip and written as base64; `facts.arrays` says where each
begins. Texts are JSON in which no character can end the script or the string.
"""

import base64
import gzip
import json
from pathlib import Path

import numpy as np

GZIP_LEVEL = 6
TEXT = "text"
# JSON that is put into a script must neither close its tag nor break its line.
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def embedded_json(value: object) -> str:
    """JSON that can stand inside a script, whatever names it holds. NaN becomes null."""
    text = json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False)
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    # Half a surrogate pair, as a damaged file name may hold, has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()


def write_data_script(
    path: Path, name: str, facts: dict, arrays: dict[str, np.ndarray | list[str]]
) -> None:
    """Write a script that hands `facts` and `arrays` to the page under `name`.

    Arrays are uint8, uint16, int16, uint32 or float32 of any shape, flattened; a list of texts is
    stored as one text with a line each.
    """
    described, parts, offset = {}, [], 0
    for key, values in arrays.items():
        if isinstance(values, list):
            lines = (str(text).replace("\n", " ") for text in values)
            content, kind = "\n".join(lines).encode("utf-8", "replace"), TEXT
        else:
            kind = values.dtype.name
            content = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
        padding = -offset % 4  # typed arrays begin at multiples of their item's size
        described[key] = {"type": kind, "offset": offset + padding, "bytes": len(content)}
        parts += [bytes(padding), content]
        offset += padding + len(content)
    packed = gzip.compress(b"".join(parts), GZIP_LEVEL, mtime=0)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"HistoScribe.receive({embedded_json(name)}, ")
        file.write(embedded_json({**facts, "arrays": described}))
        file.write(f', "{base64.b64encode(packed).decode()}");\n')


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.9g}") if np.isfinite(value) else None
    return value
