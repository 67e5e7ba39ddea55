"""The picture of a learning-rate range test."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fx.evaluate import drawing


def lr_range(
    lrs: ArrayLike,
    losses: ArrayLike,
    smoothed: ArrayLike,
    path: str | os.PathLike[str],
    marks: Mapping[str, float] | None = None,
) -> Path:
    """Draws loss over learning rate, with the rates that it suggests.

    Args:
        lrs: [N], rising, above 0.
        losses: [N].
        smoothed: [N].
        path: the picture's file; its folder is made if missing.
        marks: rates to mark on the smoothed line, by what they are called.

    Returns:
        The path.

    Raises:
        ValueError: no rates, or other numbers of losses.
        ImportError: without matplotlib.
    """
    rates, raw, smooth = (np.asarray(each, np.float64) for each in (lrs, losses, smoothed))
    if not len(rates) or not rates.shape == raw.shape == smooth.shape:
        raise ValueError(
            "lr_plot.lr_range: expected rates, losses and smoothed losses of one length above 0, "
            f"got shapes {list(rates.shape)}, {list(raw.shape)}, {list(smooth.shape)}"
        )
    figure = drawing.figure(6.0, 3.8)
    axis = figure.subplots()
    drawing.open_frame(axis)
    axis.plot(rates, raw, color=drawing.GREY, linewidth=0.8, alpha=0.7)
    axis.plot(rates, smooth, color=drawing.BLUE, linewidth=1.8)
    axis.set_xscale("log")
    axis.set(xlabel="learning rate", ylabel="loss")
    _bound(axis, smooth)
    axis.set_title("loss while the learning rate grows", loc="left")
    _mark(axis, rates, smooth, marks or {})
    return drawing.save(figure, path)


def _bound(axis: Any, smooth: np.ndarray) -> None:
    """Keeps the fall in sight where the loss shoots up at the end."""
    low, start = float(smooth.min()), float(smooth[: max(1, len(smooth) // 10)].mean())
    fall = start - low
    if fall > 0:
        axis.set_ylim(low - 0.15 * fall, min(float(smooth.max()), start + 0.6 * fall) + 0.1 * fall)


def _mark(axis: Any, rates: np.ndarray, smooth: np.ndarray, marks: Mapping[str, float]) -> None:
    """Dots on the line, and in the legend what they are; never by colour alone."""
    looks = zip(("o", "s", "^", "D"), (drawing.ORANGE, drawing.GREEN, drawing.PURPLE, drawing.INK))
    for (name, rate), (shape, hue) in zip(marks.items(), looks, strict=False):
        height = np.interp(np.log(rate), np.log(rates), smooth)
        label = drawing.plain_text(f"{name}: {rate:.2g}")
        axis.plot(rate, height, shape, color=hue, markersize=7, label=label, zorder=3)
        axis.axvline(rate, color=hue, linewidth=0.8, linestyle=":")
    if marks:
        axis.legend(frameon=False, loc="lower left")
