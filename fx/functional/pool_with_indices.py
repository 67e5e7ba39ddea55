"""Maxima with their places, under the names that torch has for them."""

import jax

from fx.functional import adaptive_pool, fractional_pool, pool
from fx.functional.adaptive_pool import Size as OutputSize
from fx.functional.fractional_pool import Ratio
from fx.functional.pool import Size

Pair = tuple[jax.Array, jax.Array]


def max_pool1d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pair:
    """`max_pool1d` with indices, whatever return_indices says."""
    return pool.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pair:
    """`max_pool2d` with indices, whatever return_indices says."""
    return pool.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pair:
    """`max_pool3d` with indices, whatever return_indices says."""
    return pool.max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def adaptive_max_pool1d_with_indices(
    input: jax.Array, output_size: Size, return_indices: bool = False
) -> Pair:
    """`adaptive_max_pool1d` with indices, whatever return_indices says."""
    return adaptive_pool.adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: jax.Array, output_size: OutputSize, return_indices: bool = False
) -> Pair:
    """`adaptive_max_pool2d` with indices, whatever return_indices says."""
    return adaptive_pool.adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: jax.Array, output_size: OutputSize, return_indices: bool = False
) -> Pair:
    """`adaptive_max_pool3d` with indices, whatever return_indices says."""
    return adaptive_pool.adaptive_max_pool3d(input, output_size, True)


def fractional_max_pool2d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> Pair:
    """`fractional_max_pool2d` with indices, whatever return_indices says."""
    return fractional_pool.fractional_max_pool2d(
        input, kernel_size, output_size, output_ratio, True, _random_samples, key=key
    )


def fractional_max_pool3d_with_indices(
    input: jax.Array,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> Pair:
    """`fractional_max_pool3d` with indices, whatever return_indices says."""
    return fractional_pool.fractional_max_pool3d(
        input, kernel_size, output_size, output_ratio, True, _random_samples, key=key
    )
