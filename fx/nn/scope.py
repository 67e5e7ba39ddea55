"""What a bound view knows of the call it is in: its path, the flags, the key, the arrays.

`Module.apply` makes one `Call`, and a shallow copy (a view) of every part with a `Scope`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.extend.core import get_opaque_trace_state

from fx.nn.keys import Copies, Path, named_key


@dataclass(slots=True)
class Call:
    """One run of `apply`, shared by all views."""

    train: bool | None  # None: called by itself, outside of apply
    key: jax.Array | None
    name: Path  # where this model sits in a larger one; () unless it came through `functional`
    arrays: dict[Path, Any]  # every parameter and buffer by path; assigned buffers replace theirs
    # After each call of a part; what it returns, unless None, takes the outputs' place.
    on_call: Callable[[Path, Any, tuple, Any], Any] | None = None
    draws: dict[Path, int] = field(default_factory=dict)  # how many keys each part has drawn
    copies: Copies = ()  # which of several parts this run is, where one program is all of them
    trace: Any = field(default_factory=get_opaque_trace_state)
    stayed: set[Path] = field(default_factory=set)  # scratch of the other side of a transformation


@dataclass(slots=True, eq=False)
class Scope:
    """The share of one view in a `Call`."""

    call: Call
    path: Path
    description: Any
    train: bool | None  # the call's, but for what `eval_mode` is around

    def lift(self, key: Any, arrays: dict[Path, Any]) -> Call:
        """The call of this part by itself, in the mode of the one it is in."""
        name = self.call.name + self.path
        return Call(self.train, key, name, arrays, self.call.on_call)

    def check_trace(self, what: str) -> None:
        """Raise where a jax transformation inside `forward` stands between here and `apply`."""
        if get_opaque_trace_state() != self.call.trace:
            raise RuntimeError(
                f"{self.where()}: {what} under a transformation inside of forward (a jax.jit, "
                "checkpoint, vmap, grad, scan or cond); its result would leak or repeat. Lift the "
                "part out: fn, (params, state) = self.part.functional(), transform fn, and "
                "nn.record_state(self.part, new_state)"
            )

    def next_key(self) -> jax.Array:
        """A key that depends on the call's key, this part's path and how often it has drawn."""
        if self.call.key is None:
            raise ValueError(
                f"{self.where()}: expected a key for its random numbers, got none; "
                "give apply a key=, or make_eval or predict where these call it"
            )
        self.check_trace("a key is drawn")
        draws = self.call.draws[self.path] = self.call.draws.get(self.path, 0) + 1
        return jax.random.fold_in(named_key(self.call.key, self.path, self.call.copies), draws)

    def where(self) -> str:
        """`Conv2d "layer1.0.conv1"`, as errors name a part."""
        name = ".".join(self.call.name + self.path)
        kind = type(self.description).__name__
        return f'{kind} "{name}"' if name else kind
