"""A mean whose weight differs from one part of a batch to the next."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
    """A mean as the sum and the weight that divides it, for a `loss_fn` to return, or as a metric.

    A mean over the targets that count, as that of `cross_entropy` with ignore_index or class
    weights, is not the mean of the means of a batch's parts. From the two, `make_step` with
    accumulate divides the sum over all parts by the weight of all, and `make_eval` does so over all
    examples. A metric is one likewise: the share of the targets that count, say.

    Attributes:
        total: The sum, a scalar.
        weight: What divides it, a scalar that does not depend on the parameters: how many targets
            count, or the sum of their weights.

    Example:
        >>> from fx.functional import cross_entropy
        >>> def loss_fn(logits, targets):
        ...     total = cross_entropy(logits, targets, ignore_index=-1, reduction="sum")
        ...     return Mean(total, jnp.sum(targets != -1))
        >>> found = loss_fn(jnp.zeros((3, 2)), jnp.array([0, -1, 1]))
        >>> print(found.total / float(found.weight))
        0.6931472

    Source:
        `num_items_in_batch` of Hugging Face's Trainer, which does the same over its parts.
    """

    total: Any
    weight: Any


def divided(value: Any) -> Any:
    """A loss or metric as one number, where it is a `Mean`."""
    if not isinstance(value, Mean):
        return value
    kind = _kind(value.total)
    return jnp.asarray(value.total, kind) / jnp.asarray(value.weight, kind)


def sum_and_weight(value: Any) -> tuple[jax.Array, jax.Array]:
    """What to add up over parts, and what divides the sums; a plain mean has the weight 1."""
    total, weight = value if isinstance(value, Mean) else (value, 1)
    return total, jnp.asarray(weight, _kind(total))


def _kind(total: Any) -> Any:
    """The dtype of a mean; that of a count is float32."""
    kind = jnp.result_type(total)
    return kind if jnp.issubdtype(kind, jnp.inexact) else jnp.float32
