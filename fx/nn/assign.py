"""What `forward` may assign."""

from typing import Any

import jax.numpy as jnp

from fx.nn.parameter import Buffer
from fx.nn.scope import Scope
from fx.nn.scratch import is_scratch


def record(view: Any, scope: Scope, name: str, value: Any) -> None:
    """Assign an attribute of a bound view: a buffer's is new state, and scratch is of this call.

    Raises:
        AttributeError: it is neither.
        RuntimeError: it is assigned under a transformation, or where no state is returned.
        ValueError: a buffer of another shape.
    """
    declaration = vars(scope.description).get(name)
    if is_scratch(view, name) and not isinstance(declaration, Buffer):
        scope.check_trace(f"{name!r} is assigned")
        vars(view)[name] = value
        return
    if not isinstance(declaration, Buffer):
        raise AttributeError(
            f"{scope.where()}: {name!r} is assigned in forward, where only a Buffer may change; "
            f"declare self.{name} = nn.Buffer(shape, init) in __init__, use a local variable, or, "
            f"for other methods of the same call, {name} = nn.Scratch() in the class"
        )
    if scope.call.train is None:
        raise RuntimeError(f"{scope.where()}: has state, which only apply(...) returns")
    scope.check_trace(f"the buffer {name!r} is assigned")
    old = scope.call.arrays[(*scope.path, name)]
    if jnp.shape(value) != jnp.shape(old):
        raise ValueError(
            f"{scope.where()}: expected the buffer {name!r} to keep its shape {jnp.shape(old)}, "
            f"got {jnp.shape(value)}"
        )
    value = jnp.asarray(value, jnp.result_type(old))
    scope.call.arrays[(*scope.path, name)] = vars(view)[name] = value
