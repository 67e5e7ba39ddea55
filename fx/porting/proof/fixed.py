"""Random numbers of training, one and the same in both: dropout keeps everything, say.

What a model draws in training decides its outputs there. While a port is compared, each draw of a
kind is one number, whatever its shape: what is drawn in another order, or in another shape, is
alike, and what is computed with it shows. A rate of dropout that is another one does, too.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp


@contextlib.contextmanager
def draws() -> Iterator[None]:
    """PyTorch and JAX draw the numbers of this file."""
    with contextlib.ExitStack() as contexts:
        for name, draw in _OURS.items():
            contexts.enter_context(mock.patch.object(jax.random, name, draw))
        contexts.enter_context(_theirs())
        yield


def _normal(key: Any, shape: Any = (), dtype: Any = float, *_: Any, **__: Any) -> jax.Array:
    return jnp.full(shape, 0.5, dtype)


def _uniform(
    key: Any, shape: Any = (), dtype: Any = float, minval: Any = 0.0, maxval: Any = 1.0, **_: Any
) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray((minval + maxval) / 2, dtype), shape)


def _bernoulli(key: Any, p: Any = 0.5, shape: Any = None, *_: Any, **__: Any) -> jax.Array:
    return jnp.ones(jnp.shape(p) if shape is None else shape, bool)


def _exponential(key: Any, shape: Any = (), dtype: Any = float, *_: Any, **__: Any) -> jax.Array:
    return jnp.ones(shape, dtype)


def _gumbel(key: Any, shape: Any = (), dtype: Any = float, *_: Any, **__: Any) -> jax.Array:
    return jnp.zeros(shape, dtype)  # of 1, as an exponential draw


def _randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = int, **_: Any) -> Any:
    return jnp.broadcast_to(jnp.asarray(minval, dtype), shape)


def _permutation(key: Any, x: Any, *_: Any, **__: Any) -> jax.Array:
    return jnp.arange(x) if isinstance(x, int) else jnp.asarray(x)


_OURS: dict[str, Callable] = {
    "normal": _normal, "uniform": _uniform, "bernoulli": _bernoulli, "exponential": _exponential,
    "gumbel": _gumbel, "randint": _randint, "permutation": _permutation,
}  # fmt: skip


def _theirs() -> Any:
    """A context in which torch's kernels draw the same numbers, wherever they are called from."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    def middle(args: tuple, kwargs: dict) -> float:
        low, high = (*args[1:3], *(0.0, 1.0)[len(args[1:3]) :])
        return (kwargs.get("from", low) + kwargs.get("to", high)) / 2

    def above(args: tuple, kwargs: dict) -> float:
        mean, std = (*args[1:3], *(0.0, 1.0)[len(args[1:3]) :])
        return kwargs.get("mean", mean) + 0.5 * kwargs.get("std", std)

    def lowest(args: tuple, kwargs: dict) -> int:
        given = [arg for arg in args if isinstance(arg, int)]
        return given[0] if len(given) == 2 else 0

    values = {
        "bernoulli_": lambda *_: 1, "bernoulli": lambda *_: 1, "uniform_": middle,
        "rand": lambda *_: 0.5, "rand_like": lambda *_: 0.5, "normal_": above,
        "randn": lambda *_: 0.5, "randn_like": lambda *_: 0.5, "exponential_": lambda *_: 1,
        "randint": lowest, "randint_like": lowest, "random_": lowest,
    }  # fmt: skip

    class Draws(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            kwargs = kwargs or {}
            if func._schema.name == "aten::rrelu_with_noise":
                x, _, low, high = (*args, 1 / 8, 1 / 3)[:4]
                return x.where(x >= 0, x * ((low + high) / 2))
            name = func._schema.name.removeprefix("aten::")
            draws = name in (*values, "randperm", "multinomial")
            before = torch.get_rng_state() if draws else None
            out = func(*args, **kwargs)
            if before is not None:
                torch.set_rng_state(before)  # it tells whether a model draws something else
            if name == "randperm":
                return torch.arange(len(out), dtype=out.dtype)
            if name == "multinomial":
                return out.copy_(args[0].argmax(-1, keepdim=True))
            return out.fill_(values[name](args, kwargs)) if name in values else out

    return Draws()
