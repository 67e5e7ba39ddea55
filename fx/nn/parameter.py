"""Declarations of what a layer holds: a shape, an initialiser and a dtype, never an array."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.nn import init as initialisers
from fx.nn.first import First

Initialiser = Callable[[Any, tuple[int, ...], Any], Any]


class _Declaration(First):
    """A hashable, comparable, picklable shape, initialiser and dtype."""

    __slots__ = ("shape", "init", "dtype", "persistent")
    shape: tuple[int, ...]
    init: Initialiser
    dtype: np.dtype
    persistent: bool

    # Declared to return Any: inside `forward` the attribute is the array, and users' type
    # checkers should not object to `x @ self.weight`.
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(cls)

    def _declare(self, shape: Any, init: Any, dtype: Any, persistent: bool) -> None:
        kind = type(self).__name__
        if init is None and hasattr(shape, "__array__"):
            array = np.asarray(shape)
            shape, init, dtype = array.shape, initialisers.constant(array), dtype or array.dtype
        elif init is None:
            raise TypeError(
                f"{kind}: expected an initialiser beside the shape {shape!r}; "
                f"write nn.{kind}({shape!r}, nn.init.zeros), or give an array alone"
            )
        shape = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
        if any(size < 0 for size in shape):
            raise ValueError(f"{kind}: expected sizes of at least 0, got the shape {shape}")
        if not callable(init):
            raise TypeError(
                f"{kind}: expected an initialiser (key, shape, dtype) -> array, got {init!r}; "
                "use nn.init.constant(value) for a value"
            )
        dtype = np.dtype(jax.dtypes.canonicalize_dtype(dtype or jnp.float32))  # float64 under x64
        for name, value in zip(_Declaration.__slots__, (shape, init, dtype, persistent)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be changed")

    def _identity(self) -> tuple:
        return type(self), self.shape, self.init, self.dtype, self.persistent

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"{type(self).__name__} of no axes has no len()")
        return self.shape[0]

    def __bool__(self) -> bool:
        return True  # `if self.bias`, whatever its length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Declaration) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple:
        return _restore, self._identity()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape}, {self.init!r}, {self.dtype.name})"


class Parameter(_Declaration):
    """Declares an array that is trained: it lives in ``params``, under the attribute's name.

    Args:
        shape: the array's shape; or an array, which becomes the initial value.
        init: an initialiser ``(key, shape, dtype) -> array``, such as those of ``nn.init``.
        dtype: float32 unless told.
        requires_grad: what is not trained is an ``nn.Buffer``, or frozen by the optimizer.

    Raises:
        TypeError: without an initialiser (and without an array in place of the shape), or with
            ``requires_grad=False``.

    Example:
        >>> from fx import nn
        >>> nn.Parameter((4, 3), nn.init.normal(std=0.02))
        Parameter((4, 3), normal(std=0.02), float32)

    Source: torch.nn.Parameter, which holds the array itself.
    """

    __slots__ = ()

    def __init__(
        self,
        shape: Any,
        init: Initialiser | None = None,
        dtype: Any = None,
        *,
        requires_grad: bool = True,
    ):
        if isinstance(init, bool):  # torch's second argument
            init, requires_grad = None, init
        if not requires_grad:
            raise TypeError(
                "Parameter: expected an array that is trained, got requires_grad=False; write "
                "nn.Buffer(...), which has the same name in state_dict, or freeze it where it is "
                "trained: fx.optim.freeze(optimizer, patterns)"
            )
        self._declare(shape, init, dtype, True)


class Buffer(_Declaration):
    """Declares an array that is not trained: it lives in ``state``, and ``forward`` may assign it.

    Args:
        shape: the array's shape; or an array, which becomes the initial value.
        init: an initialiser ``(key, shape, dtype) -> array``.
        dtype: float32 unless told.
        persistent: whether ``state_dict`` lists it.

    Raises:
        TypeError: without an initialiser (and without an array in place of the shape).

    Example:
        >>> from fx import nn
        >>> nn.Buffer((4,), nn.init.zeros)
        Buffer((4,), zeros, float32)

    Source: torch.nn.Buffer, and ``register_buffer``.
    """

    __slots__ = ()

    def __init__(
        self,
        shape: Any,
        init: Initialiser | None = None,
        dtype: Any = None,
        persistent: bool = True,
    ):
        self._declare(shape, init, dtype, persistent)


def several(declaration: Any, sizes: tuple[int, ...]) -> Any:
    """The declaration of several such arrays stacked; its `init` is that of one."""
    if not sizes:
        return declaration
    spec = (*sizes, *declaration.shape), declaration.init, declaration.dtype
    return _restore(type(declaration), *spec, declaration.persistent)


def _restore(kind: type, shape: tuple, init: Any, dtype: Any, persistent: bool) -> Any:
    declaration = object.__new__(kind)
    declaration._declare(shape, init, dtype, persistent)
    return declaration
