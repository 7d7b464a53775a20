"""Archives unpacked safely: no path that leaves the folder, no link, no half-filled folder."""

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from histoscribe.errors import UserError, problem

CHUNK_BYTES = 1 << 20


def extract_archive(
    archive: Path | str, folder: Path | str, members: Iterable[str] | None = None
) -> Path:
    """Unpack a tar (any compression) or zip into `folder`, which must be new or empty.

    `members` restricts it to these files and folders, named as in the archive. Only plain files
    and folders are accepted: a link, a device, or a path that leaves `folder` raises UserError,
    as do a damaged archive and a member that is not in it; nothing is left behind then.
    """
    archive, folder = Path(archive), Path(folder)
    wanted = None if members is None else [PurePosixPath(member) for member in members]
    seen: set[PurePosixPath] = set()
    with filled_at_once(folder) as scratch:
        try:
            for name, kind, content in _archive_entries(archive):
                inside = PurePosixPath(name)
                chosen = _chosen_by(inside, wanted)
                if wanted is not None and chosen is None:
                    continue
                _require_harmless(archive, name, kind)
                seen.add(chosen if chosen is not None else inside)
                target = scratch / inside
                if kind == "folder":
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, CHUNK_BYTES)
        except (
            tarfile.TarError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
        ) as error:
            raise UserError(
                problem(
                    str(archive),
                    f"an archive that does not unpack ({error})",
                    "a whole tar or zip",
                    "Retrieve it again; check the space on the disk.",
                )
            ) from error
        absent = [str(member) for member in wanted or () if member not in seen]
        if absent:
            raise UserError(
                problem(
                    str(archive), "no " + ", ".join(absent), "these members", "Check their names."
                )
            )
    return folder


def _archive_entries(archive: Path) -> Iterator[tuple[str, str, BinaryIO | None]]:
    """Name, kind (file, folder, other) and content of each entry, in one pass."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                unix_type = (entry.external_attr >> 16) & 0o170000
                if entry.is_dir():
                    yield entry.filename, "folder", None
                elif unix_type not in (0, 0o100000):
                    yield entry.filename, "other", None
                else:
                    with packed.open(entry) as content:
                        yield entry.filename, "file", content
        return
    with tarfile.open(archive, mode="r|*") as packed:
        for entry in packed:
            if entry.isdir():
                yield entry.name, "folder", None
            elif entry.isreg():
                yield entry.name, "file", packed.extractfile(entry)
            else:
                yield entry.name, "other", None


def _chosen_by(inside: PurePosixPath, wanted: list[PurePosixPath] | None) -> PurePosixPath | None:
    for member in wanted or ():
        if inside == member or member in inside.parents:
            return member
    return None


def _require_harmless(archive: Path, name: str, kind: str) -> None:
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    if leaves or kind == "other":
        raise UserError(
            problem(
                str(archive),
                f"the entry '{name}', " + ("which leaves the folder" if leaves else "a link"),
                "plain files and folders inside the archive",
                "Do not use this archive; retrieve it from its publisher.",
            )
        )


@contextmanager
def filled_at_once(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes `folder` when all went well, and vanishes when not."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            problem(
                str(folder), "something there already", "a new or empty folder", "Move it away."
            )
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    scratch.chmod(0o755)
    try:
        yield scratch
        if folder.exists():
            folder.rmdir()
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
