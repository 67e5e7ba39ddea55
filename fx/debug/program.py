"""A traced function as a flat list of operations, each with its layer and its line of source."""

import itertools
import linecache
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.extend import core

from fx.debug.finite import layer_of

# Calls whose insides count as operations of the program around them, and where these are.
_INLINE = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
_LAYOUT = "sharding_constraint"
_FX = Path(__file__).parents[1]
_JAX = os.path.dirname(jax.__file__) + os.sep
_STANDARD = os.path.dirname(sysconfig.__file__) + os.sep
_PACKAGES = f"{os.sep}site-packages{os.sep}"


@dataclass(frozen=True)
class Line:
    """A line of source."""

    file: str
    number: int
    function: str

    @property
    def code(self) -> str:
        """The line's text, where the file can be read."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        where = f"{os.path.basename(self.file)}:{self.number} in {self.function}"
        return f"{where}: {self.code}" if self.code else where


@dataclass(frozen=True, eq=False)
class Operation:
    """One equation; its values are known by number, constants in the text are literals.

    Attributes:
        equation: The jaxpr's.
        jaxpr: The program that it stands in, which lends its surroundings to run it alone.
        inputs: A number or `jax.extend.core.Literal` each.
        outputs: A number each.
        layer: Dotted name, "" outside of the model.
        transposed: Whether it stands in a backward pass.
        lines: Where it was written, innermost first, without JAX's own files.
        bodies: Of a scan, while or cond.
    """

    equation: Any
    jaxpr: Any
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]
    layer: str
    transposed: bool
    lines: tuple[Line, ...]
    bodies: tuple["Program", ...] = ()

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.equation.primitive.name

    @property
    def line(self) -> Line | None:
        """The innermost line that is the user's, or else the innermost one."""
        own = (line for line in self.lines if not _is_librarys(line.file))
        return next(own, self.lines[0] if self.lines else None)

    def scanned(self) -> tuple[int, int]:
        """Of a scan: how many of its inputs are constants, and how many carries follow them."""
        # Read off shapes, which have an axis more outside: parameters' names vary with jax.
        body = self.equation.params["jaxpr"].jaxpr

        def split(outer: Any, inner: Any) -> int:
            return sum(a.aval.shape != b.aval.shape for a, b in zip(outer, inner, strict=True))

        xs = split(self.equation.invars, body.invars)
        ys = split(self.equation.outvars, body.outvars)
        carries = len(body.outvars) - ys
        return len(body.invars) - xs - carries, carries

    def run(self, *values: Any) -> list[Any]:
        """Run it by itself."""
        numbered = {x: v for x, v in zip(self.equation.invars, values, strict=True)
                    if not isinstance(x, core.Literal)}  # fmt: skip
        alone = self.jaxpr.replace(
            constvars=(),
            invars=tuple(numbered),
            outvars=self.equation.outvars,
            eqns=[self.equation],
            effects=self.equation.effects,
            debug_info=self.jaxpr.debug_info.with_unknown_names(),
        )
        return core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*numbered.values())


@dataclass(frozen=True, eq=False)
class Program:
    """A function: values by number, those of its inputs and constants included.

    Attributes:
        inputs: A number each.
        constants: Arrays from outside that the function closes over, by number.
        operations: In the order in which they run.
        outputs: A number or literal each.
        avals: Shape and dtype of each value, those of loops' bodies included.
    """

    inputs: tuple[int, ...]
    constants: dict[int, Any]
    operations: tuple[Operation, ...]
    outputs: tuple[Any, ...]
    avals: dict[int, Any]

    def walk(self) -> Iterator[Operation]:
        """Every operation, those of loops and branches after the one that holds them."""
        for operation in self.operations:
            yield operation
            for body in operation.bodies:
                yield from body.walk()


def flatten(closed: Any) -> Program:
    """Read a closed jaxpr; calls are replaced by what they call, loops and branches are kept.

    Layouts are left out: the program is that of one device, whatever the function was spread over.
    """
    return _Reader().program(closed, "", False, ())


class _Reader:
    """Numbers values while it reads; a jaxpr that is called twice is read twice."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.avals: dict[int, Any] = {}

    def number(self, variable: Any) -> int:
        n = next(self.numbers)
        self.avals[n] = variable.aval
        return n

    def program(self, closed: Any, layer: str, transposed: bool, lines: tuple) -> Program:
        jaxpr = closed.jaxpr
        names = {variable: self.number(variable) for variable in (*jaxpr.constvars, *jaxpr.invars)}
        constants = {names[v]: c for v, c in zip(jaxpr.constvars, closed.consts, strict=True)}
        inputs = tuple(names[variable] for variable in jaxpr.invars)
        operations = tuple(self.read(jaxpr, names, constants, layer, transposed, lines))
        outputs = tuple(_look_up(names, variable) for variable in jaxpr.outvars)
        return Program(inputs, constants, operations, outputs, self.avals)

    def read(
        self, jaxpr: Any, names: dict, constants: dict, layer: str, transposed: bool, lines: tuple
    ) -> Iterator[Operation]:
        for equation in jaxpr.eqns:
            stack = equation.source_info.name_stack
            own_layer = layer_of(stack, layer)
            backward = transposed or "transpose(" in str(stack)
            own_lines = _lines(equation.source_info.traceback) + lines
            inputs = tuple(_look_up(names, variable) for variable in equation.invars)
            if equation.primitive.name == _LAYOUT:
                names.update(zip(equation.outvars, inputs, strict=True))
                continue
            inner = equation.params.get(_INLINE.get(equation.primitive.name, ""))
            if inner is not None:
                closed = inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())
                within = dict(zip(closed.jaxpr.invars, inputs, strict=True))
                for variable, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
                    within[variable] = self.number(variable)
                    constants[within[variable]] = value
                yield from self.read(
                    closed.jaxpr, within, constants, own_layer, backward, own_lines
                )
                outer = (_look_up(within, variable) for variable in closed.jaxpr.outvars)
                names.update(zip(equation.outvars, outer, strict=True))
                continue
            outputs = tuple(self.number(variable) for variable in equation.outvars)
            names.update(zip(equation.outvars, outputs, strict=True))
            bodies = tuple(
                self.program(body, own_layer, backward, own_lines) for body in _bodies(equation)
            )
            yield Operation(
                equation, jaxpr, inputs, outputs, own_layer, backward, own_lines, bodies
            )


def _look_up(names: dict, variable: Any) -> Any:
    return variable if isinstance(variable, core.Literal) else names[variable]


def _bodies(equation: Any) -> tuple[Any, ...]:
    params, name = equation.params, equation.primitive.name
    if name == "scan":
        return (params["jaxpr"],)
    if name == "while":
        return (params["body_jaxpr"],)
    return tuple(params["branches"]) if name == "cond" else ()


def _lines(traceback: Any) -> tuple[Line, ...]:
    lines = []
    for frame in () if traceback is None else traceback.frames:
        if frame.file_name.startswith(str(_FX / "debug")):  # beyond is who asked for the X-ray
            break
        if not _is_machinery(frame.file_name):
            lines.append(Line(frame.file_name, frame.line_num, frame.function_name))
    return tuple(lines)


def _is_machinery(file: str) -> bool:
    standard = file.startswith(_STANDARD) and _PACKAGES not in file
    return standard or file.startswith((_JAX, "<frozen"))


def _is_librarys(file: str) -> bool:
    return file.startswith(f"{_FX}{os.sep}") or _PACKAGES in file
