"""BatchNorm over devices."""

from typing import Any

import jax
import jax.numpy as jnp

from fx.functional.dtypes import accumulate
from fx.functional.layout import to_first, to_last
from fx.nn.batchnorm import _BatchNorm, _share, channels_mend
from fx.nn.checks import shape_error
from fx.nn.module import Module, where
from fx.nn.rewrite import transform


class SyncBatchNorm(_BatchNorm):
    """Normalises the channels of [N, C, ...] over the batches of all devices.

    Under `jax.jit` there is one batch, however it is sharded, and every BatchNorm normalises over
    all of it: this layer is then BatchNorm. Inside of `jax.shard_map`, or of `jax.vmap` with an
    `axis_name`, each device sees its share, and this layer takes the moments over the named axis.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the batch's share of the running statistics; None averages all batches alike.
        affine: whether each channel has a learned scale (and bias).
        track_running_stats: whether there are running statistics.
        process_group: the name, or names, of the mesh axis to take the moments over; None: of none.
        device: must be None.
        dtype: of weight, bias and running statistics; float32 unless told.
        bias: whether an affine layer has a bias.

    Raises:
        TypeError: num_features is not an integer; at a call, the input is not floating.
        ValueError: num_features is negative; device is not None; at a call, the input has other
            axes or channels, or one value per channel in training.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.SyncBatchNorm(1, eps=0.0, process_group="devices")
        >>> params, state = layer.init(jax.random.key(0))
        >>> run = lambda x: layer.apply(params, state, x, train=True)[0]
        >>> jax.vmap(run, axis_name="devices")(jnp.array([[[1.0]], [[3.0]]])).ravel().tolist()
        [-1.0, 1.0]

    Source: torch.nn.SyncBatchNorm, where process_group is a group of processes.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: str | tuple[str, ...] | None = None,
        device: None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def forward(self, input: jax.Array) -> jax.Array:
        """[N, C, ...] in, the same out."""
        batch = not self.track_running_stats or self.training
        if self.process_group is None or not batch:
            return super().forward(input)
        input = jnp.asarray(input)
        self._check_shape(input)
        x = to_last(accumulate(input, where(self)))  # [N, ..., C]
        mean, var, count = _moments(x, self.process_group)
        if isinstance(count, int) and count == 1:
            mend = "use a larger batch"
            raise shape_error(self, "more than 1 value per channel when training", input, mend)
        scale = jax.lax.rsqrt(var + self.eps)
        scale = scale if self.weight is None else scale * self.weight.astype(x.dtype)
        y = (x - mean) * scale
        y = y if self.bias is None else y + self.bias.astype(x.dtype)
        if self.track_running_stats:
            self._track(mean, var * (count / (count - 1)))
        return to_first(y).astype(input.dtype)

    def _track(self, mean: jax.Array, var: jax.Array) -> None:
        counted = jnp.asarray(self.num_batches_tracked) + 1
        share = _share(self, counted)
        for name, new in (("running_mean", mean), ("running_var", var)):
            old = getattr(self, name)
            part = jnp.asarray(share, old.dtype)
            new = jax.lax.stop_gradient(new).astype(old.dtype)
            setattr(self, name, (1 - part) * old + part * new)
        self.num_batches_tracked = counted

    def _check_shape(self, input: jax.Array) -> None:
        expected = f"[N, {self.num_features}, ...]"
        if input.ndim < 2:
            raise shape_error(self, expected, input, "add the batch's axis, x[None]")
        if input.shape[1] != self.num_features:
            raise shape_error(self, expected, input, channels_mend(self, input, 1))

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """A copy of a description with every BatchNorm a SyncBatchNorm; params and state fit it.

        Args:
            module: any description.
            process_group: the name, or names, of the axis to take the moments over.
        """

        def change(part: Any) -> Any:
            if not isinstance(part, _BatchNorm) or isinstance(part, cls):
                return part
            dtypes = [d.dtype for d in (part.weight, part.running_mean) if d is not None]
            return cls(
                part.num_features, part.eps, part.momentum, part.affine, part.track_running_stats,
                process_group, dtype=dtypes[0] if dtypes else None,
                bias=part.bias is not None or not part.affine,
            )  # fmt: skip

        return transform(module, change)


def _moments(x: jax.Array, axis: Any) -> tuple[jax.Array, jax.Array, Any]:
    """Mean, biased variance and count of all batches along the named axis: two passes."""
    axes = tuple(range(x.ndim - 1))
    mine = 1
    for size in x.shape[:-1]:
        mine = mine * size
    count = jax.lax.psum(mine, axis)
    mean = jax.lax.psum(jnp.sum(x, axes), axis) / count
    return mean, jax.lax.psum(jnp.sum(jnp.square(x - mean), axes), axis) / count, count
