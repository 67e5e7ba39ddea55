"""How often a step was compiled, and which argument made it compile again."""

import dataclasses
import functools
import random
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.train.checks import named_leaves

_FROZEN = (
    "train step: the model, the loss or transform= draws from np.random or random, which gives a "
    "constant of the compiled program, the same number at every step; use jax.random with the key "
    "that transform gets, or self.next_key() in a model"
)

LONG_S = 15.0
"""Seconds of a first call above which `fit` says how compiled programs are kept."""


def slow_start(seconds: float) -> str:
    """What to do where a first call took long and its program is not kept; "" elsewhere."""
    if seconds <= LONG_S or jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return ""
    return (
        f"the first call took {seconds:.0f} s, compiling included; with fx.configure("
        'cache_dir="~/.cache/fx") before JAX starts, the next run finds what was compiled'
    )


@dataclasses.dataclass
class Compilations:
    """What a step's calls compiled.

    Attributes:
        limit: How many are allowed; None is any number.
        reasons: For each compilation after the first, in words, what was different.
        traces: How often the function was traced, which comes before a compilation.
        seen: `traces` and the entries in jax's cache of programs at the last call.
    """

    limit: int | None = None
    reasons: list[str] = dataclasses.field(default_factory=list)
    traces: int = 0
    seen: tuple[int, int] = (0, 0)
    _seen: list[dict[str, str]] = dataclasses.field(default_factory=list, repr=False)

    @property
    def count(self) -> int:
        """How many programs were compiled."""
        return len(self._seen)

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Count how often a function is traced, and warn where it draws random numbers then."""

        @functools.wraps(function)
        def watched(*args: Any) -> Any:
            self.traces += 1
            before = _host_randomness()
            result = function(*args)
            # Threads of a loader draw, too, and that is in no program.
            if _host_randomness() != before and _varies(function, args):
                warnings.warn(_FROZEN, RuntimeWarning, stacklevel=2)
            return result

        return watched

    def look(self, size: int, arguments: tuple[Any, Any]) -> None:
        """After a call, take down whether it compiled.

        Neither sign is enough: another placement of the arguments compiles without a trace, and
        jax's cache, which all functions share, may be full and not grow.

        Args:
            size: The entries in jax's cache of programs.
            arguments: The state and the batch of the call; donated arrays will do.

        Raises:
            RuntimeError: More were compiled than the limit allows.
        """
        if (self.traces, size) == self.seen:
            return
        self.seen = self.traces, size
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
            return  # it became part of another program
        kinds = _kinds(arguments)
        if kinds in self._seen:  # where a typed key is on a mesh, it grows without a compilation
            return
        if self._seen:
            self.reasons.append(_difference(self._seen[-1], kinds))
        self._seen.append(kinds)
        if self.limit is not None and self.count > self.limit:
            why = "; ".join(self.reasons)
            raise RuntimeError(
                f"train step: expected at most {self.limit} compilation"
                f"{'s' * (self.limit != 1)}, this call was number {self.count}: {why}; give every "
                "call arrays of the same shape and dtype, or raise max_compiles"
            )


def _host_randomness() -> tuple[Any, ...]:
    """Where the generators of NumPy and Python that all share stand."""
    _, words, place, *_ = np.random.get_state()
    return bytes(words), place, random.getstate()  # type: ignore[arg-type]


def _varies(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a function becomes another program when it is traced again; looked at three times."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype), args)

    def program() -> str:
        return jax.jit(lambda *args: function(*args)).lower(*shapes).as_text()

    first = program()
    return any(program() != first for _ in range(3))


def _kinds(arguments: tuple[Any, Any]) -> dict[str, str]:
    ts, batch = arguments
    named = {f"ts{name}": leaf for name, leaf in named_leaves(ts).items()}
    named |= {f"batch{name}": leaf for name, leaf in named_leaves(batch).items()}
    return {name: _kind(leaf) for name, leaf in named.items()}


def _kind(leaf: Any) -> str:
    shape = list(np.shape(leaf))
    if not isinstance(leaf, jax.Array):
        if isinstance(leaf, bool | int | float | complex):
            return f"Python {type(leaf).__name__}"
        return f"{np.asarray(leaf).dtype}{shape}"
    weak = "weakly typed " if getattr(leaf.aval, "weak_type", False) else ""
    spread = "" if len(leaf.sharding.device_set) == 1 else f" on {leaf.sharding}"
    return f"{weak}{leaf.dtype}{shape}{spread}"


def _difference(before: dict[str, str], after: dict[str, str]) -> str:
    faults = [f"{name} is gone" for name in before if name not in after]
    faults += [f"{name} is new" for name in after if name not in before]
    for name, kind in after.items():
        if name in before and before[name] != kind:
            faults.append(f"{name} was {before[name]} and is {kind}")
    shown = faults[:4] + ([f"and {len(faults) - 4} more"] if len(faults) > 4 else [])
    return ", ".join(shown)
