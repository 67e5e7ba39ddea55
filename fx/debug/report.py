"""What an X-ray says, and the text of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fx.debug.program import Line

_SHOWN = 8  # samples in the text


@dataclass(frozen=True)
class Values:
    """What an array holds.

    Attributes:
        name: "input 0", "output", or the name of a leaf.
        kind: dtype and shape.
        low: Smallest finite value; None without one.
        high: Largest finite value; None without one.
        nan: How many are nan.
        inf: How many are infinite.
    """

    name: str
    kind: str
    low: float | None
    high: float | None
    nan: int
    inf: int

    @classmethod
    def of(cls, name: str, array: Any) -> "Values":
        """Read an array."""
        numbers, kind = floats(array), f"{array.dtype}{list(array.shape)}"
        finite = numbers[np.isfinite(numbers)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
        nan, inf = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
        return cls(name, kind, low, high, nan, inf)

    def __str__(self) -> str:
        parts = [] if self.low is None else [f"{self.low:.5g} to {self.high:.5g}"]
        parts += [f"{n} {what}" for n, what in ((self.nan, "nan"), (self.inf, "inf")) if n]
        return f"{self.name} {self.kind}: {', '.join(parts) or 'empty'}"


@dataclass(frozen=True)
class Report:
    """What `xray` found; prints as a short text.

    Attributes:
        finite: Nothing was wrong: what the step returns is finite.
        layer: Dotted name of the layer at fault; "" outside of the model's layers.
        operation: The primitive's name, as jaxprs write it ("log", "div", "dot_general").
        phase: "forward" (it reaches the loss), "backward" (only gradients), "update" (only new
            parameters or the optimizer's state), "metrics" (only those); "input" where the step's
            inputs were not finite to begin with, and layer and operation are those that read them
            first.
        line: The line of source that wrote it, the user's where there is one.
        lines: All of them, innermost first.
        samples: Rows of the batch whose values are not finite.
        suspect: The row of the largest magnitude, where the operation mixes rows and its result
            belongs to none of them; None elsewhere.
        iterations: Of each loop around it, outermost first: the step of a call of several steps,
            the part of an accumulated batch, the time step of a recurrent layer.
        values: Of the operation's inputs and output.
        inputs: Leaves of the step's inputs that were not finite already.
        became_nan: Where its infinity turned into nan, if it did.
        only_compiled: Whether the operation by itself, un-jitted on the same inputs, is finite:
            XLA has rewritten it together with its neighbours. None where it was not tried.
        note: What could not be found out, and what to do.
    """

    finite: bool
    layer: str = ""
    operation: str = ""
    phase: str = ""
    line: Line | None = None
    lines: tuple[Line, ...] = field(default=(), repr=False)
    samples: tuple[int, ...] = ()
    suspect: int | None = None
    iterations: tuple[int, ...] = ()
    values: tuple[Values, ...] = ()
    inputs: tuple[Values, ...] = ()
    became_nan: str = ""
    only_compiled: bool | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.finite:
            return "X-ray: everything that the step returns is finite"
        where = f'layer "{self.layer}"' if self.layer else "outside of the model's layers"
        what = {"input": "reads what was not finite already"}.get(self.phase, self.phase)
        rows = [("first", f"{where}, operation {self.operation}, {what}" * bool(self.operation))]
        rows += [("input", str(values)) for values in self.inputs]
        rows.append(("written", str(self.line or "")))
        if self.lines and self.lines[0] != self.line:
            rows.append(("", f"which runs {self.lines[0]}"))
        rows.append(("samples", numbers(self.samples)))
        if self.suspect is not None:
            rows.append(("samples", f"mixed; the largest magnitude is in {self.suspect}"))
        rows.append(("loop", ", ".join(f"iteration {n}" for n in self.iterations)))
        rows += [("values", str(values)) for values in self.values]
        rows.append(("then", f"nan in {self.became_nan}" * bool(self.became_nan)))
        if self.only_compiled:
            rows.append(("note", "un-jitted it is finite: XLA rewrote it under jit"))
        rows.append(("note", self.note))
        said = [f"  {label:<9}{text}" for label, text in rows if text]
        return "\n".join(["X-ray: not finite", *said])


def floats(array: Any) -> np.ndarray:
    """Numbers as float64, magnitudes of complex ones; [] of what is not a number."""
    array = np.asarray(array)
    if array.dtype.kind == "c":
        array = np.abs(array)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        return np.zeros(0)


def numbers(some: Sequence[int]) -> str:
    """The first few numbers as text."""
    more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
    return ", ".join(map(str, some[:_SHOWN])) + more
