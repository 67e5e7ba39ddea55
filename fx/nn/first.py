"""Arithmetic with what a declaration begins with, as constructors do: `self.kernel * 4`."""

import operator
from typing import Any

import jax
import numpy as np

from fx.nn import init

_FIXED = {init.zeros.function, init.ones.function, init.constant(0.0).function}  # need no key
_BOTH = "add sub mul truediv floordiv mod pow matmul and or xor".split()
_ONE = "neg pos abs invert ge gt le lt getitem".split()


class First:
    """What is declared with an array reads as that array; with what draws numbers it has none.

    A constructor computes with it as with any array, and declares what comes of it:
    `self.kernel = nn.Buffer(self.kernel * 4)`.
    """

    __slots__ = ()
    shape: Any
    init: Any
    dtype: Any

    @property
    def __jax_array__(self) -> Any:
        if not self._is_known():
            raise AttributeError("its values are drawn when params are made")  # no array for JAX
        return self._first

    def _is_known(self) -> bool:
        return getattr(self.init, "function", None) in _FIXED

    def _first(self) -> jax.Array:
        if not self._is_known():
            raise TypeError(
                f"{type(self).__name__}: its values are drawn when params are made, by {self.init},"
                " so that a constructor cannot compute with them; compute it in forward"
            )
        return self.init(None, self.shape, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._first(), dtype)

    def __getattr__(self, name: str) -> Any:
        own = name.startswith("_") or name in ("shape", "init", "dtype", "persistent")
        if own or not hasattr(jax.Array, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        try:
            return getattr(self._first(), name)
        except TypeError as error:
            raise AttributeError(str(error)) from None

    def __iter__(self) -> Any:
        return iter(self._first())


def _operator(name: str, swapped: bool = False) -> Any:
    function = getattr(operator, f"__{name}__")

    def apply(self: Any, *other: Any) -> Any:
        rest = [each._first() if isinstance(each, First) else each for each in other]
        return function(*rest, self._first()) if swapped else function(self._first(), *rest)

    return apply


for _name in (*_BOTH, *_ONE):
    setattr(First, f"__{_name}__", _operator(_name))
for _name in _BOTH:
    setattr(First, f"__r{_name}__", _operator(_name, swapped=True))
