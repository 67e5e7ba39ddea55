"""Maximum and average over windows as layers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from fx import functional as F
from fx.nn.module import Module

Size = int | Sequence[int]
OutputSize = int | Sequence[int | None]


class _MaxPool(Module):
    _pool: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode
        self.return_indices = return_indices

    def forward(self, input: jax.Array) -> Any:
        return type(self)._pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Maximum over windows of [N, C, L] or [C, L]; arguments and errors as `MaxPool2d`."""

    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """Maximum over windows of [N, C, H, W] or [C, H, W].

    Args:
        kernel_size: of the window; a number, or one per axis.
        stride: of the window; None is kernel_size.
        padding: cells of minus infinity on both sides, at most half of kernel_size.
        dilation: distance between the window's cells.
        return_indices: whether to give the maxima's places too, as `MaxUnpool2d` wants them.
        ceil_mode: a last window that starts inside the padded input but ends outside counts.

    Raises:
        ValueError: at a call, if the input has other axes, a size is out of range, or no window
            fits.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.MaxPool2d(2)(jnp.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[5.0, 7.0], [13.0, 15.0]]]

    Source: torch.nn.MaxPool2d.
    """

    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """Maximum over windows of [N, C, D, H, W]; arguments and errors as `MaxPool2d`."""

    _pool = staticmethod(F.max_pool3d)


class _AvgPool(Module):
    _pool: Callable[..., jax.Array]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: jax.Array) -> jax.Array:
        return type(self)._pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Module):
    """Average over windows of [N, C, L] or [C, L]; as `AvgPool2d`, without divisor_override."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        stride = kernel_size if stride is None else stride
        sizes = (kernel_size, stride, padding)
        # torch keeps tuples here, and numbers in the layers of two and three axes.
        self.kernel_size, self.stride, self.padding = (
            tuple(s) if isinstance(s, Sequence) else (s,) for s in sizes
        )
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, L] or [C, L] in, [N, C, L'] or [C, L'] out."""
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        """The window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """Average over windows of [N, C, H, W] or [C, H, W].

    Args:
        kernel_size: of the window; a number, or one per axis.
        stride: of the window; None is kernel_size.
        padding: zeros on both sides, at most half of kernel_size.
        ceil_mode: a last window that starts inside the padded input but ends outside counts.
        count_include_pad: whether padding counts in a window's size.
        divisor_override: what to divide the sums by in place of the window's size.

    Raises:
        ValueError: at a call, if the input has other axes, a size is out of range, or no window
            fits.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.AvgPool2d(2)(jnp.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[2.5, 4.5], [10.5, 12.5]]]

    Source: torch.nn.AvgPool2d.
    """

    _pool = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """Average over windows of [N, C, D, H, W]; arguments and errors as `AvgPool2d`."""

    _pool = staticmethod(F.avg_pool3d)


class _AdaptiveAvgPool(Module):
    _pool: Callable[..., jax.Array]

    def __init__(self, output_size: OutputSize):
        self.output_size = output_size

    def forward(self, input: jax.Array) -> jax.Array:
        return type(self)._pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Average over L' parts of [N, C, L] or [C, L]; arguments and errors as `AdaptiveAvgPool2d`."""

    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Average over as many parts of [N, C, H, W] or [C, H, W] as are asked for.

    Args:
        output_size: H' and W', or one number for both; None keeps the input's.

    Raises:
        ValueError: at a call, if the input has other axes or output_size is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.AdaptiveAvgPool2d(1)(jnp.ones((8, 3, 7, 5))).shape
        (8, 3, 1, 1)

    Source: torch.nn.AdaptiveAvgPool2d.
    """

    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Average over parts of [N, C, D, H, W]; arguments and errors as `AdaptiveAvgPool2d`."""

    _pool = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    _pool: Callable[..., Any]

    def __init__(self, output_size: OutputSize, return_indices: bool = False):
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: jax.Array) -> Any:
        return type(self)._pool(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maximum over L' parts of [N, C, L] or [C, L]; arguments and errors as `AdaptiveMaxPool2d`."""

    _pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maximum over as many parts of [N, C, H, W] or [C, H, W] as are asked for.

    Args:
        output_size: H' and W', or one number for both; None keeps the input's.
        return_indices: whether to give the maxima's places too.

    Raises:
        ValueError: at a call, if the input has other axes or output_size is out of range.

    Source: torch.nn.AdaptiveMaxPool2d.
    """

    _pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maximum over parts of [N, C, D, H, W]; arguments and errors as `AdaptiveMaxPool2d`."""

    _pool = staticmethod(F.adaptive_max_pool3d)


class _LPPool(Module):
    _pool: Callable[..., jax.Array]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
    ):
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, input: jax.Array) -> jax.Array:
        return type(self)._pool(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """Norm over windows of [N, C, L] or [C, L]; arguments and errors as `LPPool2d`."""

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """Norm over windows of [N, C, H, W] or [C, H, W]: (sum of x ** p) ** (1 / p).

    Args:
        norm_type: p; the maximum of |x| for infinity.
        kernel_size: of the window; a number, or one per axis.
        stride: of the window; None is kernel_size.
        ceil_mode: a last window that starts inside the input but ends outside counts.

    Raises:
        ValueError: at a call, if norm_type is 0, the input has other axes, a size is out of range,
            or no window fits.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.LPPool2d(2, (1, 2))(jnp.array([[[3.0, 4.0]]])).tolist()
        [[[5.0]]]

    Source: torch.nn.LPPool2d.
    """

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """Norm over windows of [N, C, D, H, W]; arguments and errors as `LPPool2d`."""

    _pool = staticmethod(F.lp_pool3d)
