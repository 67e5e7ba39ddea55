"""Normalisation by moments.

Everything here computes in float32 (float64 for float64) and returns the input's dtype. The moments
over a batch are in moments.py, those within an example in within.py.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate
from fx.functional.layout import to_first, to_last
from fx.functional.moments import normalize_batch
from fx.functional.within import moments_within, normalize_alone, normalize_within

Statistics = tuple[jax.Array | None, jax.Array | None]

# Jitted, layers of one shape are traced, differentiated and lowered once, and not each by itself.
_over_batch = jax.jit(normalize_batch, static_argnums=3)
_over_groups = jax.jit(normalize_within, static_argnums=(3, 4, 5))
_moments = jax.jit(moments_within, static_argnums=(1, 2))


def batch_norm(
    input: jax.Array,
    running_mean: jax.Array | None,
    running_var: jax.Array | None,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    training: bool = False,
    momentum: float | jax.Array = 0.1,
    eps: float = 1e-5,
) -> tuple[jax.Array, Statistics]:
    """Normalises each channel over the batch and the spatial axes.

    Args:
        input: [N, C, ...], floating.
        running_mean: [C], or None.
        running_var: [C], or None.
        weight: [C], or None.
        bias: [C], or None.
        training: use the batch's moments and update the running ones; else use the running ones.
        momentum: the new statistics' share of the running ones; may be traced.
        eps: added to the variance.

    Returns:
        The output, [N, C, ...] and the input's dtype, and (running_mean, running_var): updated with
        the batch's mean and unbiased variance when training, else as they came. None stays None.

    Raises:
        TypeError: the input is not floating.
        ValueError: there is one value per channel, or eps is not positive, when training; eps is
            negative, or there are no running statistics, when not; there is one of them without the
            other; an argument is not [C].

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0], [3.0]])
        >>> y, (mean, var) = batch_norm(x, jnp.zeros(1), jnp.ones(1), training=True, momentum=0.5)
        >>> mean.tolist(), var.tolist()
        ([1.0], [1.5])

    Source: torch.nn.functional.batch_norm, which changes the running statistics in place; here they
    are returned.
    """
    x = _features_last(input, "batch_norm")  # [N, ..., C]
    channels = x.shape[-1]
    for name, value in [
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ]:
        _check_shape(value, (channels,), "batch_norm", name)
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: expected running_mean and running_var or neither, got one")
    if eps < 0 or (training and eps == 0):
        raise ValueError(
            f"batch_norm: expected eps of 0 or more, above 0 when training, got {eps}; try 1e-5"
        )
    if training:
        count = math.prod(x.shape[:-1])
        _check_several(count, input, "batch_norm")
        scale = jnp.ones(channels, x.dtype) if weight is None else weight.astype(x.dtype)
        shift = jnp.zeros(channels, x.dtype) if bias is None else bias.astype(x.dtype)
        statistics = (running_mean, running_var)
        if isinstance(count, int) and count == 0:  # which has no moments: means would be 0 / 0
            y = x * scale + shift
        else:
            y, mean, var = _over_batch(x, scale, shift, float(eps))
            statistics = (
                _average(running_mean, mean, momentum),
                _average(running_var, var * (count / (count - 1)), momentum),
            )
    elif running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm: expected running_mean and running_var when not training, got None; "
            "training=True uses the batch's own"
        )
    else:
        mean, var = running_mean.astype(x.dtype), running_var.astype(x.dtype)
        statistics = (running_mean, running_var)
        y = _scale(x, mean, var, eps, weight, bias)
    return to_first(y).astype(jnp.asarray(input).dtype), statistics


def instance_norm(
    input: jax.Array,
    running_mean: jax.Array | None = None,
    running_var: jax.Array | None = None,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    use_input_stats: bool = True,
    momentum: float | jax.Array = 0.1,
    eps: float = 1e-5,
) -> tuple[jax.Array, Statistics]:
    """Normalises each channel of each example over the spatial axes.

    Args:
        input: [N, C, ...], floating, with one spatial axis or more.
        running_mean: [C], or None.
        running_var: [C], or None.
        weight: [C], or None.
        bias: [C], or None.
        use_input_stats: use the example's moments; else the running ones.
        momentum: the new statistics' share of the running ones; may be traced.
        eps: added to the variance.

    Returns:
        The output, and (running_mean, running_var) as `batch_norm` returns them, the new statistics
        being averaged over the batch.

    Raises:
        TypeError: the input is not floating.
        ValueError: there is one spatial element and use_input_stats; there are no running
            statistics and not use_input_stats, or one of the two; there are a weight or bias and
            no example, as in torch; an argument is not [C].
    """
    none = [size == 0 for size in jnp.shape(input)[:1] if isinstance(size, int)]
    if any(none) and not (weight is None and bias is None):
        raise ValueError(
            f"instance_norm: expected an example, got input {list(jnp.shape(input))}, to which "
            "torch applies no weight or bias; leave empty batches out"
        )
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    x = _features_last(input, "instance_norm")  # [N, ..., C]
    channels, count = x.shape[-1], math.prod(x.shape[1:-1])
    for name, value in [
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ]:
        _check_shape(value, (channels,), "instance_norm", name)
    _check_several(count, input, "instance_norm")
    if (running_mean is None) != (running_var is None):
        raise ValueError(
            "instance_norm: expected running_mean and running_var or neither, got one of them"
        )
    groups = max(channels, 1)
    pivot, distance, var = _moments(x, 1, groups)
    mean = pivot + distance
    statistics = (running_mean, running_var)
    if not isinstance(count, int) or count:  # no spatial element has no moments
        statistics = (
            _average(running_mean, mean.mean(0), momentum),
            _average(running_var, var.mean(0) * (count / (count - 1)), momentum),
        )
    if eps == 0:  # torch's division by a deviation of 0 gives 0, in this normalisation alone
        spatial = range(1, x.ndim - 1)
        mean, var = (jnp.expand_dims(m, spatial) for m in (mean, jnp.where(var == 0, jnp.inf, var)))
        y = _scale(x, mean, var, eps, weight, bias)
    else:
        y = _within(x, 1, groups, eps, weight, bias)
    return to_first(y).astype(jnp.asarray(input).dtype), statistics


def group_norm(
    input: jax.Array,
    num_groups: int,
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    eps: float = 1e-5,
) -> jax.Array:
    """Normalises groups of channels of each example, over the spatial axes too.

    Args:
        input: [N, C, ...], floating.
        num_groups: into how many groups the channels are cut.
        weight: [C], or None.
        bias: [C], or None.
        eps: added to the variance.

    Returns:
        [N, C, ...], the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: num_groups does not divide the channels; weight or bias is not [C]; the whole
            batch has one value per group.

    Example:
        >>> import jax.numpy as jnp
        >>> group_norm(jnp.arange(4.0).reshape(1, 4), 2, eps=0.0).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]
    """
    x = _features_last(input, "group_norm")  # [N, ..., C]
    channels = x.shape[-1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm: expected num_groups to divide the {channels} channels of "
            f"{list(jnp.shape(input))}, got {num_groups}"
        )
    _check_shape(weight, (channels,), "group_norm", "weight")
    _check_shape(bias, (channels,), "group_norm", "bias")
    _check_several(math.prod(x.shape[:-1]) * (channels // num_groups), input, "group_norm", "group")
    y = _within(x, 1, num_groups, eps, weight, bias)
    return to_first(y).astype(jnp.asarray(input).dtype)


def layer_norm(
    input: jax.Array,
    normalized_shape: int | Sequence[int],
    weight: jax.Array | None = None,
    bias: jax.Array | None = None,
    eps: float = 1e-5,
) -> jax.Array:
    """Normalises over the last axes.

    Args:
        input: [..., *normalized_shape], floating.
        normalized_shape: the axes to normalise over; a number is one axis.
        weight: normalized_shape, or None.
        bias: normalized_shape, or None.
        eps: added to the variance.

    Returns:
        [..., *normalized_shape], the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: the input, weight or bias does not end in normalized_shape.

    Example:
        >>> import jax.numpy as jnp
        >>> layer_norm(jnp.array([[1.0, 3.0]]), 2, eps=0.0).tolist()
        [[-1.0, 1.0]]
    """
    x = accumulate(input, "layer_norm")
    axes = _normalized_axes(x, normalized_shape, weight, bias, "layer_norm")
    lead = x.ndim - len(axes)
    flat = x.reshape(*x.shape[:lead], math.prod(x.shape[lead:]))
    y = _within(flat, lead, 1, eps, weight, bias)
    return y.reshape(x.shape).astype(jnp.asarray(input).dtype)


def rms_norm(
    input: jax.Array,
    normalized_shape: int | Sequence[int],
    weight: jax.Array | None = None,
    eps: float | None = None,
) -> jax.Array:
    """Divides by the root of the mean square over the last axes.

    Args:
        input: [..., *normalized_shape], floating.
        normalized_shape: the axes to normalise over; a number is one axis.
        weight: normalized_shape, or None.
        eps: added to the mean square; None is the machine epsilon of the dtype computed in.

    Returns:
        [..., *normalized_shape], the input's dtype.

    Raises:
        TypeError: the input is not floating.
        ValueError: the input or weight does not end in normalized_shape.
    """
    x = accumulate(input, "rms_norm")
    axes = _normalized_axes(x, normalized_shape, weight, None, "rms_norm")
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    y = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axes, keepdims=True) + eps)
    return _affine(y, weight, None).astype(jnp.asarray(input).dtype)


def _features_last(input, where):
    x = accumulate(input, where)
    if x.ndim < 2:
        raise ValueError(f"{where}: expected input [N, C, ...], got {list(x.shape)}")
    return to_last(x)


def _within(x, lead, groups, eps, weight, bias):
    scale = jnp.ones(x.shape[-1], x.dtype) if weight is None else weight.astype(x.dtype)
    shift = jnp.zeros(x.shape[-1], x.dtype) if bias is None else bias.astype(x.dtype)
    scale, shift = scale.reshape(-1), shift.reshape(-1)
    size = math.prod(x.shape[lead:])  # an export may leave it open
    if isinstance(size, int) and size == groups and eps > 0:
        return normalize_alone(x, scale, shift)
    return _over_groups(x, scale, shift, lead, groups, float(eps))


def _scale(x, mean, var, eps, weight, bias):
    scale = jax.lax.rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight.astype(x.dtype)
    y = (x - mean) * scale
    return y if bias is None else y + bias.astype(x.dtype)


def _affine(y, weight, bias):
    y = y if weight is None else y * weight.astype(y.dtype)
    return y if bias is None else y + bias.astype(y.dtype)


def _average(running, new, momentum):
    """The running statistic moved towards the new one; no gradient goes through it, as in torch."""
    if running is None:
        return None
    momentum = jnp.asarray(momentum, running.dtype)
    new = jax.lax.stop_gradient(new).astype(running.dtype)
    return (1 - momentum) * running + momentum * new


def _check_several(count, input, where, part="channel when training"):
    # A symbolic count (jax.export) has no value to compare.
    if isinstance(count, int) and count == 1:
        raise ValueError(
            f"{where}: expected more than 1 value per {part}, got input "
            f"{list(input.shape)}; use a larger batch, or drop_last=True"
        )


def _check_shape(value, shape, where, name):
    if value is not None and jnp.shape(value) != shape:
        raise ValueError(
            f"{where}: expected {name} {list(shape)}, got {list(jnp.shape(value))}; "
            "it belongs to another number of features"
        )


def _normalized_axes(x, normalized_shape, weight, bias, where):
    shape = (
        tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    )
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{where}: expected input [..., {', '.join(map(str, shape))}], got {list(x.shape)}; "
            "normalized_shape names the last axes"
        )
    _check_shape(weight, shape, where, "weight")
    _check_shape(bias, shape, where, "bias")
    return tuple(range(x.ndim - len(shape), x.ndim))
