"""Parts of a tree of arrays by name: split and merged, read and changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from fx.nn.names import Pattern, dotted, matches, several


def partition(params: Any, predicate: Pattern | Sequence[Pattern]) -> tuple[Any, Any]:
    """Split a tree of arrays in two by their names: what is trained, say, and what is not.

    Args:
        params: Params, a state, gradients: any pytree of arrays.
        predicate: Which arrays go into the first half: a pattern or several, as in
            `fx.optim.groups`. "head.*" is text in which `*` stands for anything, dots included; a
            function gets the name and the array.

    Returns:
        Two trees like `params`, each with None in place of what the other has. `jax.grad`,
        optimizers and `jax.tree.map` pass over None. `merge` puts them together again.

    Raises:
        ValueError: no pattern, or one that matches nothing.
        TypeError: a pattern that is neither text nor a function.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> from fx import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> params, state = model.init(jax.random.key(0))
        >>> trained, fixed = partition(params, "1.*")
        >>> def loss(trained):
        ...     return model.apply(merge(trained, fixed), state, jnp.ones((4, 2)))[0].sum()
        >>> grads = jax.grad(loss)(trained)
        >>> grads["0"], grads["1"]["bias"].tolist()
        ({'bias': None, 'weight': None}, [4.0])

    Source: equinox.partition, with names.
    """
    patterns = several(predicate)
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    named = [(dotted(path), leaf) for path, leaf in leaves]
    if not patterns:
        raise ValueError("partition: expected a pattern or several, got none")
    for pattern in patterns:
        if not isinstance(pattern, str) and not callable(pattern):
            raise TypeError(
                "partition: expected a pattern as text or as a function of name and array, got "
                f"{type(pattern).__name__}"
            )
        if not any(matches(pattern, name, leaf) for name, leaf in named):
            text = pattern if isinstance(pattern, str) else getattr(pattern, "__name__", pattern)
            raise ValueError(
                f'partition: "{text}" matches no array; they are '
                f"{', '.join(name for name, _ in named)}"
            )
    first = [any(matches(p, name, leaf) for p in patterns) for name, leaf in named]
    halves = (
        [leaf if taken == half else None for (_, leaf), taken in zip(named, first)]
        for half in (True, False)
    )
    chosen, rest = (jax.tree.unflatten(structure, half) for half in halves)
    return chosen, rest


def merge(*parts: Any) -> Any:
    """Put together what `partition` split.

    Args:
        *parts: Trees of one structure; each array stands in one of them, the others have None.

    Returns:
        The whole tree.

    Raises:
        ValueError: no trees, trees of different structures, or an array that stands in two.

    Example:
        >>> merge({"a": 1, "b": None}, {"a": None, "b": 2})
        {'a': 1, 'b': 2}
    """

    def one(path: tuple, *values: Any) -> Any:
        found = [value for value in values if value is not None]
        if len(found) > 1:
            raise ValueError(f'merge: "{dotted(path)}" stands in several of the trees')
        return found[0] if found else None

    if not parts:
        raise ValueError("merge: expected the trees that partition returned, got none")
    try:
        return jax.tree_util.tree_map_with_path(one, *parts, is_leaf=lambda value: value is None)
    except ValueError as error:
        if "stands in several" in str(error):
            raise
        raise ValueError(
            f"merge: expected trees of one structure, as partition returns them: {error}"
        ) from error


@dataclass(frozen=True)
class At:
    """One place in nested dicts; see `at`."""

    tree: Mapping[str, Any]
    name: str

    def get(self) -> Any:
        """The array, or the dict of arrays, that stands there."""
        value: Any = self.tree
        for step in self.name.split("."):
            if not isinstance(value, Mapping) or step not in value:
                known = ", ".join(value) if isinstance(value, Mapping) else "an array"
                raise ValueError(f"at: nothing is called {self.name!r}; at {step!r} is {known}")
            value = value[step]
        return value

    def set(self, value: Any) -> dict:
        """A new tree with another value there."""
        self.get()
        return _set(self.tree, self.name.split("."), value)

    def apply(self, function: Callable[[Any], Any]) -> dict:
        """A new tree with `function` of each array there."""
        return self.set(jax.tree.map(function, self.get()))


def at(tree: Mapping[str, Any], name: str) -> At:
    """A place in params or state, to read or to change in a copy.

    Args:
        tree: nested dicts; they stay as they are.
        name: dotted name of an array or of a part, "layer1.0.weight" or "layer1".

    Returns:
        An `At`: `get()`, `set(value)` and `apply(function)`, the last two giving new trees.

    Raises:
        ValueError: when used, if nothing has that name.

    Example:
        >>> params = {"fc": {"weight": 3.0, "bias": 1.0}}
        >>> at(params, "fc.weight").get()
        3.0
        >>> at(params, "fc.bias").set(0.0)
        {'fc': {'weight': 3.0, 'bias': 0.0}}
        >>> at(params, "fc").apply(lambda a: 2 * a)
        {'fc': {'bias': 2.0, 'weight': 6.0}}
    """
    return At(tree, name)


def _set(tree: Mapping[str, Any], steps: list[str], value: Any) -> dict:
    head, *rest = steps
    return {**tree, head: _set(tree[head], rest, value) if rest else value}
