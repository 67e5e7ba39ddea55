"""A loss that is a mean whose weight differs from one part of a batch to the next."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
    """A loss as the sum and the weight that divides it, for a `loss_fn` to return.

    A mean over the targets that count, as that of `cross_entropy` with ignore_index or class
    weights, is not the mean of the means of a batch's parts. From the two, `make_step` with
    accumulate divides the sum over all parts by the weight of all, and `make_eval` does so over all
    examples.

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
        >>> print(found.total / found.weight)
        0.6931472

    Source:
        `num_items_in_batch` of Hugging Face's Trainer, which does the same over its parts.
    """

    total: Any
    weight: Any


def divided(loss: Any) -> Any:
    """The loss as one number, where it is a `Mean`."""
    if not isinstance(loss, Mean):
        return loss
    return loss.total / jnp.asarray(loss.weight, jnp.result_type(loss.total))


def sum_and_weight(loss: Any) -> tuple[jax.Array, jax.Array]:
    """What to add up over parts, and what divides the sums; a plain mean has the weight 1."""
    total, weight = loss if isinstance(loss, Mean) else (loss, 1)
    return total, jnp.asarray(weight, jnp.result_type(total))
