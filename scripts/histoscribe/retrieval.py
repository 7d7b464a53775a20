"""What a run needs from the network, retrieved once, verified, and put in place whole.

A file appears under its name only after its size or digest was checked, so that an interrupted
or damaged download never looks like data.
"""

import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from histoscribe.archives import extract_archive, filled_at_once
from histoscribe.errors import UserError, problem
from histoscribe.provenance import file_digest

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60
ANNOUNCED = "announced"
USER_AGENT = "histoscribe"  # 10x's server refuses Python's own
DIGESTS_NAME = "SHA256SUMS"
HUB_URL = "https://huggingface.co"
ENCODER_FILES = ("config.json", "model.safetensors")

# model.safetensors as published on the hub, "Add model" (3dd3318).
ENCODER_SHA256 = {
    "1aurent/vit_small_patch16_256.tcga_brca_dino": (
        "aab8d19724ac02a628da4e0e160a7b4d03c1c4dc89677e9f3eaef1a69218bc9a"
    ),
}

# HIPT's own ViT-256/16 (pan-cancer TCGA), for the encoder `checkpoint:`; from its Git LFS pointer.
HIPT_VIT256 = {
    "url": "https://media.githubusercontent.com/media/mahmoodlab/HIPT/master/"
    "HIPT_4K/Checkpoints/vit256_small_dino.pth",
    "sha256": "6960cd5a8657dc8bb214671aa0c6dbd3f5b698e84386884955836487ddc89e24",
    "size_bytes": 704_238_867,
}

# Address and sha256 as registered in stardist 0.9.2, stardist/models/__init__.py.
SEGMENTERS = {
    "2D_versatile_he": (
        "https://github.com/stardist/stardist-models/releases/download/v0.1/"
        "python_2D_versatile_he.zip",
        "f1696ef0631bd7e1c0e5c0d3017e2b4c6a95e284c6aab9c22fc2f08317817b28",
    ),
    "2D_versatile_fluo": (
        "https://github.com/stardist/stardist-models/releases/download/v0.1/"
        "python_2D_versatile_fluo.zip",
        "4ad678d0758eed6e55625f1b5ae30771e59adb79f1239e09b9772eac8846c3dd",
    ),
}


def retrieve_file(
    url: str,
    path: Path | str,
    sha256: str | None = None,
    md5: str | None = None,
    size_bytes: int | Literal["announced"] | None = None,
) -> Path:
    """Download `url` to `path`, verified by every check given; at least one must be.

    `size_bytes` may be "announced": the size that the server states, where none is published,
    which only guards against a download that was cut short.

    A file that is already there and passes is kept. Raises UserError where the server can't be
    reached, the connection breaks, or a check fails; `path` is then as it was before.
    """
    path = Path(path)
    checks = {"sha256": sha256, "md5": md5, "size_bytes": size_bytes}
    if all(value is None for value in checks.values()):
        raise UserError(
            problem(
                url,
                "nothing to verify the download by",
                "sha256, md5 or size_bytes",
                "Add one of them to the dataset's settings.",
            )
        )
    announced_only = size_bytes == ANNOUNCED
    if announced_only:
        checks["size_bytes"] = None
    if path.is_file() and any(checks.values()) and not _faults(path, **checks):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        announced = _download(url, part, path)
        if announced_only and announced is None:
            raise UserError(
                problem(
                    url, "no size announced by the server", "one", "Give sha256, md5 or size_bytes."
                )
            )
        faults = _faults(part, **checks)
        if faults:
            found, expected = zip(*faults, strict=True)
            raise UserError(
                problem(
                    url,
                    ", ".join(found),
                    ", ".join(expected),
                    "The download is damaged or the file was changed at its source: try again, "
                    "then compare with what the source publishes.",
                )
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def retrieve_encoder(
    model_id: str, folder: Path | str, revision: str | None = None, endpoint: str | None = None
) -> Path:
    """Fill `folder` with config.json, model.safetensors and SHA256SUMS of a hub model.

    `model_id` is `owner/name`, with or without `hf-hub:`, or a timm model's name. The hub's
    token and mirror are taken from HF_TOKEN and HF_ENDPOINT. Raises UserError where the hub
    can't be reached, has no such model in timm form, or gives other weights than known.
    """
    repository = hub_repository(model_id)
    folder = Path(folder)
    with filled_at_once(folder) as scratch:
        for name in ENCODER_FILES:
            _hub_file(repository, name, scratch, revision, endpoint, folder)
        shutil.rmtree(scratch / ".cache", ignore_errors=True)
        _write_digests(scratch, ENCODER_FILES)
        known = ENCODER_SHA256.get(repository)
        found = file_digest(scratch / "model.safetensors")
        if known is not None and revision is None and found != known:
            raise UserError(
                problem(
                    f"{HUB_URL}/{repository}",
                    f"weights with sha256 {found}",
                    known,
                    "The model was changed on the hub; name the revision that you want.",
                )
            )
    return folder


def hub_repository(model_id: str) -> str:
    """The hub repository `owner/name` of an encoder's name; bare names are timm's own."""
    name = model_id.removeprefix("timm:").removeprefix("hf-hub:").removeprefix("hf_hub:")
    return name if "/" in name else f"timm/{name}"


def retrieve_segmenter(
    name: str, folder: Path | str, url: str | None = None, sha256: str | None = None
) -> Path:
    """Fill `folder` with a pretrained StarDist model, ready for `segment_nuclei`.

    `name` is one of the published models; for another give the `url` of its zip and `sha256`.
    """
    if url is None:
        if name not in SEGMENTERS:
            raise UserError(
                problem(
                    f"segmenter '{name}'",
                    "no published model of this name",
                    " or ".join(SEGMENTERS),
                    "Correct the name, or give the folder of your own StarDist model.",
                )
            )
        url, sha256 = SEGMENTERS[name]
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        archive = retrieve_file(url, Path(scratch) / "model.zip", sha256=sha256)
        unpacked = extract_archive(archive, Path(scratch) / "model")
        if not (unpacked / "config.json").is_file():
            raise UserError(
                problem(
                    url, "no config.json", "a StarDist model's folder, zipped", "Check the url."
                )
            )
        with filled_at_once(folder) as filled:
            shutil.copytree(unpacked, filled, dirs_exist_ok=True)
    return folder


def _download(url: str, part: Path, path: Path) -> int | None:
    """Fetch `url` into `part`; the size that the server announced, where it did."""
    try:
        if not url.startswith(("https://", "http://")):
            raise ValueError("not an http address")
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT_S) as response,
            part.open("wb") as file,
        ):
            announced = response.headers.get("Content-Length")
            announced = int(announced) if announced else None
            with tqdm(
                total=announced, unit="B", unit_scale=True, desc=path.name, disable=None
            ) as progress:
                while piece := response.read(CHUNK_BYTES):
                    file.write(piece)
                    progress.update(len(piece))
            received = file.tell()
        if announced is not None and received < announced:
            raise HTTPException(f"the connection ended after {received} of {announced} bytes")
    except (OSError, ValueError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(error, urllib.error.HTTPError):
            reason = f"{error.code} {error.reason}"
        raise UserError(
            problem(
                url,
                f"no file ({reason})",
                "a download",
                f"Run it where there is a network, or put the file by hand at {path}.",
            )
        ) from error
    return announced


def _hub_file(
    repository: str,
    name: str,
    scratch: Path,
    revision: str | None,
    endpoint: str | None,
    folder: Path,
) -> None:
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(repository, name, revision=revision, local_dir=scratch, endpoint=endpoint)
    except Exception as error:  # the client's errors have no base of their own
        url = f"{endpoint or HUB_URL}/{repository}/resolve/{revision or 'main'}/{name}"
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            problem(
                url,
                f"no file ({type(error).__name__}: {reason[0]})",
                "a download from the Hugging Face hub",
                "Run retrieve_encoder where there is a network (and HF_TOKEN for a gated model); "
                f"or put {' and '.join(ENCODER_FILES)} by hand into {folder}; or use the encoder "
                "'morphology', which needs no download.",
            )
        ) from error


def _faults(
    path: Path, sha256: str | None, md5: str | None, size_bytes: int | None
) -> list[tuple[str, str]]:
    """What each failed check found and expected."""
    if size_bytes is not None and path.stat().st_size != size_bytes:
        return [(f"{path.stat().st_size} bytes", f"{size_bytes} bytes")]
    faults = []
    for algorithm, expected in (("sha256", sha256), ("md5", md5)):
        if expected is not None and (found := file_digest(path, algorithm)) != expected.lower():
            faults.append((f"{algorithm} {found}", f"{algorithm} {expected.lower()}"))
    return faults


def _write_digests(folder: Path, names: Iterable[str]) -> None:
    """A SHA256SUMS that `sha256sum -c` reads."""
    lines = [f"{file_digest(folder / name)}  {name}\n" for name in names]
    (folder / DIGESTS_NAME).write_text("".join(lines), encoding="utf-8")
