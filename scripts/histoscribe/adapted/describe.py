"""How an adapted encoder describes the units of a section."""

from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from histoscribe import torch_setup
from histoscribe.adapted.encoder import AdaptedEncoder, blind_network
from histoscribe.adapted.network import ContextNetwork, network_of
from histoscribe.adapted.patches import StainedImage, mirrored
from histoscribe.adapted.reach import CELL_PX
from histoscribe.adapted.tile_network import Base
from histoscribe.adapted.tiles import foretell_tiles
from histoscribe.errors import UserError, problem
from histoscribe.features import UnitFeatures
from histoscribe.image import Slide
from histoscribe.neighbourhood import within

BLOCK_PX = 1536
MARGIN_PX = 64
UNITS_AT_ONCE = 4096


def describe_units(
    slide: Slide,
    um_per_px: float,
    xy_um: np.ndarray,
    offsets_um: np.ndarray,
    encoder: AdaptedEncoder,
    tile_um: float,
    threads: int,
    trained_as: str | None = None,
    unseen: np.ndarray | None = None,
    base: Base | None = None,
) -> UnitFeatures:
    """Foretold components of units: of the unit (local), and of all units within its tile (global).

    `trained_as` names the training section that this is: there, a unit is described by the network
    that has not seen its expression, and so are the units around it. Elsewhere, and for its units
    `unseen` (n_units,) bool that no network has learnt from, all networks are averaged. `base` is
    the pretrained encoder that the networks start from, where they do. Raises UserError where it is
    another.
    """
    if encoder.settings.is_finetuned != (base is not None):
        start = encoder.settings.start
        raise UserError(
            problem(
                "the adapted encoder's start in features.encoders",
                "none that is pretrained" if base is None else base.name,
                f"{start}, from which the model's encoder started",
                f"Set its start to {start}, and define that encoder too where it is pretrained.",
            )
        )
    torch_setup.set_threads(threads)
    xy_um = np.asarray(xy_um, dtype=np.float64).reshape(-1, 2)
    blind = np.full(len(xy_um), -1)
    if trained_as is not None:
        blind = blind_network(xy_um, encoder.blind[trained_as], encoder.settings.block_um)
    if unseen is not None:
        blind[unseen] = -1
    if base is None:
        image = StainedImage.of(slide, um_per_px, encoder.settings.um_per_px)
        foretold = _foretell(encoder, image, xy_um, offsets_um)
    else:
        foretold = foretell_tiles(encoder, base, slide, um_per_px, xy_um, offsets_um)
    n_components = encoder.settings.n_components
    numbers = np.arange(len(foretold))[:, None]
    weights = np.where(blind == -1, 1 / len(foretold), blind == numbers).astype(np.float32)
    local = np.einsum("ku,kuc->uc", weights, foretold)
    context = np.zeros_like(local)
    for start in range(0, len(xy_um), UNITS_AT_ONCE):
        part = slice(start, start + UNITS_AT_ONCE)
        near = within(xy_um[part], xy_um, tile_um / 2)
        share = weights[:, part] / np.diff(near.indptr)
        for values, of_network in zip(foretold, share, strict=True):
            context[part] += of_network[:, None] * (near @ values)
    names = tuple(f"component_{i + 1}" for i in range(n_components))
    return UnitFeatures(local, context, names, tuple(f"tile_{name}" for name in names))


def _foretell(
    encoder: AdaptedEncoder, image: StainedImage, xy_um: np.ndarray, offsets_um: np.ndarray
) -> np.ndarray:
    """Components of units by each network, (n_networks, n_units, n_components)."""
    device = torch_setup.device()
    networks = [_load(encoder, state, device) for state in encoder.weights]
    places_px = (xy_um[:, None] + offsets_um) / image.um_per_px
    result = np.zeros((len(networks), len(xy_um), encoder.settings.n_components), np.float32)
    blocks = list(_blocks(places_px, image, networks[0]))
    for (left, top, width, height), units in tqdm(
        blocks, desc="adapted", unit="block", disable=None
    ):
        pixels = image.read(left, top, width, height)
        at = places_px[units] - [left, top]
        for view in range(encoder.settings.views):
            seen, places = mirrored(pixels, at, bool(view & 1), bool(view & 2), bool(view & 4))
            for number, network in enumerate(networks):
                read = _read(network, seen, places, device)
                result[number, units] += read / encoder.settings.views
    return result


def _load(
    encoder: AdaptedEncoder, state: dict[str, np.ndarray], device: torch.device
) -> ContextNetwork:
    network = network_of(encoder.settings)
    network.load_state_dict({name: torch.from_numpy(v.copy()) for name, v in state.items()})
    return network.to(device, memory_format=torch.channels_last).eval()


def _read(
    network: ContextNetwork, pixels: np.ndarray, places: np.ndarray, device: torch.device
) -> np.ndarray:
    with torch.inference_mode():
        image = torch.from_numpy(pixels)[None].to(device)
        features = network.features(image)
        read = []
        for start in range(0, len(places), UNITS_AT_ONCE):
            part = torch.from_numpy(places[None, start : start + UNITS_AT_ONCE].astype(np.float32))
            hidden = network.head(network.read(features, part.to(device)))
            read.append(network.decoder(hidden)[0].cpu().numpy())
    return np.concatenate(read)


def _blocks(
    places_px: np.ndarray, image: StainedImage, network: ContextNetwork
) -> Iterator[tuple[tuple[int, int, int, int], np.ndarray]]:
    """Boxes (left, top, width, height in px) and the units in them, with all that can change these.

    Edges lie on multiples of the network's stride, and nothing farther than `MARGIN_PX` outside
    the slide is looked at, so that a unit's result does not depend on the box it falls in.
    """
    stride = network.stride_px
    halo = network.reach_px + CELL_PX
    limit = np.ceil(np.array(image.size_px) + MARGIN_PX)
    corner = np.floor(places_px.mean(axis=1) / BLOCK_PX).astype(np.int64)
    _, which = np.unique(corner, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    for units in np.split(order, np.flatnonzero(np.diff(which.ravel()[order])) + 1):
        if len(units) == 0:
            continue
        inside = places_px[units].reshape(-1, 2)
        low = np.maximum(inside.min(axis=0) - halo, -MARGIN_PX)
        high = np.minimum(inside.max(axis=0) + halo, limit)
        low = (np.floor(low / stride) * stride).astype(int)
        high = (np.ceil(high / stride) * stride).astype(int)
        yield (*low.tolist(), *(high - low).tolist()), units
