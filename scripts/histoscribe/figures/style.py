"""The one look of all figures, and how they are saved."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscribe.storage import written_whole

MM = 1 / 25.4  # inch
FULL_WIDTH = 183 * MM  # two journal columns
CUT_PERCENTILE = 99
NOTHING = 1e-6  # expression that is none


def use_style(matplotlibrc: Path) -> None:
    """Take the project's matplotlib settings, from their defaults."""
    plt.rcdefaults()
    matplotlib.rc_file(matplotlibrc)


def read_palette(path: Path) -> dict[str, str]:
    """Colours by what they stand for."""
    return pd.read_csv(path, sep="\t").set_index("use")["colour"].to_dict()


def save_figure(figure: Figure, table: pd.DataFrame, paths: list[Path]) -> None:
    """Write the figure and the numbers it shows; the endings of `paths` say which is which."""
    for path in paths:
        with written_whole(path) as partial:
            if path.suffix == ".tsv":
                table.to_csv(partial, sep="\t", index=False, float_format="%.5g")
            else:
                figure.savefig(partial, format=path.suffix[1:])
    plt.close(figure)


def upper_cut(values: np.ndarray) -> float:
    """Upper end of a colour range: the 99th percentile, or the maximum where that is zero.

    1 where all values are zero.
    """
    cut = float(np.percentile(values, CUT_PERCENTILE))
    cut = cut if cut > NOTHING else float(values.max())
    return cut if cut > NOTHING else 1.0


def short_number(value: float, _place: int | None = None) -> str:
    """A tick's number in few letters: 0.5, 1,200, 45k, 3M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:,.6g}"


def round_length(width_um: float) -> tuple[float, str]:
    """A round length of a quarter of a panel's width or less, and its name."""
    longest = width_um / 4 * (1 + 1e-6)  # rounding must not halve it
    exponent = np.floor(np.log10(longest))
    length = max(f * 10**exponent for f in (1, 2, 5) if f * 10**exponent <= longest)
    return length, in_words(length)


def in_words(length_um: float) -> str:
    """A length with its unit."""
    return f"{length_um / 1000:.3g} mm" if length_um >= 1000 else f"{length_um:.3g} µm"


def draw_scale_bar(axes: Axes, width_um: float) -> None:
    """A scale bar of a round length, about a quarter of the panel, below its lower left corner."""
    length, label = round_length(width_um)
    axes.plot(
        [0, length / width_um], [-0.03, -0.03], transform=axes.transAxes,
        color="black", linewidth=1.6, clip_on=False, solid_capstyle="butt",
    )  # fmt: skip
    axes.text(0, -0.05, label, transform=axes.transAxes, va="top", ha="left", fontsize=6.5)
