"""Pictures of activations: a grid of channels, or a map of features."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fx.debug.layers import Inspection, Layer
from fx.debug.report import floats
from fx.evaluate import drawing

_CHANNELS = 64  # in one picture
_ROWS = 64  # of a map
_BAD = "magenta"  # in neither of the two maps of colours


def draw_activations(
    inspection: Inspection,
    folder: str | os.PathLike[str],
    layers: Sequence[str] | None = None,
    sample: int = 0,
) -> list[Path]:
    """Draw what layers gave: one picture each.

    An output [N, C, H, W] becomes a grid of the sample's channels, [N, L, E] a map of its L rows,
    [N, F] a map of the samples. Colours run over the middle 99 % of the picture's values, around
    zero where they have both signs; what is not finite is magenta.

    Args:
        inspection: From `inspect_step`.
        folder: Where the pictures go, as `<layer's name>.png`.
        layers: Dotted names; None for every layer whose output has one of those shapes. Of one
            that gives several arrays the first is drawn.
        sample: Row of the batch.

    Returns:
        The paths.

    Raises:
        ValueError: A layer whose output has none of those shapes, or a sample outside of the batch.
        KeyError: A layer that was not called.
        ImportError: Without matplotlib.
    """
    chosen = [inspection[name] for name in layers] if layers is not None else [
        layer for layer in _last(inspection) if len(layer.shape) in (2, 3, 4) and layer.output.size
    ]  # fmt: skip
    return [_draw(layer, Path(folder), sample) for layer in chosen]


def _last(inspection: Inspection) -> list[Layer]:
    """The first array of each layer's last call."""
    places: dict[str, str] = {}
    for layer in inspection.layers:
        places.setdefault(layer.name, layer.place)
    first = [layer for layer in inspection.layers if layer.place == places[layer.name]]
    return list({layer.name: layer for layer in first}.values())


def _draw(layer: Layer, folder: Path, sample: int) -> Path:
    if len(layer.shape) not in (2, 3, 4) or not layer.output.size:
        raise ValueError(
            f'draw_activations "{layer.name}": expected an output [N, C, H, W], [N, L, E] or '
            f"[N, F], got {list(layer.shape)}"
        )
    if not 0 <= sample < layer.shape[0]:
        raise ValueError(
            f'draw_activations "{layer.name}": expected a sample of 0 to {layer.shape[0] - 1}, '
            f"got {sample}"
        )
    values = floats(layer.output)
    values = np.where(np.isfinite(values), values, np.nan)  # drawn in _BAD
    if values.ndim == 4:
        figure = _channels(layer, values[sample])
    else:
        figure = _map(layer, values[sample] if values.ndim == 3 else values)
    name = re.sub(r"[^\w.-]", "_", layer.name) or layer.kind
    return drawing.save(figure, folder / f"{name}.png")


def _channels(layer: Layer, values: np.ndarray):
    """A grid of the channels of one sample, [C, H, W]."""
    shown = values[:_CHANNELS]
    columns = min(8, len(shown))
    rows = math.ceil(len(shown) / columns)
    tall = shown.shape[1] / shown.shape[2]
    figure = drawing.figure(1.1 * columns + 1, 1.1 * min(max(tall, 0.4), 2.5) * rows + 0.9)
    axes = figure.subplots(rows, columns, squeeze=False)
    colours = _colours(shown)
    image = None
    for number, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if number < len(shown):
            image = axis.imshow(shown[number], interpolation="nearest", **colours)
            axis.set_title(str(number), fontsize=6, pad=2, color=drawing.INK)
    more = f", the first {len(shown)} of {len(values)}" if len(values) > len(shown) else ""
    _finish(figure, image, axes, f"{_title(layer)}: channels{more}")
    return figure


def _map(layer: Layer, values: np.ndarray):
    """Rows of features, [rows, features]."""
    shown = values[:_ROWS]
    height = min(max(0.12 * len(shown), 1.2), 6) + 1.1
    figure = drawing.figure(min(max(0.1 * shown.shape[1], 5), 10), height)
    axis = figure.subplots()
    image = axis.imshow(shown, aspect="auto", interpolation="nearest", **_colours(shown))
    axis.set_xlabel("feature")
    axis.set_ylabel("sample" if len(layer.shape) == 2 else "position")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.get_major_locator().set_params(integer=True)
    axis.spines[:].set_visible(False)
    _finish(figure, image, axis, _title(layer))
    return figure


def _finish(figure, image, axes, title: str) -> None:
    bar = figure.colorbar(image, ax=axes, extend="both", shrink=0.8, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(drawing.plain_text(title), fontsize=9, x=0.01, ha="left")


def _title(layer: Layer) -> str:
    label = f"{layer.kind} {layer.name}".rstrip()
    return f"{label}, {layer.dtype}{list(layer.shape)}"


def _colours(values: np.ndarray) -> dict:
    from matplotlib import colormaps

    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, (0.005, 0.995)) if finite.size else (0.0, 1.0)
    if low < 0 < high:
        low, high, name = -max(-low, high), max(-low, high), "RdBu_r"
    else:
        name = "viridis"
    return {"cmap": colormaps[name].with_extremes(bad=_BAD), "vmin": low, "vmax": high}
