"""The first layer, operation and sample of a step that made something not finite."""

from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.debug.blame import Blame, Origin, Place, Walker
from fx.debug.program import Operation, Program, flatten
from fx.debug.replay import FALSE, INF, NAN, Found, Wish, replay
from fx.debug.report import Report, Values, floats

_LAYERS_ONLY = (
    "seen between layers only: where every operation is watched, XLA makes another program, which "
    "stays finite. The fault is in how XLA computes this layer as a whole"
)
_CHOSEN = (
    "nan is chosen here, not computed: where it stands for an index out of range, compare the "
    "batch's integers with the number of classes or tokens"
)
_UNSEEN = (
    "the compiled step is not finite, but stays so where it is watched: XLA's rewriting of it is "
    'at fault. Compare with jax.disable_jit(), and with precision="float32"'
)


def xray(step: Callable[..., Any], *args: Any) -> Report:
    """Run a step again and name the first operation that made something not finite.

    The step is traced, and compiled anew with a flag for every value, forward and backward, loops
    included. From what is not finite at the end, the loss if it is, else gradients and parameters,
    it is followed back to the first operation whose inputs were finite. Infinities that never
    reach a result, as those of masks, are not at fault. It runs where the arrays are that it gets,
    however the step is spread over devices.

    Args:
        step: A `fx.train.Step`, or any function of arrays; what it returns is looked at.
        *args: `ts, batch`: the state before the bad step and the step's batch. With `check_finite`
            the state that the step returned is that state.

    Returns:
        A `Report`; print it.

    Example:
        >>> def f(x):
        ...     with jax.named_scope("model"), jax.named_scope("scale"):
        ...         return jnp.sum(jnp.log(x))
        >>> report = xray(f, jnp.array([1.0, 0.0, 2.0]))
        >>> report.layer, report.operation, report.phase, report.samples
        ('scale', 'log', 'forward', (1,))
    """
    film = _Film(step, args)
    for watched, note in ((None, ""), (film.borders(), _LAYERS_ONLY)):
        film.develop(watched)
        starts = film.starts()
        if starts:
            return film.report(film.walker.blame(starts), watched, note)
    results = film.unwatched()
    return Report(True) if all(map(_is_finite, results)) else Report(False, note=_UNSEEN)


class _Film:
    """A step traced once, and what its replays have shown."""

    walker: Walker
    kind: str  # of the outputs that were not finite: "loss", "result" or "metric"

    def __init__(self, step: Callable[..., Any], args: tuple) -> None:
        self.function = getattr(step, "function", step)
        closed, shapes = jax.make_jaxpr(self.function, return_shape=True)(*args)
        self.program = flatten(closed)
        leaves = jax.tree_util.tree_leaves_with_path(args)
        self.is_step = len(args) == 2 and hasattr(args[0], "params")
        self.leaves = [jnp.asarray(leaf) for _, leaf in leaves]
        self.names = [_name(path, self.is_step) for path, _ in leaves]
        outputs = jax.tree_util.tree_leaves_with_path(shapes)
        self.outputs = [jax.tree_util.keystr(path) for path, _ in outputs]
        # The examples of a batch: the first axis of the last argument, after that of the steps.
        axis = int(getattr(step, "steps_per_call", 1) > 1)
        self.examples, self.axes = _batch_axes(self.function, args, axis, self.program)

    def borders(self) -> frozenset[int]:
        """Values that one layer hands to another, and what goes in and comes out."""
        made = {n: op.layer for op in self.program.walk() for n in op.outputs}
        crossing = {
            x
            for op in self.program.walk()
            for x in op.inputs
            if isinstance(x, int) and made.get(x, op.layer) != op.layer
        }
        ends = {x for x in self.program.outputs if isinstance(x, int)}
        return frozenset(crossing | ends | set(self.program.inputs))

    def run(self, watched: frozenset[int] | None, wish: Wish) -> Found:
        """Replay under jit; the results go out too, so that XLA drops nothing of the step."""
        run = jax.jit(lambda leaves: replay(self.program, leaves, watched, wish))
        return jax.device_get(run(self.leaves)[1])

    def unwatched(self) -> list[Any]:
        """The results alone, as the step comes to them by itself."""
        run = jax.jit(lambda leaves: replay(self.program, leaves, frozenset(), Wish())[0])
        return run(self.leaves)

    def develop(self, watched: frozenset[int] | None) -> None:
        """Replay, and keep a walker over what was seen."""
        self.walker = Walker(self.program, self.run(watched, Wish()).codes)

    def starts(self) -> list[Place]:
        """What is not finite at the end: the loss, else what is trained, else metrics."""
        for self.kind in ("loss", "result", "metric"):
            chosen = [k for k, name in enumerate(self.outputs) if _kind(name) == self.kind]
            bad = self._ends(chosen, INF | NAN)
            if self.kind == "result":  # where the step refused the update, only its flag tells
                bad += self.walker.checks(self._ends(range(len(self.outputs)), FALSE))
            if bad:
                return bad
        return []

    def _ends(self, positions: Iterable[int], bits: int) -> list[Place]:
        outputs = [self.program.outputs[k] for k in positions]
        places = [(x, ()) for x in outputs if isinstance(x, int)]
        return [place for place in places if self.walker.code(place) & bits]

    def report(self, blame: Blame, watched: frozenset[int] | None, note: str) -> Report:
        """Look closer at the first that is to blame."""
        inputs = [(self.program.inputs[k], self.leaves[k], self.names[k]) for k in blame.inputs]
        already = tuple(Values.of(name, leaf) for _, leaf, name in inputs)
        if inputs and (not blame.origins or any(values.nan for values in already)):
            rows = {row for number, leaf, _ in inputs for row in self._bad_rows(number, leaf)}
            reader = blame.users[0] if blame.users else None
            samples = tuple(sorted(rows))
            return _describe(reader, phase="input", samples=samples, inputs=already, note=note)
        if not blame.origins:
            return Report(False, note=note or "no operation could be named")
        origin = blame.origins[0]
        before, after = self._look(origin, watched)
        samples = sorted({row for x, a in after for row in self._bad_rows(x, a, origin)})
        values = [Values.of(f"input {k}", array) for k, (_, array) in enumerate(before)]
        values += [Values.of("output", array) for _, array in after]
        if indices := self._indices(origin.operation, before):
            values, note = values + indices, note or _CHOSEN
        return _describe(
            origin.operation,
            phase=self._phase(origin.operation),
            samples=tuple(samples),
            suspect=None if samples else self._suspect(before, origin),
            iterations=origin.at,
            values=tuple(values),
            inputs=already,
            became_nan="" if origin.became_nan is None else _place(origin.became_nan),
            only_compiled=_only_compiled(origin.operation, before, after),
            note=note,
        )

    def _indices(self, operation: Operation, before: list) -> list[Values]:
        """Integers of the batch, where an operation puts nan for those that are out of range."""
        chosen = any(np.isnan(floats(array)).all() for _, array in before if np.size(array))
        if operation.name != "gather" and not (operation.name == "select_n" and chosen):
            return []
        leaves = [
            (name, leaf) for name, leaf in zip(self.names, self.leaves) if name.startswith("batch")
        ]
        return [Values.of(*each) for each in leaves if jnp.issubdtype(each[1].dtype, jnp.integer)]

    def _phase(self, operation: Operation) -> str:
        if self.kind != "result":
            return {"loss": "forward", "metric": "metrics"}[self.kind]
        if not self.is_step:
            return "backward" if operation.transposed else "forward"
        stack = str(operation.equation.source_info.name_stack)
        return "backward" if operation.transposed or "jvp(" in stack else "update"

    def _look(self, origin: Origin, watched: frozenset[int] | None) -> tuple[list, list]:
        """The operation's inputs and outputs as it saw them, with their numbers or literals."""
        operation = origin.operation
        ends = (*operation.inputs, *operation.outputs)
        plain = {x for x in ends if isinstance(x, int) and _is_plain(self.program.avals[x])}
        values = self.run(watched, Wish(frozenset(plain), origin.at)).values

        def read(some: Iterable[Any]) -> list[tuple[Any, Any]]:
            known = [x for x in some if not isinstance(x, int) or x in values]
            return [(x, values[x] if isinstance(x, int) else np.asarray(x.val)) for x in known]

        return read(operation.inputs), read(operation.outputs)

    def _bad_rows(self, number: int, array: Any, origin: Origin | None = None) -> set[int]:
        rows = self._rows(number, array)
        bad = [] if rows is None else np.flatnonzero((~np.isfinite(rows)).any(1))
        return {self._sample(int(row), len(rows), origin) for row in bad}  # type: ignore[arg-type]

    def _suspect(self, before: list, origin: Origin) -> int | None:
        for number, array in before:
            rows = self._rows(number, array) if isinstance(number, int) else None
            if rows is not None and rows.size and np.isfinite(rows).all():
                row = int(np.abs(rows).max(1).argmax())
                return self._sample(row, len(rows), origin)
        return None

    def _rows(self, number: int, array: Any) -> np.ndarray | None:
        """The numbers of each row of the batch, or None where there is no axis of rows."""
        axis, some = self.axes.get(number), floats(array)
        if axis is None or some.ndim <= axis or not some.size:
            return None
        return np.moveaxis(some, axis, 0).reshape(some.shape[axis], -1)  # [rows, the others]

    def _sample(self, row: int, rows: int, origin: Origin | None) -> int:
        """The example that a row belongs to, where an axis was merged or the batch split."""
        if origin is not None and rows < self.examples:
            for scan, part in zip(self.walker.scans_around(origin.operation), origin.at):
                if scan.equation.params["length"] * rows == self.examples:
                    return part * rows + row
        return row // max(1, rows // self.examples)


def _batch_axes(
    function: Callable, args: tuple, axis: int, program: Program
) -> tuple[int, dict[int, int]]:
    """Which axis of each value is the batch's: the one that grows when the batch does."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(args[-1:])]
    examples = next((shape[axis] for shape in shapes if len(shape) > axis), 0)

    def doubled(leaf: Any) -> Any:
        shape = list(np.shape(leaf))
        if len(shape) > axis and shape[axis] == examples:
            shape[axis] *= 2
        return jax.ShapeDtypeStruct(tuple(shape), jnp.result_type(leaf))

    try:
        larger = flatten(jax.make_jaxpr(function)(*args[:-1], jax.tree.map(doubled, args[-1])))
    except Exception:  # whatever a function says that wants batches of this size alone
        larger = None
    twins = {} if larger is None else dict(_paired(program, larger))
    batch = set(program.inputs[-len(shapes) :]) if shapes else set()
    axes = {}
    for number, aval in program.avals.items():
        shape = getattr(aval, "shape", ())
        if larger is not None and number in twins:
            other = getattr(larger.avals[twins[number]], "shape", ())
            grown = [k for k, (n, m) in enumerate(zip(shape, other)) if m == 2 * n and n]
        else:
            first = axis if number in batch else 0
            grown = [first] if shape[first : first + 1] == (examples,) else []
        if grown:
            axes[number] = grown[0]
    return examples, axes


def _paired(one: Program, other: Program) -> Iterator[tuple[int, int]]:
    """The numbers of the same values in two programs, which may differ here and there.

    Sums over the rows of a batch are made of blocks, whose number depends on its size.
    """
    yield from zip(one.inputs, other.inputs)
    kinds = [
        [(op.name, op.layer, op.transposed, op.lines, len(op.outputs)) for op in each.operations]
        for each in (one, other)
    ]
    for a, b, size in SequenceMatcher(None, *kinds, autojunk=False).get_matching_blocks():
        for op, twin in zip(one.operations[a : a + size], other.operations[b : b + size]):
            yield from zip(op.outputs, twin.outputs)
            for bodies in zip(op.bodies, twin.bodies):
                yield from _paired(*bodies)


def _describe(operation: Operation | None, **found: Any) -> Report:
    if operation is None:
        return Report(False, **found)
    return Report(
        False,
        layer=operation.layer,
        operation=operation.name,
        line=operation.line,
        lines=operation.lines,
        **found,
    )


def _place(operation: Operation) -> str:
    return f'layer "{operation.layer}", {operation.name}' if operation.layer else operation.name


def _only_compiled(operation: Operation, before: list, after: list) -> bool | None:
    """Run the operation by itself on what it was given, if that is at hand and was finite."""
    arrays = [array for _, array in before]
    sound = len(arrays) == len(operation.inputs) and all(map(_is_finite, arrays))
    if not sound or operation.bodies or operation.equation.effects:
        return None
    results = operation.run(*arrays)
    return all(map(_is_finite, results)) and not all(_is_finite(array) for _, array in after)


def _is_finite(array: Any) -> bool:
    return not _is_plain(array) or bool(np.isfinite(floats(array)).all())


def _is_plain(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is not None and not jnp.issubdtype(dtype, jax.dtypes.extended)


def _kind(output: str) -> str:
    if output == "[1]['loss']":
        return "loss"
    return "metric" if output.startswith("[1][") else "result"


def _name(path: tuple, is_step: bool) -> str:
    argument, rest = path[0].idx, path[1:]
    if is_step and argument == 0:
        return jax.tree_util.keystr(rest, simple=True, separator=".")
    name = "batch" if is_step else f"argument {argument}"
    return f"{name}{jax.tree_util.keystr(rest)}"
