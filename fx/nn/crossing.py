"""Scratch where a part is bound anew: under a transformation, or in another mode."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from fx.nn.describe import is_module, modules
from fx.nn.scratch import Scratch


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
