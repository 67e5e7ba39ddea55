"""Random numbers of evaluation, the same ones in both: a VAE's noise, say.

What PyTorch draws and what JAX draws differ, so that outputs which depend on it cannot be compared.
Here both get numbers of the right distribution that follow from the shape alone. A port is compared
so, and written as always: `apply` draws with the key that it is given.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx import functional
from fx.porting.read.record import uncompiled

SAID = "random numbers are drawn in evaluation, too"
NOTE = (
    f"{SAID}: both were compared with the same numbers in the place of their own; give apply a key"
)


def without_keys(source: str) -> str:
    """The written file with None for keys, which `Random` knows."""
    return re.sub(r"\b\w+\.next_key\(\)", "None", source)


class Jax:
    """Stands for `jax` in a file that is compared: draws without a key are those of `_numbers`."""

    def __init__(self) -> None:
        self.random = Random()

    def __getattr__(self, name: str) -> Any:
        return getattr(jax, name)


class Random:
    """Stands for `jax.random`; with a key it does what that does."""

    def __getattr__(self, name: str) -> Any:
        theirs = getattr(jax.random, name)
        ours = _OURS.get(name)
        if ours is None:
            return theirs

        def draw(key: Any, *args: Any, **kwargs: Any) -> Any:
            return theirs(key, *args, **kwargs) if key is not None else ours(*args, **kwargs)

        return draw


class Functional:
    """Stands for `fx.functional`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(functional, name)

    def gumbel_softmax(
        self, logits: Any, tau: Any = 1, hard: bool = False, eps: Any = 0, dim: int = -1,
        key: Any = None,
    ) -> Any:  # fmt: skip
        """Softened samples, of the numbers of this file."""
        soft = jax.nn.softmax((logits + jnp.asarray(_gumbel(logits.shape))) / tau, dim)
        if not hard:
            return soft
        chosen = jax.nn.one_hot(soft.argmax(dim), soft.shape[dim], dtype=soft.dtype, axis=dim)
        return chosen - jax.lax.stop_gradient(soft) + soft

    def dropout(
        self, x: Any, p: Any = 0.5, training: bool = True, inplace: bool = False, key: Any = None
    ) -> Any:
        """Dropout, of the numbers of this file where it is given no key."""
        if key is not None or not training:
            return functional.dropout(x, p, training, key=key)
        return x * _kept(x.shape, p)

    def dropout1d(self, x: Any, p: Any = 0.5, training: bool = True, **given: Any) -> Any:
        """Whole channels of [N, C, L]."""
        return self._channels("dropout1d", x, p, training, **given)

    def dropout2d(self, x: Any, p: Any = 0.5, training: bool = True, **given: Any) -> Any:
        """Whole channels of [N, C, H, W]."""
        return self._channels("dropout2d", x, p, training, **given)

    def dropout3d(self, x: Any, p: Any = 0.5, training: bool = True, **given: Any) -> Any:
        """Whole channels of [N, C, D, H, W]."""
        return self._channels("dropout3d", x, p, training, **given)

    def _channels(self, name: str, x: Any, p: Any, training: bool, key: Any = None) -> Any:
        if key is not None or not training:
            return getattr(functional, name)(x, p, training, key=key)
        return x * _kept((*x.shape[:2], *(1 for _ in x.shape[2:])), p)


def _kept(shape: Any, p: float) -> np.ndarray:
    """What dropout multiplies with: 0, or the reciprocal of the share that is kept."""
    return (_numbers("random", shape) >= p).astype(np.float32) / (1 - p)


def _normal(shape: Any = (), dtype: Any = float) -> jax.Array:
    return jnp.asarray(_numbers("standard_normal", shape), dtype)


def _uniform(shape: Any = (), dtype: Any = float, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    return jnp.asarray(_numbers("random", shape), dtype) * (maxval - minval) + minval


def _exponential(shape: Any = (), dtype: Any = float) -> jax.Array:
    return jnp.asarray(_numbers("standard_exponential", shape), dtype)


def _randint(shape: Any, minval: Any, maxval: Any, dtype: Any = int) -> jax.Array:
    return (jnp.asarray(_numbers("random", shape)) * (maxval - minval)).astype(dtype) + minval


def _bernoulli(p: Any = 0.5, shape: Any = None) -> jax.Array:
    return _numbers("random", jnp.shape(p) if shape is None else shape) < p


def _permutation(x: Any) -> jax.Array:
    return jnp.asarray(np.random.default_rng(x).permutation(x))


_OURS = {
    "normal": _normal, "uniform": _uniform, "exponential": _exponential, "randint": _randint,
    "bernoulli": _bernoulli, "permutation": _permutation, "fold_in": lambda nth: None,
    "gumbel": lambda shape: jnp.asarray(_gumbel(shape)),
}  # fmt: skip


def _numbers(kind: str, shape: Any) -> np.ndarray:
    """Numbers of a distribution that depend on the shape alone, as float32."""
    sizes = [int(n) for n in np.atleast_1d(np.asarray(shape, int))]
    return getattr(np.random.default_rng([*sizes, 1]), kind)(sizes, np.float32)


def _gumbel(shape: Any) -> np.ndarray:
    return -np.log(_numbers("standard_exponential", shape) + 1e-6)


@contextmanager
def drawn() -> Iterator[None]:
    """PyTorch's draws give the numbers of this file."""
    import torch
    from torch.overrides import TorchFunctionMode

    makes, fills = _theirs()

    class Draws(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            kwargs = kwargs or {}
            if func not in fills and func not in makes or _by_a_layer(func):
                return func(*args, **kwargs)
            before = torch.get_rng_state()
            out = func(*args, **kwargs)
            torch.set_rng_state(before)  # it tells whether a model draws besides: dropout does
            if func in fills:
                return fills[func](out, *args[1:], **kwargs)
            return makes[func](out, *args, **kwargs)

    with uncompiled(), Draws():
        yield


def _by_a_layer(func: Any) -> bool:
    """Whether it is dropout that a layer of torch's calls, which draws in training."""
    if not getattr(func, "__name__", "").startswith("dropout"):
        return False
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.endswith(
        ("overrides.py", "functional.py")
    ):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.endswith("nn/modules/dropout.py")


def _theirs() -> tuple[dict, dict]:
    """By a function of torch's that makes random numbers, or fills, what puts ours in their place.

    It is given what torch made, for its shape and dtype, and the arguments.
    """
    import torch

    def put(out: Any, kind: str, scale: Any = 1, shift: Any = 0) -> Any:
        numbers = torch.from_numpy(_numbers(kind, tuple(out.shape)))
        with torch.no_grad():
            return out.copy_(numbers.to(out.dtype) * scale + shift)

    def normal(out: Any, mean: Any = 0.0, std: Any = 1.0, *_: Any, **__: Any) -> Any:
        return put(out, "standard_normal", std, mean)

    def uniform(out: Any, low: Any = 0.0, high: Any = 1.0, **_: Any) -> Any:
        return put(out, "random", high - low, low)

    def exponential(out: Any, lambd: Any = 1.0, **_: Any) -> Any:
        return put(out, "standard_exponential", 1 / lambd)

    def integers(out: Any, *args: Any, low: Any = 0, high: Any = None, **_: Any) -> Any:
        ends = [arg for arg in args if isinstance(arg, int)]
        low, high = ends if len(ends) == 2 else (low, high if high is not None else ends[0])
        numbers = torch.from_numpy(_numbers("random", tuple(out.shape)))
        return out.copy_((numbers * (high - low)).floor().to(out.dtype) + low)

    def bernoulli(out: Any, p: Any = 0.5, **_: Any) -> Any:
        return out.copy_(torch.from_numpy(_numbers("random", tuple(out.shape))) < p)

    def permutation(out: Any, *_: Any, **__: Any) -> Any:
        order = np.random.default_rng(len(out)).permutation(len(out))
        return out.copy_(torch.from_numpy(order))

    def multinomial(out: Any, weights: Any, number: int = 1, *_: Any, **__: Any) -> Any:
        rows = weights.reshape(-1, weights.shape[-1])
        noise = torch.from_numpy(_gumbel((number, *rows.shape))).to(rows.dtype)
        return out.copy_((rows.log() + noise).argmax(-1).T.reshape(out.shape))

    tensor = torch.Tensor
    makes = {
        torch.randn: lambda out, *_, **__: normal(out),
        torch.randn_like: lambda out, *_, **__: normal(out),
        torch.rand: lambda out, *_, **__: uniform(out),
        torch.rand_like: lambda out, *_, **__: uniform(out),
        torch.normal: normal,
        torch.randint: integers,
        torch.randperm: permutation,
        torch.bernoulli: bernoulli,
        torch.multinomial: multinomial,
    }
    fills = {
        tensor.normal_: normal, tensor.uniform_: uniform, tensor.exponential_: exponential,
        tensor.bernoulli_: bernoulli,
    }  # fmt: skip
    return makes | _functional(), fills


def _functional() -> dict:
    """Those of `torch.nn.functional`."""
    import torch
    import torch.nn.functional as F

    def softened(
        _: Any, logits: Any, tau: Any = 1, hard: bool = False, eps: Any = 0, dim: int = -1
    ) -> Any:
        noise = torch.from_numpy(_gumbel(tuple(logits.shape))).to(logits.dtype)
        soft = ((logits + noise) / tau).softmax(dim)
        if not hard:
            return soft
        chosen = torch.zeros_like(soft).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0)
        return chosen - soft.detach() + soft

    def dropped(
        out: Any, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Any:
        return x * torch.from_numpy(_kept(tuple(x.shape), p)).to(x.dtype) if training else out

    def channels(
        out: Any, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Any:
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:]))
        return x * torch.from_numpy(_kept(shape, p)).to(x.dtype) if training else out

    channelled = (F.dropout1d, F.dropout2d, F.dropout3d)
    return {F.gumbel_softmax: softened, F.dropout: dropped} | dict.fromkeys(channelled, channels)
