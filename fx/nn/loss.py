"""Losses as layers. They have no parameters, so they can be called by themselves.

A `weight` given to a constructor is a buffer with that value, and stands in `state_dict`. torch's
deprecated `size_average` and `reduce` are understood, and keep their places.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx import functional as F
from fx.functional.dtypes import accumulate
from fx.functional.loss import reduction_of
from fx.nn import init
from fx.nn.describe import WRAPS
from fx.nn.module import Module
from fx.nn.parameter import Buffer


def _given(weight: Any) -> Any:
    """A buffer that holds an array given to a constructor, or None."""
    if weight is None:
        return None
    array = np.asarray(weight)
    return Buffer(array.shape, init.constant(array), jax.dtypes.canonicalize_dtype(array.dtype))


class _Loss(Module):
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction = reduction_of(size_average, reduce, reduction)


class MSELoss(_Loss):
    """Square of the difference.

    Args:
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes differ or the reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> float(nn.MSELoss()(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
        2.0

    Source: torch.nn.MSELoss, which broadcasts shapes that differ, with a warning.
    """

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Two arrays of one shape in; a scalar, or that shape with reduction "none", out."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Absolute difference; arguments and errors as `MSELoss`."""

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Two arrays of one shape in; a scalar, or that shape with reduction "none", out."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Module):
    """d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere; otherwise as `MSELoss`."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ):
        self.reduction, self.beta = reduction_of(size_average, reduce, reduction), beta

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Two arrays of one shape in; a scalar, or that shape with reduction "none", out."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Module):
    """d^2 / 2 where |d| <= delta, delta * (|d| - delta / 2) elsewhere; otherwise as `MSELoss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        self.reduction, self.delta = reduction, delta

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Two arrays of one shape in; a scalar, or that shape with reduction "none", out."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class KLDivLoss(Module):
    """target * (log(target) - input).

    Args:
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "batchmean", "mean", "sum" or "none".
        log_target: whether the target is in the log space, too.

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes differ or the reduction is unknown.

    Source: torch.nn.KLDivLoss.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ):
        self.reduction, self.log_target = reduction_of(size_average, reduce, reduction), log_target

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Log-probabilities and probabilities in; a scalar, or their shape, out."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class _OverClasses(Module):
    """A loss over classes, whose mean may be one of classes' weights, without what is ignored."""

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """[N, C, ...] and classes [N, ...] or, where it takes them, probabilities in; the loss."""
        return self._reduced(input, target, self.reduction)

    def sum_and_weight(self, input: jax.Array, target: jax.Array) -> tuple | None:
        """What the mean divides by what, so that the means of parts can be put together.

        Returns:
            Two scalars, float32 at least; None of another reduction, and of what computes another
            thing: a subclass with a forward of its own, a wrapped loss.
        """
        own = type(self).forward is _OverClasses.forward and WRAPS not in vars(self)
        return _SumAndWeight(self)(input, target) if own and self.reduction == "mean" else None

    _reduced: Callable[[jax.Array, jax.Array, str], jax.Array]


class CrossEntropyLoss(_OverClasses):
    """Cross entropy of softmax(input) against classes or their probabilities.

    Args:
        weight: [C], of the classes, or None.
        size_average: deprecated; see reduction.
        ignore_index: the class that counts for nothing.
        reduce: deprecated; see reduction.
        reduction: "mean" (weighted by `weight`), "sum" or "none".
        label_smoothing: the share, in [0, 1], of a uniform distribution in the target.

    Raises:
        TypeError: at a call, the input is not floating, or the target of the wrong kind.
        ValueError: label_smoothing is outside [0, 1]; at a call, shapes do not fit or the
            reduction is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from fx import nn
        >>> round(float(nn.CrossEntropyLoss()(jnp.zeros((2, 10)), jnp.array([3, 7]))), 4)
        2.3026

    Source: torch.nn.CrossEntropyLoss.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"CrossEntropyLoss: expected label_smoothing between 0 and 1, got {label_smoothing}"
            )
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.weight = _given(weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def _reduced(self, input, target, reduction):
        given = {"ignore_index": self.ignore_index, "label_smoothing": self.label_smoothing}
        return F.cross_entropy(input, target, self.weight, reduction=reduction, **given)


class NLLLoss(_OverClasses):
    """Negative log-probability of the classes.

    Args:
        weight: [C], of the classes, or None.
        size_average: deprecated; see reduction.
        ignore_index: the class that counts for nothing.
        reduce: deprecated; see reduction.
        reduction: "mean" (weighted by `weight`), "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating, or the target not integer.
        ValueError: at a call, shapes do not fit or the reduction is unknown.

    Source: torch.nn.NLLLoss.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.weight, self.ignore_index = _given(weight), ignore_index

    def _reduced(self, input, target, reduction):
        given = {"ignore_index": self.ignore_index, "reduction": reduction}
        return F.nll_loss(input, target, self.weight, **given)


class _SumAndWeight(Module):
    """The sum of a loss over classes, and of their weights; of probabilities, their number."""

    def __init__(self, loss: _OverClasses):
        self.loss = loss

    def forward(self, input: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        input = accumulate(input, type(self.loss).__name__)
        total = self.loss._reduced(input, target, "sum")
        if jnp.issubdtype(jnp.asarray(target).dtype, jnp.floating):
            count = input.size // input.shape[1 if input.ndim > 1 else 0]
            return total, jnp.asarray(count, input.dtype)
        given = {"ignore_index": self.loss.ignore_index, "reduction": "sum"}
        return total, F.nll_loss(jnp.full_like(input, -1), target, self.loss.weight, **given)


class BCELoss(Module):
    """Cross entropy between probabilities of two classes.

    Args:
        weight: of each element, broadcast against the input, or None.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes differ or the reduction is unknown.

    Source: torch.nn.BCELoss. A probability outside [0, 1] gives NaN.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.weight = _given(weight)

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Probabilities and targets of one shape in; a scalar, or that shape, out."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Module):
    """Cross entropy of sigmoid(input), without overflow.

    Args:
        weight: of each element, broadcast against the input, or None.
        size_average: deprecated; see reduction.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".
        pos_weight: of the positive part, broadcast against the input, or None.

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes differ or the reduction is unknown.

    Source: torch.nn.BCEWithLogitsLoss.
    """

    def __init__(
        self,
        weight: Any = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Any = None,
    ):
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.weight, self.pos_weight = _given(weight), _given(pos_weight)

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """Logits and targets of one shape in; a scalar, or that shape, out."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
