"""Softmax over many classes in clusters."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from fx import functional as F
from fx.nn.checks import no_device, positive, shape_error
from fx.nn.container import ModuleList, Sequential
from fx.nn.linear import Linear
from fx.nn.module import Module, where


class ASMoutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` gives: output [N] and the loss, a scalar."""

    output: jax.Array
    loss: jax.Array


class AdaptiveLogSoftmaxWithLoss(Module):
    """Cross entropy over many classes, the rare ones in clusters with narrower layers.

    Classes are ordered by how frequent they are. The first ones, and one class for each cluster,
    are the head; each cluster has a softmax of its own.

    Args:
        in_features: D, the width of the input.
        n_classes: C, in all.
        cutoffs: where clusters begin: the head has the classes below the first one.
        div_value: each cluster's width is that of the one before, divided by this; one of width 0
            has equally probable classes, as in torch.
        head_bias: whether the head has a bias.
        device: must be None.
        dtype: of the parameters; float32 unless told.

    Parameters: head.weight, and tail.i.0.weight and tail.i.1.weight for each cluster, as `Linear`.

    Raises:
        TypeError: a size is not an integer; at a call, the target is not.
        ValueError: cutoffs are not increasing numbers in [1, n_classes); device is not None; at a
            call, shapes do not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10], div_value=2.0)
        >>> params, state = layer.init(jax.random.key(0))
        >>> (output, loss), _ = layer.apply(params, state, jnp.ones((2, 8)), jnp.array([3, 17]))
        >>> output.shape, loss.shape
        ((2,), ())

    Source: torch.nn.AdaptiveLogSoftmaxWithLoss. Each cluster is computed for each row, because a
    compiled function has one shape; torch leaves out those that no target is in. A class outside of
    [0, C) gives NaN. `log_prob` and `predict` are called in the forward of a module that has this
    one as a part.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: None = None,
        dtype: Any = None,
    ):
        no_device(self, device)
        positive(self, in_features=in_features, n_classes=n_classes)
        ends = [*cutoffs, n_classes]
        rising = all(low < high for low, high in zip([0, *ends], ends))
        if len(ends) < 2 or not rising or any(int(end) != end for end in ends):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: expected cutoffs increasing from 1 or more to less "
                f"than {n_classes}, the classes, got {list(cutoffs)}"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs, self.div_value, self.head_bias = ends, div_value, head_bias
        self.shortlist_size, self.n_clusters = ends[0], len(ends) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, dtype=dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // (div_value ** (i + 1)))
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, dtype=dtype),
                    Linear(hidden, ends[i + 1] - ends[i], bias=False, dtype=dtype),
                )
            )

    def forward(self, input_: jax.Array, target_: jax.Array) -> ASMoutput:
        """[N, D] and classes [N], or [D] and [], in; log-probabilities [N] or [], and loss, out."""
        input, target = jnp.asarray(input_), jnp.asarray(target_)
        if not jnp.issubdtype(target.dtype, jnp.integer):
            raise TypeError(f"{where(self)}: expected integer target, got {target.dtype}")
        if target.ndim > 1 or input.shape[:-1] != target.shape:
            raise ValueError(
                f"{where(self)}: expected input [N, {self.in_features}] and target [N], or "
                f"[{self.in_features}] and [], got {list(input.shape)} and {list(target.shape)}"
            )
        # The class's own log-probability, by a comparison and a sum as in `cross_entropy`.
        log_p = self._full(input if input.ndim == 2 else input[None])  # [N, C]
        chosen = target.reshape(-1, 1) == jnp.arange(self.n_classes, dtype=target.dtype)
        output = jnp.sum(jnp.where(chosen, log_p, 0), 1)
        output = jnp.where(jnp.any(chosen, 1), output, jnp.nan).astype(log_p.dtype)
        return ASMoutput(output.reshape(target.shape), jnp.mean(-output))

    def log_prob(self, input: jax.Array) -> jax.Array:
        """[N, D] in; log-probabilities of all classes, [N, C], out."""
        return self._full(self._batch(input))

    def predict(self, input: jax.Array) -> jax.Array:
        """[N, D] in; the most probable classes, [N], out."""
        return jnp.argmax(self.log_prob(input), 1)

    def _batch(self, input):
        if jnp.ndim(input) != 2:
            raise shape_error(self, f"[N, {self.in_features}]", input, "give it a batch's axis")
        return jnp.asarray(input)

    def _full(self, input: jax.Array) -> jax.Array:
        head = F.log_softmax(cast(Any, self.head)(input), 1)  # [N, shortlist + clusters]
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            at = self.shortlist_size + i
            parts.append(head[:, at : at + 1] + F.log_softmax(cluster(input), 1))
        return jnp.concatenate(parts, 1)
