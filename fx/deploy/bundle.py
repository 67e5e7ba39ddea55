"""Exports a model as a bundle: a folder that runs without the model's code."""

import inspect
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax import export as jax_export

from fx.deploy import golden, manifest, stablehlo
from fx.deploy.signature import parse
from fx.donated import check_present
from fx.interop.naming import naming
from fx.interop.weights import write_weights


def export(
    model: Any,
    params: Any,
    state: Any,
    spec: Any,
    path: str | os.PathLike[str],
    *,
    preprocess: Callable[[Any], Any] | None = None,
    postprocess: Literal["softmax"] | Callable[[Any], Any] | None = "softmax",
    classes: Sequence[str] | None = None,
    limits: Mapping[str, int | range] | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    example: Any = None,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes `postprocess . apply . preprocess` and the weights as a bundle.

    The program is StableHLO for every platform and, unless `spec` fixes it, any batch size, and
    takes the weights as arguments. Before anything is written at `path`, the exported program is
    run where it can be (this machine's platform is among `platforms`) and compared with the live
    model.

    Args:
        model: any object with `apply(params, state, *inputs) -> (outputs, state)`.
        params: pytree of arrays; stored as `params.<name>`.
        state: pytree of arrays; stored as `state.<name>`.
        spec: `(shape, dtype)` of the input, the batch as None: `((None, 32, 32, 3), "uint8")`, or
            as a number, where a model cannot leave it open; another open axis by a name:
            `((None, "T"), "int32")`. A tuple of those are several
            inputs and as many arguments of the model, a dict of those one dict, as in training.
        path: the folder to make.
        preprocess: called as `preprocess(inputs)` inside the program, with the array, tuple or
            dict: a transform, or any function that JAX can trace.
        postprocess: "softmax" turns logits [N, K] into `{"probabilities": float32 [N, K]}`; None
            gives `{"outputs": ...}`; a function is given the model's outputs and returns an array
            or a flat dict of arrays, each with the batch as first axis.
        classes: K names, in the order of the model's outputs.
        limits: the largest size of open axes, by name, or a range of sizes: `{"T": 512}` where a
            model has 512 positions, `{"H": range(32, 1025, 32)}` where it halves images five
            times. An engine refuses other sizes.
        platforms: of "cpu", "cuda", "rocm", "tpu".
        example: rows of real input [n, ...], a tuple or dict of them as in `spec`, to keep as
            golden input in place of seeded noise.
        metadata: anything that JSON can hold, kept in the manifest.
        overwrite: whether a bundle at `path` is replaced; anything else at `path` never is.

    Returns:
        The path of the bundle.

    Raises:
        FileExistsError: `path` exists, and `overwrite` is False or it is not a bundle.
        TypeError: outputs are not arrays by name; `metadata` is not for JSON; a weight is a key;
            `example` is of another kind or dtype.
        ValueError: `spec`, `limits`, `classes`, `platforms` or `example` do not fit; outputs are
            not logits [N, K] of two classes or more, lose the batch axis or are NaN; the code
            depends on the size of an open axis.
        OSError: `path` cannot be written to.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> class Mean:
        ...     def apply(self, params, state, x):
        ...         return x.mean((1, 2)) * params["scale"], state
        >>> path = export(
        ...     Mean(), {"scale": jnp.ones(3)}, {}, ((None, 8, 8, 3), "float32"),
        ...     f"{tempfile.mkdtemp()}/bundle", classes=["red", "green", "blue"])
        >>> sorted(file.name for file in path.iterdir())
        ['golden.safetensors', 'manifest.json', 'model.stablehlo', 'weights.safetensors']
    """
    path = Path(path)
    _check_target(path, overwrite)
    check_present("export", params=params, state=state)
    inputs = parse(spec, lambda: _names(model, preprocess), limits)
    names, extra = _check_classes(classes), _check_metadata(metadata)
    arrays = golden.make_inputs(inputs, example)
    rows = inputs.unflatten(arrays)
    weights = stablehlo.flatten(params, state)
    function = stablehlo.program(model, params, state, preprocess, postprocess)
    exported = stablehlo.lower(function, weights, inputs, platforms)
    blob = bytes(exported.serialize())
    outputs = inputs.named(stablehlo.signature(exported)[-1])
    manifest.check_classes(names, outputs)
    rounded = stablehlo.is_rounded(exported)
    tolerances = golden.tolerances(exported.platforms, rounded)
    expected, independent = _expect(function, weights, rows, rounded, inputs.batch is not None)
    _compare(blob, weights, rows, expected, tolerances)
    contents = {
        "inputs": inputs.listed,
        "outputs": outputs,
        "limits": {name: [n[0], n[-1], n.step] for name, n in inputs.limits.items()},
        "classes": names,
        "model": _describe(model),
        "preprocess": _describe(preprocess),
        "postprocess": _describe(postprocess),
        "platforms": list(exported.platforms),
        "versions": manifest.versions(),
        "calling_convention_version": exported.calling_convention_version,
        "compatibility": manifest.COMPATIBILITY,
        "rows_independent": independent,
        "golden": {"rows": len(arrays[0]), "tolerance": tolerances},
        "metadata": extra,
    }
    kept = {**inputs.by_name(arrays), **_prefixed(expected)}
    _write(path, contents, blob, weights, kept, overwrite)
    return path


def _check_target(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(f"export: {path} exists; give overwrite=True or another path")
    try:
        manifest.read(path)
    except (OSError, ValueError) as error:
        raise FileExistsError(
            f"export: overwrite=True replaces bundles only: {error}; give another path"
        ) from error


def _names(model: Any, preprocess: Any) -> list[str]:
    """Names for the parts of a tuple: the model's arguments, where it is given the tuple as is."""
    if preprocess is not None:
        return []
    forward = getattr(model, "forward", None)
    parameters = [*inspect.signature(forward or model.apply).parameters.values()]
    parameters = parameters[0 if forward else 2 :]  # not params and state
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _check_classes(classes: Sequence[str] | None) -> list[str] | None:
    if classes is None:
        return None
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"export: expected classes as a sequence of strings, got {classes!r}")
    return list(classes)


def _check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(metadata or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"export: metadata must be what JSON can hold: {error}") from error


def _describe(part: Any) -> str | None:
    """How a part is written in the manifest, without addresses, which differ in each process."""
    if part is None or isinstance(part, str):
        return part
    if hasattr(part, "__qualname__"):
        return f"{part.__module__}.{part.__qualname__}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(part))


def _prefixed(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"output.{name}": value for name, value in outputs.items()}


def _expect(
    function: Callable[..., Any],
    weights: dict[str, np.ndarray],
    rows: Any,
    rounded: bool,
    fixed: bool,
) -> tuple[dict[str, np.ndarray], bool]:
    """The live model's outputs for the golden rows, and whether rows leave each other alone."""
    live = jax.jit(function)

    def predict(batch: Any) -> dict[str, np.ndarray]:
        with jax.default_matmul_precision("highest"):  # the same numbers on every platform
            return jax.device_get(live(weights, batch))

    expected = predict(rows)
    for name, value in expected.items():
        if np.isnan(value).any():
            raise ValueError(
                f'export: the model gives NaN as "{name}" for the golden input; look for NaN in '
                "params and state, and at what preprocess does"
            )
    limit = golden.ROUNDED if rounded else golden.FLOAT32
    return expected, golden.rows_are_independent(predict, rows, expected, limit, fixed)


def _compare(
    blob: bytes,
    weights: dict[str, np.ndarray],
    rows: Any,
    expected: dict[str, np.ndarray],
    limits: dict[str, float],
) -> None:
    """Runs what will be written, if this machine can, and holds it to the live model."""
    limit = limits.get(jax_export.default_export_platform())
    if limit is None:
        return
    exported = jax_export.deserialize(bytearray(blob))
    error = golden.difference(jax.device_get(jax.jit(exported.call)(weights, rows)), expected)
    if error > limit:
        raise ValueError(
            f"export: the exported program differs from the live model by {error:.2g}; is there "
            "something in the model or its preprocessing that is not a function of its arguments?"
        )


def _write(
    path: Path,
    contents: dict[str, Any],
    blob: bytes,
    weights: dict[str, np.ndarray],
    golden_rows: dict[str, np.ndarray],
    overwrite: bool,
) -> None:
    """Writes all files beside `path`, then renames: a bundle is there whole, or not at all."""
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    head = {
        "format": manifest.FORMAT,
        "format_version": manifest.FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        with naming("export", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            (folder / manifest.PROGRAM).write_bytes(blob)
            write_weights(folder / manifest.WEIGHTS, weights)
            write_weights(folder / manifest.GOLDEN, golden_rows)
            names = (manifest.PROGRAM, manifest.WEIGHTS, manifest.GOLDEN)
            files = {"files": manifest.describe_files(folder, names)}
            manifest.write(folder, {**head, **contents, **files})
            _check_target(path, overwrite)
            _move(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, path: Path) -> None:
    if not path.exists():
        folder.rename(path)
        return
    old = path.with_name(f"{folder.name}.old")
    path.rename(old)
    try:
        folder.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)
