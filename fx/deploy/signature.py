"""The inputs of a bundle: how they are asked for, how they are listed, whether arrays fit them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

BATCH = "b"  # the batch's name in the program
TAKEN = ("N", BATCH, "_", "max", "min", "mod", "floordiv")  # what means something else to JAX or us
_LIKE = '((None, 32, 32, 3), "uint8")'


@dataclass(frozen=True)
class Inputs:
    """The inputs of a program and the one object that they make: an array, a tuple or a dict.

    Attributes:
        listed: name, shape and dtype of each, as the manifest lists them. The first axis is the
            batch, None where any size will do; a string is an axis that is open, too.
        tree: structure of the object, whose leaves they are.
        limits: the sizes that an open axis may have, by name, for those that are told.
    """

    listed: list[dict[str, Any]]
    tree: Any
    limits: dict[str, range] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The inputs' names."""
        return [spec["name"] for spec in self.listed]

    @property
    def batch(self) -> int | None:
        """The rows of every batch, where the export took a number for them."""
        return self.listed[0]["shape"][0]

    @property
    def axes(self) -> list[str]:
        """The names of the open axes but the batch, each once."""
        shapes = [spec["shape"] for spec in self.listed]
        return list(dict.fromkeys(n for shape in shapes for n in shape if isinstance(n, str)))

    @property
    def alone(self) -> bool:
        """Whether there is one input that is the whole object."""
        return self.tree == jax.tree.structure(0)

    def unflatten(self, arrays: Sequence[Any]) -> Any:
        """The object that a model is given."""
        return jax.tree.unflatten(self.tree, arrays)

    def by_name(self, arrays: Sequence[Any]) -> dict[str, Any]:
        """The arrays as a flat dict: "input", or "input.<name>" where there are several."""
        if self.alone:
            return {"input": arrays[0]}
        return {f"input.{name}": x for name, x in zip(self.names, arrays, strict=True)}

    def leaves(self, value: Any, what: str) -> list[Any]:
        """The parts of what stands for the object, in the order of `listed`.

        Raises:
            TypeError: it is of another kind.
            ValueError: it has other parts.
        """
        if self.alone:
            return [value]
        named = jax.tree.unflatten(self.tree, self.names)
        if isinstance(value, Mapping):
            if value.keys() != set(self.names):
                raise ValueError(
                    f"{what} {_words(named)}, got a dict of {', '.join(map(str, value))}"
                )
            return [value[name] for name in self.names]
        if isinstance(named, dict) or not isinstance(value, (tuple, list)):
            raise TypeError(f"{what} {_words(named)}, got {type(value).__name__}")
        if len(value) != len(self.listed):
            raise ValueError(f"{what} {_words(named)}, got {len(value)} of them")
        return list(value)

    def check(self, value: Any, what: str, name: str = "batch") -> list[np.ndarray]:
        """The object's arrays, held to the signature.

        Args:
            value: the object, each array with the batch as its first axis.
            what: how an error begins: "Engine: expected input".
            name: what the caller calls the object, for the advice.

        Raises:
            TypeError: it, or an array's dtype, is of another kind.
            ValueError: a shape does not fit; sizes differ where they should not; no rows.
        """
        arrays, by_name = [], isinstance(value, Mapping)
        for i, (spec, leaf) in enumerate(zip(self.listed, self.leaves(value, what), strict=True)):
            place = f'"{spec["name"]}"' if by_name else i
            at = name if self.alone else f"{name}[{place}]"
            which = what if self.alone else f'{what} "{spec["name"]}":'
            arrays.append(as_array(leaf, f"{which} {show(spec)}"))
            self._check_one(spec, arrays[-1], which, at)
        self._check_sizes(arrays, what)
        return arrays

    def _check_one(self, spec: dict[str, Any], array: np.ndarray, what: str, at: str) -> None:
        shape = [None, *spec["shape"][1:]]
        wanted, got = show(spec), f"{array.dtype} {list(array.shape)}"
        if not fits(array.shape, shape):
            mend = f"; give one row as {at}[None]" if fits(array.shape, shape[1:]) else ""
            raise ValueError(f"{what} {wanted}, got {got}{mend}")
        if str(array.dtype) != spec["dtype"]:
            mend = f'np.asarray({at}, "{spec["dtype"]}")'
            raise TypeError(f"{what} {wanted}, got {got}; convert it: {mend}")
        if not len(array):
            raise ValueError(f"{what} {wanted} of at least one row, got {got}")

    def _check_sizes(self, arrays: Sequence[np.ndarray], what: str) -> None:
        """An axis has one size wherever it is named, and one that it may have."""
        found: dict[str, int] = {}
        for axis, size in _sizes(self.listed, arrays):
            if found.setdefault(axis, size) != size:
                raise ValueError(
                    f"{what} arrays of one size of {axis}, got {found[axis]} and {size}"
                )
        for axis, size in found.items():
            wanted = self.limits.get(axis, range(1, size + 1))
            if size not in wanted:
                end = f" to {wanted[-1]}" if axis in self.limits else " on"
                step = f" in steps of {wanted.step}" if wanted.step > 1 else ""
                raise ValueError(
                    f"{what} arrays whose axis {axis} has a size from {wanted[0] if wanted else 1}"
                    f"{end}{step}, got {size}"
                )

    def zeros(self, rows: int, sizes: Mapping[str, int]) -> list[np.ndarray]:
        """Arrays of zeros, the open axes of the given sizes."""
        return [
            np.zeros(
                [rows, *(sizes.get(n, n) for n in spec["shape"][1:])], jnp.dtype(spec["dtype"])
            )
            for spec in self.listed
        ]

    def named(self, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs in terms of the inputs' axes: "H" for what JAX was told of as `32*H_32`."""

        def rename(size: Any) -> Any:
            for axis, (step, symbol) in self._symbols().items() if isinstance(size, str) else ():
                size = re.sub(rf"(?<!\w){step}\*{symbol}\b(?!\^)", axis, size)
            return size

        return [{**spec, "shape": [rename(n) for n in spec["shape"]]} for spec in outputs]

    def abstract(self) -> Any:
        """The object in shapes and dtypes, its open axes symbols, for a program to be made of."""
        named = self._symbols()
        bounds = [
            f"{named[axis][1]} {sign} {size // limit.step}"
            for axis, limit in self.limits.items()
            for sign, size in ((">=", limit[0]), ("<=", limit[-1]))
        ]
        names = [BATCH, *(symbol for _, symbol in named.values())]
        symbols = export.symbolic_shape(", ".join(names), constraints=bounds)
        sizes: dict[Any, Any] = {None: symbols[0]}  # not asked for where the batch is a number
        for (axis, (step, _)), symbol in zip(named.items(), symbols[1:], strict=True):
            sizes[axis] = step * symbol
        return self.unflatten([
            jax.ShapeDtypeStruct([sizes.get(n, n) for n in spec["shape"]], jnp.dtype(spec["dtype"]))
            for spec in self.listed
        ])  # fmt: skip

    def _symbols(self) -> dict[str, tuple[int, str]]:
        """By axis its step and JAX's name for so many of it: "H_32" is a 32nd part of "H".

        So JAX can tell what divides it.
        """
        found = {}
        for axis in self.axes:
            step = self.limits[axis].step if axis in self.limits else 1
            symbol = axis if step == 1 else f"{axis}_{step}"
            while step > 1 and symbol in self.axes:  # an axis of the user's own
                symbol += "_"
            found[axis] = step, symbol
        return found


def needs_x64(dtype: Any) -> bool:
    """Whether JAX as it is set now would cut this dtype to 32 bits."""
    wide = jnp.dtype(dtype).name in {"int64", "uint64", "float64", "complex128"}
    return wide and not jax.config.jax_enable_x64


def as_array(value: Any, what: str) -> np.ndarray:
    """`np.asarray`; what is not numbers of one shape raises a TypeError that begins with `what`."""
    kind = type(value).__name__
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; what torch holds back
        raise TypeError(f"{what}, got {kind}, of which NumPy makes no array: {error}") from error
    if array.dtype == object:
        raise TypeError(f"{what}, got {kind}; give an array of numbers")
    return array


def fits(shape: Sequence[int], wanted: Sequence[int | str | None]) -> bool:
    """Whether a shape has the sizes that are fixed."""
    return len(shape) == len(wanted) and all(
        b == a or not isinstance(b, int) for a, b in zip(shape, wanted, strict=True)
    )


def alike(some: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]) -> bool:
    """Whether both list the same; how JAX writes `T + 1` is a matter of its version."""

    def fixed(spec: dict[str, Any]) -> dict[str, Any]:
        return {**spec, "shape": [n if isinstance(n, int) else None for n in spec["shape"]]}

    return list(map(fixed, some)) == list(map(fixed, others))


def show(spec: dict[str, Any]) -> str:
    """An input or output for reading: `uint8 [N, 32, 32, 3]`."""
    batch, *sizes = spec["shape"]
    return f"{spec['dtype']} [{', '.join(map(str, [batch or 'N', *sizes]))}]"


def describe(name: str, aval: Any) -> dict[str, Any]:
    """An input or output of a program as the manifest lists it; None is a batch of any size."""
    batch, *sizes = [n if isinstance(n, int) else str(n) for n in aval.shape]
    shape = [batch if isinstance(batch, int) else None, *sizes]
    return {"name": name, "shape": shape, "dtype": str(aval.dtype)}


def parse(
    spec: Any, names: Callable[[], Sequence[str]], limits: Mapping[str, Any] | None = None
) -> Inputs:
    """Read what `fx.export` is told of the inputs.

    Args:
        spec: `(shape, dtype)`, a tuple of those or a dict of those.
        names: asked for the names of a tuple's parts; where they are too few, these are
            "input_0", ...
        limits: the largest size of open axes, or a range of the sizes, by name.

    Raises:
        ValueError: it is something else; JAX without x64 has not the dtype; `limits` do not fit.
    """
    if isinstance(spec, Mapping) and all(isinstance(name, str) for name in spec):
        parts, named = dict(sorted(spec.items())), {name: 0 for name in spec}
    elif isinstance(spec, (tuple, list)) and spec and all(map(_is_pair, spec)):
        known = names()
        if len(known) < len(spec):
            known = [f"input_{i}" for i in range(len(spec))]
        parts, named = dict(zip(known, spec, strict=False)), (0,) * len(spec)
    else:
        parts, named = {"input": spec}, 0
    if not parts:
        raise ValueError(f"export: expected a spec for each input, by name, got {spec!r}")
    listed = [_entry(name, part) for name, part in parts.items()]
    if len(batches := {entry["shape"][0] for entry in listed}) > 1:
        raise ValueError(
            "export: expected one batch for all inputs, None or the same number, got "
            f"{', '.join(map(str, batches))}"
        )
    found = Inputs(listed, jax.tree.structure(named))
    given = {} if limits is None else limits if isinstance(limits, Mapping) else {None: limits}
    ranges = {name: range(1, n + 1) if is_count(n) else n for name, n in given.items()}
    for name, limit in ranges.items():
        if name not in found.axes or not _is_limit(limit):
            raise ValueError(
                "export: expected limits for open axes of the spec "
                f"({', '.join(found.axes) or 'it has none'}), the largest size or a range of sizes "
                f"from 1 on that starts with a multiple of its step, got {limits}"
            )
    return replace(found, limits=ranges)


def is_count(n: Any) -> bool:
    """Whether it is a whole number of 1 or more."""
    return isinstance(n, int) and not isinstance(n, bool) and n > 0


def _is_limit(limit: Any) -> bool:
    found = isinstance(limit, range) and len(limit) > 0 and limit.step > 0 and limit.start > 0
    return found and limit.start % limit.step == 0


def _is_pair(part: Any) -> bool:
    return isinstance(part, (tuple, list)) and len(part) == 2 and isinstance(part[0], (tuple, list))


def _entry(name: str, spec: Any) -> dict[str, Any]:
    at = "" if name == "input" else f' for "{name}"'
    if hasattr(spec, "shape"):  # torch.onnx.export takes an input
        raise ValueError(
            f"export: expected a spec (shape, dtype) like {_LIKE}{at}, got an "
            f"array; write {((None, *spec.shape[1:]), str(spec.dtype))}, and the array as example="
        )
    try:
        shape, dtype = spec
        shape, dtype = tuple(shape), jnp.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"export: expected a spec (shape, dtype) like {_LIKE}{at}, or a tuple or a flat dict "
            f"of those, got {spec!r}"
        ) from error
    batch = shape[0] if shape else 0
    if not (batch is None or is_count(batch)) or not all(map(_is_size, shape[1:])):
        raise ValueError(
            f"export: expected a shape{at} whose first axis, the batch, is None, or how many rows "
            'every batch has, and whose others are numbers, or names like "T" (not '
            f"{', '.join(TAKEN)}) where the size is open, got {shape}"
        )
    if needs_x64(dtype):
        raise ValueError(f"export: JAX without x64 has no {dtype}; give a dtype of 32 bits or less")
    return {"name": name, "shape": list(shape), "dtype": str(dtype)}


def _is_size(n: Any) -> bool:
    if isinstance(n, str):
        return n.isidentifier() and n not in TAKEN
    return isinstance(n, int) and not isinstance(n, bool) and n >= 0


def _sizes(listed: list[dict], arrays: Sequence[np.ndarray]) -> Iterator[tuple[str, int]]:
    for spec, array in zip(listed, arrays, strict=True):
        yield "N", len(array)
        for axis, size in zip(spec["shape"][1:], array.shape[1:], strict=True):
            if not isinstance(axis, int):
                yield axis, size


def _words(named: Any) -> str:
    kind = "a dict" if isinstance(named, dict) else "a tuple"
    return f"{kind} of {', '.join(named)}"
