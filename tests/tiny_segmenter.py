"""A real StarDist of tiny size, whose weights are set so that what it finds is known exactly.

It finds dark spots, each outlined by the same ellipse, wider than tall.
"""

from pathlib import Path

import numpy as np

HALF_WIDTH_PX, HALF_HEIGHT_PX = 9, 5
RAYS = 16


def paint(centres: list[tuple[int, int]], width: int, height: int) -> np.ndarray:
    """White with dark ellipses, wider than tall, each centred on the middle of a pixel."""
    image = np.full((height, width, 3), 235, dtype=np.uint8)
    row, column = np.mgrid[:height, :width]
    for x, y in centres:
        inside = ((column - x) / HALF_WIDTH_PX) ** 2 + ((row - y) / HALF_HEIGHT_PX) ** 2 < 1
        image[inside] = 80
    return image


def build_segmenter(folder: Path, pooled_share: float, channels: int = 3) -> Path:
    """A StarDist folder: probability grows with smoothed darkness, all outlines are one ellipse.

    `pooled_share` of the darkness comes through the pooled level, whose result depends on where
    the pixel lattice starts.
    """
    from stardist.models import Config2D, StarDist2D

    config = Config2D(
        n_rays=RAYS,
        grid=(1, 1),
        n_channel_in=channels,
        unet_n_depth=1,
        unet_n_filter_base=4,
        unet_kernel_size=(7, 7),
        net_conv_after_unet=4,
        train_shape_completion=False,
    )
    network = StarDist2D(config, name="tiny", basedir=str(folder))
    smooth = np.full((7, 7), 1 / 49)
    pointwise = np.zeros((7, 7))
    pointwise[3, 3] = 1
    angles = np.linspace(0, 2 * np.pi, RAYS, endpoint=False)
    radii = 1 / np.hypot(np.cos(angles) / HALF_WIDTH_PX, np.sin(angles) / HALF_HEIGHT_PX)
    taps = {  # layer: {input channel: kernel}
        "down_level_0_no_0": dict.fromkeys(range(channels), -pointwise / channels),
        "down_level_0_no_1": {0: smooth},
        "middle_0": {0: pointwise},
        "middle_2": {0: pointwise},
        "up_level_0_no_0": {0: pooled_share * smooth, 4: (1 - pooled_share) * smooth},
        "up_level_0_no_2": {0: smooth},
        "features": {0: pointwise},
        "prob": {0: np.array([[20.0]])},
        "dist": {},
    }
    biases = {"down_level_0_no_0": 1.0, "prob": -20.0 * 0.45, "dist": radii}
    for name, channel_taps in taps.items():
        layer = network.keras_model.get_layer(name)
        kernel, bias = (np.zeros_like(part) for part in layer.get_weights())
        for channel, tap in channel_taps.items():
            kernel[:, :, channel, 0] = tap
        bias[: np.size(biases.get(name, 0.0))] = biases.get(name, 0.0)
        layer.set_weights([kernel, bias])
    network.keras_model.save_weights(str(folder / "tiny" / "weights_best.h5"))
    # StarDist's own defaults, said aloud as a trained model does.
    (folder / "tiny" / "thresholds.json").write_text('{"prob": 0.5, "nms": 0.4}')
    return folder / "tiny"
