"""Maximum over windows at random distances, as layers."""

from collections.abc import Callable
from typing import Any

import jax

from fx import functional as F
from fx.functional.fractional_pool import Ratio
from fx.nn.checks import per_axis
from fx.nn.module import Module
from fx.nn.parameter import Buffer
from fx.nn.pooling import Size


class _FractionalMaxPool(Module):
    _dims: int
    _pool: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: jax.Array | None = None,
    ):
        kind, dims = type(self).__name__, self._dims
        self.kernel_size = per_axis(self, dims, "kernel_size", kernel_size)
        self.return_indices = return_indices
        self._random_samples = None if _random_samples is None else Buffer(_random_samples)
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{kind}: expected either output_size or output_ratio, got "
                f"output_size={output_size}, output_ratio={output_ratio}"
            )
        self.output_size: Any = None
        self.output_ratio: Any = None
        if output_size is not None:
            self.output_size = per_axis(self, dims, "output_size", output_size)
        else:
            ratio: Any = output_ratio
            ratios = tuple(ratio) if isinstance(ratio, tuple | list) else (ratio,) * dims
            if len(ratios) != dims or not all(0 < r < 1 for r in ratios):
                raise ValueError(
                    f"{kind}: expected output_ratio between 0 and 1, one number or {dims}, "
                    f"got {output_ratio}"
                )
            self.output_ratio = ratios

    def forward(self, input: jax.Array) -> Any:
        samples = self._random_samples
        return type(self)._pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            samples, key=self.next_key() if samples is None else None,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maximum over windows of [N, C, H, W] or [C, H, W] whose distances are random.

    They are random in evaluation too, as in torch: `apply` needs a key wherever samples are not
    given.

    Args:
        kernel_size: of the window; a number, or one per axis.
        output_size: H' and W', or one number for both.
        output_ratio: in place of output_size, what part of the input's it is; between 0 and 1.
        return_indices: whether to give the maxima's places too.
        _random_samples: [N, C, 2], numbers from 0 to 1 that fix the windows.

    Raises:
        ValueError: not exactly one of output_size and output_ratio, or a ratio out of range; at a
            call, the input has other axes or is too small, or there is no key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.FractionalMaxPool2d(2, output_ratio=0.7)
        >>> layer.apply({}, {}, jnp.ones((8, 3, 9, 9)), key=jax.random.key(0))[0].shape
        (8, 3, 6, 6)

    Source: Graham, Fractional Max-Pooling, 2014; torch.nn.FractionalMaxPool2d.
    """

    _dims = 2
    _pool = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """As `FractionalMaxPool2d` over [N, C, D, H, W]; its samples are [N, C, 3], for D, H and W."""

    _dims = 3
    _pool = staticmethod(F.fractional_max_pool3d)
