"""From a value that is not finite back to the operation that made it so."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from fx.debug.program import Operation, Program
from fx.debug.replay import FALSE, INF, NAN

Place = tuple[int, tuple[int, ...]]  # a value, and the iteration of each loop around it


@dataclass(frozen=True, eq=False)
class Origin:
    """An operation that made something not finite of finite inputs.

    Attributes:
        operation: It.
        at: Iteration of each loop around it, outermost first.
        became_nan: Where its infinity turned into nan, if it did.
    """

    operation: Operation
    at: tuple[int, ...]
    became_nan: Operation | None = None


@dataclass(frozen=True)
class Blame:
    """What a walk came to: operations at fault, and inputs of the program that were not finite.

    Attributes:
        origins: Operations, in the order in which they run.
        inputs: Positions among the program's inputs.
        users: Operations that read them first.
    """

    origins: tuple[Origin, ...]
    inputs: tuple[int, ...]
    users: tuple[Operation, ...]


class Walker:
    """Walks from values to what made them, through a program whose values have been noted.

    An infinity need not be a fault: masks and the starts of maxima are infinite on purpose. So a
    walk starts at a result, follows nan as far as it goes, and infinity only from where nan was
    made of it; an infinity that the program's text or constants hold is never at fault. Of a nan
    that stands in the text, what first mixed it with other values is.
    """

    def __init__(self, program: Program, codes: dict[int, np.ndarray]) -> None:
        self.program, self.codes = program, codes
        self.constants = set(program.constants)
        for op in program.walk():
            self.constants.update(*(body.constants for body in op.bodies))
        self.order = {op: i for i, op in enumerate(program.walk())}
        self.outer = {
            op: holder for holder in self.order for body in holder.bodies for op in body.operations
        }
        self.makers = {n: (op, k) for op in self.order for k, n in enumerate(op.outputs)}
        self.written: set[int] = set()  # made of a nan that stands in the program's text
        for op in self.order:
            values = [x for x in op.inputs if isinstance(x, int)]
            if not op.bodies and all(x in self.written for x in values):
                self.written.update(op.outputs if values or _writes(np.isnan, op) else ())
        self.bodies = {
            n: (op, body, k)
            for op in self.order
            for body in op.bodies
            for k, n in enumerate(body.inputs)
        }

    def code(self, place: Place) -> int:
        """The bits of a value at its place; 0 where nobody looked."""
        number, at = place
        noted = self.codes.get(number)
        return 0 if noted is None else int(noted[at[: noted.ndim]].max(initial=0))

    def scans_around(self, operation: Operation) -> list[Operation]:
        """The scans that an operation stands in, outermost first, as `at` counts them."""
        around = []
        while operation in self.outer:
            operation = self.outer[operation]
            around += [operation] if operation.name == "scan" else []
        return around[::-1]

    def blame(self, starts: Iterable[Place]) -> Blame:
        """Find what made values not finite."""
        starts = list(starts)
        found = self._blame(starts, meant=True)
        # Nothing but infinities that the program's text holds: then they are the fault.
        return found if found.origins or found.inputs else self._blame(starts, meant=False)

    def _blame(self, starts: list[Place], meant: bool) -> Blame:
        births, inputs, users = self._follow(starts, NAN, meant)
        infinite = [place for place in starts if not self.code(place) & NAN]
        origins = []
        for birth in births:
            before = self._infinite_inputs(birth)
            causes, more, readers = self._follow(before, INF, meant)
            origins += [Origin(*cause, became_nan=birth[0]) for cause in causes]
            inputs, users = inputs + more, users + readers
            if not causes and not more:  # finite inputs, or infinities that were meant
                origins.append(Origin(*birth))
        causes, more, readers = self._follow(infinite, INF, meant)
        origins += [Origin(*cause) for cause in causes]
        origins.sort(key=self._when)
        users = sorted(users + readers, key=self.order.__getitem__)
        return Blame(tuple(origins), tuple(dict.fromkeys(inputs + more)), tuple(users))

    def _when(self, origin: Origin) -> tuple[int, tuple[int, ...]]:
        scans = self.scans_around(origin.operation)
        turns = [-n if scan.equation.params["reverse"] else n for scan, n in zip(scans, origin.at)]
        return self.order[origin.operation], tuple(turns)

    def checks(self, starts: Iterable[Place]) -> list[Place]:
        """Values that are not finite and that a bool, the step's own check say, was computed of."""
        found, stack, seen = [], list(starts), set()
        while stack:
            place = stack.pop()
            if place in seen:
                continue
            seen.add(place)
            for source in self._sources(place, FALSE):
                if self.program.avals[source[0]].dtype == np.bool_:
                    stack.append(source)
                elif self.code(source) & (INF | NAN):
                    found.append(source)
        return found

    def _follow(
        self, starts: list[Place], bit: int, meant: bool
    ) -> tuple[list, list[int], list[Operation]]:
        """Go back while a bit is set: operations where it first is, inputs that had it."""
        births: dict[tuple[Operation, tuple[int, ...]], None] = {}
        inputs, users = [], []
        arguments = {n: k for k, n in enumerate(self.program.inputs)}
        stack = [(place, None) for place in starts if self.code(place) & bit]
        seen = set()
        while stack:
            place, user = stack.pop()
            if place in seen:
                continue
            seen.add(place)
            if place[0] in arguments:
                inputs.append(arguments[place[0]])
                users += [] if user is None else [user]
                continue
            maker = self.makers.get(place[0], (None, 0))[0]
            before = [source for source in self._sources(place, bit) if self.code(source) & bit]
            if bit == NAN:  # a nan written out is no fault of its own: what chose it made it one
                before = [source for source in before if source[0] not in self.written]
            stack += [(source, maker or user) for source in before]
            if maker is None and user is not None and place[0] in self.constants:
                maker, before = user, []
            constant = place[0] in self.constants or _writes(np.isinf, maker)
            written = meant and bit == INF and constant
            if maker is not None and not before and not written:
                births[maker, place[1]] = None
        return list(births), inputs, users

    def _infinite_inputs(self, birth: tuple[Operation, tuple[int, ...]]) -> list[Place]:
        operation, at = birth
        places = [(x, at) for x in operation.inputs if isinstance(x, int)]
        return [place for place in places if self.code(place) & INF]

    def _sources(self, place: Place, bit: int) -> Iterator[Place]:
        """The values that one was computed of, through the ends of loops and branches."""
        number, at = place
        if number in self.makers:
            operation, k = self.makers[number]
            if not operation.bodies:
                yield from ((x, at) for x in operation.inputs if isinstance(x, int))
                return
            for body in operation.bodies:
                inner = body.outputs[k]
                if isinstance(inner, int):
                    yield from self._into(operation, k, inner, at, bit)
        elif number in self.bodies:
            yield from self._out_of(*self.bodies[number], at)

    def _into(
        self, operation: Operation, k: int, inner: int, at: tuple[int, ...], bit: int
    ) -> Iterator[Place]:
        if operation.name != "scan":
            yield inner, at
            return
        params = operation.equation.params
        positions = list(range(params["length"]))
        if params["reverse"]:
            positions.reverse()
        if k < operation.scanned()[1]:  # the last iteration's
            positions = positions[-1:]
        elif self.codes.get(inner) is not None:
            positions = [p for p in positions if self.code((inner, (*at, p))) & bit][:1]
        yield from ((inner, (*at, p)) for p in positions[:1])

    def _out_of(
        self, operation: Operation, body: Program, k: int, at: tuple[int, ...]
    ) -> Iterator[Place]:
        """From an input of a body to the iteration before it, or out of the loop."""
        params, inputs = operation.equation.params, operation.inputs
        outer: Any = None
        if operation.name == "cond":
            outer, before = inputs[k + 1], at
        elif operation.name == "while":  # only the worst iteration was kept
            outer, before = inputs[k + params["cond_nconsts"]], at
        else:
            before, position = at[:-1], at[-1]
            first = params["length"] - 1 if params["reverse"] else 0
            fixed, carries = operation.scanned()
            carried = 0 <= k - fixed < carries
            if carried and position != first:
                outer = body.outputs[k - fixed]
                before = (*before, position + (1 if params["reverse"] else -1))
            else:
                outer = inputs[k]
        if isinstance(outer, int):
            yield outer, before


def _writes(kind: Callable[[Any], Any], operation: Operation | None) -> bool:
    """Whether an operation reads an infinity, or a nan, that stands in the program's text."""
    inputs = () if operation is None else operation.inputs
    literals = [np.asarray(x.val) for x in inputs if not isinstance(x, int)]
    return any(kind(x).any() for x in literals if jnp.issubdtype(x.dtype, jnp.floating))
