"""A program run again inside of `jax.jit`, with a note on every value of whether it is finite."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from fx.debug.program import Operation, Program

INF, NAN, FALSE = 1, 2, 4
# What only moves numbers has the code of its input.
_MOVES = frozenset(
    "broadcast_in_dim copy expand_dims neg reshape rev squeeze stop_gradient transpose".split()
)


@dataclass(frozen=True)
class Wish:
    """Values to bring back whole, and the iteration of each loop around them, outermost first."""

    numbers: frozenset[int] = frozenset()
    at: tuple[int, ...] = ()


@dataclass
class Found:
    """What a replay has seen.

    Attributes:
        codes: By number of the value: bits INF, NAN and, of a bool that is alone, FALSE; uint8
            [iterations of each scan around it]. Of a while loop: of the first of its worst
            iterations. Of a branch that was not taken: 0.
        values: Those wished for.
    """

    codes: dict[int, Any] = field(default_factory=dict)
    values: dict[int, Any] = field(default_factory=dict)


jax.tree_util.register_dataclass(Found, ["codes", "values"], [])


def replay(
    program: Program, arguments: list[Any], watched: frozenset[int] | None, wish: Wish
) -> tuple[list[Any], Found]:
    """Run a program.

    Args:
        program: From `flatten`.
        arguments: An array for each of its inputs.
        watched: Which values are looked at; None for all.
        wish: What to bring back.
    """
    found = Found()
    values: dict[int, Any] = {}

    def keep(numbers: Any, arrays: Any, known: Any = None) -> None:
        for number, array in zip(numbers, arrays, strict=True):
            values[number] = array
            if watched is None or number in watched:
                code = _code(array) if known is None else known
                found.codes |= {} if code is None else {number: code}
            if number in wish.numbers:
                found.values[number] = array

    keep(program.constants, program.constants.values())
    keep(program.inputs, arguments)
    for operation in program.operations:
        inputs = [values[x] if isinstance(x, int) else x.val for x in operation.inputs]
        if operation.bodies:
            outputs, within = _LOOPS[operation.name](operation, inputs, watched, wish)
            found.codes |= within.codes
            found.values |= within.values
        else:
            outputs = operation.run(*inputs)
        moves = operation.name in _MOVES and isinstance(operation.inputs[0], int)
        keep(operation.outputs, outputs, found.codes.get(operation.inputs[0]) if moves else None)
    results = [values[x] if isinstance(x, int) else x.val for x in program.outputs]
    return results, found


def _code(array: Any) -> jax.Array | None:
    dtype = jnp.result_type(array)
    if jnp.issubdtype(dtype, jnp.inexact):
        nan = jnp.where(jnp.isnan(array), jnp.uint8(NAN), jnp.uint8(0))
        bits = jnp.where(jnp.isinf(array), jnp.uint8(INF), nan)
        # Not reduce_or: CPUs have no such reduction over several devices.
        return jnp.max(bits & jnp.uint8(INF), initial=0) | jnp.max(bits & jnp.uint8(NAN), initial=0)
    if dtype == jnp.bool_ and jnp.size(array) == 1:
        return jnp.where(jnp.all(array), jnp.uint8(0), jnp.uint8(FALSE))
    return None


def _scan(operation: Operation, inputs: list, watched: frozenset[int] | None, wish: Wish):
    params, body = operation.equation.params, operation.bodies[0]
    fixed, carries = operation.scanned()
    split = fixed + carries
    inner = Wish(wish.numbers, wish.at[1:])

    def one(carry: Any, position_and_xs: Any) -> Any:
        (carry, kept), (position, xs) = carry, position_and_xs
        outputs, found = replay(body, [*inputs[:fixed], *carry, *xs], watched, inner)
        here = position == (wish.at[0] if wish.at else 0)
        kept = _choose(here, found.values, kept)
        return (outputs[: split - fixed], kept), (outputs[split - fixed :], found.codes)

    def wished(carry: list, xs: list) -> dict:
        rows = [x[0] for x in xs]
        return replay(body, [*inputs[:fixed], *carry, *rows], watched, inner)[1].values

    positions = jnp.arange(params["length"], dtype=jnp.int32)
    carry, xs = inputs[fixed:split], inputs[split:]
    none = _zeros(jax.eval_shape(wished, carry, xs)) if wish.numbers else {}
    how = {name: params[name] for name in ("length", "reverse", "unroll")}
    (carry, kept), (ys, codes) = lax.scan(one, (carry, none), (positions, xs), **how)
    return [*carry, *ys], Found(codes, kept)


def _while(operation: Operation, inputs: list, watched: frozenset[int] | None, wish: Wish):
    params, body = operation.equation.params, operation.bodies[0]
    fixed = params["cond_nconsts"]
    split = fixed + params["body_nconsts"]
    test = core.jaxpr_as_fun(params["cond_jaxpr"])

    def step(carry: Any) -> Any:
        carry, worst, kept = carry
        outputs, found = replay(body, [*inputs[fixed:split], *carry], watched, wish)
        rank = _rank(found.codes)
        return outputs, jnp.maximum(rank, worst), _choose(rank > worst, found, kept)

    none = _zeros(jax.eval_shape(step, (inputs[split:], jnp.uint8(0), None))[2])
    carry, _, kept = lax.while_loop(
        lambda carry: test(*inputs[:fixed], *carry[0])[0],
        step,
        (inputs[split:], jnp.uint8(0), none),
    )
    return carry, kept


def _cond(operation: Operation, inputs: list, watched: frozenset[int] | None, wish: Wish):
    def run(body: Program, values: list) -> Any:
        return replay(body, values, watched, wish)

    index, values = inputs[0], inputs[1:]
    shapes = [jax.eval_shape(lambda v, b=body: run(b, v)[1], values) for body in operation.bodies]

    def branch(body: Program):
        def taken(values: list) -> Any:
            outputs, found = run(body, values)
            codes = {k: v for shape in shapes for k, v in _zeros(shape).codes.items()}
            kept = {k: v for shape in shapes for k, v in _zeros(shape).values.items()}
            return outputs, Found(codes | found.codes, kept | found.values)

        return taken

    return lax.switch(index, [branch(body) for body in operation.bodies], values)


_LOOPS: Mapping[str, Any] = {"scan": _scan, "while": _while, "cond": _cond}


def _rank(codes: dict[int, Any]) -> jax.Array:
    rank = jnp.uint8(0)
    for code in codes.values():
        rank = jnp.maximum(rank, jnp.max(code & jnp.uint8(INF | NAN), initial=jnp.uint8(0)))
    return rank


def _choose(condition: jax.Array, new: Any, old: Any) -> Any:
    if old is None:
        return new
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
