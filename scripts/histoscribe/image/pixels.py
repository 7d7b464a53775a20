"""Stored samples as 8-bit RGB, converted region by region; what is no colour image is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.image.slide import WHITE

Converter = Callable[[np.ndarray], np.ndarray]  # (h, w, n) samples -> (h, w, 3) uint8


@dataclass(frozen=True)
class RgbView:
    """Samples of any kind, (height, width, n), seen as 8-bit RGB, converted region by region."""

    samples: object
    to_rgb8: Converter

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.samples.shape[:2], 3)

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        return self.to_rgb8(self.samples[region])


def blend(samples: np.ndarray, background: np.ndarray | int = WHITE) -> np.ndarray:
    """RGBA on a background of one colour, (h, w, 4) uint8 -> (h, w, 3) uint8."""
    return _laid_over(samples, background, premultiplied=False)


def blend_premultiplied(samples: np.ndarray) -> np.ndarray:
    """RGBA on white where the colours are already multiplied by alpha ("associated")."""
    return _laid_over(samples, WHITE, premultiplied=True)


def _laid_over(
    samples: np.ndarray, background: np.ndarray | int, premultiplied: bool
) -> np.ndarray:
    colour, alpha = samples[..., :3], samples[..., 3:]
    if alpha.min(initial=255) == 255:  # nearly every region of a scan
        return np.ascontiguousarray(colour)
    alpha = alpha.astype(np.uint32)
    colour = colour.astype(np.uint32) * (255 if premultiplied else alpha)
    mixed = (colour + background * (255 - alpha) + 127) // 255
    return np.minimum(mixed, 255).astype(np.uint8)


def drop_extra(samples: np.ndarray) -> np.ndarray:
    """The three colours without a fourth sample of unstated meaning."""
    return np.ascontiguousarray(samples[..., :3])


def cmyk_to_rgb8(samples: np.ndarray) -> np.ndarray:
    """Ink shares (255 is full) as light: (1 - ink) * (1 - black); no ink profile is applied."""
    light = 255 - samples.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def in_8_bits(maximum: int, then: Converter | None = None) -> Converter:
    """Scale samples of 0 to `maximum` to 0 to 255, and pass them on."""
    table = np.arange(maximum + 1, dtype=np.float64) * (255 / maximum)
    table = np.round(table).astype(np.uint8)

    def convert(samples: np.ndarray) -> np.ndarray:
        scaled = np.take(table, samples, mode="clip")
        return then(scaled) if then else scaled

    return convert


def through_palette(palette: np.ndarray) -> Converter:
    """Indices (h, w, 1) to the colours of a palette (n, 3), uint8."""

    def convert(samples: np.ndarray) -> np.ndarray:
        return np.take(palette, samples[..., 0], axis=0, mode="clip")

    return convert


def require_used_range(probes: list[np.ndarray], maximum: int, path: Path) -> None:
    """Refuse 16-bit samples that fill only a low part of a range that nothing else states.

    Glass is bright: a section whose brightest pixel lies under a quarter of the range comes from
    a camera of fewer bits, and would turn out black. The maximum itself does not count: what was
    not scanned is filled with it.
    """
    samples = np.concatenate([probe.ravel() for probe in probes])
    samples = samples[samples < maximum]
    brightest = int(samples.max(initial=0))
    if len(samples) and brightest < maximum / 4:
        raise UserError(
            problem(
                str(path),
                f"16-bit pixels that reach only {brightest}, and no word about their range",
                f"bright glass near {maximum}, or the range in SMaxSampleValue or SignificantBits",
                "Convert the image to 8-bit RGB.",
            )
        )


def greyscale(path: Path) -> UserError:
    """The error for one channel."""
    return UserError(
        problem(
            str(path),
            "a greyscale image",
            "H&E, which has three channels",
            "Is this the DAPI or the CytAssist image? Give the H&E image.",
        )
    )


def refused(path: Path, found: str) -> UserError:
    """The error for pixels of a kind that is not read."""
    return UserError(
        problem(
            str(path),
            found,
            "RGB, RGBA, CMYK or palette pixels of 8 or 16 bits",
            "Convert the image to 8-bit RGB.",
        )
    )
