"""Mean and variance over a batch, and what BatchNorm makes of them, with cheap gradients."""

import functools
import math

import jax
import jax.numpy as jnp

from fx.functional.rows import spread_tangent, sum_rows

PIVOT_ROWS = 8


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def normalize_batch(
    x: jax.Array, weight: jax.Array, bias: jax.Array, eps: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises the last axis over all others, in one pass for the moments and one more.

    The derivative is written by hand so that its transpose, the gradient, takes one pass for two
    sums (of the cotangent, and of its product with the normalised input) and one more; what JAX
    would derive from the formula takes twice that.

    Args:
        x: [..., C], float32 or float64.
        weight: [C].
        bias: [C].
        eps: added to the variance.

    Returns:
        The output [..., C], and mean and biased variance [C].
    """
    mean, var = moments(x)
    return (x - mean) * (jax.lax.rsqrt(var + eps) * weight) + bias, mean, var


@normalize_batch.defjvp
def _normalize_batch_jvp(eps, primals, tangents):
    (x, weight, bias), (dx, dweight, dbias) = primals, tangents
    axes = tuple(range(x.ndim - 1))
    y, mean, var = normalize_batch(x, weight, bias, eps)
    inverse = jax.lax.rsqrt(var + eps)
    normal = (x - mean) * inverse
    dz = dx * (inverse * weight)
    # What is spread here is what the gradient sums: two vectors, though four things need them.
    shift = spread_tangent(dbias - jnp.mean(dz, axes), x.shape)
    scale = spread_tangent(dweight - jnp.mean(normal * dz, axes), x.shape)
    return (y, mean, var), (dz + shift + normal * scale, *_moments_tangent(x, mean, dx))


@jax.custom_jvp
def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of the last axis over all others, in one pass.

    Sums are of distances from a pivot: the variance is the mean square distance less the square of
    the mean's, and as long as the pivot is near the mean, seen from the deviation, nothing cancels,
    however large the mean is. On a CPU it is the mean of the first rows, elsewhere the median of
    three: a mean is a kernel of its own on a GPU (two, with the division), and a median is
    computed in the loop that reads it, which on a CPU is what costs more.

    Args:
        x: [..., C], float32 or float64.

    Returns:
        Mean and variance, [C].
    """
    pivot = jax.lax.platform_dependent(x, cpu=mean_of_rows, default=median_of_three)
    return moments_about(pivot, x)


def moments_about(pivot: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of [..., C] from distances to a pivot [C].

    An infinite element gives an infinite mean and the variance NaN, squares that overflow give an
    infinite variance, as in torch.
    """
    pivot = jnp.where(jnp.isfinite(pivot), pivot, 0)
    distance = x - pivot
    shift, square = _mean(distance), _mean(jnp.square(distance))
    var = square - jnp.where(square < jnp.inf, jnp.square(shift), 0 * shift)
    return pivot + shift, jnp.maximum(var, 0)


def mean_of_rows(x: jax.Array) -> jax.Array:
    """The mean of the first rows of [..., C]."""
    return _mean(x[:PIVOT_ROWS])


def median_of_three(x: jax.Array) -> jax.Array:
    """The median of the first, the middle and the last vector of [..., C]; of none, zeros."""
    if x.size == 0:
        return jnp.zeros(x.shape[-1:], x.dtype)
    sizes = x.shape[:-1]

    def at(*places):  # slices, because a symbolic size is no index
        return x[*(slice(place, place + 1) for place in places)].reshape(-1)

    a, b = at(*(0 for _ in sizes)), at(*(size // 2 for size in sizes))
    c = at(*(size - 1 for size in sizes))
    return jnp.maximum(jnp.minimum(a, b), jnp.minimum(jnp.maximum(a, b), c))


@moments.defjvp
def _moments_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    mean, var = moments(x)
    return (mean, var), _moments_tangent(x, mean, dx)


def _moments_tangent(x, mean, dx):
    axes = tuple(range(x.ndim - 1))
    return jnp.mean(dx, axes), 2 * jnp.mean((x - mean) * dx, axes)


def _mean(x):
    return sum_rows(x) / math.prod(x.shape[:-1])
