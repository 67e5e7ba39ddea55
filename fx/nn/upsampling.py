"""Interpolation to other sizes, as layers."""

from collections.abc import Sequence

import jax

from fx import functional as F
from fx.nn.module import Module

Size = int | Sequence[int] | None
Factor = float | Sequence[float] | None


class Upsample(Module):
    """Resizes the spatial axes of [N, C, L], [N, C, H, W] or [N, C, D, H, W].

    Args:
        size: of the output; a number, or one per axis.
        scale_factor: in place of size; floor(size * scale_factor) is the output's.
        mode: as `F.interpolate` has them: "nearest", "linear", "bilinear", "bicubic", "trilinear".
        align_corners: whether the corner pixels' centres, not their outer edges, stay in place.
        recompute_scale_factor: compute positions from the sizes in place of scale_factor.

    Raises:
        ValueError: at a call, if not exactly one of size and scale_factor is given, or the mode
            does not suit the input or the options.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.Upsample(scale_factor=2)(jnp.array([[[1.0, 2.0]]])).tolist()
        [[[1.0, 1.0, 2.0, 2.0]]]

    Source: torch.nn.Upsample.
    """

    def __init__(
        self,
        size: Size = None,
        scale_factor: Factor = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        self.size, self.mode, self.align_corners = size, mode, align_corners
        if isinstance(scale_factor, Sequence):
            self.scale_factor: Factor = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, *spatial] in, [N, C, *resized] out."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The factor or the size, and the mode."""
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Repeats the pixels of [N, C, H, W]; arguments as `Upsample`."""

    def __init__(self, size: Size = None, scale_factor: Factor = None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Interpolates [N, C, H, W] linearly between aligned corners; arguments as `Upsample`."""

    def __init__(self, size: Size = None, scale_factor: Factor = None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
