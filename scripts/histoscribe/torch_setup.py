"""Torch made ready once: torchvision beside a CPU-only torch, the device, the threads."""

import importlib.util
from pathlib import Path

import torch

# The declarations live as long as the library object does.
_declared: list[torch.library.Library] = []


def prepare_torchvision() -> None:
    """Make `import torchvision` work beside a CPU-only torch; call before timm or umap.

    PyPI's torchvision wheel is built for CUDA. Beside a CPU-only torch its compiled operators
    cannot load, and its import then fails on the missing `torchvision::nms`. Declaring the two
    schemas is enough, since nothing here calls those operators. Where they do load, nothing is
    declared.
    """
    if _declared or torch.version.cuda is not None or torch.version.hip is not None:
        return
    if _compiled_operators_load():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


def device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_threads(threads: int) -> None:
    """Let torch use `threads` cores; Snakemake's number, not all that the machine has."""
    torch.set_num_threads(max(1, threads))


def _compiled_operators_load() -> bool:
    specification = importlib.util.find_spec("torchvision")
    if specification is None or not specification.submodule_search_locations:
        return False
    folder = Path(specification.submodule_search_locations[0])
    for library in sorted([*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return True
    return False
