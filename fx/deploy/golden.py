"""A few rows of input and what the model made of them, kept in the bundle as its own test."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx.deploy.signature import Inputs

ROWS = 3
OPEN = 8  # the size of an open axis in what is invented
FLOAT32 = 1e-4  # on another CPU or with another XLA: other fusions, other orders of sums
ROUNDED = 2e-2  # float16 and bfloat16; TF32 and bfloat16 products of float32 on GPU and TPU


def make_inputs(inputs: Inputs, example: Any) -> list[np.ndarray]:
    """The example given, checked, or seeded noise of each input's shape and dtype."""
    if example is not None:
        arrays = inputs.check(example, "export: expected an example of", "example")
        if inputs.batch not in (None, len(arrays[0])):
            raise ValueError(
                f"export: expected an example of {inputs.batch} rows, the batch of the spec, got "
                f"{len(arrays[0])}"
            )
        return arrays
    sizes = {axis: _near(OPEN, inputs.limits.get(axis)) for axis in inputs.axes}
    rng = np.random.default_rng(0)
    return [_noise(rng, array, inputs) for array in inputs.zeros(inputs.batch or ROWS, sizes)]


def _near(size: int, limit: range | None) -> int:
    return size if limit is None else min(limit, key=lambda n: abs(n - size))


def _noise(rng: np.random.Generator, like: np.ndarray, inputs: Inputs) -> np.ndarray:
    if like.dtype == np.uint8:
        return rng.integers(0, 256, like.shape, np.uint8)
    if jnp.issubdtype(like.dtype, jnp.floating):
        return rng.standard_normal(like.shape, np.float32).astype(like.dtype)
    what = "an array" if inputs.alone else f"arrays for {', '.join(inputs.names)},"
    raise ValueError(
        f"export: cannot invent a golden input of dtype {like.dtype}, whose range is the model's "
        f"own; give example=, {what} of a few rows"
    )


def difference(got: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """The largest difference, relative to the largest expected magnitude where that exceeds 1."""
    if got.keys() != expected.keys():
        return float("inf")
    worst = 0.0
    for name, wanted in expected.items():
        a, b = np.asarray(got[name], np.float64), np.asarray(wanted, np.float64)
        if a.shape != b.shape:
            return float("inf")
        with np.errstate(invalid="ignore"):  # inf - inf, which counts as equal below
            error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        finite = np.abs(b[np.isfinite(b)])
        scale = max(1.0, float(finite.max(initial=0.0)))
        worst = max(
            worst, float(np.nan_to_num(error, nan=np.inf, posinf=np.inf).max(initial=0.0)) / scale
        )
    return worst


def tolerances(platforms: Sequence[str], rounded: bool) -> dict[str, float]:
    """What the golden outputs may differ by on each platform, in `difference`'s measure."""
    return {name: ROUNDED if rounded or name != "cpu" else FLOAT32 for name in platforms}


def rows_are_independent(
    predict: Callable[[Any], dict[str, np.ndarray]],
    rows: Any,
    expected: Mapping[str, np.ndarray],
    limit: float,
    fixed: bool = False,
) -> bool:
    """Whether a row's output is the same whatever is beside it, so that batches may be padded.

    Rows alone, and all of them between rows lower and higher than any, are to give what they gave.
    Where the size of a batch is fixed, each is to give it in front of higher rows, and behind
    lower ones.
    """
    count = len(jax.tree.leaves(rows)[0])
    for at in sorted({0, count // 2, count - 1}):
        own = {name: value[at : at + 1] for name, value in expected.items()}
        for first in (True, False) if fixed else (True,):
            beside = functools.partial(_company if fixed else _alone, at=at, first=first)
            found = predict(jax.tree.map(beside, rows))
            end = slice(0, 1) if first else slice(-1, None)
            if difference({name: value[end] for name, value in found.items()}, own) > limit:
                return False
    if fixed:
        return True
    between = predict(jax.tree.map(_between_extremes, rows))
    return difference({name: value[1:-1] for name, value in between.items()}, expected) <= limit


def _alone(x: np.ndarray, at: int, first: bool) -> np.ndarray:
    return x[at : at + 1]


def _company(x: np.ndarray, at: int, first: bool) -> np.ndarray:
    """As many rows, one of them in front of ones that are higher, or behind ones that are lower."""
    rows = np.full_like(x, _extremes(x)[first])
    rows[0 if first else -1] = x[at]
    return rows


def _between_extremes(x: np.ndarray) -> np.ndarray:
    """The rows of an input, one that is lower in front and one that is higher behind."""
    low, high = _extremes(x)
    return np.concatenate([np.full_like(x[:1], low), x, np.full_like(x[:1], high)])


def _extremes(x: np.ndarray) -> tuple[Any, Any]:
    """A number lower than any of an input's, and one that is higher, where its dtype has them."""
    if x.dtype == bool:
        return False, True
    if jnp.issubdtype(x.dtype, jnp.integer):
        if x.dtype == np.uint8:
            return 0, 255
        least, most = int(x.min(initial=0)), int(x.max(initial=0))
        return least, min(most + 1, np.iinfo(x.dtype).max)
    most = np.abs(x.astype(np.float64)).max(initial=0.0)
    return -most - 1.0, most + 2.0  # with another mean than 0
