"""Pixels from channels and back, as layers."""

import jax

from fx import functional as F
from fx.nn.module import Module


class PixelShuffle(Module):
    """Makes images r times as large, [..., C * r * r, H, W] to [..., C, H * r, W * r].

    Args:
        upscale_factor: r.

    Raises:
        ValueError: at a call, if r * r does not divide the channels, or an axis is missing.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.PixelShuffle(2)(jnp.ones((8, 12, 5, 4))).shape
        (8, 3, 10, 8)

    Source: torch.nn.PixelShuffle.
    """

    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor

    def forward(self, input: jax.Array) -> jax.Array:
        """[..., C * r * r, H, W] in, [..., C, H * r, W * r] out."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Makes channels of pixels, [..., C, H * r, W * r] to [..., C * r * r, H, W].

    Args:
        downscale_factor: r.

    Raises:
        ValueError: at a call, if r does not divide the height and width, or an axis is missing.

    Source: torch.nn.PixelUnshuffle.
    """

    def __init__(self, downscale_factor: int):
        self.downscale_factor = downscale_factor

    def forward(self, input: jax.Array) -> jax.Array:
        """[..., C, H * r, W * r] in, [..., C * r * r, H, W] out."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Takes channels of [N, C, ...] from every group in turn.

    Args:
        groups: number of groups that the channels stand in.

    Raises:
        ValueError: at a call, if groups does not divide the channels, or an axis is missing.

    Source: torch.nn.ChannelShuffle.
    """

    def __init__(self, groups: int):
        self.groups = groups

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, ...] in, the same out."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """The groups."""
        return f"groups={self.groups}"
