"""Layers that change the shape alone."""

import math

import jax
import jax.numpy as jnp

from fx.functional.dtypes import as_array
from fx.nn.checks import shape_error
from fx.nn.module import Module


class Flatten(Module):
    """Makes one axis of several.

    Args:
        start_dim: the first of them; the batch's axis is left alone by default.
        end_dim: the last of them.

    Raises:
        ValueError: at a call, if the input lacks one of the axes, or they are in the wrong order.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.Flatten()(jnp.ones((8, 3, 4, 4))).shape
        (8, 48)

    Source: torch.nn.Flatten.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: jax.Array) -> jax.Array:
        """[..., a, b, c, ...] in, [..., a * b * c, ...] out."""
        input = as_array(input, "flatten")
        ndim = max(input.ndim, 1)  # a scalar counts as one axis, as in torch
        start, end = (d + ndim if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < ndim:
            expected = f"with the axes start_dim={self.start_dim} to end_dim={self.end_dim}"
            raise shape_error(self, expected, input, "change start_dim or end_dim")
        shape = input.shape
        return input.reshape(*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Makes several axes of one.

    Args:
        dim: the axis.
        unflattened_size: the sizes of the axes in its place; one of them may be -1.

    Raises:
        TypeError: unflattened_size is not a tuple or list of integers.
        ValueError: a size is less than -1, or two are -1; at a call, the axis is not there or has
            another size.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> nn.Unflatten(1, (3, -1))(jnp.ones((8, 48))).shape
        (8, 3, 16)

    Source: torch.nn.Unflatten, without named axes.
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]):
        sizes = unflattened_size
        if not isinstance(sizes, tuple | list) or not all(hasattr(s, "__index__") for s in sizes):
            raise TypeError(f"Unflatten: expected unflattened_size a tuple of ints, got {sizes!r}")
        if min(sizes, default=0) < -1 or sizes.count(-1) > 1:
            raise ValueError(
                f"Unflatten: expected sizes of 0 or more, and one -1 at the most, got {sizes!r}"
            )
        self.dim, self.unflattened_size = dim, tuple(sizes)

    def forward(self, input: jax.Array) -> jax.Array:
        """[..., n, ...] in, [..., *unflattened_size, ...] out."""
        input = jnp.asarray(input)
        sizes, known = self.unflattened_size, math.prod(s for s in self.unflattened_size if s >= 0)
        axis = self.dim + input.ndim if self.dim < 0 else self.dim
        fits = 0 <= axis < input.ndim
        if fits and -1 in sizes:
            fits = known > 0 and input.shape[axis] % known == 0
        elif fits:
            fits = input.shape[axis] == known
        if not fits:
            expected = f"whose axis {self.dim} splits into {list(sizes)}"
            raise shape_error(self, expected, input, "change dim or unflattened_size")
        # Not -1: of an array without elements it could be any number.
        sizes = tuple(input.shape[axis] // known if s == -1 else s for s in sizes)
        return input.reshape(*input.shape[:axis], *sizes, *input.shape[axis + 1 :])

    def extra_repr(self) -> str:
        """The axis, and what it becomes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
