"""Training of the shipped segmenter: a StarDist network on images that need no download.

Three kinds of images, drawn equally often: simulated sections (whole tissue, drawn chromatin),
`dsb2018_stained` (real nuclei, sparse fields; CC0), and compositions of the latter's nuclei
(dense tissue). StarDist: Schmidt et al., MICCAI 2018.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.segmenter.augmentation import Augmenter
from histoscribe.segmenter.composition import CompositionSettings, compose, cut_nuclei
from histoscribe.segmenter.labelled_images import LabelledImage, to_nuclear_area, without_debris

log = logging.getLogger(__name__)

MIN_NUCLEUS_PX = 12
NUCLEAR_AREAS_PX = (75.0, 125.0, 200.0)  # at 0.5 um/px: 19 to 50 um2
SCALES = (0.8, 1.0, 1.25)


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is built and trained.

    `um_per_px` is its resolution, `n_filters` and `n_head_filters` its widths (StarDist's own are
    32 and 128), `patch_px` and `batch_size` a step's images; the learning rate
    falls along a half cosine over `epochs` of `steps_per_epoch`. `n_compositions` images of dense
    tissue are made, `held_out_share` of the images with real nuclei validates.
    """

    um_per_px: float = 0.5
    n_rays: int = 32
    n_filters: int = 24
    n_head_filters: int = 64
    patch_px: int = 192
    batch_size: int = 4
    epochs: int = 70
    steps_per_epoch: int = 100
    learning_rate: float = 4e-4
    n_compositions: int = 320
    held_out_share: float = 0.12
    seed: int = 0


@dataclass(frozen=True)
class TrainingImages:
    """Pixels (h, w, 3) float32 of 0 to 255 and labels (h, w) int32, pairwise."""

    pixels: list[np.ndarray]
    labels: list[np.ndarray]

    @staticmethod
    def of(images: list[LabelledImage], patch_px: int) -> "TrainingImages":
        pairs = [_at_least(image, patch_px) for image in images]
        return TrainingImages([p for p, _ in pairs], [label for _, label in pairs])


def prepare_images(
    simulated: list[LabelledImage], stained: list[LabelledImage], settings: TrainingSettings
) -> tuple[TrainingImages, TrainingImages]:
    """Images to train and to validate on, each source about equally often.

    `stained` images have no known resolution: their nuclei are scaled to what nuclei measure. A
    held-out image gives neither patches nor cut-out nuclei to training. Raises UserError where
    there are less than two images of a kind.
    """
    for kind, images in (("simulated sections", simulated), ("stained images", stained)):
        if len(images) < 2:
            raise UserError(
                problem(
                    f"images to train on, {kind}",
                    str(len(images)),
                    "two or more, since some are held out",
                    "Add some under segmenter in the config.",
                )
            )
    rng = np.random.default_rng(settings.seed)
    held_out = rng.random(len(stained)) < settings.held_out_share
    held_out[rng.integers(len(stained))] = True
    sides = []
    for is_held_out in (False, True):
        real = [image for image, out in zip(stained, held_out, strict=True) if out == is_held_out]
        area_px = float(np.median(NUCLEAR_AREAS_PX))
        cutouts = cut_nuclei(real, area_px)
        n = settings.n_compositions if not is_held_out else max(1, settings.n_compositions // 30)
        composed = [compose(rng, cutouts, CompositionSettings(), f"composed-{i}") for i in range(n)]
        areas = NUCLEAR_AREAS_PX if not is_held_out else (area_px,)
        scaled = [to_nuclear_area(image, area) for image in real for area in areas]
        n_simulated = max(1, round(len(simulated) * settings.held_out_share))
        whole = simulated[:-n_simulated] if not is_held_out else simulated[-n_simulated:]
        pieces = _pieces(rng, whole, settings, max(len(scaled), len(composed)))
        log.info(
            "%s: %d pieces of simulated sections, %d stained, %d composed",
            "validation" if is_held_out else "training", len(pieces), len(scaled), len(composed),
        )  # fmt: skip
        sides.append(TrainingImages.of([*pieces, *scaled, *composed], settings.patch_px))
    return sides[0], sides[1]


def train_segmenter(
    training: TrainingImages, validation: TrainingImages, folder: Path, settings: TrainingSettings,
    threads: int,
) -> None:  # fmt: skip
    """Train a StarDist network and leave its folder (config, best weights, thresholds).

    The same settings and images give the same network up to the order of floating-point sums.
    """
    import keras
    import tensorflow as tf
    from stardist.models import Config2D, StarDist2D

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(settings.seed)
    network = StarDist2D(
        Config2D(
            n_rays=settings.n_rays,
            grid=(2, 2),
            n_channel_in=3,
            unet_n_filter_base=settings.n_filters,
            net_conv_after_unet=settings.n_head_filters,
            train_patch_size=(settings.patch_px, settings.patch_px),
            train_batch_size=settings.batch_size,
            train_epochs=settings.epochs,
            train_steps_per_epoch=settings.steps_per_epoch,
            train_learning_rate=settings.learning_rate,
            train_reduce_lr=None,
            train_tensorboard=False,
            use_gpu=False,
        ),
        name=folder.name,
        basedir=str(folder.parent),
    )
    network.prepare_for_training()
    network.callbacks.append(
        keras.callbacks.LearningRateScheduler(
            lambda epoch, _: (
                settings.learning_rate
                * max(0.5 * (1 + np.cos(np.pi * epoch / settings.epochs)), 0.02)
            )
        )
    )
    side = settings.patch_px
    fixed = Augmenter(settings.seed + 1)
    shown = [
        fixed(pixels[:side, :side], labels[:side, :side])
        for pixels, labels in zip(validation.pixels, validation.labels, strict=True)
    ]
    shown = [(pixels, labels) for pixels, labels in shown if labels.any()]
    shown_pixels, shown_labels = [p for p, _ in shown], [label for _, label in shown]
    network.train(
        training.pixels,
        training.labels,
        validation_data=(shown_pixels, shown_labels),
        augmenter=Augmenter(settings.seed + 2),
        seed=settings.seed,
    )
    network.optimize_thresholds(shown_pixels, shown_labels)
    for spare in set(folder.glob("weights_*.h5")) - {folder / "weights_best.h5"}:
        spare.unlink()


def _pieces(
    rng: np.random.Generator, images: list[LabelledImage], settings: TrainingSettings, n: int
) -> list[LabelledImage]:
    """About `n` square pieces of images, at several scales around the network's resolution."""
    pieces = []
    side = max(256, settings.patch_px)
    for _ in range(-(-n // len(images))):
        for image in images:
            factor = rng.choice(SCALES) * image.um_per_px / settings.um_per_px
            span = round(side / factor)
            y, x = (int(rng.integers(max(length - span, 0) + 1)) for length in image.labels.shape)
            window = (slice(y, y + span), slice(x, x + span))
            piece = LabelledImage(
                image.name, image.pixels[window], image.labels[window], image.um_per_px
            )
            pieces.append(piece.scaled(factor))
    return pieces[:n]


def _at_least(image: LabelledImage, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of at least `side` a side, mirrored where the image is smaller."""
    height, width = image.labels.shape
    more = ((0, max(side - height, 0)), (0, max(side - width, 0)))
    pixels = np.pad(image.pixels, (*more, (0, 0)), mode="symmetric").astype(np.float32)
    labels = np.pad(image.labels, more, mode="symmetric")
    return pixels, without_debris(labels, MIN_NUCLEUS_PX)
