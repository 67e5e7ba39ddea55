"""Normalisation that keeps running statistics: BatchNorm and InstanceNorm."""

from typing import Any

import jax
import jax.numpy as jnp

from fx import functional as F
from fx.nn import init
from fx.nn.checks import no_device, positive, shape_error
from fx.nn.module import Module
from fx.nn.parameter import Buffer, Parameter

# What follows N in the input, by class.
SHAPES = {1: "C, L", 2: "C, H, W", 3: "C, D, H, W"}


def _declare(
    module: Any,
    num_features: int,
    eps: float,
    momentum: float | None,
    affine: bool,
    track_running_stats: bool,
    device: Any,
    dtype: Any,
    bias: bool,
) -> None:
    """Set the attributes that BatchNorm and InstanceNorm share."""
    no_device(module, device)
    positive(module, int(affine or track_running_stats), num_features=num_features)
    module.num_features, module.eps, module.momentum = num_features, eps, momentum
    module.affine, module.track_running_stats = affine, track_running_stats
    shape = (num_features,)
    module.weight = Parameter(shape, init.ones, dtype) if affine else None
    module.bias = Parameter(shape, init.zeros, dtype) if affine and bias else None
    tracked = track_running_stats
    module.running_mean = Buffer(shape, init.zeros, dtype) if tracked else None
    module.running_var = Buffer(shape, init.ones, dtype) if tracked else None
    module.num_batches_tracked = Buffer((), init.zeros, jnp.int32) if tracked else None


def channels_mend(module: Any, input: jax.Array, axis: int) -> str:
    """What to do where the channels' axis has another size."""
    if input.shape[-1] == module.num_features:
        return f"the channels are axis {axis}: jnp.moveaxis(x, -1, {axis})"
    return f"set num_features={input.shape[axis]}"


def _share(module: Any, counted: jax.Array) -> float | jax.Array:
    """The share of this batch in the running statistics: momentum, or a plain average of all."""
    return 1 / counted.astype(jnp.float32) if module.momentum is None else module.momentum


def _shown(module: Any) -> str:
    return (
        f"{module.num_features}, eps={module.eps}, momentum={module.momentum}, "
        f"affine={module.affine}, bias={module.bias is not None}, "
        f"track_running_stats={module.track_running_stats}"
    )


class _BatchNorm(Module):
    _dims: int
    num_features: int
    eps: float
    momentum: float | None
    track_running_stats: bool
    weight: Any
    bias: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        _declare(
            self, num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: jax.Array) -> jax.Array:
        input = jnp.asarray(input)
        self._check_shape(input)
        affine = (self.weight, self.bias)
        if not self.track_running_stats:
            return F.batch_norm(input, None, None, *affine, True, 0.0, self.eps)[0]
        statistics = (self.running_mean, self.running_var)
        if not self.training:
            return F.batch_norm(input, *statistics, *affine, False, 0.0, self.eps)[0]
        counted = self.num_batches_tracked + 1
        share = _share(self, counted)
        output, new = F.batch_norm(input, *statistics, *affine, True, share, self.eps)
        self.running_mean, self.running_var = new
        self.num_batches_tracked = counted
        return output

    def _check_shape(self, input: jax.Array) -> None:
        shape = SHAPES[self._dims].replace("C", str(self.num_features))
        expected = f"[N, {shape}]"
        counts = (self._dims + 2,)
        if self._dims == 1:
            expected, counts = f"[N, {self.num_features}] or {expected}", (2, 3)
        if input.ndim not in counts:
            right = {2: 1, 3: 1, 4: 2, 5: 3}.get(input.ndim)
            mend = f"use BatchNorm{right}d" if right else "reshape it"
            mend = "add the batch's axis, x[None]" if input.ndim == self._dims + 1 else mend
            raise shape_error(self, expected, input, mend)
        if input.shape[1] != self.num_features:
            raise shape_error(self, expected, input, channels_mend(self, input, 1))

    def extra_repr(self) -> str:
        return _shown(self)


class BatchNorm1d(_BatchNorm):
    """Normalises the channels of [N, C] or [N, C, L]; arguments and errors as `BatchNorm2d`."""

    _dims = 1


class BatchNorm2d(_BatchNorm):
    """Normalises each channel of [N, C, H, W] over the batch, or by running statistics.

    With ``train=True`` the batch's mean and variance are used, and the running ones move towards
    them; otherwise the running ones are used.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the batch's share of the running statistics; None averages all batches alike.
        affine: whether each channel has a learned scale (and bias).
        track_running_stats: whether there are running statistics; without them the batch's own
            are used in evaluation too.
        device: must be None.
        dtype: of weight, bias and running statistics; float32 unless told.
        bias: whether an affine layer has a bias.

    Parameters: weight and bias, [C], ones and zeros. State: running_mean and running_var, [C],
    zeros and ones, the variance being the unbiased one; num_batches_tracked, an int32 scalar.

    Raises:
        TypeError: num_features is not an integer; at a call, the input is not floating.
        ValueError: num_features is less than 1 (0, of a layer without arrays); device is not None;
            at a call, the input has other axes or channels, or one value per channel in training.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.BatchNorm2d(3)
        >>> params, state = layer.init(jax.random.key(0))
        >>> y, state = layer.apply(params, state, jnp.ones((8, 3, 4, 4)), train=True)
        >>> state["running_mean"].round(3).tolist(), int(state["num_batches_tracked"])
        ([0.10000000149011612, 0.10000000149011612, 0.10000000149011612], 1)

    Source: torch.nn.BatchNorm2d, whose num_batches_tracked is int64, and which takes any number of
    channels where it has no arrays.
    """

    _dims = 2


class BatchNorm3d(_BatchNorm):
    """Normalises the channels of [N, C, D, H, W]; arguments and errors as `BatchNorm2d`."""

    _dims = 3


class _InstanceNorm(Module):
    _dims: int
    num_features: int
    eps: float
    momentum: float | None
    track_running_stats: bool
    weight: Any
    bias: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        _declare(
            self, num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: jax.Array) -> jax.Array:
        input = jnp.asarray(input)
        self._check_shape(input)
        batched = input.ndim == self._dims + 2
        output = self._normalise(input if batched else input[None])
        return output if batched else output[0]

    def _normalise(self, input: jax.Array) -> jax.Array:
        affine = (self.weight, self.bias)
        if not self.track_running_stats:
            return F.instance_norm(input, None, None, *affine, True, 0.0, self.eps)[0]
        statistics = (self.running_mean, self.running_var)
        if not self.training:
            return F.instance_norm(input, *statistics, *affine, False, 0.0, self.eps)[0]
        # Unlike BatchNorm, torch counts no batches here, and momentum=None leaves the statistics.
        share = 0.0 if self.momentum is None else self.momentum
        output, new = F.instance_norm(input, *statistics, *affine, True, share, self.eps)
        self.running_mean, self.running_var = new
        return output

    def _check_shape(self, input: jax.Array) -> None:
        shape = SHAPES[self._dims].replace("C", str(self.num_features))
        expected = f"[N, {shape}] or [{shape}]"
        axis = input.ndim - self._dims - 1
        if axis not in (0, 1):
            raise shape_error(self, expected, input, f"give it {self._dims + 2} axes")
        if input.shape[axis] != self.num_features:
            raise shape_error(self, expected, input, channels_mend(self, input, axis))

    def extra_repr(self) -> str:
        return _shown(self)


class InstanceNorm1d(_InstanceNorm):
    """Normalises over L in [N, C, L] or [C, L]; arguments and errors as `InstanceNorm2d`."""

    _dims = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each example of [N, C, H, W] or [C, H, W] over H and W.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the batch's share of the running statistics, if there are any.
        affine: whether each channel has a learned scale (and bias).
        track_running_stats: whether there are running statistics, used in evaluation.
        device: must be None.
        dtype: of weight, bias and running statistics; float32 unless told.
        bias: whether an affine layer has a bias.

    Raises:
        TypeError: num_features is not an integer; at a call, the input is not floating.
        ValueError: num_features is less than 1 (0, of a layer without arrays); device is not None;
            at a call, the input has other axes or channels, or one value per channel where its own
            moments are used.

    Source: torch.nn.InstanceNorm2d, which only warns of another number of channels where there is
    no learned scale.
    """

    _dims = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalises over D, H and W in [N, C, D, H, W]; arguments and errors as `InstanceNorm2d`."""

    _dims = 3
