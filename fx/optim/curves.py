"""The arithmetic of schedules: whole steps stay integers, so that late steps lose no accuracy."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Level = float | jax.Array


def as_float(value: Any) -> jax.Array:
    """A number or an array in the default floating dtype."""
    if isinstance(value, tuple):  # torch's schedulers take the optimizer
        raise TypeError(
            "schedule: expected lr to be a number, got an optimizer; here an optimizer takes the "
            "schedule: optim.adam(optim.step_lr(1e-3, 30))"
        )
    return jnp.asarray(value, jnp.result_type(float))


def as_steps(schedule: str, name: str, value: Any, least: int = 1) -> int:
    """Check a length and return it as an integer; 1e4 passes for 10000."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(
            f"{schedule}: expected {name} as a number of steps, got {type(value).__name__}"
        )
    if not float(value).is_integer():
        raise ValueError(f"{schedule}: expected {name} as a whole number of steps, got {value}")
    if value < least:
        plural = "" if least == 1 else "s"
        raise ValueError(
            f"{schedule}: expected {name} of at least {least} step{plural}, got {value}"
        )
    return int(value)


def power(base: float, exponent: jax.Array) -> jax.Array:
    """`base ** exponent` for large whole exponents.

    0.99999 rounded to float32 is off by 1e-8, which a million factors turn into 1 %: the rounding
    is taken out again.
    """
    rounded = float(np.asarray(base, jnp.result_type(float)))
    result = as_float(base) ** as_float(exponent)
    if rounded == base or rounded == 0:
        return result
    return result * jnp.exp(math.log(base / rounded) * as_float(exponent))


def falling_cosine(done: Any, length: Any) -> jax.Array:
    """Half a cosine from 1 at `done == 0` to 0 at `done == length`.

    Written with the sine of what remains: `1 + cos` cancels near the end.
    """
    rest = (as_float(length) - as_float(done)) / as_float(length)
    return jnp.sin(jnp.pi / 2 * rest) ** 2


def between(start: Level, end: Level, done: Any, rest: Any, strategy: str) -> jax.Array:
    """Between two levels, along a cosine or a line.

    Args:
        start: Where `done` is 0.
        end: Where `rest` is 0.
        done: Share of the way, clipped to [0, 1].
        rest: The other share. Both are given, as `1 - done` would cancel near the end.
        strategy: "cos" or "linear".
    """
    done, rest = jnp.clip(as_float(done), 0, 1), jnp.clip(as_float(rest), 0, 1)
    if strategy == "cos":
        rest, done = jnp.sin(jnp.pi / 2 * rest) ** 2, jnp.sin(jnp.pi / 2 * done) ** 2
    return as_float(start) * rest + as_float(end) * done


def check_strategy(schedule: str, strategy: str) -> None:
    """Raise unless `strategy` is one of torch's two."""
    if strategy not in ("cos", "linear"):
        raise ValueError(
            f'{schedule}: expected anneal_strategy "cos" or "linear", got {strategy!r}'
        )


def call(function: Callable[[Any], Any], step: Any) -> jax.Array:
    """Call a user's function of the step, which may mix floats and integers."""
    with jax.numpy_dtype_promotion("standard"):
        return as_float(function(step))
