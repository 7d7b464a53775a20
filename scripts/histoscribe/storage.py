"""Reading results, and writing them so that a killed job leaves nothing that a later step trusts.

anndata is imported where it is needed: a second for each of the many jobs that do without.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from histoscribe.errors import UserError, problem

if TYPE_CHECKING:
    import anndata as ad


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes its place, else it is removed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """Give a path beside `path` for a new folder; on success it takes the place of `path`.

    A folder that is there already stays whole until then. Else what was written is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    former = path.with_name(f".{os.getpid()}.former.{path.name}")
    try:
        yield partial
        if path.exists():  # a full folder can't be replaced in one step
            path.replace(former)
        partial.replace(path)
    finally:
        for leftover in (partial, former):
            shutil.rmtree(leftover, ignore_errors=True)


def write_h5ad(adata: ad.AnnData, path: str | Path) -> None:
    """Write an AnnData file, compressed and in one piece."""
    with written_whole(path) as partial:
        adata.write_h5ad(partial, compression="gzip", compression_opts=1)


def read_h5ad(path: str | Path, layers: tuple[str, ...] | None = None) -> ad.AnnData:
    """Read an AnnData file, with all its layers or only those named. Raises UserError where it is
    damaged."""
    import anndata as ad

    try:
        if layers is None:
            return ad.read_h5ad(path)
        with h5py.File(path) as file:
            names = ("X", "obs", "var", "obsm", "uns")
            parts = {name: ad.io.read_elem(file[name]) for name in names if name in file}
            stored = file.get("layers", {})
            kept = {name: ad.io.read_elem(stored[name]) for name in layers if name in stored}
        return ad.AnnData(**parts, layers=kept)
    except (OSError, KeyError) as error:
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", "an .h5ad file", "Delete it.")
        ) from error
