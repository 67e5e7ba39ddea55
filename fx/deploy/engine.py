"""Runs a bundle, with jax and this package alone: no code of the model is imported."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from fx.deploy import golden, manifest, stablehlo
from fx.deploy.image import as_row
from fx.deploy.signature import Inputs, alike, describe, is_count, needs_x64, show
from fx.interop.weights import read_weights

FOLDED_BYTES = 2**24  # the most that weights which become constants take together


def load_bundle(
    path: str | os.PathLike[str],
    *,
    verify: bool = True,
    run_golden: bool = False,
    max_batch_size: int = 256,
) -> "Engine":
    """Loads a bundle that `fx.export` wrote.

    Load only bundles of people you trust: the program in it is run.

    Args:
        path: the bundle's folder.
        verify: whether every file is held to its sha256 first.
        run_golden: whether the golden input is run and its outputs compared, too, at the price of
            a compilation.
        max_batch_size: larger batches are run in pieces of this many rows; where the export fixed
            the batch, in pieces of that size.

    Returns:
        The engine, with the weights on JAX's default device.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is not a bundle; a file is missing, altered or damaged (each is named); the
            program was exported for other platforms or by a jax outside of the compatibility
            window; `run_golden` found other outputs.

    Example:
        >>> import tempfile, fx
        >>> class Mean:
        ...     def apply(self, params, state, x):
        ...         return x.mean((1, 2)), state
        >>> path = fx.export(
        ...     Mean(), {}, {}, ((None, 8, 8, 3), "float32"),
        ...     f"{tempfile.mkdtemp()}/bundle", classes=["red", "green", "blue"])
        >>> engine = load_bundle(path)
        >>> engine
        Engine(input: float32 [N, 8, 8, 3] -> probabilities: float32 [N, 3], classes=3)
        >>> green = np.tile(np.array([0, 1, 0], np.float32), (8, 8, 1))
        >>> engine.predict(green)["class"]
        'green'
    """
    path = Path(path)
    contents = manifest.read(path)
    if verify:
        manifest.check_files(path, contents)
    manifest.check_runs_here(path, contents)
    where = path / manifest.PROGRAM
    if not where.is_file():
        raise ValueError(f"{where} is missing; copy or export the bundle again")
    exported = stablehlo.deserialize(where.read_bytes(), str(where), contents["versions"])
    weights = read_weights(path / manifest.WEIGHTS, mmap=False)
    _check_fit(path, contents, exported, weights)
    engine = Engine(contents, exported, weights, max_batch_size=max_batch_size)
    if run_golden:
        _check_golden(path, engine)
    return engine


class Engine:
    """A loaded bundle. Calls may come from many threads; nothing in it changes.

    Batches are padded to the next power of two, at most `max_batch_size`, so that few sizes are
    ever compiled; the padding is cut from what comes back. Where the outputs of a row depend on
    the other rows, which the export found out, nothing is padded or split. Where the export fixed
    the batch, all are padded to that size.

    Args:
        contents: the manifest.
        exported: the program.
        weights: arrays by name.
        max_batch_size: larger batches are run in pieces of this many rows, unless the export fixed
            the batch.
    """

    def __init__(
        self,
        contents: dict[str, Any],
        exported: export.Exported,
        weights: dict[str, np.ndarray],
        *,
        max_batch_size: int = 256,
    ):
        if not isinstance(max_batch_size, int) or max_batch_size < 1:
            raise ValueError(f"Engine: expected max_batch_size of 1 or more, got {max_batch_size}")
        self.manifest = contents
        self.inputs = _inputs(contents, exported)
        self.outputs: list[dict[str, Any]] = contents["outputs"]
        self.classes: list[str] | None = contents.get("classes")
        self.max_batch_size = self.inputs.batch or max_batch_size
        self._call = _compiled(exported, jax.device_put(weights))

    def __repr__(self) -> str:
        """What goes in and what comes out."""
        inputs, outputs = (
            ", ".join(f"{spec['name']}: {show(spec)}" for spec in specs)
            for specs in (self.inputs.listed, self.outputs)
        )
        classes = f", classes={len(self.classes)}" if self.classes else ""
        return f"Engine({inputs} -> {outputs}{classes})"

    def __call__(self, batch: Any) -> dict[str, np.ndarray]:
        """Runs a batch.

        Args:
            batch: array [N, ...] of exactly the signature's shape and dtype, N at least 1; where
                the export took a tuple or dict of specs, a tuple or dict of those, a dict by name
                in any case. An axis that the export left open has any size up to its limit, the
                same in all inputs; for each new one the program is compiled.

        Returns:
            The outputs by name, in NumPy, each with N rows: "probabilities" [N, K] float32, where
            the export kept softmax.

        Raises:
            TypeError: the dtype is not the signature's.
            ValueError: the shape is not the signature's, or N is 0, or N is not the batch that
                was exported and rows depend on each other.
        """
        arrays = self.inputs.check(batch, "Engine: expected input")
        if not self.manifest["rows_independent"] and self.inputs.batch not in (
            None,
            len(arrays[0]),
        ):
            raise ValueError(
                f"Engine: expected {self.inputs.batch} rows, the batch that was exported, got "
                f"{len(arrays[0])}; the outputs of a row depend on the others, so none are added"
            )
        ends = [*accumulate(self._steps(len(arrays[0])), initial=0)]
        parts = [self._run([x[i:j] for x in arrays]) for i, j in pairwise(ends)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _steps(self, size: int) -> list[int]:
        """The numbers of rows of the pieces in which so many are run."""
        if not self.manifest["rows_independent"]:
            return [self.inputs.batch or size]
        whole, rest = divmod(size, self.max_batch_size)
        return [self.max_batch_size] * whole + [rest] * (rest > 0)

    def bucket(self, size: int) -> int:
        """The batch size that `size` rows, at most `max_batch_size`, are padded to."""
        if self.inputs.batch:
            return self.inputs.batch
        if not self.manifest["rows_independent"]:
            return size
        return min(1 << (size - 1).bit_length(), self.max_batch_size)

    def _run(self, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
        size = len(arrays[0])
        more = self.bucket(size) - size
        if more:
            arrays = [np.pad(x, ((0, more), *((0, 0),) * (x.ndim - 1))) for x in arrays]
        outputs = jax.device_get(self._call(self.inputs.unflatten(arrays)))
        return {name: value[:size] for name, value in outputs.items()}

    def predict(self, image: Any) -> dict[str, Any]:
        """Classifies one image.

        Args:
            image: array of the signature's shape and dtype, say uint8 [H, W, C]; or, where the
                bundle takes uint8 [N, H, W, C], a path, a file's bytes, a file object or a PIL
                image, which is turned upright, converted and resized as a whole (bilinear, aspect
                ratio not kept); a tuple or dict of those where the bundle has several inputs.

        Returns:
            "class": its name, or its index as text where the bundle names none; "class_index": int;
            "confidence": its probability, float; "probabilities": float32 [K].

        Raises:
            ValueError: the image does not fit or cannot be read; the bundle has no probabilities,
                or gives NaN.
            TypeError: the array has another dtype.
            ImportError: a path was given and Pillow is missing.
        """
        return self.batch_predict([image])[0]

    def batch_predict(self, images: Iterable[Any]) -> list[dict[str, Any]]:
        """Classifies many images, `max_batch_size` at a time.

        Args:
            images: what `predict` takes, many of it: an array [N, H, W, C], a list of paths, ...

        Returns:
            For each image what `predict` returns, in their order.

        Raises:
            ValueError: as `predict`.
            TypeError: as `predict`, or `images` is one path, or nothing to iterate over.
            ImportError: as `predict`.
        """
        return list(self.iter_predict(images))

    def iter_predict(self, images: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Yields what `batch_predict` returns, each batch's answers as soon as they are there."""
        if isinstance(images, (str, bytes, os.PathLike)) or not hasattr(images, "__iter__"):
            got = "one file's bytes" if isinstance(images, bytes) else repr(images)
            raise TypeError(f"batch_predict: expected many images, got {got}; use predict")
        if isinstance(images, Mapping):
            raise TypeError(
                f"batch_predict: expected a sequence of examples, got a dict of "
                f"{', '.join(map(str, images))}; give a dict for each, or call engine(batch)"
            )
        if "probabilities" not in [output["name"] for output in self.outputs]:
            names = ", ".join(output["name"] for output in self.outputs)
            raise ValueError(
                f"predict: the bundle gives {names}, not probabilities; call engine(batch), or "
                'export with postprocess="softmax"'
            )
        size = self.max_batch_size if self.manifest["rows_independent"] else None
        for piece in _pieces(images, size):
            batch = self._stack([self._row(image) for image in piece])
            yield from map(self._describe, self(batch)["probabilities"])

    def _row(self, example: Any) -> list[np.ndarray]:
        leaves = self.inputs.leaves(example, "predict: expected")
        return [as_row(x, spec) for x, spec in zip(leaves, self.inputs.listed, strict=True)]

    def _stack(self, rows: list[list[np.ndarray]]) -> Any:
        try:
            return self.inputs.unflatten([np.stack(column) for column in zip(*rows, strict=True)])
        except ValueError as error:
            sizes = " and ".join(sorted({str([x.shape for x in row]) for row in rows}))
            raise ValueError(
                f"predict: examples of one batch have the same sizes, got shapes {sizes}; pad them "
                "alike, or call predict with each"
            ) from error

    def _describe(self, probabilities: np.ndarray) -> dict[str, Any]:
        if np.isnan(probabilities).any():
            raise ValueError(
                "predict: the model gives NaN for an example, and NaN names no class; look for NaN "
                "in it, and for sizes beyond what the model knows; engine(batch) returns NaN"
            )
        index = int(probabilities.argmax())
        return {
            "class": self.class_name(index),
            "class_index": index,
            "confidence": float(probabilities[index]),
            "probabilities": probabilities,
        }

    def class_name(self, index: int) -> str:
        """The class at `index`, or the index as text where the bundle names none."""
        return self.classes[index] if self.classes else str(index)

    def warm_up(
        self, sizes: Sequence[int] = (1,), axes: Mapping[str, int] | None = None
    ) -> tuple[int, ...]:
        """Compiles what batches of these sizes will run, so that no request waits for it.

        Args:
            sizes: numbers of rows, each at least 1.
            axes: a size for each axis that the export left open, by name: `{"T": 128}`.

        Returns:
            The batch sizes compiled.

        Raises:
            ValueError: `axes` are not those of the bundle, or a size is below 1.
        """
        given = axes if isinstance(axes, Mapping) else {}
        if given.keys() != set(self.inputs.axes) or not all(map(is_count, given.values())):
            raise ValueError(
                f"warm_up: expected a size for each of the open axes {self.inputs.axes}, got {axes}"
            )
        if not all(map(is_count, sizes)):
            raise ValueError(f"warm_up: expected numbers of rows, each at least 1, got {sizes}")
        compiled = sorted({self.bucket(n) for size in sizes for n in self._steps(size)})
        for size in compiled:
            self(self.inputs.unflatten(self.inputs.zeros(size, given)))
        return tuple(compiled)


def _inputs(contents: dict[str, Any], exported: export.Exported) -> Inputs:
    tree, _, _ = stablehlo.signature(exported)
    limits = contents.get("limits", {}).items()
    ranges = {axis: range(first, last + 1, step) for axis, (first, last, step) in limits}
    return Inputs(contents["inputs"], tree, ranges)


def _compiled(exported: export.Exported, weights: dict[str, jax.Array]) -> Callable[[Any], Any]:
    """The program as a function of a batch; called as it is, it would cost twice as much.

    Small weights are constants of what is compiled: XLA brings them into a convolution's order and
    folds a normalisation's numbers once, and not in every call. Large ones would be folded for
    long, and lie in memory once for every size of batch.
    """
    if sum(array.nbytes for array in weights.values()) > FOLDED_BYTES:
        return partial(jax.jit(exported.call), weights)
    return jax.jit(lambda batch: exported.call(weights, batch))


def _pieces(images: Iterable[Any], size: int | None) -> Iterator[list[Any]]:
    rest = iter(images)
    while piece := list(islice(rest, size)):
        yield piece


def _check_fit(
    path: Path,
    contents: dict[str, Any],
    exported: export.Exported,
    weights: dict[str, np.ndarray],
) -> None:
    """Whether manifest, program and weights are of one export."""
    mend = "its files are of different exports: copy or export the bundle again"
    tree, avals, outputs = stablehlo.signature(exported)
    names = stablehlo.names_of(tree) or [spec["name"] for spec in contents["inputs"]]
    names += ["?"] * (tree.num_leaves - len(names))
    inputs = [describe(name, aval) for name, aval in zip(names, avals, strict=False)]
    fit = alike(contents["inputs"], inputs) and alike(contents["outputs"], outputs)
    if not (fit and _open_alike(_inputs(contents, exported), avals)):
        raise ValueError(
            f"{path}: the program takes {inputs} and gives {outputs}, and the "
            f"manifest says {contents['inputs']} and {contents['outputs']}, limits "
            f"{contents.get('limits')}; {mend}"
        )
    for spec in contents["inputs"]:
        if needs_x64(spec["dtype"]):
            raise ValueError(f'{path}: "{spec["name"]}" has 64 bits; start with JAX_ENABLE_X64=1')
    manifest.check_classes(contents.get("classes"), outputs)
    wanted = stablehlo.weights_of(exported)
    for name in sorted(wanted.keys() | weights.keys()):
        w, got = wanted.get(name), weights.get(name)
        if w is None or got is None or (w.shape, w.dtype) != (got.shape, got.dtype):
            expected = "no such weight" if w is None else f"{w.dtype} {list(w.shape)}"
            came = "none" if got is None else f"{got.dtype} {list(got.shape)}"
            raise ValueError(
                f'{path}: weight "{name}": the program expects {expected}, '
                f"{manifest.WEIGHTS} has {came}; {mend}"
            )
        if needs_x64(w.dtype):
            raise ValueError(f'{path}: weight "{name}" has 64 bits; start with JAX_ENABLE_X64=1')


def _open_alike(listed: Inputs, avals: list[Any]) -> bool:
    """Whether the open axes, too, have the names and steps that the program was made with."""
    if not set(listed.axes) >= listed.limits.keys():
        return False
    wanted = jax.tree.leaves(listed.abstract())
    return [str(aval.shape) for aval in wanted] == [str(aval.shape) for aval in avals]


def golden_error(path: Path, engine: Engine) -> float:
    """How far the engine is from the outputs that the bundle keeps, all rows at once."""
    kept = read_weights(path / manifest.GOLDEN)
    expected = {
        name.removeprefix("output."): value
        for name, value in kept.items()
        if name.startswith("output.")
    }
    names = [*engine.inputs.by_name(engine.inputs.names)]
    wanted = [*names, *(f"output.{spec['name']}" for spec in engine.outputs)]
    if kept.keys() != set(wanted):
        raise ValueError(
            f"{path / manifest.GOLDEN}: expected {', '.join(sorted(wanted))}, got "
            f"{', '.join(sorted(kept))}; copy or export the bundle again"
        )
    rows = engine.inputs.unflatten([kept[name] for name in names])
    return golden.difference(engine(rows), expected)


def _check_golden(path: Path, engine: Engine) -> None:
    error = golden_error(path, engine)
    limit = engine.manifest["golden"]["tolerance"][export.default_export_platform()]
    if error > limit:
        raise ValueError(
            f"{path}: the golden outputs differ by {error:.2g}, more than {limit:g}; "
            "this machine or version computes something else than the one that exported"
        )
