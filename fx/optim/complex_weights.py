"""Complex weights: JAX's gradient is the conjugate of torch's, and each is two real numbers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Pair(NamedTuple):
    """A complex array as two real ones, which optimizers see as two weights."""

    real: jax.Array
    imag: jax.Array


def chain(*links: optax.GradientTransformation) -> optax.GradientTransformation:
    """`optax.chain`, which descends for complex weights as torch's optimizers do.

    A gradient of JAX has to be conjugated before a step against it goes down. Real and imaginary
    parts are then weights of their own, as `torch.view_as_real` has them. Trees without complex
    arrays, and the state that belongs to them, are those of `optax.chain`.
    """
    inner = optax.with_extra_args_support(optax.chain(*links))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        found, state = inner.update(_split(uphill(updates)), state, _split(params), **extra)
        return _joined(found), state

    return optax.GradientTransformationExtraArgs(lambda params: inner.init(_split(params)), update)


def uphill(grads: Any) -> Any:
    """Gradients as the way uphill, which for complex weights is the conjugate of JAX's."""
    return jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, grads)


def _split(tree: Any) -> Any:
    return jax.tree.map(lambda x: Pair(x.real, x.imag) if jnp.iscomplexobj(x) else x, tree)


def _joined(tree: Any) -> Any:
    def joined(x: Any) -> Any:
        return jax.lax.complex(x.real, x.imag) if isinstance(x, Pair) else x

    return jax.tree.map(joined, tree, is_leaf=lambda x: isinstance(x, Pair))
