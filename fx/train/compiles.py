"""How often a step was compiled, and which argument made it compile again."""

import dataclasses
from typing import Any

import jax
import numpy as np

from fx.train.checks import named_leaves


@dataclasses.dataclass
class Compilations:
    """What a step's calls compiled.

    Attributes:
        limit: How many are allowed; None is any number.
        reasons: For each compilation after the first, in words, what was different.
        size: Entries in jax's cache of programs.
    """

    limit: int | None = None
    reasons: list[str] = dataclasses.field(default_factory=list)
    size: int = 0
    _seen: list[dict[str, str]] = dataclasses.field(default_factory=list)

    @property
    def count(self) -> int:
        """How many programs were compiled."""
        return len(self._seen)

    def note(self, size: int, arguments: tuple[Any, Any]) -> None:
        """Take down that jax's cache of programs has grown.

        Args:
            size: Its entries by now.
            arguments: The state and the batch of the call; donated arrays will do.

        Raises:
            RuntimeError: More were compiled than the limit allows.
        """
        self.size, kinds = size, _kinds(arguments)
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
