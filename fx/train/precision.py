"""Which number format a step computes in."""

from typing import Any

import jax
import jax.numpy as jnp

# What XLA may do with a float32 product. On a GPU or TPU its default is not float32: it is TF32
# there and bfloat16 here. "highest" is float32 everywhere; "high" is TF32 on GPUs, three bfloat16
# passes on TPUs and float32 on CPUs.
_MATMUL = {"float32": "highest", "tf32": "high", "bf16": "default", "fp16": "default"}
_COMPUTE = {"bf16": jnp.bfloat16, "fp16": jnp.float16}


def check_precision(precision: str) -> None:
    """Raise a ValueError unless `precision` names a policy."""
    if precision not in _MATMUL:
        names = ", ".join(repr(name) for name in _MATMUL)
        raise ValueError(f"precision: expected one of {names}, got {precision!r}")


def matmul_precision(precision: str):
    """Context in which everything that is traced multiplies as the policy says."""
    return jax.default_matmul_precision(_MATMUL[precision])


def to_compute(tree: Any, precision: str) -> Any:
    """Cast floating point arrays to the dtype the model runs in; others stay as they are."""
    return _cast(tree, _COMPUTE[precision]) if precision in _COMPUTE else tree


def to_output(tree: Any, precision: str) -> Any:
    """Cast what the model returned to float32, for the loss and the metrics."""
    return _cast(tree, jnp.float32) if precision in _COMPUTE else tree


def _cast(tree: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(lambda leaf: cast(jnp.asarray(leaf)), tree)
