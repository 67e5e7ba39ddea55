"""Classes of `torch.distributions` in fx: their text goes into a file that needs them.

Samples are drawn with a key: `Normal(mean, std).rsample(key=self.next_key())`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from fx import functional as F


class Normal:
    """`torch.distributions.Normal`, of a mean and a standard deviation."""

    def __init__(self, loc: Any, scale: Any, validate_args: Any = None):
        self.loc, self.scale = loc, scale
        if not all(isinstance(each, int | float) for each in (loc, scale)):
            self.loc, self.scale = jnp.broadcast_arrays(*map(jnp.asarray, (loc, scale)))
        self.batch_shape = jnp.shape(self.loc)

    mean = mode = property(lambda self: self.loc)
    stddev = property(lambda self: self.scale)
    variance = property(lambda self: self.scale**2)

    def rsample(self, sample_shape: Any = (), *, key: Any) -> jax.Array:
        """Samples [*sample_shape, *batch_shape], which have gradients."""
        shape = (*sample_shape, *self.batch_shape)
        return self.loc + self.scale * jax.random.normal(key, shape, jnp.result_type(self.loc, 1.0))

    def sample(self, sample_shape: Any = (), *, key: Any) -> jax.Array:
        """Samples [*sample_shape, *batch_shape] without gradients."""
        return jax.lax.stop_gradient(self.rsample(sample_shape, key=key))

    def log_prob(self, value: Any) -> jax.Array:
        """The logarithm of the density."""
        square = (value - self.loc) ** 2 / (2 * self.scale**2)
        return -square - jnp.log(self.scale) - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value: Any) -> jax.Array:
        """The probability of less than a value."""
        return 0.5 * (1 + jax.lax.erf((value - self.loc) / (self.scale * math.sqrt(2))))

    def entropy(self) -> jax.Array:
        """The differential entropy, in nats."""
        return 0.5 + 0.5 * math.log(2 * math.pi) + jnp.log(self.scale)

    def kl(self, other: Any) -> jax.Array:
        """The divergence from another one."""
        ratio = (self.scale / other.scale) ** 2
        shift = ((self.loc - other.loc) / other.scale) ** 2
        return 0.5 * (ratio + shift - 1 - jnp.log(ratio))


class Categorical:
    """`torch.distributions.Categorical`, over the last axis of what it is given."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None):
        if probs is None:
            self.logits = logits - jax.nn.logsumexp(logits, -1, keepdims=True)
            self.probs = F.softmax(self.logits, -1)
        else:
            self.probs = probs / probs.sum(-1, keepdims=True)
            eps = jnp.finfo(self.probs.dtype).eps
            self.logits = jnp.log(jnp.minimum(jnp.maximum(self.probs, eps), 1 - eps))
        self.batch_shape, self._num_events = self.probs.shape[:-1], self.probs.shape[-1]

    mode = property(lambda self: self.probs.argmax(-1))
    param = property(lambda self: self.logits)

    def sample(self, sample_shape: Any = (), *, key: Any) -> jax.Array:
        """Indices [*sample_shape, *batch_shape]."""
        rows = jnp.log(self.probs).reshape(-1, self._num_events)
        noise = jax.random.gumbel(key, (math.prod(sample_shape), *rows.shape))
        return (rows + noise).argmax(-1).reshape(*sample_shape, *self.batch_shape)

    def log_prob(self, value: Any) -> jax.Array:
        """The logarithm of the probability of indices."""
        index = jnp.asarray(value).astype(jnp.int32)
        shape = jnp.broadcast_shapes(index.shape, self.batch_shape)
        rows = jnp.broadcast_to(self.logits, (*shape, self._num_events))
        return jnp.take_along_axis(rows, jnp.broadcast_to(index, shape)[..., None], -1)[..., 0]

    def entropy(self) -> jax.Array:
        """The entropy, in nats."""
        logits = jnp.maximum(self.logits, jnp.finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def kl(self, other: Any) -> jax.Array:
        """The divergence from another one."""
        each = self.probs * (self.logits - other.logits)
        each = jnp.where(other.probs == 0, jnp.inf, each)
        return jnp.where(self.probs == 0, 0, each).sum(-1)


class Bernoulli:
    """`torch.distributions.Bernoulli`, of probabilities or of their logits."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: Any = None):
        if probs is None:
            self.logits, self.probs = logits, jax.nn.sigmoid(logits)
        else:
            eps = jnp.finfo(jnp.result_type(probs)).eps
            inside = jnp.minimum(jnp.maximum(probs, eps), 1 - eps)
            self.probs, self.logits = probs, jnp.log(inside) - jnp.log1p(-inside)
        self.batch_shape = self.probs.shape

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    def sample(self, sample_shape: Any = (), *, key: Any) -> jax.Array:
        """Zeros and ones [*sample_shape, *batch_shape]."""
        shape = (*sample_shape, *self.batch_shape)
        return jax.random.bernoulli(key, self.probs, shape).astype(self.probs.dtype)

    def log_prob(self, value: Any) -> jax.Array:
        """The logarithm of the probability."""
        logits, value = jnp.broadcast_arrays(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> jax.Array:
        """The entropy, in nats."""
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def kl(self, other: Any) -> jax.Array:
        """The divergence from another one."""
        softplus, one, zero = jax.nn.softplus, self.probs, 1 - self.probs
        yes = one * (softplus(-other.logits) - softplus(-self.logits))
        no = zero * (softplus(other.logits) - softplus(self.logits))
        yes = jnp.where(one == 0, 0, jnp.where(other.probs == 0, jnp.inf, yes))
        return yes + jnp.where(zero == 0, 0, jnp.where(other.probs == 1, jnp.inf, no))


class Independent:
    """`torch.distributions.Independent`: the last axes of another one are one event."""

    def __init__(
        self, base_distribution: Any, reinterpreted_batch_ndims: int, validate_args: Any = None
    ):
        self.base_dist, self.axes = base_distribution, tuple(range(-reinterpreted_batch_ndims, 0))

    mean = property(lambda self: self.base_dist.mean)
    mode = property(lambda self: self.base_dist.mode)
    stddev = property(lambda self: self.base_dist.stddev)
    variance = property(lambda self: self.base_dist.variance)

    def rsample(self, sample_shape: Any = (), *, key: Any) -> jax.Array:
        """Samples of the other one, which have gradients."""
        return self.base_dist.rsample(sample_shape, key=key)

    def sample(self, sample_shape: Any = (), *, key: Any) -> jax.Array:
        """Samples of the other one without gradients."""
        return self.base_dist.sample(sample_shape, key=key)

    def log_prob(self, value: Any) -> jax.Array:
        """The logarithm of the density."""
        return self.base_dist.log_prob(value).sum(self.axes)

    def entropy(self) -> jax.Array:
        """The entropy, in nats."""
        return self.base_dist.entropy().sum(self.axes)

    def kl(self, other: Any) -> jax.Array:
        """The divergence from another one."""
        return self.base_dist.kl(other.base_dist).sum(self.axes)


def kl_divergence(p: Any, q: Any) -> jax.Array:
    """`torch.distributions.kl_divergence`, of two of a kind."""
    return p.kl(q)
