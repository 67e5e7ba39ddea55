"""Where interpolation reads its input along one axis, and with which weights.

Positions are computed on the host. For a nearest neighbour they are float32 (float64 for float64
input) and take torch's steps, because a rounding decides which pixel is read; else float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CUBIC = -0.75
CUBIC_ANTIALIAS = -0.5  # as in Pillow
LANCZOS = 3


@dataclass(frozen=True)
class Axis:
    """One axis to be resized: its sizes, the scale that was asked for, and how corners lie."""

    size: int
    out: int
    scale_factor: float | None
    align_corners: bool
    dtype: type[np.floating]

    def step(self) -> np.floating:
        """Distance of neighbouring outputs in input pixels."""
        if self.align_corners:
            if self.out < 2:
                return self.dtype(0)
            return self.dtype(self.size - 1) / self.dtype(self.out - 1)
        if self.scale_factor is not None and self.scale_factor > 0:
            return self.dtype(1.0 / self.scale_factor)
        return self.dtype(self.size) / self.dtype(self.out)

    def positions(self) -> np.ndarray:
        """The outputs' centres in input pixels."""
        outputs = np.arange(self.out).astype(self.dtype)
        if self.align_corners:
            return self.step() * outputs
        return self.step() * (outputs + self.dtype(0.5)) - self.dtype(0.5)


def nearest(axis: Axis, exact: bool, small: bool = False) -> np.ndarray:
    """The input pixel of each output, [out]; `small` is of an image that torch's CPU code tells.

    There an axis that keeps its size, or doubles it, is read so whatever the factor was.
    """
    if small and axis.out in (axis.size, 2 * axis.size):
        return np.arange(axis.out) // (axis.out // axis.size)
    outputs = np.arange(axis.out).astype(axis.dtype)
    if exact:
        outputs = outputs + axis.dtype(0.5)
    found = np.floor(outputs * axis.step()).astype(np.int64)
    return np.minimum(found, axis.size - 1)


def linear(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, not yet clipped to the input, and their weights, [out, 2]."""
    if axis.out == axis.size:
        outputs = np.arange(axis.out)
        return np.stack([outputs, outputs + 1], 1), np.tile([1.0, 0.0], (axis.out, 1))
    positions = axis.positions()
    first = np.floor(positions).astype(np.int64)
    part = positions - first
    return np.stack([first, first + 1], 1), np.stack([1 - part, part], 1)


def cubic(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, not yet clipped to the input, and their weights, [out, 4]."""
    positions = axis.positions()
    first = np.floor(positions).astype(np.int64)
    part = (positions - first).astype(np.float64)
    offsets = np.arange(-1, 3)
    weights = cubic_filter(np.abs(part[:, None] - offsets), CUBIC)
    return first[:, None] + offsets, weights


def antialiased(axis: Axis, filter: Callable[[np.ndarray], np.ndarray], reach: int) -> np.ndarray:
    """The matrix [out, size] of an interpolation whose filter grows where the image shrinks.

    Args:
        axis: the axis.
        filter: weight of a distance in pixels.
        reach: distance at which the filter ends.
    """
    step = axis.step()
    widen = max(step, axis.dtype(1))
    centres = step * (np.arange(axis.out).astype(axis.dtype) + axis.dtype(0.5))
    support = axis.dtype(reach) * widen
    half = axis.dtype(0.5)
    low = np.maximum((centres - support + half).astype(np.int64), 0)[:, None]
    high = np.minimum((centres + support + half).astype(np.int64), axis.size)[:, None]
    pixels = np.arange(axis.size)
    distances = (pixels - centres[:, None].astype(np.float64) + 0.5) / widen
    weights = np.where((low <= pixels) & (pixels < high), filter(np.abs(distances)), 0.0)
    totals = weights.sum(1, keepdims=True)
    return weights / np.where(totals == 0, 1, totals)


def linear_filter(distance: np.ndarray) -> np.ndarray:
    """A triangle."""
    return np.maximum(1 - distance, 0)


def cubic_filter(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution with the free parameter a."""
    x = distance
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def lanczos_filter(distance: np.ndarray) -> np.ndarray:
    """A sinc under a wider sinc."""
    inside = distance < LANCZOS
    return np.where(inside, np.sinc(distance) * np.sinc(distance / LANCZOS), 0.0)
