"""The loss of a classifier's last layer, whose logits need not all exist at once."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fx.functional.cross_entropy import cross_entropy
from fx.functional.linear import linear


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How many rows of logits `linear_cross_entropy` makes at a time.

    Args:
        allow_retain_graph: no effect: a gradient here can be taken any number of times.
        batch_chunk_size: rows at a time; None leaves it to chunking_method.
        chunking_method: "auto", "aspect_ratio" or "aspect_ratio:N": as many rows as make the logits
            as large as the input, or an Nth of it; "auto" is N = 2. None: batch_chunk_size, or all.
        acc_policy: no effect: sums are taken in float32.
        acc_dtype: no effect.

    Raises:
        ValueError: batch_chunk_size is not positive, the method or the policy is unknown.

    Source: torch.nn.LinearCrossEntropyOptions.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        name, _, share = (self.chunking_method or "auto").partition(":")
        known = (name == "auto" and not share) or (
            name == "aspect_ratio" and (not share or (share.isdigit() and int(share) > 0))
        )
        if not known or (":" in (self.chunking_method or "") and not share):
            raise ValueError(
                'LinearCrossEntropyOptions: expected chunking_method "auto", "aspect_ratio", '
                f'"aspect_ratio:N" or None, got {self.chunking_method!r}'
            )
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(
                'LinearCrossEntropyOptions: expected acc_policy "auto", "accurate", "balanced" or '
                f'"compact", got {self.acc_policy!r}'
            )
        if self.batch_chunk_size is not None and self.batch_chunk_size < 1:
            raise ValueError(
                "LinearCrossEntropyOptions: expected batch_chunk_size of 1 or more, or None, got "
                f"{self.batch_chunk_size}"
            )

    def rows(self, batch: int, in_features: int, classes: int) -> int:
        """How many rows of a batch to take at a time."""
        if self.batch_chunk_size is not None:
            return min(self.batch_chunk_size, batch)
        if self.chunking_method is None:
            return batch
        share = self.chunking_method.partition(":")[2] or 2 * (self.chunking_method == "auto") or 1
        target = -(-batch // max(1, -(-classes // max(1, in_features))))
        return max(1, min((1 << (target - 1).bit_length()) // int(share), batch))


def linear_cross_entropy(
    input: jax.Array,
    linear_weight: jax.Array,
    target: jax.Array,
    *,
    linear_bias: jax.Array | None = None,
    weight: jax.Array | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> jax.Array:
    """Cross entropy of a linear map of the input: `linear`, then `cross_entropy`.

    Args:
        input: [N, D] or [D], floating.
        linear_weight: [C, D], or [C, d1, ..., D] for a loss at each of d1, ...
        target: integers [N], [N, d1, ...] or []; or probabilities of the logits' shape.
        linear_bias: [C] or [C, d1, ...], or None.
        weight: [C], of the classes, or None.
        reduction: "mean", "sum" or "none".
        ignore_index: the class that counts for nothing; None is -100, which no class is.
        label_smoothing: the share, in [0, 1], of a uniform distribution in the target.
        options: to make the logits of some rows at a time, so that [N, C] never exists, and again
            for the gradient. With classes as target and a weight [C, D]; elsewhere no effect.

    Returns:
        A scalar, or the shape of classes with reduction "none"; the input's dtype.

    Raises:
        TypeError: as `cross_entropy`.
        ValueError: shapes do not fit; ignore_index is given and target has probabilities; and as
            `cross_entropy`.

    Example:
        >>> import jax.numpy as jnp
        >>> x, w = jnp.ones((2, 3)), jnp.zeros((10, 3))
        >>> round(float(linear_cross_entropy(x, w, jnp.array([3, 7]))), 4)
        2.3026

    Source: torch.nn.functional.linear_cross_entropy. Rows at a time are `jax.lax.map` over
    `jax.checkpoint`, so that derivatives of every order and kind pass, which torch's do not.
    """
    input, linear_weight, target = map(jnp.asarray, (input, linear_weight, target))
    classes, space = _check(input, linear_weight, linear_bias)
    logits_shape = (*input.shape[:-1], classes, *space)
    by_probability = target.shape == logits_shape
    if by_probability and ignore_index is not None:
        raise ValueError(
            "linear_cross_entropy: expected ignore_index=None where target has probabilities, got "
            f"{ignore_index}"
        )
    ignored = -100 if ignore_index is None else ignore_index
    flat = linear_weight.reshape(math.prod((classes, *space)), input.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)

    def losses(x, t, reduction):
        logits = linear(x, flat, bias).reshape(*x.shape[:-1], classes, *space)  # [N, C, d1, ...]
        return cross_entropy(
            logits, t, weight, ignore_index=ignored, reduction=reduction,
            label_smoothing=label_smoothing,
        )  # fmt: skip

    if options is None or by_probability or space or input.ndim == 1 or not input.shape[0]:
        return losses(input, target, reduction)
    rows = options.rows(input.shape[0], input.shape[1], classes)
    each = jax.checkpoint(lambda pair: losses(pair[0][None], pair[1][None], "none")[0])
    loss = jax.lax.map(each, (input, target), batch_size=rows)
    if reduction == "none":
        return loss
    total = jnp.sum(loss, dtype=jnp.promote_types(loss.dtype, jnp.float32))
    if reduction == "mean":
        # The weights of the classes that count: the loss of logits that say nothing but 1 each.
        counts = jnp.ones(target.shape) if weight is None else jnp.asarray(weight)[target]
        total = total / jnp.sum(jnp.where(target == ignored, 0, counts)).astype(total.dtype)
    return total.astype(input.dtype)


def _check(input, weight, bias):
    """The number of classes, and the shape of losses for each row."""
    where = "linear_cross_entropy"
    if input.ndim not in (1, 2) or weight.ndim < 2 or input.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"{where}: expected input [N, D] or [D] and linear_weight [C, ..., D], got "
            f"{list(input.shape)} and {list(weight.shape)}"
        )
    if weight.ndim > 2 and input.ndim == 1:
        raise ValueError(
            f"{where}: expected input [N, {weight.shape[-1]}] for linear_weight "
            f"{list(weight.shape)}, got {list(input.shape)}; add an axis, x[None]"
        )
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise ValueError(
            f"{where}: expected linear_bias {list(weight.shape[:-1])}, got {list(bias.shape)}"
        )
    return weight.shape[0], weight.shape[1:-1]
