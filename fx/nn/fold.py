"""Windows as columns and back, as layers."""

from collections.abc import Sequence

import jax

from fx import functional as F
from fx.nn.module import Module

Size = int | Sequence[int]


class Unfold(Module):
    """Makes a column of every window: [N, C, H, W] to [N, C * kh * kw, windows]; N may be absent.

    Args:
        kernel_size: of the window; a number, or one per axis.
        dilation: distance between the window's cells.
        padding: zeros on both sides.
        stride: of the window.

    Raises:
        ValueError: at a call, if the input has other axes, a size is out of range, or no window
            fits.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.Unfold(2)(jnp.ones((8, 3, 5, 4))).shape
        (8, 12, 12)

    Source: torch.nn.Unfold.
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1):
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, H, W] or [C, H, W] in, [N, C * kh * kw, windows] out."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """The window."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Adds up columns, [N, C * kh * kw, windows], to images [N, C, H, W]; N may be absent.

    Args:
        output_size: H and W, or one number for both.
        kernel_size: of the window; a number, or one per axis.
        dilation: distance between the window's cells.
        padding: how much is cut off on both sides.
        stride: of the window.

    Raises:
        ValueError: at a call, if the input has other axes, or not as many columns or rows as there
            are windows and cells; a size is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.Fold((5, 4), 2)(jnp.ones((8, 12, 12))).shape
        (8, 3, 5, 4)

    Source: torch.nn.Fold.
    """

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Size = 0,
        stride: Size = 1,
    ):
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C * kh * kw, windows] in, [N, C, H, W] out."""
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """The image and the window."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
