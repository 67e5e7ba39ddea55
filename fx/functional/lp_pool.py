"""Norms over windows."""

import math

import jax
import jax.numpy as jnp

from fx.functional import pool
from fx.functional.dtypes import accumulate
from fx.functional.layout import per_axis
from fx.functional.pool import Size

MAX = {1: pool.max_pool1d, 2: pool.max_pool2d, 3: pool.max_pool3d}
AVERAGE = {1: pool.avg_pool1d, 2: pool.avg_pool2d, 3: pool.avg_pool3d}


def lp_pool1d(
    input: jax.Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> jax.Array:
    """Norm over windows of [N, C, L] or [C, L]; arguments as `lp_pool2d`."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(
    input: jax.Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> jax.Array:
    """Norm over windows: (sum of x ** p) ** (1 / p), the maximum of |x| for infinity.

    Where the sum is 0 the derivative is NaN, as in torch; it is the sum of x, not of |x|, that an
    odd p takes.

    Args:
        input: [N, C, H, W] or [C, H, W]; float16 and bfloat16 compute in float32. Of integers a
            whole p takes the mean of the powers in integers, as torch does.
        norm_type: p; may be infinite.
        kernel_size: of the window; a number, or one per axis.
        stride: of the window; None is kernel_size.
        ceil_mode: a last window that starts inside the input but ends outside counts; its sum is
            scaled to a whole window's.

    Returns:
        [N, C, H', W'] or [C, H', W'], the input's dtype; float32 of integers and a finite p.

    Raises:
        TypeError: a size is not an integer, or the input is of booleans.
        ValueError: norm_type is 0; the input has other axes; a size is out of range; no window
            fits.

    Example:
        >>> import jax.numpy as jnp
        >>> lp_pool2d(jnp.array([[[3.0, 4.0]]]), 2, (1, 2)).tolist()
        [[[5.0]]]

    Source: torch.nn.functional.lp_pool2d; here a sequence of one number counts for every axis.
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2)


def lp_pool3d(
    input: jax.Array,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> jax.Array:
    """Norm over windows of [N, C, D, H, W] or [C, D, H, W]; arguments as `lp_pool2d`."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 3)


def _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, dims):
    where = f"lp_pool{dims}d"
    if norm_type == 0:
        raise ValueError(f"{where}: expected norm_type other than 0, got 0")
    x = jnp.asarray(input)
    dtype, whole = x.dtype, jnp.issubdtype(x.dtype, jnp.integer)
    x = x if whole else accumulate(x, where)
    if math.isinf(norm_type):
        sign, size = 1 if norm_type > 0 else -1, jnp.abs(jnp.where(x == 0, 0, x))
        return (sign * MAX[dims](sign * size, kernel_size, stride, 0, 1, ceil_mode)).astype(dtype)
    dtype = jnp.float32 if whole else dtype
    # Whole powers take products, which are exact for negative x too.
    power = int(norm_type) if float(norm_type).is_integer() else norm_type
    if not isinstance(power, int) or power < 0:
        x = x.astype(jnp.float32) if whole else x
    mean = AVERAGE[dims](x**power, kernel_size, stride, 0, ceil_mode)
    mean = mean.astype(dtype) if whole else mean
    cells = math.prod(per_axis(kernel_size, dims, where, "kernel_size"))
    size = jnp.abs(mean)  # no gradient at 0, as in torch; that of NaN is NaN
    total = jnp.sign(mean) * jnp.where(size <= 0, 0, size) * cells
    return (total ** (1.0 / norm_type)).astype(dtype)
