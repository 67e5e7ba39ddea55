"""Attributes that a forward assigns and others of its methods read: values of one call."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from fx.nn.describe import is_module, modules


class Scratch:
    """Declares, in a class, an attribute that `forward` and the methods it calls may assign.

    What is assigned is there until `apply` returns, for every method of this part and for the parts
    around it, and is no part of params or state: the next call begins without it, or with what
    `__init__` gave it. Values do not cross `nn.remat`, `nn.vmap`, `nn.Stack` and `functional`,
    inside of which a part runs by itself: there it returns them, or is given them. In PyTorch such
    an attribute stays until it is overwritten; what one call is to leave for the next is an
    `nn.Buffer`.

    Raises:
        AttributeError: it is read before it was assigned, or where it was assigned on the other
            side of such a transformation.
        RuntimeError: it is assigned under a transformation inside of forward.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> class Decoder(nn.Module):
        ...     hidden = nn.Scratch()
        ...
        ...     def __init__(self):
        ...         self.cell = nn.GRUCell(4, 4)
        ...
        ...     def step(self, x):
        ...         self.hidden = self.cell(x, self.hidden)
        ...         return self.hidden
        ...
        ...     def forward(self, xs):
        ...         self.hidden = jnp.zeros(xs.shape[1:])
        ...         return jnp.stack([self.step(x) for x in xs])
        >>> params, state = Decoder().init(jax.random.key(0))
        >>> Decoder().apply(params, state, jnp.ones((3, 2, 4)))[0].shape
        (3, 2, 4)
    """

    # Declared to return Any: in methods the attribute is whatever they assign.
    def __new__(cls) -> Any:  # noqa: D102
        return super().__new__(cls)

    def __get__(self, module: Any, owner: type) -> Any:
        """Reached where nothing was assigned: an object's own attributes come first."""
        if module is None:
            return self
        raise AttributeError("no value yet")  # Module.__getattr__ says of what


def is_scratch(module: Any, name: str) -> bool:
    """Whether a module's class declares an attribute so."""
    return isinstance(getattr(type(module), name, None), Scratch)


@contextlib.contextmanager
def crossing(inner: Any, outer: Any, carried: bool = False) -> Iterator[None]:
    """Around a run of a part that is bound anew: what it shares with the view that stands for it.

    Args:
        inner: the new view, which runs.
        outer: the view around it.
        carried: values go in and come out; else, under a transformation, those that were assigned
            on the other side cannot be read.
    """
    pairs = [
        (part, there, name)
        for path, part in modules(inner)
        for name in _declared(type(part))
        if (there := _at(outer, path)) is not None
    ]
    for part, there, name in pairs:
        _cross(there, part, name, vars(part._scope.description).get(name, _NOTHING), carried)
    before = [vars(part).get(name, _NOTHING) for part, _, name in pairs]
    yield
    for (part, there, name), value in zip(pairs, before):
        _cross(part, there, name, value, carried)


_NOTHING = object()


def _cross(source: Any, target: Any, name: str, before: Any, carried: bool) -> None:
    """Bring a value across, or leave none where it was assigned, for `show.missing` to say so."""
    value = vars(source).get(name, _NOTHING)
    if value is before:
        return
    if carried and value is not _NOTHING:
        vars(target)[name] = value
        return
    vars(target).pop(name, None)
    target._scope.call.stayed.add((*target._scope.path, name))


def _at(view: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        view = vars(view).get(step)
        if not is_module(view):
            return None
    return view


@functools.cache
def _declared(kind: type) -> tuple[str, ...]:
    names = dict.fromkeys(name for base in kind.__mro__ for name in vars(base))
    return tuple(name for name in names if isinstance(getattr(kind, name, None), Scratch))
