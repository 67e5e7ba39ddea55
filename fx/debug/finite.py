"""Which layers' values are finite, computed in the program that computes the values."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

_TRANSFORMS = re.compile(r"\w+\(|\)")  # jvp(...), transpose(...), vmap(...)
_JAXS_OWN = frozenset({"checkpoint", "rematted_computation"})


def layer_flags(fn: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """Let a function with an auxiliary output also say which layers' values are finite.

    Every value that leaves a layer is looked at, once, where it is made: a reduction to one bool,
    which XLA fuses with the layer. A layer is what has a name scope, as each part of an `fx.nn`
    model and of a Flax model has; any model with `jax.named_scope` works.

    Args:
        fn: `(*args) -> (output, aux)`, as `jax.value_and_grad(fn, has_aux=True)` takes it.

    Returns:
        `(*args) -> (output, (aux, flags))`, with flags `{layer's dotted name: bool []}`, in the
        order in which they are used (`jax.jit` sorts them by name). To be transformed like `fn`;
        put it inside of `jax.checkpoint` and `jax.lax.scan`. What is inside of a `jax.jit`,
        `scan` or `checkpoint` of `fn`'s own counts to the layer around it.

    Example:
        >>> import fx
        >>> model = fx.nn.Sequential(fx.nn.Linear(2, 2), fx.nn.ReLU())
        >>> params, state = model.init(jax.random.key(0))
        >>> fn = layer_flags(lambda params, x: model.apply(params, state, x))
        >>> _, (_, flags) = fn(params, jnp.full((1, 2), jnp.inf))
        >>> {name: bool(flag) for name, flag in flags.items()}["0"]
        False
    """

    def flagged(*args: Any) -> tuple[Any, Any]:
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
        jaxpr, count = closed.jaxpr, len(closed.jaxpr.outvars)
        leaving = _leaving(jaxpr)
        outvars = [*jaxpr.outvars, *(var for var, _ in leaving)]
        debug_info = jaxpr.debug_info.with_unknown_names()
        exposed = core.ClosedJaxpr(
            jaxpr.replace(outvars=outvars, debug_info=debug_info), closed.consts
        )
        values = core.jaxpr_as_fun(exposed)(*jax.tree.leaves(args))
        output, aux = jax.tree.unflatten(jax.tree.structure(shapes), values[:count])
        flags: dict[str, jax.Array] = {}
        for (_, layer), value in zip(leaving, values[count:], strict=True):
            sound = jnp.all(jnp.isfinite(jax.lax.stop_gradient(value)))
            flags[layer] = flags[layer] & sound if layer in flags else sound
        return output, (aux, flags)

    return flagged


def layer_of(name_stack: Any, outer: str = "") -> str:
    """Read the dotted name of the layer off the name stack of an operation; "" outside of layers.

    Args:
        name_stack: `equation.source_info.name_stack`.
        outer: What this function returned for the equation whose program the operation is in.
    """
    parts: list[str] = []
    for name in _TRANSFORMS.sub("", str(name_stack)).split("/"):
        if not name or name in _JAXS_OWN:
            continue
        if parts and name.startswith(f"{parts[-1]}."):  # a part of fx.nn has its whole path
            parts[-1] = name
        else:
            parts.append(name)
    # The first is the model itself, which would stand before every name.
    return ".".join(parts[1:] if len(parts) > 1 else parts) or outer


def _leaving(jaxpr: Any) -> list[tuple[Any, str]]:
    """Floating point values that are made in a layer and used outside of it, with its name."""
    made: dict[Any, str] = {}
    leaving: dict[Any, str] = {}

    def use(variable: Any, layer: str | None) -> None:
        known = not isinstance(variable, core.Literal) and variable in made
        if known and made[variable] != layer:
            leaving[variable] = made[variable]

    for equation in jaxpr.eqns:
        layer = layer_of(equation.source_info.name_stack)
        for variable in equation.invars:
            use(variable, layer)
        for variable in equation.outvars:
            dtype = getattr(variable.aval, "dtype", None)
            if layer and dtype is not None and jnp.issubdtype(dtype, jnp.inexact):
                made[variable] = layer
    for variable in jaxpr.outvars:
        use(variable, None)
    return list(leaving.items())
