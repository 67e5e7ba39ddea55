"""The loss of a classifier's last layer, which is part of it."""

import math
from typing import Any, cast

import jax
import numpy as np

from fx import functional as F
from fx.functional.linear_cross_entropy import LinearCrossEntropyOptions
from fx.nn.checks import no_device, positive
from fx.nn.linear import Linear
from fx.nn.loss import _given
from fx.nn.module import Module


class LinearCrossEntropyLoss(Module):
    """A linear map to logits, and their cross entropy.

    Args:
        in_features: D, the width of the input.
        num_classes: C.
        out_features: d1, ..., where a row has a loss for each of several places.
        bias: whether the map has a bias.
        device: must be None.
        dtype: of the map's parameters; float32 unless told.
        reduction: "mean" (weighted by `weight`), "sum" or "none".
        weight: [C], of the classes, or None.
        ignore_index: the class that counts for nothing; None is -100, which no class is.
        label_smoothing: the share, in [0, 1], of a uniform distribution in the target.
        options: to make the logits of some rows at a time; see `F.linear_cross_entropy`.

    Parameters: linear.weight [C * d1 * ..., D] and linear.bias, as `Linear`.

    Raises:
        TypeError: a size is not an integer; at a call, as `F.linear_cross_entropy`.
        ValueError: a size is out of range; weight is not [C]; label_smoothing is outside [0, 1]; at
            a call, as `F.linear_cross_entropy`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> loss = nn.LinearCrossEntropyLoss(3, 10)
        >>> params, state = loss.init(jax.random.key(0))
        >>> loss.apply(params, state, jnp.ones((8, 3)), jnp.arange(8))[0].shape
        ()

    Source: torch.nn.LinearCrossEntropyLoss.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: None = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ):
        name = "LinearCrossEntropyLoss"
        no_device(self, device)
        positive(self, num_classes=num_classes)
        if weight is not None and np.shape(weight) != (num_classes,):
            raise ValueError(
                f"{name}: expected weight [{num_classes}], got {list(np.shape(weight))}"
            )
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"{name}: expected label_smoothing between 0 and 1, got {label_smoothing}"
            )
        self.num_classes, self.out_features = num_classes, out_features
        self.reduction, self.ignore_index = reduction, ignore_index
        self.label_smoothing, self.options = label_smoothing, options
        self.weight = _given(weight)
        outputs = num_classes * math.prod(out_features)
        self.linear = Linear(in_features, outputs, bias=bias, dtype=dtype)

    def forward(self, input: jax.Array, target: jax.Array) -> jax.Array:
        """[N, D] or [D] and classes or probabilities in; a scalar, or the classes' shape, out."""
        linear = cast(Any, self.linear)
        shape = (self.num_classes, *self.out_features)
        return F.linear_cross_entropy(
            input,
            linear.weight.reshape(*shape, linear.in_features),
            target,
            linear_bias=None if linear.bias is None else linear.bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        """As torch prints it."""
        linear = cast(Any, self.linear)
        return (
            f"in_features={linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
