"""Max pooling undone, as layers."""

from collections.abc import Callable, Sequence

import jax

from fx import functional as F
from fx.nn.checks import per_axis
from fx.nn.module import Module

Size = int | Sequence[int]


class _MaxUnpool(Module):
    _dims: int
    _unpool: Callable[..., jax.Array]

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        stride = kernel_size if stride is None else stride
        self.kernel_size = per_axis(self, self._dims, "kernel_size", kernel_size)
        self.stride = per_axis(self, self._dims, "stride", stride)
        self.padding = per_axis(self, self._dims, "padding", padding)

    def forward(
        self, input: jax.Array, indices: jax.Array, output_size: Sequence[int] | None = None
    ) -> jax.Array:
        return type(self)._unpool(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Puts maxima back into zeros [N, C, L] or [C, L]; arguments and errors as `MaxUnpool2d`."""

    _dims = 1
    _unpool = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Puts maxima back where `MaxPool2d` found them, into zeros [N, C, H, W] or [C, H, W].

    Called as ``layer(input, indices, output_size=None)``, with the pair that ``MaxPool2d(...,
    return_indices=True)`` gives.

    Args:
        kernel_size: of the pooling's window; a number, or one per axis.
        stride: of the window; None is kernel_size.
        padding: of the pooling.

    Raises:
        TypeError: at a call, if the indices are not integers.
        ValueError: a size is neither a number nor one per axis; at a call, the input has other
            axes, the indices another shape, or output_size is not within a stride of the fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> maxima, places = nn.MaxPool2d(2, return_indices=True)(jnp.array([[[1, 2], [4, 3]]]))
        >>> nn.MaxUnpool2d(2)(maxima, places).tolist()
        [[[0, 0], [4, 0]]]

    Source: torch.nn.MaxUnpool2d.
    """

    _dims = 2
    _unpool = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """Puts maxima back into zeros [N, C, D, H, W]; arguments and errors as `MaxUnpool2d`."""

    _dims = 3
    _unpool = staticmethod(F.max_unpool3d)
