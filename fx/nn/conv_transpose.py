"""Transposed convolutions as layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from fx import functional as F
from fx.nn import init
from fx.nn.checks import no_device, of_dtype, per_axis, positive, shape_error
from fx.nn.conv import AXES
from fx.nn.linear import bias_like_torch
from fx.nn.module import Module, where
from fx.nn.parameter import Parameter

Size = int | Sequence[int]


class _ConvTranspose(Module):
    _dims: int
    _transpose: Callable[..., jax.Array]
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: None = None,
        dtype: Any = None,
    ):
        no_device(self, device)
        positive(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = per_axis(self, self._dims, "kernel_size", kernel_size)
        self.stride = per_axis(self, self._dims, "stride", stride, True)
        self.padding = per_axis(self, self._dims, "padding", padding, True)
        self.dilation = per_axis(self, self._dims, "dilation", dilation, True)
        self.output_padding = per_axis(self, self._dims, "output_padding", output_padding, True)
        self.groups, self.padding_mode = groups, padding_mode
        self._check_settings()
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self.weight = Parameter(shape, init.kaiming_uniform(a=math.sqrt(5)), dtype)
        fan_in = math.prod(shape[1:])  # torch counts it so here too
        self.bias = bias_like_torch(out_channels, fan_in, dtype) if bias else None

    def _check_settings(self) -> None:
        kind = type(self).__name__
        for name, least in [
            ("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0),
            ("output_padding", 0),
        ]:  # fmt: skip
            value = getattr(self, name)
            if min(value) < least:
                raise ValueError(f"{kind}: expected {name} of {least} or more, got {value}")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{kind}: expected groups to divide in_channels and out_channels, got groups="
                f"{self.groups}, in_channels={self.in_channels}, out_channels={self.out_channels}"
            )
        if self.padding_mode != "zeros":
            raise ValueError(f'{kind}: expected padding_mode "zeros", got {self.padding_mode!r}')

    def forward(self, input: jax.Array, output_size: Sequence[int] | None = None) -> jax.Array:
        input = of_dtype(self, input, self.weight.dtype)
        self._check_shape(input)
        more = self.output_padding
        if output_size is not None:
            more = self._padding_for(input, tuple(output_size))
        return type(self)._transpose(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups,
            self.dilation,
        )  # fmt: skip

    def _padding_for(self, input: jax.Array, output_size: tuple[int, ...]) -> tuple[int, ...]:
        """The output_padding that makes an output of the size."""
        dims = self._dims
        if len(output_size) == input.ndim:
            output_size = output_size[-dims:]
        sizes = zip(input.shape[-dims:], self.stride, self.padding, self.dilation, self.kernel_size)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in sizes]
        most = [low + s - 1 for low, s in zip(least, self.stride)]
        if len(output_size) != dims or any(
            not low <= size <= high for low, size, high in zip(least, output_size, most)
        ):
            raise ValueError(
                f"{where(self)}: expected output_size from {least} to {most} for input "
                f"{list(input.shape)}, got {list(output_size)}"
            )
        return tuple(size - low for size, low in zip(output_size, least))

    def _check_shape(self, input: jax.Array) -> None:
        dims, channels = self._dims, self.in_channels
        axis = input.ndim - dims - 1
        if axis not in (0, 1):
            mend = f"it has {input.ndim} axes where {dims + 2} are due, or {dims + 1} without N"
        elif input.shape[axis] != channels:
            mend = f"set in_channels={input.shape[axis]}"
        else:
            return
        raise shape_error(self, f"[N, {channels}, {AXES[dims]}]", input, mend)

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        shown += f", stride={self.stride}"
        for name, default in [("padding", 0), ("dilation", 1), ("output_padding", 0)]:
            if getattr(self, name) != (default,) * self._dims:
                shown += f", {name}={getattr(self, name)}"
        if self.groups != 1:
            shown += f", groups={self.groups}"
        return shown + (", bias=False" if self.bias is None else "")


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over [N, C, L] or [C, L]; arguments as `ConvTranspose2d`."""

    _dims = 1
    _transpose = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution, [N, in, H, W] or [in, H, W] to [N, out, H', W'] or [out, H', W'].

    Called as ``layer(input, output_size=None)``: an output_size [H', W'] (or the whole shape) picks
    one of the sizes that a stride allows, in place of output_padding.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: of the window; a number, or one per axis.
        stride: distance in the output between neighbours of the input.
        padding: how much is cut off on both sides.
        output_padding: how much is added at the end; less than stride or dilation.
        groups: number of blocks of channels that do not see each other.
        bias: whether a bias is added.
        dilation: distance between the weight's elements.
        padding_mode: must be "zeros".
        device: must be None.
        dtype: of weight and bias; float32 unless told.

    Parameters: weight [in, out / groups, kh, kw], He-uniform with a = sqrt(5); bias [out], uniform
    within 1 / sqrt(out / groups * kh * kw).

    Raises:
        TypeError: a number of channels or groups is not an integer; at a call, the input is not of
            the weight's dtype.
        ValueError: a size is out of range; groups does not divide the channels; padding_mode is not
            "zeros"; device is not None; at a call, the input has other axes or channels, or cannot
            give the output_size.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)
        >>> params, state = layer.init(jax.random.key(0))
        >>> layer.apply(params, state, jnp.ones((8, 16, 8, 8)))[0].shape
        (8, 3, 16, 16)

    Source: torch.nn.ConvTranspose2d.
    """

    _dims = 2
    _transpose = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over [N, C, D, H, W]; arguments and errors as `ConvTranspose2d`."""

    _dims = 3
    _transpose = staticmethod(F.conv_transpose3d)
