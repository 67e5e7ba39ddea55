"""Normalisation by moments within an example, with cheap gradients.

Arrays here are [..., *spatial, C]: the first `lead` axes are kept, and the channels are cut into
groups; moments are over the spatial axes and a group's channels, one each for [..., groups].
"""

import functools
import math

import jax
import jax.numpy as jnp

from fx.functional.rows import spread_tangent

PART = 8  # the pivot is the mean of one of so many parts of what is averaged
BLOCKS = 8  # few enough for XLA to compute what is summed in the loop that adds them
LONG = 128  # what has so many elements is summed by blocks
PIECE = 256  # elements of a block that are added one after the other


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def normalize_within(
    x: jax.Array, weight: jax.Array, bias: jax.Array, lead: int, groups: int, eps: float
) -> jax.Array:
    """Normalises the groups of each example; weight and bias belong to the channels.

    The derivative is written by hand for its transpose, the gradient: on a CPU that takes two sums
    for each channel of each example, of the cotangent and of its product with the normalised input,
    from which all others follow.

    Args:
        x: [..., *spatial, C], float32 or float64.
        weight: [C].
        bias: [C].
        lead: the number of axes before the spatial ones.
        groups: into how many groups the channels are cut.
        eps: added to the variance.

    Returns:
        The shape of x.
    """
    normal, _ = _normal(x, lead, groups, eps)
    return normal * weight + bias


def normalize_alone(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """`normalize_within` where each group has one element, its own mean: its gradient is 0."""
    return jax.lax.stop_gradient(x - x) * weight + bias


@normalize_within.defjvp
def _normalize_within_jvp(lead, groups, eps, primals, tangents):
    (x, weight, bias), (dx, dweight, dbias) = primals, tangents
    normal, inverse = _normal(x, lead, groups, eps)
    dz = dx * inverse
    dmean = _plain_mean(dz, lead, groups)
    dscale = _plain_mean(normal * dz, lead, groups)
    tangent = jax.lax.platform_dependent(
        *(normal, weight, dz, dmean, dscale, dweight, dbias),
        cpu=functools.partial(_tangent_by_channels, lead=lead),
        default=functools.partial(_tangent, lead=lead),
    )
    return normal * weight + bias, tangent


def moments_within(x: jax.Array, lead: int, groups: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pivot, the mean's distance from it, and biased variance of each group of [..., *spatial, C].

    Distances from a pivot keep the digits that a large mean has none for. On a CPU the pivot is the
    mean of an eighth, and the moments are taken in one pass: as the pivot is the mean of a part of
    what is averaged, the square of its distance from the whole mean is at most seven variances, and
    little cancels. Elsewhere it is the mean itself, and the second pass a part of the same kernel.

    Args:
        x: [..., *spatial, C], float32 or float64.
        lead: the number of axes before the spatial ones.
        groups: into how many groups the channels are cut.

    Returns:
        Three arrays [..., groups].
    """
    return jax.lax.platform_dependent(
        x,
        cpu=functools.partial(_about_a_part, lead=lead, groups=groups),
        default=functools.partial(_in_two_passes, lead=lead, groups=groups),
    )


def _normal(x, lead, groups, eps):
    """The input normalised, and what it is multiplied by."""
    pivot, distance, var = (_over(m, x, lead) for m in moments_within(x, lead, groups))
    inverse = jax.lax.rsqrt(var + eps)
    return ((x - pivot) - distance) * inverse, inverse


def _about_a_part(x, lead, groups):
    axis = lead if x.ndim > lead + 1 else x.ndim  # the first spatial one, or a group's channels
    grouped = _grouped(x, groups)
    part = jax.lax.slice_in_dim(grouped, 0, -(-grouped.shape[axis] // PART), axis=axis)
    pivot = jax.lax.stop_gradient(_mean(part, lead))
    distances = _grouped(x - _over(pivot, x, lead), groups)
    distance = _mean(distances, lead)
    var = _mean(jnp.square(distances), lead) - jnp.square(distance)
    return pivot, distance, jnp.maximum(var, 0)


def _in_two_passes(x, lead, groups):
    mean = _plain_mean(x, lead, groups)
    var = _plain_mean(jnp.square(x - _over(mean, x, lead)), lead, groups)
    return mean, jnp.zeros_like(mean), var


def _tangent(normal, weight, dz, dmean, dscale, dweight, dbias, lead):
    dnormal = dz - _over(dmean, dz, lead) - normal * _over(dscale, dz, lead)
    return dnormal * weight + normal * dweight + dbias


def _tangent_by_channels(normal, weight, dz, dmean, dscale, dweight, dbias, lead):
    """The same, where both that is spread over the spatial axes is summed over them once."""

    def spread(dvector, dmoment):
        each = _spread(-dmoment, -1, weight.size // dmoment.shape[-1])
        each = each.reshape(*dmoment.shape[:-1], weight.size)
        each = spread_tangent(dvector, each.shape) + each * weight
        return _spread(each, -2, math.prod(dz.shape[lead:-1])).reshape(dz.shape)

    return dz * weight + spread(dbias, dmean) + normal * spread(dweight, dscale)


def _grouped(x, groups):
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def _plain_mean(x, lead, groups):
    return jnp.mean(_grouped(x, groups), (*range(lead, x.ndim - 1), x.ndim))


def _mean(x, lead):
    """The mean of [..., *spatial, groups, C / groups] over all but the groups, by `_sum`."""
    kept, spatial, channels = x.shape[:lead], x.shape[lead:-2], x.shape[-2:]
    total = _sum(x.reshape(*kept, math.prod(spatial), math.prod(channels)), -2)
    return _sum(total.reshape(*kept, *channels), -1) / (math.prod(spatial) * channels[-1])


def _sum(x, axis):
    """The sum over the last axis (-1) or the one before (-2), for a CPU.

    XLA's own takes one element after the other. Here blocks are added in one loop, and the rest is
    left to products with ones, which are not computed again in each that reads them, either.
    """
    size = x.shape[axis]
    known = isinstance(size, int)
    if known and size == 1:
        return jnp.squeeze(x, axis)
    if not known or size < LONG:
        return _product(x, axis)
    pieces = -(-size // (BLOCKS * PIECE))
    length = -(-size // (BLOCKS * pieces))
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (0, BLOCKS * pieces * length - size, 0)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), widths)
    x = functools.reduce(jnp.add, jnp.split(x, BLOCKS, axis))
    place = x.ndim + axis
    x = x.reshape(*x.shape[:place], pieces, length, *x.shape[place + 1 :])
    return _sum(_product(x, axis), axis)


def _product(x, axis):
    ones = jnp.ones(x.shape[axis], x.dtype)
    if axis == -1:
        return jnp.matmul(x, ones, precision="highest")
    rows = jnp.broadcast_to(ones, (*x.shape[:-2], 1, x.shape[-2]))
    return jnp.squeeze(jnp.matmul(rows, x, precision="highest"), -2)


def _spread(x, axis, size):
    """Repeats x along a new axis, -1 or -2: the transpose of `_sum`."""
    shape = [*x.shape]
    shape.insert(x.ndim + 1 + axis, size)
    like = jax.ShapeDtypeStruct(shape, x.dtype)
    return jax.linear_transpose(functools.partial(_sum, axis=axis), like)(x)[0]


def _over(x, like, lead):
    """One number a group, [..., groups], over the channels and the spatial axes of `like`."""
    each = jnp.broadcast_to(x[..., None], (*x.shape, like.shape[-1] // x.shape[-1]))
    ones = (1,) * (like.ndim - 1 - lead)
    return each.reshape(*x.shape[:-1], *ones, like.shape[-1])
