"""Negative log-likelihoods as layers: Poisson, Gauss, and sequences of labels (CTC)."""

import jax

from fx import functional as F
from fx.functional.ctc import Lengths
from fx.functional.loss import reduction_of
from fx.nn.module import Module


class PoissonNLLLoss(Module):
    """exp(input) - target * input: the Poisson distribution's, less what no input changes.

    Args:
        log_input: whether the input is the logarithm of the rate; else it is the rate.
        full: add Stirling's approximation of log(target!), where the target is above 1.
        size_average: deprecated; see reduction.
        eps: added to a rate before its logarithm.
        reduce: deprecated; see reduction.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, shapes do not broadcast or the reduction is unknown.

    Source: torch.nn.PoissonNLLLoss.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ):
        self.reduction = reduction_of(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: jax.Array, target: jax.Array) -> jax.Array:
        """Rates and counts of one shape in; a scalar, or that shape, out."""
        return F.poisson_nll_loss(
            log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(Module):
    """(log(var) + (input - target)^2 / var) / 2.

    Args:
        full: add log(2 pi) / 2.
        eps: the least variance; below it the gradient is as at it.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: at a call, the input is not floating.
        ValueError: at a call, var is a negative number, shapes do not fit, or the reduction is
            unknown. A negative element of an array gives NaN.

    Source: torch.nn.GaussianNLLLoss.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        self.reduction, self.full, self.eps = reduction, full, eps

    def forward(self, input: jax.Array, target: jax.Array, var: jax.Array | float) -> jax.Array:
        """Means, targets and variances in; a scalar, or the means' shape, out."""
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class CTCLoss(Module):
    """Negative log-likelihood of labels over all ways to spread them in time.

    Args:
        blank: the class of no label.
        reduction: "mean" (each loss divided by its number of labels, then averaged), "sum" or
            "none".
        zero_infinity: 0, without a gradient, in place of an infinite loss.

    Raises:
        TypeError: at a call, log_probs is not floating, or a target or a length not integer.
        ValueError: at a call, shapes do not fit, blank is no class, or the reduction is unknown.

    Source: torch.nn.CTCLoss; see `fx.functional.ctc_loss`.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        self.reduction, self.blank, self.zero_infinity = reduction, blank, zero_infinity

    def forward(
        self,
        log_probs: jax.Array,
        targets: jax.Array,
        input_lengths: Lengths,
        target_lengths: Lengths,
    ) -> jax.Array:
        """[T, N, C], [N, S] and twice [N] in; a scalar, or [N], out."""
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction,
            self.zero_infinity,
        )  # fmt: skip
