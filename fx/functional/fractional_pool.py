"""Maximum over windows that lie at random distances."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.functional.layout import SPATIAL_AXES, per_axis
from fx.functional.pool import Pooled, Size, check_axes, first_maximum_and_place

Ratio = float | Sequence[float]


def fractional_max_pool2d(
    input: jax.Array,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> Pooled:
    """Maximum over windows whose distances are random and fit the size that is asked for.

    Args:
        input: [N, C, H, W] or [C, H, W].
        kernel_size: of the window; a number, or one per axis.
        output_size: H' and W', or one number for both.
        output_ratio: where output_size is None, what part of the input's it is; between 0 and 1.
        return_indices: whether to say where the maxima stand.
        _random_samples: [N, C, 2], numbers from 0 to 1 that fix the windows of each channel along
            W and H; drawn from the key where absent.
        key: for the random windows; needed without _random_samples.

    Returns:
        [N, C, H', W'] or [C, H', W'], the input's dtype; with return_indices a pair of it and of
        the maxima's places, y * W + x, in the same shape.

    Raises:
        TypeError: a size is not an integer.
        ValueError: the input has other axes; neither output_size nor output_ratio; a
            size is out of range; neither samples nor a key; samples of another shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.ones((8, 3, 9, 9))
        >>> fractional_max_pool2d(x, 2, output_ratio=0.7, key=jax.random.key(0)).shape
        (8, 3, 6, 6)

    Source: Graham, Fractional Max-Pooling, 2014; torch.nn.functional.fractional_max_pool2d.
    """
    sizes = (kernel_size, output_size, output_ratio)
    return _fractional(input, sizes, return_indices, _random_samples, key, 2)


def fractional_max_pool3d(
    input: jax.Array,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: jax.Array | None = None,
    *,
    key: jax.Array | None = None,
) -> Pooled:
    """As `fractional_max_pool2d` over [N, C, D, H, W] or [C, D, H, W].

    Its samples are [N, C, 3], for D, H and W.
    """
    sizes = (kernel_size, output_size, output_ratio)
    return _fractional(input, sizes, return_indices, _random_samples, key, 3)


def _fractional(input, sizes, return_indices, samples, key, dims):
    where, x = f"fractional_max_pool{dims}d", jnp.asarray(input)
    if x.ndim not in (dims + 1, dims + 2):
        raise ValueError(
            f"{where}: expected input [N, C, {SPATIAL_AXES[dims]}] or [C, {SPATIAL_AXES[dims]}], "
            f"got {list(x.shape)}; reshape it to {dims + 2} axes"
        )
    channels, *spatial = x.shape[-dims - 1 :]
    check_axes(channels, spatial, where)
    batch = x if x.ndim == dims + 2 else x[None]
    kernel, out = _sizes(batch.shape[2:], sizes, dims, where)
    samples = _samples(batch, samples, key, dims, where)
    if dims == 2:
        samples = samples[..., ::-1]  # torch has W before H, but D before H before W

    def plane(x, sample):  # [*spatial], [dims]
        places = jnp.arange(x.size).reshape(x.shape)
        for axis in range(dims):
            cells = _cells(sample[axis], x.shape[axis], out[axis], kernel[axis])
            x, places = x.take(cells, axis, mode="clip"), places.take(cells, axis, mode="clip")
        shape = [n for pair in zip(out, kernel) for n in pair]
        x, places = x.reshape(shape), places.reshape(shape)  # [H', kh, W', kw]
        offsets = list(itertools.product(*map(range, kernel)))
        index = [tuple(part for k in o for part in (slice(None), k)) for o in offsets]
        return first_maximum_and_place([x[i] for i in index], [places[i] for i in index])

    output = jax.vmap(jax.vmap(plane))(batch, samples)
    output = output if x.ndim == dims + 2 else jax.tree.map(lambda y: y[0], output)
    return output if return_indices else output[0]


def _cells(sample, size, out, kernel):
    """The cells of all windows along an axis, one window after the other, [out * kernel]."""
    last = jnp.full((1,), size - kernel)
    if out > 1:
        step = jnp.asarray(size - kernel, sample.dtype) / jnp.asarray(out - 1, sample.dtype)
        windows = jnp.arange(out - 1).astype(sample.dtype)
        starts = ((windows + sample) * step).astype(int) - (sample * step).astype(int)
        last = jnp.concatenate([starts, last])
    return (last[:, None] + jnp.arange(kernel)).reshape(-1)


def _sizes(spatial, sizes, dims, where):
    kernel_size, output_size, output_ratio = sizes
    if output_size is None and output_ratio is None:
        raise ValueError(f"{where}: expected either output_size or output_ratio, got neither")
    if output_size is None:
        given = output_ratio
        ratios = tuple(given) if isinstance(given, Sequence) else (given,) * dims
        if len(ratios) != dims:
            raise ValueError(f"{where}: expected output_ratio of {dims} numbers, got {given}")
        output_size = tuple(int(n * ratio) for n, ratio in zip(spatial, ratios))
    kernel = per_axis(kernel_size, dims, where, "kernel_size")
    out = per_axis(output_size, dims, where, "output_size")
    room = 0 if dims == 2 else 1  # torch wants one cell more in volumes
    fits = all(o + k - 1 + room <= n for o, k, n in zip(out, kernel, spatial))
    if min(kernel) < 1 or min(out) < 1 or not fits:
        raise ValueError(
            f"{where}: expected output_size + kernel_size - 1 of at most "
            f"{[n - room for n in spatial]} for the input's {list(spatial)}, both of 1 or more; "
            f"got output_size {out}, kernel_size {kernel}"
        )
    return kernel, out


def _samples(x, samples, key, dims, where):
    shape = (*x.shape[:2], dims)
    if samples is None:
        if key is None:
            raise ValueError(
                f"{where}: expected a key for its random windows, got none; give key=..."
            )
        dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32
        return jax.random.uniform(key, shape, dtype)
    samples = jnp.asarray(samples)
    if samples.ndim != 3 or samples.shape[0] < shape[0] or samples.shape[1:] != shape[1:]:
        raise ValueError(
            f"{where}: expected _random_samples {list(shape)}, got {list(samples.shape)}"
        )
    return samples[: shape[0]]  # torch passes over what is too many
