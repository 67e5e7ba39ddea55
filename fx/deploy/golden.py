"""A few rows of input and what the model made of them, kept in the bundle as its own test."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

ROWS = 3
FLOAT32 = 1e-4  # on another CPU or with another XLA: other fusions, other orders of sums
ROUNDED = 2e-2  # float16 and bfloat16; TF32 and bfloat16 products of float32 on GPU and TPU


def make_inputs(shape: Sequence[int | None], dtype: np.dtype, example: Any) -> np.ndarray:
    """The example given, checked, or seeded noise of the input's dtype."""
    size = (ROWS, *(int(n) for n in shape[1:] if n is not None))
    if example is not None:
        rows = np.asarray(example)
        if rows.dtype != dtype or rows.shape[1:] != size[1:] or not len(rows):
            raise ValueError(
                f"export: expected an example of {dtype} [N, {', '.join(map(str, size[1:]))}], "
                f"got {rows.dtype} {list(rows.shape)}"
            )
        return rows
    rng = np.random.default_rng(0)
    if dtype == np.uint8:
        return rng.integers(0, 256, size, np.uint8)
    if jnp.issubdtype(dtype, jnp.floating):
        return rng.standard_normal(size, np.float32).astype(dtype)
    raise ValueError(
        f"export: cannot invent a golden input of dtype {dtype}, whose range is the model's own; "
        "give example=, an array of a few rows"
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
    predict: Callable[[np.ndarray], dict[str, np.ndarray]],
    rows: np.ndarray,
    expected: Mapping[str, np.ndarray],
    limit: float,
) -> bool:
    """Whether a row's output stays when others join it, so that batches may be padded."""
    padding = np.zeros((1, *rows.shape[1:]), rows.dtype)
    joined = predict(np.concatenate([rows, padding]))
    got = {name: value[: len(rows)] for name, value in joined.items()}
    return difference(got, expected) <= limit
