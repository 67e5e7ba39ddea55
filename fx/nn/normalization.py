"""Normalisation without running statistics: LayerNorm, GroupNorm, RMSNorm."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fx import functional as F
from fx.nn import init
from fx.nn.checks import no_device, positive, shape_error
from fx.nn.module import Module
from fx.nn.parameter import Parameter

Shape = int | Sequence[int]


def _sizes(module: Module, normalized_shape: Shape) -> tuple[int, ...]:
    shape = normalized_shape
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    positive(module, 0, **{f"normalized_shape[{i}]": size for i, size in enumerate(sizes)})
    if not sizes:
        raise ValueError(f"{type(module).__name__}: expected normalized_shape with a size, got ()")
    return sizes


def _check_last_axes(module: Any, input: jax.Array) -> None:
    shape = module.normalized_shape
    if input.shape[-len(shape) :] != shape:
        last = input.shape[-len(shape) :]
        mend = f"set normalized_shape={last[0] if len(last) == 1 else last}"
        raise shape_error(module, f"[..., {', '.join(map(str, shape))}]", input, mend)


class LayerNorm(Module):
    """Normalises over the last axes.

    Args:
        normalized_shape: the sizes of the axes to normalise over; a number is one axis.
        eps: added to the variance.
        elementwise_affine: whether each element has a learned scale (and bias).
        bias: whether an affine layer has a bias.
        device: must be None.
        dtype: of weight and bias; float32 unless told.

    Parameters: weight and bias, normalized_shape, ones and zeros.

    Raises:
        TypeError: a size is not an integer; at a call, the input is not floating.
        ValueError: a size is negative; device is not None; at a call, the input does not end in
            normalized_shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.LayerNorm(2, eps=0.0)
        >>> params, state = layer.init(jax.random.key(0))
        >>> layer.apply(params, state, jnp.array([[1.0, 3.0]]))[0].tolist()
        [[-1.0, 1.0]]

    Source: torch.nn.LayerNorm.
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        shape = self.normalized_shape = _sizes(self, normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(shape, init.ones, dtype) if elementwise_affine else None
        self.bias = Parameter(shape, init.zeros, dtype) if elementwise_affine and bias else None

    def forward(self, input: jax.Array) -> jax.Array:
        """[..., *normalized_shape] in, the same out."""
        input = jnp.asarray(input)
        _check_last_axes(self, input)
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divides by the root of the mean square over the last axes.

    Args:
        normalized_shape: the sizes of the axes; a number is one axis.
        eps: added to the mean square; None is the machine epsilon of the dtype computed in.
        elementwise_affine: whether each element has a learned scale.
        device: must be None.
        dtype: of weight; float32 unless told.

    Raises:
        TypeError: a size is not an integer; at a call, the input is not floating.
        ValueError: a size is negative; device is not None; at a call, the input does not end in
            normalized_shape.

    Source: torch.nn.RMSNorm.
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        shape = self.normalized_shape = _sizes(self, normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(shape, init.ones, dtype) if elementwise_affine else None

    def forward(self, x: jax.Array) -> jax.Array:
        """[..., *normalized_shape] in, the same out."""
        x = jnp.asarray(x)
        _check_last_axes(self, x)
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        shape, eps = self.normalized_shape, self.eps
        return f"{shape}, eps={eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Normalises groups of channels of each example, over the spatial axes too.

    Args:
        num_groups: into how many groups the channels are cut.
        num_channels: C.
        eps: added to the variance.
        affine: whether each channel has a learned scale (and bias).
        device: must be None.
        dtype: of weight and bias; float32 unless told.
        bias: whether an affine layer has a bias.

    Parameters: weight and bias, [C], ones and zeros.

    Raises:
        TypeError: a size is not an integer; at a call, the input is not floating.
        ValueError: num_groups is less than 1, or does not divide num_channels; device is not
            None; at a call, the input has other channels.

    Source: torch.nn.GroupNorm, which takes any number of channels where it has no learned scale.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: None = None,
        dtype=None,
        *,
        bias: bool = True,
    ):
        no_device(self, device)
        positive(self, num_groups=num_groups)
        positive(self, 0, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: expected num_groups to divide num_channels, got {num_groups} groups "
                f"of {num_channels} channels"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.affine = affine
        self.weight = Parameter((num_channels,), init.ones, dtype) if affine else None
        self.bias = Parameter((num_channels,), init.zeros, dtype) if affine and bias else None

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, ...] in, the same out."""
        input = jnp.asarray(input)
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            mend = f"set num_channels={input.shape[1]}" if input.ndim > 1 else "give it a batch"
            raise shape_error(self, f"[N, {self.num_channels}, ...]", input, mend)
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
