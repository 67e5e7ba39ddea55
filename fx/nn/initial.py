"""A description's arrays, made from its declarations."""

from typing import Any

import jax
import jax.numpy as jnp

from fx.nn import describe
from fx.nn.keys import check_key, named_key
from fx.nn.parameter import Buffer


def initialise(module: Any, key: Any) -> tuple[dict, dict]:
    """Make every declared array, each from a key of its own; see `Module.init`."""
    check_key(f"{type(module).__name__}.init", key)
    trees: tuple[dict, dict] = {}, {}
    for leaf in describe.leaves(module):
        if leaf.path == leaf.source:
            spec = leaf.declaration
            value = initial_value(leaf, key)
            if jnp.shape(value) != spec.shape:
                raise ValueError(
                    f'{type(module).__name__} "{leaf.name}": expected {spec.init!r} to give the '
                    f"shape {spec.shape}, got {jnp.shape(value)}"
                )
            describe.put(trees[isinstance(spec, Buffer)], leaf.path, value)
    return trees


def initial_value(leaf: describe.Leaf, key: Any) -> Any:
    """An array's initial value; each copy's from the key that its own name gives."""
    spec, count = leaf.declaration, len(leaf.copies)
    path = getattr(spec.init, "key_path", tuple)(leaf.path)  # see parametrize.FromWeight

    def make(*numbers: Any) -> Any:
        copies = tuple((step, n, number) for (step, n), number in zip(leaf.copies, numbers))
        return spec.init(named_key(key, path, copies), spec.shape[count:], spec.dtype)

    for axis in reversed(range(count)):
        make = jax.vmap(make, tuple(0 if i == axis else None for i in range(count)))
    return jnp.asarray(make(*(jnp.arange(n) for _, n in leaf.copies)), spec.dtype)
