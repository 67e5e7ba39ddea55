"""Sums, means and maxima over bags of rows of a table."""

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate, as_index
from fx.functional.linear import embedding


def embedding_bag(
    input: jax.Array,
    weight: jax.Array,
    offsets: jax.Array | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: jax.Array | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> jax.Array:
    """Rows of a table, added up, averaged or maximised in bags.

    Args:
        input: [B, N], B bags of N integers each; or [N], bags one after the other.
        weight: [num, dim].
        offsets: [B], integers: where in [N] each bag begins, the first at 0, in increasing order.
        max_norm: see `embedding`.
        norm_type: see `embedding`.
        scale_grad_by_freq: see `embedding`.
        mode: "sum", "mean" or "max".
        sparse: accepted, no effect: XLA has dense gradients only.
        per_sample_weights: shaped as the input, factors of the rows; with "sum" only.
        include_last_offset: whether `offsets` has one more element, where the last bag ends.
        padding_idx: an index that is left out; negative counts from the end.

    Returns:
        [B, dim]; zeros for a bag without elements.

    Raises:
        TypeError: input or offsets are not integers; per_sample_weights are not of the weight's
            dtype.
        ValueError: shapes, mode or padding_idx do not fit; per_sample_weights are given with
            another mode; sparse or scale_grad_by_freq is set with "max".

    Example:
        >>> import jax.numpy as jnp
        >>> table = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> embedding_bag(jnp.array([0, 1, 2]), table, jnp.array([0, 2]), mode="sum").tolist()
        [[4.0, 6.0], [5.0, 6.0]]

    Source: torch.nn.functional.embedding_bag. The values of offsets are not checked: a compiled
    function cannot raise on a value. An index outside of the table makes its bag NaN.
    With scale_grad_by_freq torch on a CPU divides some rows by the count of another row (2.13).
    """
    input, weight = jnp.asarray(input), jnp.asarray(weight)
    _check_mode(mode, sparse, scale_grad_by_freq, per_sample_weights)
    _check_shapes(input, weight, offsets, per_sample_weights, include_last_offset)
    rows = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    rows = accumulate(rows, "embedding_bag")  # [B, N, dim] or [N, dim]
    if per_sample_weights is not None:
        rows = rows * accumulate(per_sample_weights, "embedding_bag")[..., None]
    counted = jnp.ones(input.shape, bool)
    if padding_idx is not None:
        counted = as_index(input) != padding_idx % weight.shape[0]
    if offsets is None:
        output = _over_axis(rows, counted[..., None], mode)
    else:
        output = _over_segments(rows, counted[..., None], mode, offsets, include_last_offset)
    return output.astype(weight.dtype)


def _over_axis(rows, counted, mode):
    count = jnp.sum(counted, 1)  # [B, 1]
    if mode == "max":
        # By index, because the gradient goes to the first of equal maxima.
        first = jnp.argmax(jnp.where(counted, rows, -jnp.inf), 1, keepdims=True)
        return jnp.where(count > 0, jnp.take_along_axis(rows, first, 1)[:, 0], 0)
    total = jnp.sum(jnp.where(counted, rows, 0), 1)
    return total if mode == "sum" else total / jnp.maximum(count, 1).astype(total.dtype)


def _over_segments(rows, counted, mode, offsets, include_last_offset):
    offsets, positions = as_index(jnp.asarray(offsets)), jnp.arange(rows.shape[0], dtype=jnp.int32)
    bags = offsets.shape[0] - include_last_offset
    if not rows.shape[0]:
        return jnp.zeros((bags, rows.shape[1]), rows.dtype)
    # By scatters, as jnp.searchsorted and jax.ops.segment_sum take no symbolic number of bags
    # (jax.export). What stands behind the last offset belongs to a bag past the end, which drops.
    into = {"mode": "drop", "wrap_negative_indices": False}
    begins = jnp.zeros(rows.shape[0], jnp.int32).at[offsets].add(1, **into)
    bag = jnp.cumsum(begins, dtype=jnp.int32) - 1
    count = jnp.zeros((bags, 1), jnp.int32).at[bag].add(counted.astype(jnp.int32), **into)
    shape = (bags, rows.shape[1])
    if mode == "max":
        seen = jax.lax.stop_gradient(jnp.where(counted, rows, -jnp.inf))
        highest = jnp.full(shape, -jnp.inf, rows.dtype).at[bag].max(seen, **into)
        highest = jnp.take(highest, bag, axis=0, mode="clip")
        is_highest = counted & ((seen == highest) | jnp.isnan(seen))
        candidates = jnp.where(is_highest, positions[:, None], rows.shape[0])
        first = jnp.full(shape, rows.shape[0], jnp.int32).at[bag].min(candidates, **into)
        value = jnp.take_along_axis(rows, jnp.clip(first, 0, rows.shape[0] - 1), 0)
        return jnp.where(count > 0, value, 0)
    total = jnp.zeros(shape, rows.dtype).at[bag].add(jnp.where(counted, rows, 0), **into)
    return total if mode == "sum" else total / jnp.maximum(count, 1).astype(total.dtype)


def _check_mode(mode, sparse, scale_grad_by_freq, per_sample_weights):
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f'embedding_bag: expected mode "sum", "mean" or "max", got {mode!r}')
    if mode == "max" and (sparse or scale_grad_by_freq):
        raise ValueError(
            'embedding_bag: expected sparse=False and scale_grad_by_freq=False with mode="max"'
        )
    if mode != "sum" and per_sample_weights is not None:
        raise ValueError(
            f'embedding_bag: expected mode="sum" with per_sample_weights, got {mode!r}'
        )


def _check_shapes(input, weight, offsets, per_sample_weights, include_last_offset):
    if weight.ndim != 2:
        raise ValueError(f"embedding_bag: expected weight [num, dim], got {list(weight.shape)}")
    if input.ndim not in (1, 2) or (input.ndim == 2 and input.shape[1] == 0):
        raise ValueError(
            f"embedding_bag: expected input [B, N] or [N] of integers, got {list(input.shape)}"
        )
    if (offsets is None) != (input.ndim == 2):
        raise ValueError(
            "embedding_bag: expected offsets with input [N], and none with [B, N], got the input "
            f"{list(input.shape)} and offsets {None if offsets is None else jnp.shape(offsets)}"
        )
    if offsets is not None:
        offsets = jnp.asarray(offsets)
        if not jnp.issubdtype(offsets.dtype, jnp.integer):
            raise TypeError(f"embedding_bag: expected integer offsets, got {offsets.dtype}")
        if offsets.ndim != 1 or offsets.shape[0] < include_last_offset:
            raise ValueError(
                "embedding_bag: expected offsets [B], [B + 1] with include_last_offset, got "
                f"{list(offsets.shape)}"
            )
    if per_sample_weights is not None:
        given = jnp.asarray(per_sample_weights)
        if given.shape != input.shape:
            raise ValueError(
                f"embedding_bag: expected per_sample_weights {list(input.shape)}, the input's "
                f"shape, got {list(given.shape)}"
            )
        if given.dtype != weight.dtype:
            raise TypeError(
                f"embedding_bag: expected per_sample_weights of the weight's dtype {weight.dtype}, "
                f"got {given.dtype}"
            )
