"""What made a result: versions of packages, and the record kept in `uns`."""

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import histoscribe

RECORDED_PACKAGES = ("numpy", "scipy", "pandas", "anndata", "scanpy", "torch", "timm", "stardist")
RECORD_KEY = "histoscribe"


def versions() -> dict[str, str]:
    """Versions of HistoScribe and of the packages that shape its numbers."""
    found = {"histoscribe": histoscribe.__version__}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def record(**facts: object) -> dict[str, str]:
    """The dictionary for `uns["histoscribe"]`: facts and versions, each as JSON text.

    JSON text keeps None, lists and nesting unchanged through HDF5; `recall` reads it back.
    """
    return {key: json.dumps(value) for key, value in {**facts, "versions": versions()}.items()}


def recall(uns: dict) -> dict:
    """The facts that `record` wrote into `uns["histoscribe"]`; empty where there are none."""
    return {key: json.loads(str(value)) for key, value in uns.get(RECORD_KEY, {}).items()}


def names_digest(names: Iterable[str]) -> str:
    """Digest of names in their order, in 16 hex digits: which units something was made from."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def file_digest(path: Path | str, algorithm: str = "sha256") -> str:
    """Digest of a file in hex digits, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
