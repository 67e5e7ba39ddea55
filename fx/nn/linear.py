"""Layers that multiply by a matrix, and the one that does nothing."""

import math
from typing import Any

import jax

from fx import functional as F
from fx.nn import init
from fx.nn.checks import no_device, of_dtype, positive, shape_error
from fx.nn.module import Module
from fx.nn.parameter import Parameter


def bias_like_torch(shape: int, fan_in: int, dtype: Any) -> Any:
    """A bias as torch begins it: uniform within 1 / sqrt(fan_in) of 0."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return Parameter((shape,), init.uniform(-bound, bound), dtype)


class Identity(Module):
    """Returns its input; takes any arguments, and forgets them. Source: torch.nn.Identity."""

    def __init__(self, *args: Any, **kwargs: Any):
        """Take what the layer would take that this one stands in for."""

    def forward(self, input: Any) -> Any:
        """Anything in, the same out."""
        return input


class Linear(Module):
    """x @ weight.T + bias.

    Args:
        in_features: the length of the input's last axis; 0 gives the bias alone.
        out_features: the length of the output's last axis.
        bias: whether a bias is added.
        device: must be None.
        dtype: of weight and bias; float32 unless told.

    Parameters: weight [out, in], He-uniform with a = sqrt(5); bias [out], uniform within
    1 / sqrt(in).

    Raises:
        TypeError: a size is not an integer; at a call, the input is not of the weight's dtype.
        ValueError: a size is negative; device is not None; at a call, the input does not end in
            in_features.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.Linear(3, 5)
        >>> params, state = layer.init(jax.random.key(0))
        >>> layer.apply(params, state, jnp.ones((8, 3)))[0].shape
        (8, 5)

    Source: torch.nn.Linear.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        positive(self, 0, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        shape = (out_features, in_features)
        self.weight = Parameter(shape, init.kaiming_uniform(a=math.sqrt(5)), dtype)
        self.bias = bias_like_torch(out_features, in_features, dtype) if bias else None

    def forward(self, input: jax.Array) -> jax.Array:
        """[..., in] in, [..., out] out."""
        input = of_dtype(self, input, self.weight.dtype)
        if not input.ndim or input.shape[-1] != self.in_features:
            mend = f"set in_features={input.shape[-1]}" if input.ndim else "give it an axis"
            if input.ndim > 2 and math.prod(input.shape[1:]) == self.in_features:
                mend = "put nn.Flatten() before it"
            raise shape_error(self, f"[..., {self.in_features}]", input, mend)
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, and whether there is a bias."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1 @ weight[o] @ x2 + bias[o] for every output o.

    Args:
        in1_features: the length of the first input's last axis.
        in2_features: the length of the second input's last axis.
        out_features: the length of the output's last axis.
        bias: whether a bias is added.
        device: must be None.
        dtype: of weight and bias; float32 unless told.

    Parameters: weight [out, in1, in2] and bias [out], uniform within 1 / sqrt(in1).

    Raises:
        TypeError: a size is not an integer; at a call, an input is not of the weight's dtype.
        ValueError: an input's size is less than 1, or out_features negative; device is not None;
            at a call, an input's last axis is another.

    Source: torch.nn.Bilinear.
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        positive(self, in1_features=in1_features, in2_features=in2_features)
        positive(self, 0, out_features=out_features)
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in1_features)
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(shape, init.uniform(-bound, bound), dtype)
        self.bias = bias_like_torch(out_features, in1_features, dtype) if bias else None

    def forward(self, input1: jax.Array, input2: jax.Array) -> jax.Array:
        """[..., in1] and [..., in2] in, [..., out] out."""
        for name, value in (("in1_features", input1), ("in2_features", input2)):
            size = getattr(self, name)
            if of_dtype(self, value, self.weight.dtype).shape[-1:] != (size,):
                raise shape_error(self, f"[..., {size}]", value, f"set {name} to its last size")
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, and whether there is a bias."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
