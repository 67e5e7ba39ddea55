"""Padding as layers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx import functional as F
from fx.nn.checks import per_axis, shape_error
from fx.nn.conv import AXES
from fx.nn.module import Module

Size = int | Sequence[int]


class _Pad(Module):
    _dims: int
    _mode: str

    def __init__(self, padding: Size):
        self.padding = per_axis(self, 2 * self._dims, "padding", padding)

    def forward(self, input: jax.Array) -> jax.Array:
        axes = jnp.ndim(input)
        if axes not in (self._dims + 1, self._dims + 2):
            expected = f"[N, C, {AXES[self._dims]}] or [C, {AXES[self._dims]}]"
            raise shape_error(self, expected, input, f"reshape it to {self._dims + 2} axes")
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(Module):
    _dims: int

    def __init__(self, padding: Size, value: float):
        self.padding = per_axis(self, 2 * self._dims, "padding", padding)
        self.value = value

    def forward(self, input: jax.Array) -> jax.Array:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Size):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """Adds a value at the ends of [..., L]; as `ConstantPad2d`."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Adds a value at the ends of the last two axes, [..., H, W].

    Args:
        padding: left, right, top and bottom, or one number for all; negative ones crop.
        value: of the new elements.

    Raises:
        ValueError: padding is neither a number nor four; at a call, the input has too few
            axes or elements.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.ConstantPad2d((1, 0, 0, 0), 3.5)(jnp.array([[[1.0, 2.0]]])).tolist()
        [[[3.5, 1.0, 2.0]]]

    Source: torch.nn.ConstantPad2d.
    """

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Adds a value at the ends of [..., D, H, W]; as `ConstantPad2d`."""

    _dims = 3


class ZeroPad1d(_ZeroPad):
    """Adds zeros at the ends of [..., L]; as `ZeroPad2d`."""

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """Adds zeros at the ends of the last two axes, [..., H, W].

    Args:
        padding: left, right, top and bottom, or one number for all; negative ones crop.

    Raises:
        ValueError: padding is neither a number nor four; at a call, the input has too few
            axes or elements.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.ZeroPad2d((1, 0, 0, 0))(jnp.array([[[1.0, 2.0]]])).tolist()
        [[[0.0, 1.0, 2.0]]]

    Source: torch.nn.ZeroPad2d.
    """

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """Adds zeros at the ends of [..., D, H, W]; as `ZeroPad2d`."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Mirrors the inside at the ends of [..., L]; as `ReflectionPad2d`."""

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Mirrors the inside at the ends of the last two axes, [..., H, W].

    Args:
        padding: left, right, top and bottom, or one number for all; negative ones crop.

    Raises:
        ValueError: padding is neither a number nor four; at a call, the input has other axes, or is
            not larger than the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.ReflectionPad2d((1, 0, 0, 0))(jnp.array([[[1.0, 2.0]]])).tolist()
        [[[2.0, 1.0, 2.0]]]

    Source: torch.nn.ReflectionPad2d.
    """

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Mirrors the inside at the ends of [..., D, H, W]; as `ReflectionPad2d`."""

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the border at the ends of [..., L]; as `ReplicationPad2d`."""

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the border at the ends of the last two axes, [..., H, W].

    Args:
        padding: left, right, top and bottom, or one number for all; negative ones crop.

    Raises:
        ValueError: padding is neither a number nor four; at a call, the input has other axes, or
            nothing to repeat.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.ReplicationPad2d((1, 0, 0, 0))(jnp.array([[[1.0, 2.0]]])).tolist()
        [[[1.0, 1.0, 2.0]]]

    Source: torch.nn.ReplicationPad2d.
    """

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Repeats the border at the ends of [..., D, H, W]; as `ReplicationPad2d`."""

    _dims = 3
    _mode = "replicate"


class CircularPad1d(_Pad):
    """Goes on with the other side at the ends of [..., L]; as `CircularPad2d`."""

    _dims = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """Goes on with the other side at the ends of the last two axes, [..., H, W].

    Args:
        padding: left, right, top and bottom, or one number for all; negative ones crop.

    Raises:
        ValueError: padding is neither a number nor four; at a call, the input has other axes, or is
            smaller than the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.CircularPad2d((1, 0, 0, 0))(jnp.array([[[1.0, 2.0]]])).tolist()
        [[[2.0, 1.0, 2.0]]]

    Source: torch.nn.CircularPad2d.
    """

    _dims = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """Goes on with the other side at the ends of [..., D, H, W]; as `CircularPad2d`."""

    _dims = 3
    _mode = "circular"
