"""Convolutions as layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from fx import functional as F
from fx.nn import init
from fx.nn.checks import no_device, of_dtype, per_axis, positive, shape_error
from fx.nn.linear import bias_like_torch
from fx.nn.module import Module
from fx.nn.parameter import Parameter

AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

Size = int | Sequence[int]


class _Conv(Module):
    _dims: int
    _convolve: Callable[..., jax.Array]
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: None = None,
        dtype: Any = None,
    ):
        no_device(self, device)
        positive(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = per_axis(self, self._dims, "kernel_size", kernel_size)
        self.stride = per_axis(self, self._dims, "stride", stride, True)
        if not isinstance(padding, str):
            padding = per_axis(self, self._dims, "padding", padding, padding_mode == "zeros")
        self.padding = padding
        self.dilation = per_axis(self, self._dims, "dilation", dilation, True)
        self.output_padding = (0,) * self._dims
        self.groups, self.padding_mode = groups, padding_mode
        self._check_settings()
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(shape, init.kaiming_uniform(a=math.sqrt(5)), dtype)
        fan_in = math.prod(shape[1:])
        self.bias = bias_like_torch(out_channels, fan_in, dtype) if bias else None

    def _check_settings(self) -> None:
        kind = type(self).__name__
        for name in ("kernel_size", "stride", "dilation"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{kind}: expected {name} of 1 or more, got {getattr(self, name)}")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{kind}: expected groups to divide in_channels and out_channels, got groups="
                f"{self.groups}, in_channels={self.in_channels}, out_channels={self.out_channels}"
            )
        if self.padding == "same" and max(self.stride) > 1:
            raise ValueError(
                f'{kind}: expected stride 1 with padding="same", got stride={self.stride}; '
                "give the padding as numbers"
            )
        if self.padding not in ("same", "valid") and (
            isinstance(self.padding, str) or min(self.padding) < 0
        ):
            raise ValueError(
                f'{kind}: expected padding "same", "valid" or numbers of 0 or more, '
                f"got {self.padding!r}"
            )
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{kind}: expected padding_mode one of {', '.join(PADDING_MODES)}; "
                f"got {self.padding_mode!r}"
            )

    def forward(self, input: jax.Array) -> jax.Array:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(
        self, input: jax.Array, weight: jax.Array, bias: jax.Array | None
    ) -> jax.Array:
        """The convolution with other weights; torch's name, which layers of users' own call."""
        input = of_dtype(self, input, weight.dtype)
        self._check_shape(input)
        padding = self.padding
        if self.padding_mode != "zeros" and padding != "valid":
            input, padding = F.pad(input, self._borders(), self.padding_mode), 0
        return type(self)._convolve(
            input, weight, bias, self.stride, padding, self.dilation, self.groups
        )

    def _borders(self) -> list[int]:
        """How much to pad, last axis first, as `F.pad` wants it."""
        padding: Any = self.padding
        if padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(p, p) for p in padding]
        return [n for pair in reversed(pairs) for n in pair]

    def _check_shape(self, input: jax.Array) -> None:
        dims, channels = self._dims, self.in_channels
        axis = input.ndim - dims - 1
        if axis in (0, 1) and input.shape[axis] == channels:
            return
        expected = f"[N, {channels}, {AXES[dims]}]"
        if axis not in (0, 1):
            mend = f"it has {input.ndim} axes where {dims + 2} are due, or {dims + 1} without N"
        elif input.shape[-1] == channels:
            mend = f"its channels come last: move them, jnp.moveaxis(x, -1, {axis})"
        else:
            mend = f"set in_channels={input.shape[axis]}"
        raise shape_error(self, expected, input, mend)

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        shown += f", stride={self.stride}"
        if self.padding != (0,) * self._dims:
            shown += f", padding={self.padding}"
        if self.dilation != (1,) * self._dims:
            shown += f", dilation={self.dilation}"
        if self.groups != 1:
            shown += f", groups={self.groups}"
        if self.bias is None:
            shown += ", bias=False"
        if self.padding_mode != "zeros":
            shown += f", padding_mode={self.padding_mode}"
        return shown


class Conv1d(_Conv):
    """Convolution over sequences [N, C, L] or [C, L]; arguments and errors as `Conv2d`."""

    _dims = 1
    _convolve = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """Convolution over images, [N, in, H, W] or [in, H, W] to [N, out, H', W'] or [out, H', W'].

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: of the window; a number, or one per axis.
        stride: of the window; a number, or one per axis.
        padding: on both sides, a number or one per axis; "valid" (none) or "same" (as much as keeps
            the size).
        dilation: distance between the weight's elements.
        groups: number of blocks of channels that do not see each other.
        bias: whether a bias is added.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: must be None.
        dtype: of weight and bias; float32 unless told.

    Parameters: weight [out, in / groups, kh, kw], He-uniform with a = sqrt(5); bias [out], uniform
    within 1 / sqrt(in / groups * kh * kw).

    Raises:
        TypeError: a number of channels or groups is not an integer; at a call, the input is not of
            the weight's dtype.
        ValueError: a size is out of range; groups does not divide the channels; padding="same" with
            a stride; an unknown padding or padding_mode; device is not None; at a call, the input
            has other axes or channels, or is smaller than the window.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.Conv2d(3, 16, 3, padding="same")
        >>> params, state = layer.init(jax.random.key(0))
        >>> layer.apply(params, state, jnp.ones((8, 3, 32, 32)))[0].shape
        (8, 16, 32, 32)

    Source: torch.nn.Conv2d, whose output has no channels where its input has none.
    """

    _dims = 2
    _convolve = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """Convolution over volumes [N, C, D, H, W]; arguments and errors as `Conv2d`."""

    _dims = 3
    _convolve = staticmethod(F.conv3d)
