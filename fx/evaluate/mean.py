"""Numbers of many examples from what adds up over parts of them: means, and all the others."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Mean(NamedTuple):
    """A mean as the sum and the weight that divides it, for a `loss_fn` to return, or as a metric.

    A mean over the targets that count, as that of `cross_entropy` with ignore_index or class
    weights, is not the mean of the means of a batch's parts. From the two, `make_step` with
    accumulate divides the sum over all parts by the weight of all, `make_eval` does so over all
    examples, and `fx.fit` over an epoch, from the "weight/loss" that a step then reports. A metric
    is one likewise: the share of the targets that count, say. A batch of weight 0 has the loss 0,
    and no gradient.

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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sums:
    """A metric of all examples together: what adds up over them, and what is computed of that.

    An F1, an R² or a correlation is not the mean of those of parts of the data; but what it is made
    of adds up. `make_eval` adds up `sums` over all examples, in float64, and then calls `compute`
    once. `make_step` calls it with the sums of its batch, and reports these as well, "sums/<name>",
    which `fx.fit` adds up over an epoch.

    Attributes:
        sums: A tree of arrays, each a sum over the examples that the metric is given.
        compute: `sums -> scalar`, in operators or jax.numpy; a function of its own name rather than
            a lambda, so that it is the same one each time.

    Example:
        >>> def r2_of(sums):
        ...     return 1 - sums["error"] / (sums["square"] - sums["y"] ** 2 / sums["n"])
        >>> def metrics(outputs, targets):
        ...     error = jnp.sum((outputs - targets) ** 2)
        ...     sums = {"error": error, "y": jnp.sum(targets), "square": jnp.sum(targets**2)}
        ...     return {"r2": Sums({**sums, "n": targets.size}, r2_of)}
        >>> found = metrics(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 2.0, 4.0]))["r2"]
        >>> print(found.value())
        0.78571427

    Source:
        The state and `compute` of torchmetrics and of clu.metrics, as a value.
    """

    sums: Any
    compute: Callable[[Any], Any] = dataclasses.field(metadata={"static": True})

    def value(self) -> Any:
        """The metric."""
        return self.compute(self.sums)


def combined(parts: Sequence[Any]) -> float:
    """One number from the `Mean`s or `Sums` of several batches, added up in float64."""
    leaves = zip(*map(jax.tree.leaves, parts), strict=True)
    added = [np.sum(np.asarray(each, np.float64), 0) for each in leaves]
    total = jax.tree.unflatten(jax.tree.structure(parts[0]), added)
    if isinstance(total, Sums):
        return computed(total)
    return float(total.total / total.weight) if total.weight else math.nan


def computed(total: Sums) -> float:
    """One number from sums that are on the host, in float64."""
    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(total.value())
    except AttributeError:  # NumPy's arrays have no `.at`, say
        with jax.enable_x64(True):
            return float(jax.tree.map(jnp.asarray, total).value())


def divided(value: Any) -> Any:
    """A loss or metric as one number, where it is a `Mean` or `Sums`."""
    if isinstance(value, Sums):
        return value.value()
    if not isinstance(value, Mean):
        return value
    kind = _kind(value.total)
    return jnp.asarray(value.total, kind) / jnp.asarray(value.weight, kind)


def quotient(total: Any, weight: Any) -> jax.Array:
    """A loss from its sum and weight; where nothing counts, 0, with a gradient of 0."""
    kind = _kind(total)
    weight = jnp.asarray(weight, kind)
    return jnp.asarray(total, kind) / jnp.where(weight == 0, 1, weight)


def reported(name: str, value: Any) -> dict[str, Any]:
    """What a step reports of a metric: one number, and what an epoch's is computed from."""
    found = {name: divided(value)}
    if isinstance(value, Mean):
        found[f"weight/{name}"] = value.weight
    elif isinstance(value, Sums):
        found[f"sums/{name}"] = value
    return found


def sum_and_weight(value: Any) -> tuple[jax.Array, jax.Array]:
    """What to add up over parts, and what divides the sums; a plain mean has the weight 1."""
    total, weight = value if isinstance(value, Mean) else (value, 1)
    return total, jnp.asarray(weight, _kind(total))


def _kind(total: Any) -> Any:
    """The dtype of a mean; that of a count is float32."""
    kind = jnp.result_type(total)
    return kind if jnp.issubdtype(kind, jnp.inexact) else jnp.float32
